package bpf

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helpSend is an app that sends all it can to the outside, once for each line of its
// input, and says what became of each way. Its first line comes when the outside is
// still open to it, so that it has sockets from then.
func helpSend() error {
	to4, to6 := netip.AddrPortFrom(outside4, direct), netip.AddrPortFrom(outside6, direct)
	tcp, err := net.Dial("tcp", to4.String())
	if err != nil {
		return err
	}
	udp, err := net.Dial("udp", to4.String())
	if err != nil {
		return err
	}
	ways := map[string]func() error{
		"established TCP": func() error { _, err := tcp.Write([]byte("x")); return err },
		"connected UDP":   func() error { _, err := udp.Write([]byte("x")); return err },
		"TCP":             func() error { return tryConnect(to4) },
		"TCP over IPv6":   func() error { return tryConnect(to6) },
		"UDP":             func() error { return sendOnce(unix.SOCK_DGRAM, 0, to4, []byte("x")) },
		"UDP over IPv6":   func() error { return sendOnce(unix.SOCK_DGRAM, 0, to6, []byte("x")) },
		"ICMP":            func() error { return sendOnce(unix.SOCK_RAW, unix.IPPROTO_ICMP, to4, echo(8)) },
		"ICMPv6":          func() error { return sendOnce(unix.SOCK_RAW, unix.IPPROTO_ICMPV6, to6, echo(128)) },
		"a forged neighbour solicitation": func() error {
			return sendOnce(unix.SOCK_RAW, unix.IPPROTO_ICMPV6, to6, echo(135))
		},
		"a packet with a head of its own": func() error {
			return sendOnce(unix.SOCK_RAW, unix.IPPROTO_RAW, to4, ownHead(outside4))
		},
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		errs := make(map[string]string)
		for name, way := range ways {
			errs[name] = fmt.Sprint(way())
		}
		if err := json.NewEncoder(os.Stdout).Encode(errs); err != nil {
			return err
		}
	}
	return in.Err()
}

func tryConnect(to netip.AddrPort) error {
	c, err := net.DialTimeout("tcp", to.String(), 5*time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

func sendOnce(kind, proto int, to netip.AddrPort, payload []byte) error {
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if kind == unix.SOCK_RAW {
		to = netip.AddrPortFrom(to.Addr(), 0)
		if family == unix.AF_INET6 {
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255)
		}
	}
	return unix.Sendto(fd, payload, 0, sockaddr(family, to))
}

func echo(kind byte) []byte {
	b := make([]byte, 24)
	b[0] = kind
	return b
}

// ownHead is a packet of protocol 253, which is for experiments (RFC 3692).
func ownHead(to netip.Addr) []byte {
	b := make([]byte, 24)
	b[0], b[8], b[9] = 0x45, 64, 253
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[16:], to.AsSlice())
	return b
}

// A counter counts the packets that come to the agent's end of the link.
type counter struct{ outside, agent atomic.Int64 }

func (l *lab) count() *counter {
	l.t.Helper()
	c := new(counter)
	var fd int
	inNetns(l.t, l.agent, func() {
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(bigEndian(unix.ETH_P_ALL))); err != nil {
			l.t.Error(err)
		}
	})
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
	stop, done := make(chan struct{}), make(chan struct{})
	l.t.Cleanup(func() { close(stop); <-done; unix.Close(fd) })
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, from, err := unix.Recvfrom(fd, buf, 0)
			if err != nil || n < 40 && buf[0]>>4 == 6 || n < 20 {
				continue
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			dst, _ := netip.AddrFromSlice(buf[16:20])
			if buf[0]>>4 == 6 {
				dst, _ = netip.AddrFromSlice(buf[24:40])
			}
			switch dst {
			case outside4, outside6:
				c.outside.Add(1)
			case agent4:
				c.agent.Add(1)
			}
		}
	}()
	return c
}

func TestNoPacketLeavesAnIsolatedSession(t *testing.T) {
	l := newLab(t, isolated)
	got := l.count()
	outside := []netip.Prefix{netip.PrefixFrom(outside4, 32), netip.PrefixFrom(outside6, 128)}
	for _, p := range outside {
		if err := l.r.Exclude(p); err != nil {
			t.Fatal(err)
		}
	}
	inNetns(t, l.agent, func() {
		l.listen(t, "tcp", netip.AddrPortFrom(agent4, 9000).String(), func(c net.Conn) { io.Copy(io.Discard, c) })
	})
	cmd := l.command(l.web, "/proc/self/exe")
	cmd.Path, cmd.Env = self(t), helperEnviron("send")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.start(cmd)
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	lines.Scan() // ready
	send := func() map[string]string {
		t.Helper()
		fmt.Fprintln(in, "send")
		errs := make(map[string]string)
		if !lines.Scan() {
			t.Fatal("the app ended")
		}
		if err := json.Unmarshal(lines.Bytes(), &errs); err != nil {
			t.Fatal(err)
		}
		return errs
	}

	errs := send()
	waitFor(t, func() bool { return got.outside.Load() >= 10 }, "the app reaches the outside while that is open")
	// The kernel resets what answers a socket that is closed meanwhile.
	for before := int64(-1); before != got.outside.Load(); time.Sleep(200 * time.Millisecond) {
		before = got.outside.Load()
	}
	for way, e := range errs {
		if e != "<nil>" {
			t.Errorf("while the outside is open, %s: %s", way, e)
		}
	}

	for _, p := range outside {
		if err := l.r.Forget(p); err != nil {
			t.Fatal(err)
		}
	}
	before := got.outside.Load()
	errs = send()
	wantQuiet(t, got.outside.Load, before)
	for _, way := range []string{"connected UDP", "ICMP", "ICMPv6", "a forged neighbour solicitation", "a packet with a head of its own"} {
		if errs[way] == "<nil>" {
			t.Errorf("with the agent alive, there is no error for %s", way)
		}
	}

	// The agent's host is still there, and so may be another one at its address.
	l.live.Close()
	before = got.outside.Load() + got.agent.Load()
	began := time.Now()
	errs = send()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the errors took %v", took)
	}
	wantQuiet(t, func() int64 { return got.outside.Load() + got.agent.Load() }, before)
	for _, way := range slices.Sorted(maps.Keys(errs)) {
		if errs[way] == "<nil>" && way != "established TCP" {
			t.Errorf("with the agent gone, there is no error for %s", way)
		}
	}
}

// wantQuiet checks that a count stays as it was for longer than TCP takes to send again.
func wantQuiet(t *testing.T, count func() int64, before int64) {
	t.Helper()
	for range 10 {
		time.Sleep(50 * time.Millisecond)
		if n := count(); n != before {
			t.Fatalf("%d packets got out", n-before)
		}
	}
}

func waitFor(t *testing.T, what func() bool, text string) {
	t.Helper()
	for range 200 {
		if what() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("not within 4 s: %s", text)
}

func TestAnIsolatedServiceAnswersWhatOthersOpened(t *testing.T) {
	l := newLab(t, isolated)
	cmd := l.command(l.web, "/proc/self/exe")
	cmd.Path, cmd.Env = self(t), helperEnviron("serve")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.start(cmd)
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	bufio.NewScanner(out).Scan() // ready
	inNetns(t, l.agent, func() {
		// From an address that the app could not connect to.
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: outside4.AsSlice()}, Timeout: 5 * time.Second}
		c, err := dialer.Dial("tcp", "10.77.0.2:7000")
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if text, err := io.ReadAll(c); err != nil || string(text) != "served" {
			t.Errorf("got %q, %v", text, err)
		}
	})
}

// helpServe answers TCP connections.
func helpServe() error {
	ln, err := net.Listen("tcp", ":7000")
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		fmt.Fprint(c, "served")
		c.Close()
	}
}

func TestAKilledHolderOfAnIsolatedSessionRefuses(t *testing.T) {
	l := &lab{t: t, ports: map[uint16]int{}}
	l.makeCgroups(needKernel(t))
	l.makeNetwork()
	cmd, _, _ := startHelper(t, "hold", []string{"CGROUP=" + l.session, "ISOLATE=1", fmt.Sprintf("SERVICE=%d", l.webID)})
	if n := attached(t, l.session); n != 10 {
		t.Fatalf("%d programs attached, want 10", n)
	}
	got := l.count()
	cmd.Process.Kill()
	cmd.Wait()
	rs := l.do(
		call{Dst: netip.AddrPortFrom(outside4, direct)}, call{Dst: netip.AddrPortFrom(outside6, direct)},
		call{Dst: netip.AddrPortFrom(agent4, direct)}, call{Dst: ap("127.0.0.11:53"), UDP: true},
		call{Dst: netip.AddrPortFrom(outside4, direct), UDP: true, Unconnected: true})
	for i, r := range rs {
		what := "connect: "
		if i == 4 {
			what = "sendto: "
		}
		l.wantErr(r, what+refused())
	}
	if n := got.outside.Load() + got.agent.Load(); n != 0 {
		t.Errorf("%d packets got out", n)
	}
	if n := attached(t, l.session); n != 10 {
		t.Errorf("%d programs attached after the holder was killed, want 10", n)
	}
	if err := removeTree(t.Context(), l.session); err != nil {
		t.Errorf("the cgroup can't be removed: %v", err)
	}
}

func TestDetachTakesAnIsolatedSessionsProgramsAway(t *testing.T) {
	cgroup := testCgroup(t)
	r, err := Load(Config{Cgroup: cgroup, TCPPorts: tcpPorts, ClosedPort: closedPort, Isolate: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Attach(), r.Detach(), r.Close()); err != nil {
		t.Error(err)
	}
	if n := attached(t, cgroup); n != 0 {
		t.Errorf("%d programs are still attached", n)
	}
}
