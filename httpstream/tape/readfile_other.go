//go:build !linux

package tape

import (
	"os"
	"path/filepath"
)

// A folder is one whose files are read.
type folder struct{ *os.File }

// read reads a file of the folder. ok is false where that fails.
func (f folder) read(name string, buf []byte) (data []byte, ok bool) {
	data, err := os.ReadFile(filepath.Join(f.Name(), name))
	return data, err == nil
}
