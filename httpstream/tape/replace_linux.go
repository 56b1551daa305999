package tape

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// swap exchanges two folders in one step where the file system can (Linux 3.15),
// and returns where the old one is now.
func swap(newDir, dir string) (old string, err error) {
	err = unix.Renameat2(unix.AT_FDCWD, newDir, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return swapInTwoSteps(newDir, dir)
	}
	if err != nil {
		return "", &os.LinkError{Op: "exchange", Old: newDir, New: dir, Err: err}
	}
	return newDir, syncDir(filepath.Dir(dir))
}
