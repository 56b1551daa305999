package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// An NS is a network namespace. It is safe for concurrent use, and keeps the
// namespace from ending until it is closed.
type NS struct {
	file  *os.File
	inode uint64

	cookieOnce sync.Once
	cookie     uint64
	cookieErr  error
}

// Of opens the network namespace of a process. It needs the right to ptrace it
// (CAP_SYS_PTRACE).
func Of(pid int) (*NS, error) {
	return open("/proc/" + strconv.Itoa(pid) + "/ns/net")
}

func open(path string) (*NS, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		file.Close()
		return nil, &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	return &NS{file: file, inode: st.Ino}, nil
}

// Inode identifies the namespace among those that exist now: the number in the
// link /proc/PID/ns/net.
func (ns *NS) Inode() uint64 { return ns.inode }

// Close releases the namespace. Sockets made in it go on.
func (ns *NS) Close() error { return ns.file.Close() }

// Do runs f on a thread that is in the namespace, and waits for it. Only what f does
// itself happens there, not the goroutines that it starts; processes that it
// starts are born there. It needs CAP_SYS_ADMIN.
func (ns *NS) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- ns.doLocked(f)
			return
		}
		// The main thread can't be thrown away, and it is the one that /proc/self
		// shows. While it is held here, f gets another.
		done <- ns.Do(f)
		runtime.UnlockOSThread()
	}()
	return <-done
}

// doLocked unlocks the thread if it is back in its own namespace. A goroutine that
// ends while locked takes its thread with it.
func (ns *NS) doLocked(f func() error) error {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	if err := ns.enter(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = f()
	if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// enter moves this thread. Control keeps the file open meanwhile, and fails only
// where it is closed.
func (ns *NS) enter() error {
	raw, err := ns.file.SyscallConn()
	if err != nil {
		return err
	}
	var setns error
	if err := raw.Control(func(fd uintptr) { setns = unix.Setns(int(fd), unix.CLONE_NEWNET) }); err != nil {
		return &os.PathError{Op: "setns", Path: ns.file.Name(), Err: os.ErrClosed}
	}
	return os.NewSyscallError("setns", setns)
}

// Cookie is the SO_NETNS_COOKIE of the namespace, which is never used again while
// the machine runs. It needs Linux 5.14.
func (ns *NS) Cookie() (uint64, error) {
	ns.cookieOnce.Do(func() {
		ns.cookieErr = ns.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return os.NewSyscallError("socket", err)
			}
			defer unix.Close(fd)
			ns.cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
			return os.NewSyscallError("getsockopt SO_NETNS_COOKIE", err)
		})
	})
	return ns.cookie, ns.cookieErr
}

// Addrs returns the addresses of the namespace's interfaces that other machines can
// reach: all but loopback and link-local ones.
func (ns *NS) Addrs() ([]netip.Addr, error) {
	var addrs []netip.Addr
	err := ns.Do(func() error {
		found, err := net.InterfaceAddrs()
		if err != nil {
			return err
		}
		for _, a := range found {
			if n, ok := a.(*net.IPNet); ok {
				ip, _ := netip.AddrFromSlice(n.IP)
				if ip = ip.Unmap(); ip.IsValid() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
					addrs = append(addrs, ip)
				}
			}
		}
		return nil
	})
	return addrs, err
}

// DialUDP is [net.DialUDP] with a socket of the namespace; local may be the zero
// value.
func (ns *NS) DialUDP(local, remote netip.AddrPort) (c *net.UDPConn, err error) {
	err = ns.Do(func() (err error) {
		c, err = net.DialUDP("udp", udpAddr(local), udpAddr(remote))
		return err
	})
	return c, err
}

// ListenUDP is [net.ListenUDP] with a socket of the namespace. The zero value
// listens on any address and a port of the kernel's choice.
func (ns *NS) ListenUDP(local netip.AddrPort) (c *net.UDPConn, err error) {
	err = ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp", udpAddr(local))
		return err
	})
	return c, err
}

func udpAddr(a netip.AddrPort) *net.UDPAddr {
	if !a.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(a)
}

// DialTCP connects a socket of the namespace to addr. The thread is in the
// namespace only while the socket is made, so a slow connect costs no thread. The
// error is a [*net.OpError] that wraps the kernel's errno, such as ECONNREFUSED,
// or the reason why ctx ended.
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
	fd := -1
	err = ns.Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	err = unix.Connect(fd, sa)
	if err != nil && !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.EINTR) {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	// Only now, so that the poller never sees an idle socket, which looks hung up.
	file := os.NewFile(uintptr(fd), "tcp:"+addr.String())
	defer file.Close()
	if err := awaitConnect(ctx, file); err != nil {
		return nil, err
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
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
