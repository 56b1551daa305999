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

// Arrived reads what a TCP connection has, without waiting; it neither meets nor takes the
// connection's end or error. ok is false where that can't be told: for another kind of
// connection.
func Arrived(conn net.Conn) (b []byte, ok bool) {
	tcp, is := conn.(*net.TCPConn)
	if !is {
		return nil, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, false
	}
	cerr := raw.Control(func(fd uintptr) {
		var n int
		if n, err = unix.IoctlGetInt(int(fd), unix.SIOCINQ); err != nil || n == 0 {
			return
		}
		b = make([]byte, min(n, BufferSize))
		n, err = unix.Read(int(fd), b)
		b = b[:max(n, 0)]
	})
	return b, cerr == nil && err == nil
}
