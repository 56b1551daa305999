//go:build unix

package transport

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A plainReader reads a TCP connection without a buffer that waits. An attempt and
// the wait after it are one call of the runtime's poller, whose events come once.
type plainReader struct {
	raw     syscall.RawConn
	reading func(fd uintptr) bool
	trying  func(fd uintptr) bool
	looking func(fd uintptr) bool

	// Of the call under way.
	space Space
	b     []byte
	n     int
	err   error
}

func newPlainReader(tcp *net.TCPConn) *plainReader {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	p := &plainReader{raw: raw}
	p.reading = func(fd uintptr) bool {
		if p.attempt(fd, p.space.Space()) {
			return true
		}
		p.space.Idle()
		return false
	}
	p.trying = func(fd uintptr) bool {
		if !p.attempt(fd, p.b) {
			p.err = errNothing
		}
		return true
	}
	var one [1]byte
	p.looking = func(fd uintptr) bool {
		for {
			_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK)
			switch err { //nolint:errorlint // the kernel's own, for each chunk
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
				return false
			case nil:
			default:
				p.err = os.NewSyscallError("recvfrom", err) // the kernel tells of it once
			}
			return true
		}
	}
	return p
}

// attempt reads once, and reports whether there was something.
func (p *plainReader) attempt(fd uintptr, b []byte) bool {
	for {
		n, err := syscall.Read(int(fd), b)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			p.n, p.err = 0, os.NewSyscallError("read", err)
		case n == 0:
			p.n, p.err = 0, io.EOF
		default:
			p.n, p.err = n, nil
		}
		return true
	}
}

// run has the poller call f until it returns true; the error is the connection's.
func (p *plainReader) run(f func(uintptr) bool) (int, error) {
	p.n, p.err = 0, nil
	if err := p.raw.Read(f); err != nil {
		return 0, err
	}
	return p.n, p.err
}

func (p *plainReader) read(space Space) (int, error) {
	p.space = space
	return p.run(p.reading)
}

func (p *plainReader) try(b []byte) (int, error) {
	p.b = b
	defer func() { p.b = nil }()
	return p.run(p.trying)
}

// wait returns when something can be read, or the connection has failed.
func (p *plainReader) wait() error {
	_, err := p.run(p.looking)
	return err
}
