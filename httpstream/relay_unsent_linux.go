package httpstream

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
	raw.Control(func(fd uintptr) {
		n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQNSD)
	})
	if err != nil {
		return 0
	}
	return n
}
