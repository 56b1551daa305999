package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// DialTCP connects a socket of the namespace to addr. This thread is in the
// namespace only while the socket is made, so a slow connect costs no thread. It is not
// to be called inside Do. The error is a [*net.OpError] that wraps the kernel's errno,
// such as ECONNREFUSED, or the reason why ctx ended.
func (ns *NS) DialTCP(ctx context.Context, addr netip.AddrPort) (*net.TCPConn, error) {
	c, err := ns.dialTCP(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: err}
	}
	return c, nil
}

func (ns *NS) dialTCP(ctx context.Context, addr netip.AddrPort) (*net.TCPConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sa, family, err := ns.sockaddr(addr)
	if err != nil {
		return nil, err
	}
	fd, err := ns.socket(family)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, sa); err != nil && !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.EINTR) {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	// The poller is not asked where the answer is here already, which is usual on one
	// machine, nor before the connect: an idle socket looks hung up to it.
	if done, err := connected(fd); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	} else if done {
		return connOf(fd, addr)
	}
	file := os.NewFile(uintptr(fd), "tcp:"+addr.String())
	defer file.Close()
	if err := awaitConnect(ctx, file); err != nil {
		return nil, err
	}
	return fileConn(file)
}

// connOf makes a connection of a connected socket that the poller does not know, which
// it closes if it fails.
func connOf(fd int, addr netip.AddrPort) (*net.TCPConn, error) {
	// os.NewFile gives the poller what does not block; net.FileConn does so with what it
	// makes of it in any case.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "tcp:"+addr.String())
	defer file.Close()
	return fileConn(file)
}

func fileConn(file *os.File) (*net.TCPConn, error) {
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// socket makes a TCP socket of the namespace.
func (ns *NS) socket(family int) (int, error) {
	fd := -1
	err := ns.doHere(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		return os.NewSyscallError("socket", err)
	})
	if err != nil && fd >= 0 {
		unix.Close(fd)
	}
	return fd, err
}

func awaitConnect(ctx context.Context, file *os.File) error {
	// ErrDeadlineExceeded comes from here alone, so ctx.Err() is its reason.
	stop := context.AfterFunc(ctx, func() { _ = file.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var connect error
	err = raw.Write(func(fd uintptr) (done bool) {
		done, connect = connected(int(fd))
		return done
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return os.NewSyscallError("connect", connect)
}

// connected tells whether a connect is over. Writable alone does not say so: the
// poller may report it early.
func connected(fd int) (done bool, err error) {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, err
	}
	if errno != 0 {
		return true, unix.Errno(errno)
	}
	_, err = unix.Getpeername(fd)
	return err == nil, nil
}

// sockaddr turns a into the kernel's form. A zone is the name of an interface of the
// namespace, or its number.
func (ns *NS) sockaddr(a netip.AddrPort) (unix.Sockaddr, int, error) {
	if !a.IsValid() {
		return nil, 0, errors.New("invalid address")
	}
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Addr: ip.As4(), Port: int(a.Port())}, unix.AF_INET, nil
	}
	sa := &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	if zone := a.Addr().Zone(); zone != "" {
		id, err := ns.zoneID(zone)
		if err != nil {
			return nil, 0, err
		}
		sa.ZoneId = id
	}
	return sa, unix.AF_INET6, nil
}

func (ns *NS) zoneID(zone string) (id uint32, err error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	err = ns.Do(func() error {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return fmt.Errorf("zone %q: %w", zone, err)
		}
		id = uint32(i.Index)
		return nil
	})
	return id, err
}
