package transport

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsentBytes is how many bytes wait in the kernel for the peer's window
// (SIOCOUTQNSD, Linux 2.6.36).
func unsentBytes(c *net.TCPConn) int {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = raw.Control(func(fd uintptr) {
		n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQNSD)
	})
	if err != nil {
		return 0
	}
	return n
}

// unacknowledged is how many bytes the peer's host has not acknowledged (SIOCOUTQ);
// the error is the connection's, such as the reset of a peer that is gone.
func Unacknowledged(c *net.TCPConn) (n int, failed error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
		if errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && errno != 0 {
			failed = unix.Errno(errno)
		}
	})
	if err != nil {
		return 0, err
	}
	return n, failed
}
