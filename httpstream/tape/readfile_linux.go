package tape

import (
	"os"

	"golang.org/x/sys/unix"
)

// A folder is one whose files are read, each whole and with as few system calls as
// that takes.
type folder struct{ *os.File }

// read reads a file of the folder into buf, or into a longer buffer, which it returns.
// ok is false where that fails; opening the file as usual then says why.
func (f folder) read(name string, buf []byte) (data []byte, ok bool) {
	return readAt(int(f.Fd()), name, buf)
}

// readQuickly is folder.read for a file by its path.
func readQuickly(file string, buf []byte) (data []byte, ok bool) {
	return readAt(unix.AT_FDCWD, file, buf)
}

func readAt(folder int, name string, buf []byte) (data []byte, ok bool) {
	fd, err := unix.Openat(folder, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return buf, false
	}
	defer unix.Close(fd)
	buf = buf[:cap(buf)]
	for n := 0; ; {
		if n == len(buf) {
			buf = append(buf, make([]byte, max(len(buf), 4<<10))...)
		}
		m, err := unix.Read(fd, buf[n:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return buf, false
		case n+m < len(buf): // less than asked for is all of a file
			return buf[:n+m], true
		default:
			n += m
		}
	}
}
