package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// An NS is a network namespace. It is safe for concurrent use, and keeps the
// namespace from ending until it is closed.
type NS struct {
	file  *os.File
	inode uint64

	homeOnce sync.Once
	home     *os.File // this process's own namespace
	homeErr  error

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
	file, err := openFile(path)
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

// openFile is os.Open without the poller, which takes no such file.
func openFile(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Inode identifies the namespace among those that exist now: the number in the
// link /proc/PID/ns/net.
func (ns *NS) Inode() uint64 { return ns.inode }

// Close releases the namespace. Sockets made in it go on.
func (ns *NS) Close() error {
	err := ns.file.Close()
	ns.homeOnce.Do(func() { ns.homeErr = os.ErrClosed })
	if ns.home != nil {
		err = errors.Join(err, ns.home.Close())
	}
	return err
}

// Do runs f on a thread that is in the namespace, and waits for it. Only what f does
// itself happens there, not the goroutines that it starts; processes that it
// starts are born there. It needs CAP_SYS_ADMIN.
func (ns *NS) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if isMainThread() {
			// While it is held here, f gets another.
			done <- ns.Do(f)
			runtime.UnlockOSThread()
			return
		}
		err, back := ns.visit(f)
		if back == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// doHere is Do on this very thread, for what is so short that to have another one woken for
// it takes longer. If the thread can't go back, that is the error, and the thread is kept
// from being used for anything else until the caller's goroutine ends, and goes then.
func (ns *NS) doHere(f func() error) error {
	runtime.LockOSThread()
	if isMainThread() {
		runtime.UnlockOSThread()
		return ns.Do(f)
	}
	err, back := ns.visit(f)
	if back != nil {
		return fmt.Errorf("go back from a network namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}

// isMainThread reports whether this thread is the one that /proc/self shows, and that
// can't be thrown away.
func isMainThread() bool { return unix.Gettid() == unix.Getpid() }

// visit runs f in the namespace, on this thread, which the caller has locked and is
// in its own. A thread for which it returns a second error did not come back: it must
// not be unlocked, so that it goes with the goroutine.
func (ns *NS) visit(f func() error) (err, back error) {
	home, err := ns.homeFile()
	if err != nil {
		return err, nil
	}
	if err := setns(ns.file); err != nil {
		return err, nil
	}
	err = f()
	return err, setns(home)
}

// homeFile is opened once. Threads that are not locked are all in that namespace, and so
// is the main one, always.
func (ns *NS) homeFile() (*os.File, error) {
	ns.homeOnce.Do(func() { ns.home, ns.homeErr = openFile("/proc/self/ns/net") })
	return ns.home, ns.homeErr
}

// setns moves this thread. Control keeps the file open meanwhile, and fails only
// where it is closed.
func setns(file *os.File) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var setns error
	if err := raw.Control(func(fd uintptr) { setns = unix.Setns(int(fd), unix.CLONE_NEWNET) }); err != nil {
		return &os.PathError{Op: "setns", Path: file.Name(), Err: os.ErrClosed}
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
