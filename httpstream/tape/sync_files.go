//go:build !linux

package tape

import (
	"os"
	"path/filepath"
)

// syncTape makes files of the tape at dir durable, and the folders that name them.
func syncTape(dir string, files []string) error {
	dirs := map[string]bool{}
	for _, name := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		// What was written through one descriptor is synced through another.
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = f.Sync()
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
		dirs[filepath.Dir(name)] = true
	}
	for dir := range dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}
