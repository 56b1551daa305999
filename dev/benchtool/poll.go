//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// A poller waits for sockets on one thread without goroutines and allocation:
// the load and its origin share the processors with what is measured.
type poller struct {
	fd     int
	events []unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &poller{fd, make([]unix.EpollEvent, 256)}, nil
}

func (p *poller) add(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

// wait returns what can be read, after at most so many milliseconds.
func (p *poller) wait(ms int) ([]unix.EpollEvent, error) {
	for {
		n, err := unix.EpollWait(p.fd, p.events, ms)
		if err == unix.EINTR {
			continue
		}
		return p.events[:max(0, n)], os.NewSyscallError("epoll_wait", err)
	}
}

func (p *poller) close() { unix.Close(p.fd) }

// connect opens a socket that does not block once it is connected.
func connect(addr string) (int, error) {
	a, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	to := &unix.SockaddrInet4{Port: a.Port}
	copy(to.Addr[:], a.IP.To4())
	err = errors.Join(
		os.NewSyscallError("connect", unix.Connect(fd, to)),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetNonblock(fd, true))
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// writeAll writes what fits into a socket's buffer, as requests and small answers do.
func writeAll(fd int, p []byte) error {
	n, err := unix.Write(fd, p)
	if err != nil {
		return os.NewSyscallError("write", err)
	}
	if n != len(p) {
		return fmt.Errorf("%d of %d bytes were written: the socket's buffer is full", n, len(p))
	}
	return nil
}
