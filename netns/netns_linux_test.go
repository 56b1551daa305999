package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wiretape/wiretape/dev/leaktest"
	"github.com/wiretape/wiretape/dev/needs"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// needKernel skips the test where the machine can't run it.
func needKernel(t *testing.T) {
	t.Helper()
	needs.Kernel(t, func() error {
		if os.Getuid() != 0 {
			return errors.New("no root")
		}
		if _, err := exec.LookPath("ip"); err != nil {
			return err
		}
		own, err := Of(os.Getpid())
		if err != nil {
			return err
		}
		defer own.Close()
		if err := own.Do(func() error { return unix.Unshare(unix.CLONE_NEWNET) }); err != nil {
			return err
		}
		_, err = own.Cookie()
		return err
	})
}

// newNS makes a network namespace with the loopback up and the addresses on an
// interface.
func newNS(t *testing.T, addrs ...string) *NS {
	t.Helper()
	needKernel(t)
	own, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	var ns *NS
	err = own.Do(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		ns, err = open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	commands := []string{"link set lo up", "link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up"}
	for _, a := range addrs {
		command := "addr add " + a + " dev eth0"
		if strings.Contains(a, ":") {
			command += " nodad"
		}
		commands = append(commands, command)
	}
	for _, c := range commands {
		ip(t, ns, c)
	}
	return ns
}

func ip(t *testing.T, ns *NS, command string) {
	t.Helper()
	err := ns.Do(func() error {
		out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", command, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listen serves "hello" in the namespace until the test ends.
func listen(t *testing.T, ns *NS, addr string) netip.AddrPort {
	t.Helper()
	var ln net.Listener
	err := ns.Do(func() (err error) {
		ln, err = net.Listen("tcp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "hello")
			c.Close()
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func hello(ns *NS, addr netip.AddrPort) error {
	c, err := ns.DialTCP(context.Background(), addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if got := c.RemoteAddr().(*net.TCPAddr).AddrPort(); got.Port() != addr.Port() {
		return fmt.Errorf("connected to %v, want %v", got, addr)
	}
	said, err := io.ReadAll(c)
	if err == nil && string(said) != "hello" {
		err = fmt.Errorf("it said %q", said)
	}
	return err
}

func TestDialTCPConnectsInTheNamespace(t *testing.T) {
	ns := newNS(t, "10.78.0.2/24", "fd78::2/64")
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", "10.78.0.2:0", "[fd78::2]:0"} {
		addr := listen(t, ns, addr)
		if err := hello(ns, addr); err != nil {
			t.Errorf("%v: %v", addr, err)
		}
		if addr.Addr().Is4() {
			mapped := netip.AddrPortFrom(netip.AddrFrom16(addr.Addr().As16()), addr.Port())
			if err := hello(ns, mapped); err != nil {
				t.Errorf("%v: %v", mapped, err)
			}
		}
		if err := hello(newNS(t), addr); err == nil {
			t.Errorf("%v answers in another namespace", addr)
		}
	}
}

func TestDialTCPTakesTheZoneFromTheNamespace(t *testing.T) {
	ns := newNS(t, "fe80::78/64")
	addr := listen(t, ns, "[::]:0")
	var index int
	if err := ns.Do(func() error {
		i, err := net.InterfaceByName("eth0")
		index = i.Index
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, zone := range []string{"eth0", fmt.Sprint(index)} {
		dst := netip.AddrPortFrom(netip.MustParseAddr("fe80::78%"+zone), addr.Port())
		if err := hello(ns, dst); err != nil {
			t.Errorf("%v: %v", dst, err)
		}
	}
	if err := hello(ns, netip.MustParseAddrPort("[fe80::78%nowhere]:80")); err == nil {
		t.Error("an unknown zone was accepted")
	}
}

func TestDialTCPKeepsTheKernelsError(t *testing.T) {
	ns := newNS(t, "10.78.0.2/24")
	ip(t, ns, "route add prohibit 198.51.100.0/24")
	for _, tt := range []struct {
		addr string
		want unix.Errno
	}{
		{"127.0.0.1:1", unix.ECONNREFUSED},
		{"10.78.0.2:1", unix.ECONNREFUSED},
		{"203.0.113.1:80", unix.ENETUNREACH},
		{"[2001:db8::1]:80", unix.ENETUNREACH},
		{"198.51.100.1:80", unix.EACCES},
	} {
		addr := netip.MustParseAddrPort(tt.addr)
		c, err := ns.DialTCP(t.Context(), addr)
		if c != nil || !errors.Is(err, tt.want) {
			t.Errorf("%v: %v, want %v", addr, err, tt.want)
		}
		var op *net.OpError
		if !errors.As(err, &op) || op.Addr.String() != tt.addr {
			t.Errorf("%v: %#v", addr, err)
		}
	}
	if _, err := ns.DialTCP(t.Context(), netip.AddrPort{}); err == nil {
		t.Error("dialled the zero address")
	}
}

func TestDialTCPEndsWithItsContext(t *testing.T) {
	ns := newNS(t, "10.78.0.2/24")
	silent := netip.MustParseAddrPort("10.78.0.99:80") // nobody has this MAC address
	ip(t, ns, "neigh add 10.78.0.99 lladdr 02:00:00:00:00:99 dev eth0")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := ns.DialTCP(ctx, silent)
	var timeout net.Error
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("deadline: %v", err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := ns.DialTCP(ctx, silent); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := ns.DialTCP(ctx, silent); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
}

func TestManyDialsLeaveEveryThreadWhereItWas(t *testing.T) {
	namespaces := []*NS{newNS(t, "10.78.0.2/24"), newNS(t, "10.78.0.2/24")}
	before := openFiles(t)
	var wg sync.WaitGroup
	for _, ns := range namespaces {
		addr := listen(t, ns, "10.78.0.2:0")
		for range 250 {
			wg.Go(func() {
				if err := hello(ns, addr); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	own, err := inodeOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		var st unix.Stat_t
		if err := unix.Stat(task, &st); err == nil && st.Ino != own {
			t.Errorf("%s is in namespace %d, want %d", task, st.Ino, own)
		}
	}
	for range 100 {
		if openFiles(t) <= before+len(namespaces) { // their listeners
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d open files, %d before", openFiles(t), before)
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func TestAThreadThatCantGoBackIsThrownAway(t *testing.T) {
	ns := newNS(t)
	for range 20 {
		strandThread(t, ns)
	}
}

func strandThread(t *testing.T, ns *NS) {
	t.Helper()
	// Without CAP_SYS_ADMIN the thread can't return.
	var tid int
	if err := ns.Do(func() error {
		tid = unix.Gettid()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		return unix.Capset(&header, &none[0])
	}); err != nil {
		t.Fatal(err)
	}
	awaitThreadGone(t, tid)
}

// awaitThreadGone returns when the thread has ended, or its number is another's.
func awaitThreadGone(t *testing.T, tid int) {
	t.Helper()
	own, err := inodeOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		// A thread without capabilities, which this may be, can't look into another.
		var st unix.Stat_t
		err := unix.Stat(fmt.Sprintf("/proc/self/task/%d/ns/net", tid), &st)
		if errors.Is(err, os.ErrNotExist) || err == nil && st.Ino == own {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the thread is still in the other namespace")
}

func TestAThreadThatIsStrandedHereGoesWithItsGoroutine(t *testing.T) {
	ns := newNS(t)
	stranded := 0
	for range 20 {
		tid, said := 0, make(chan error)
		go func() {
			said <- ns.doHere(func() error {
				tid = unix.Gettid()
				header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
				var none [2]unix.CapUserData
				return unix.Capset(&header, &none[0])
			})
		}()
		// On the main thread it is Do, which tells only what f did.
		if err := <-said; errors.Is(err, unix.EPERM) {
			stranded++
		} else if err != nil {
			t.Fatal(err)
		}
		awaitThreadGone(t, tid)
	}
	if stranded == 0 {
		t.Error("it was the main thread each time")
	}
}

func TestUDPSocketsAreOfTheNamespace(t *testing.T) {
	ns := newNS(t, "10.78.0.2/24")
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", "10.78.0.2:0"} {
		server, err := ns.ListenUDP(netip.MustParseAddrPort(addr))
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		client, err := ns.DialUDP(netip.AddrPort{}, server.LocalAddr().(*net.UDPAddr).AddrPort())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.Write([]byte("query")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 16)
		server.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, from, err := server.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != "query" || from.Port() != client.LocalAddr().(*net.UDPAddr).AddrPort().Port() {
			t.Errorf("%s: %q from %v, %v", addr, buf[:n], from, err)
		}
	}
}

func TestANamespaceIsToldByItsInodeAndCookie(t *testing.T) {
	a, b := newNS(t), newNS(t)
	own, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	seen := map[uint64]bool{}
	for _, ns := range []*NS{a, b, own} {
		cookie, err := ns.Cookie()
		if err != nil || cookie == 0 || seen[cookie] || seen[ns.Inode()] {
			t.Errorf("cookie %d, inode %d, %v; seen: %v", cookie, ns.Inode(), err, seen)
		}
		seen[cookie], seen[ns.Inode()] = true, true
	}
	again, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if c, err := again.Cookie(); err != nil || !seen[c] || again.Inode() != own.Inode() {
		t.Errorf("the same namespace has cookie %d, inode %d, %v", c, again.Inode(), err)
	}
}

func TestAClosedNamespaceIsNotUsed(t *testing.T) {
	ns := newNS(t)
	ns.Close()
	if err := ns.Do(func() error { t.Error("it ran"); return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Do: %v", err)
	}
	if _, err := ns.DialTCP(t.Context(), netip.MustParseAddrPort("127.0.0.1:80")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("DialTCP: %v", err)
	}
	if _, err := Of(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Of a process that does not exist: %v", err)
	}
}
