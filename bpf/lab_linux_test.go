package bpf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/wiretape/wiretape/dev/needs"
)

// The lab is an app and an agent in network namespaces of their own, joined by a
// veth pair, and a cgroup that the app's processes are born in:
//
//	app   10.77.0.2 fd77::2 ──── agent 10.77.0.1 fd77::1
//	      default routes ─────►        198.51.100.9 2001:db8::9  ("the outside")
//
// The agent answers on tcpPorts with what it took as JSON, on dnsPort as a resolver.
// The outside answers TCP and UDP on direct with that word.
const (
	dnsPort    = 15053
	closedPort = 15009
	direct     = 8080
)

var (
	tcpPorts   = []uint16{15001, 15002, 15003}
	agent4     = netip.MustParseAddr("10.77.0.1")
	agent6     = netip.MustParseAddr("fd77::1")
	outside4   = netip.MustParseAddr("198.51.100.9")
	outside6   = netip.MustParseAddr("2001:db8::9")
	dnsAnswer4 = netip.MustParseAddr("203.0.113.7")
	dnsAnswer6 = netip.MustParseAddr("2001:db8::7")
)

type lab struct {
	t          *testing.T
	app, agent *os.File // network namespaces
	cookie     uint64   // of the app's
	session    string   // cgroup folders
	web        string
	webID      uint64
	r          *Redirect
	live       io.Closer

	mu      sync.Mutex
	ports   map[uint16]int // connections by agent port
	queries []netip.AddrPort
}

// needKernel returns the cgroup2 tree, or skips the test where the machine can't run it.
func needKernel(t *testing.T) (cgroup2 string) {
	t.Helper()
	needs.Kernel(t, func() (err error) {
		if os.Getuid() != 0 {
			return errors.New("no root")
		}
		if _, err := exec.LookPath("ip"); err != nil {
			return err
		}
		if cgroup2, err = FindCgroup2(); err != nil {
			return err
		}
		return Probe(cgroup2)
	})
	return cgroup2
}

func newLab(t *testing.T, change ...func(*Config)) *lab {
	t.Helper()
	l := &lab{t: t, ports: map[uint16]int{}}
	l.makeCgroups(needKernel(t))
	l.makeNetwork()

	cfg := Config{Cgroup: l.session, TCPPorts: tcpPorts, DNSPort: dnsPort, ClosedPort: closedPort}
	for _, c := range change {
		c(&cfg)
	}
	r, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	l.r = r
	live, err := r.Live()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { live.Close() })
	l.live = live
	for _, ip := range []netip.Addr{agent4, agent6} {
		if err := r.Borrow(netip.PrefixFrom(ip, ip.BitLen())); err != nil {
			t.Fatal(err)
		}
	}
	l.setService(Service{CgroupID: l.webID, AgentIPv4: agent4, AgentIPv6: agent6})
	if err := r.Attach(); err != nil {
		t.Fatal(err)
	}
	l.serve()
	return l
}

func isolated(c *Config) { c.Isolate = true }

func (l *lab) setService(s Service) {
	l.t.Helper()
	if err := l.r.SetService(s); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) makeCgroups(root string) {
	dir, err := os.MkdirTemp(root, "wiretape-test-")
	if err != nil {
		l.t.Fatal(err)
	}
	l.session, l.web = dir, filepath.Join(dir, "web")
	l.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := removeTree(ctx, dir); err != nil {
			l.t.Error(err)
		}
	})
	if l.webID, err = MakeCgroup(l.web); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) makeNetwork() {
	l.app, l.agent = newNetns(l.t), newNetns(l.t)
	peer := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.app.Fd())
	l.ip(l.agent, "link add eth0 type veth peer name eth0 netns "+peer)
	l.ip(l.agent, "addr add 10.77.0.1/24 dev eth0", "addr add fd77::1/64 dev eth0 nodad", "link set eth0 up",
		"link set lo up", "addr add 198.51.100.9/32 dev lo", "addr add 2001:db8::9/128 dev lo nodad")
	l.ip(l.app, "addr add 10.77.0.2/24 dev eth0", "addr add fd77::2/64 dev eth0 nodad", "link set eth0 up",
		"link set lo up", "route add default via 10.77.0.1", "-6 route add default via fd77::1")
	inNetns(l.t, l.app, func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			l.t.Error(err)
			return
		}
		defer unix.Close(fd)
		if l.cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err != nil {
			l.t.Error(err)
		}
	})
}

// newNetns makes a network namespace that lasts as long as its file.
func newNetns(t *testing.T) (ns *os.File) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			ns, err = os.Open("/proc/thread-self/ns/net")
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// inNetns runs f on a thread in the namespace. Processes that f starts are born there.
func inNetns(t *testing.T, ns *os.File, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (l *lab) ip(ns *os.File, commands ...string) {
	l.t.Helper()
	inNetns(l.t, ns, func() {
		for _, c := range commands {
			if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
				l.t.Errorf("ip %s: %v: %s", c, err, out)
			}
		}
	})
	if l.t.Failed() {
		l.t.FailNow()
	}
}

func (l *lab) serve() {
	inNetns(l.t, l.agent, func() {
		for _, port := range tcpPorts {
			l.listen(l.t, "tcp", fmt.Sprintf(":%d", port), func(c net.Conn) { l.answerTaken(c) })
		}
		for _, ip := range []netip.Addr{outside4, outside6} {
			addr := netip.AddrPortFrom(ip, direct).String()
			l.listen(l.t, "tcp", addr, func(c net.Conn) { fmt.Fprint(c, "direct") })
			l.listenUDP(addr, func(_ netip.AddrPort, _ []byte) []byte { return []byte("direct") })
		}
		l.listenUDP(fmt.Sprintf(":%d", dnsPort), l.answerQuery)
	})
}

// listen serves connections until the test ends.
func (l *lab) listen(t *testing.T, network, addr string, serve func(net.Conn)) {
	// A high backlog, since many connects come at once; Go's is somaxconn.
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
}

func (l *lab) listenUDP(addr string, answer func(netip.AddrPort, []byte) []byte) {
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		l.t.Error(err)
		return
	}
	l.t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.(*net.UDPConn).ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if out := answer(from, buf[:n]); out != nil {
				pc.(*net.UDPConn).WriteToUDPAddrPort(out, from)
			}
		}
	}()
}

// taken is what the agent answers a connection with.
type taken struct {
	Known  bool
	Origin Origin
	Again  bool // a second Take found it too
	Err    string
}

func (l *lab) answerTaken(c net.Conn) {
	local, remote := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
	var out taken
	var err error
	if out.Origin, out.Known, err = l.r.Take(local, remote); err != nil {
		out.Err = err.Error()
	}
	_, out.Again, _ = l.r.Take(local, remote)
	l.mu.Lock()
	l.ports[local.Port()]++
	l.mu.Unlock()
	json.NewEncoder(c).Encode(out)
	// A close with unread bytes would reset the connection.
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c)
}

// answerQuery is a resolver that knows every name, and takes down which resolver
// was asked. A payload that is not DNS is answered with that resolver.
func (l *lab) answerQuery(from netip.AddrPort, query []byte) []byte {
	o, ok, err := l.r.UDPOrigin(l.cookie, from.Port())
	if err != nil || !ok {
		return fmt.Appendf(nil, "no origin: %v", err)
	}
	l.mu.Lock()
	l.queries = append(l.queries, o.Dst)
	l.mu.Unlock()
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return fmt.Append(nil, o.Dst)
	}
	q, err := p.Question()
	if err != nil {
		return fmt.Append(nil, o.Dst)
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: head.ID, Response: true, RecursionAvailable: true})
	b.StartQuestions()
	b.Question(q)
	b.StartAnswers()
	rh := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
	switch q.Type {
	case dnsmessage.TypeA:
		b.AResource(rh, dnsmessage.AResource{A: dnsAnswer4.As4()})
	case dnsmessage.TypeAAAA:
		b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: dnsAnswer6.As16()})
	}
	out, err := b.Finish()
	if err != nil {
		return nil
	}
	return out
}

func (l *lab) resolversAsked() []netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.queries
	l.queries = nil
	return q
}

// command runs a program of the app's: born in the cgroup and the namespace.
func (l *lab) command(cgroup string, name string, args ...string) *exec.Cmd {
	l.t.Helper()
	dir, err := os.Open(cgroup)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { dir.Close() })
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Pdeathsig: unix.SIGKILL}
	cmd.Stderr = os.Stderr
	return cmd
}

func (l *lab) start(cmd *exec.Cmd) {
	l.t.Helper()
	inNetns(l.t, l.app, func() {
		cmd.SysProcAttr.Pdeathsig = 0 // would mean the death of this thread
		if err := cmd.Start(); err != nil {
			l.t.Error(err)
		}
	})
	if l.t.Failed() {
		l.t.FailNow()
	}
}

// output runs a program of the app's to its end.
func (l *lab) output(name string, args ...string) string {
	l.t.Helper()
	cmd := l.command(l.web, name, args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	l.start(cmd)
	if err := cmd.Wait(); err != nil {
		l.t.Fatalf("%s %v: %v: %s", name, args, err, &out)
	}
	return out.String()
}

// do makes the calls one after another in one new process in the service's cgroup.
func (l *lab) do(calls ...call) []result {
	l.t.Helper()
	return l.doIn(l.web, calls...)
}

func (l *lab) doIn(cgroup string, calls ...call) []result {
	l.t.Helper()
	spec, err := json.Marshal(calls)
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := l.command(cgroup, "/proc/self/exe")
	cmd.Path = self(l.t)
	cmd.Env = helperEnviron("calls", "CALLS="+string(spec))
	var out bytes.Buffer
	cmd.Stdout = &out
	l.start(cmd)
	if err := cmd.Wait(); err != nil {
		l.t.Fatal(err)
	}
	var results []result
	if err := json.Unmarshal(out.Bytes(), &results); err != nil {
		l.t.Fatalf("%v: %s", err, &out)
	}
	for i := range results {
		results[i].PID = cmd.Process.Pid
	}
	return results
}

func self(t *testing.T) string {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}
