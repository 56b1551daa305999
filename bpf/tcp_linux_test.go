package bpf

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// wantTaken checks that the call reached the agent, which knew where it was going.
func (l *lab) wantTaken(r result, dst netip.AddrPort) {
	l.t.Helper()
	if r.Err != "" {
		l.t.Errorf("%v: %s", dst, r.Err)
		return
	}
	var got taken
	if err := json.Unmarshal([]byte(r.Reply), &got); err != nil {
		l.t.Errorf("%v: the agent answered %q", dst, r.Reply)
		return
	}
	want := taken{Known: true, Origin: Origin{
		Dst:          netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port()),
		PID:          uint32(r.PID),
		CgroupID:     l.webID,
		TaskCgroupID: l.webID,
		NetnsCookie:  l.cookie,
	}}
	if got != want {
		l.t.Errorf("%v: the agent took\n%+v, want\n%+v", dst, got, want)
	}
}

func (l *lab) wantPeer(r result, want netip.AddrPort) {
	l.t.Helper()
	if r.Peer != want {
		l.t.Errorf("getpeername: %v, want %v", r.Peer, want)
	}
}

func (l *lab) wantDirect(r result) {
	l.t.Helper()
	if r.Err != "" || r.Reply != "direct" {
		l.t.Errorf("got %+v, want a direct answer", r)
	}
}

func (l *lab) wantErr(r result, want string) {
	l.t.Helper()
	if r.Err != want {
		l.t.Errorf("got %+v, want the error %q", r, want)
	}
}

func TestTCPIsLedToTheAgent(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		name string
		call call
	}{
		{"IPv4", call{Dst: ap("203.0.113.5:443")}},
		{"IPv6", call{Dst: ap("[2001:db8:5::1]:443")}},
		{"IPv6 only", call{Dst: ap("[2001:db8:5::1]:443"), V6Only: true}},
		{"IPv4-mapped IPv6", call{Dst: ap("[::ffff:203.0.113.5]:8443")}},
		{"bound to a port", call{Dst: ap("203.0.113.5:80"), Bind: ap("0.0.0.0:33333")}},
		{"bound to an IPv6 address", call{Dst: ap("[2001:db8:5::1]:80"), Bind: ap("[fd77::2]:0")}},
		{"with fast open", call{Dst: ap("203.0.113.5:80"), FastOpen: true}},
		{"DNS over TCP", call{Dst: ap("203.0.113.5:53")}},
		{"DNS over TCP to Docker's resolver", call{Dst: ap("127.0.0.11:53")}},
		{"port of the agent itself", call{Dst: ap("203.0.113.5:15001")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := l.in(t)
			r := l.do(tt.call)[0]
			l.wantTaken(r, tt.call.Dst)
			l.wantPeer(r, tt.call.Dst)
		})
	}
}

// in is the lab with failures going to a subtest.
func (l *lab) in(t *testing.T) *lab {
	return &lab{t: t, app: l.app, agent: l.agent, cookie: l.cookie, session: l.session, web: l.web, webID: l.webID, r: l.r}
}

func TestMPTCPIsLedToTheAgent(t *testing.T) {
	l := newLab(t)
	r := l.do(call{Dst: ap("203.0.113.5:443"), Proto: unix.IPPROTO_MPTCP})[0]
	if strings.HasPrefix(r.Err, "socket:") {
		t.Skip(r.Err)
	}
	l.wantTaken(r, ap("203.0.113.5:443"))
}

func TestAProcessDeepInTheServiceIsKnown(t *testing.T) {
	l := newLab(t)
	deep := l.web + "/container/init.scope"
	id, err := MakeCgroup(deep)
	if err != nil {
		t.Fatal(err)
	}
	r := l.doIn(deep, call{Dst: ap("203.0.113.5:443")})[0]
	var got taken
	if err := json.Unmarshal([]byte(r.Reply), &got); err != nil {
		t.Fatalf("%+v", r)
	}
	if got.Origin.CgroupID != l.webID || got.Origin.TaskCgroupID != id {
		t.Errorf("got %+v, want service %d and cgroup %d", got, l.webID, id)
	}
}

func TestConnectsAreSpreadOverThePorts(t *testing.T) {
	l := newLab(t)
	cmd := l.command(l.web, self(t))
	cmd.Env = helperEnviron("many", "N=1000")
	l.start(cmd)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	total := 0
	for _, port := range tcpPorts {
		total += l.ports[port]
		if l.ports[port] < 200 {
			t.Errorf("port %d took %d of 1000 connections", port, l.ports[port])
		}
	}
	if total != 1000 {
		t.Errorf("%d connections", total)
	}
}

func TestExcludedDestinationsAreLeftAlone(t *testing.T) {
	l := newLab(t)
	to4, to6 := netip.AddrPortFrom(outside4, direct), netip.AddrPortFrom(outside6, direct)
	mapped := netip.AddrPortFrom(netip.AddrFrom16(outside4.As16()), direct)
	prefix := netip.MustParsePrefix
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(l.r.Exclude(prefix("198.51.0.0/16")))
	must(l.r.Exclude(prefix("2001:db8::/32")))
	rs := l.do(call{Dst: to4}, call{Dst: to6}, call{Dst: mapped}, call{Dst: ap("203.0.113.5:443")})
	for i, peer := range []netip.AddrPort{to4, to6, mapped} {
		l.wantDirect(rs[i])
		l.wantPeer(rs[i], peer)
	}
	l.wantTaken(rs[3], ap("203.0.113.5:443"))

	must(l.r.Include(prefix("198.51.100.0/24")))
	must(l.r.Include(prefix("2001:db8::9/128")))
	rs = l.do(call{Dst: to4}, call{Dst: to6}, call{Dst: mapped})
	l.wantTaken(rs[0], to4)
	l.wantTaken(rs[1], to6)
	l.wantTaken(rs[2], mapped)

	must(l.r.Forget(prefix("198.51.100.0/24")))
	must(l.r.Forget(prefix("192.0.2.0/24")))
	l.wantDirect(l.do(call{Dst: to4})[0])
	must(l.r.Forget(prefix("::ffff:198.51.0.0/112")))
	l.wantTaken(l.do(call{Dst: to4})[0], to4)

	if err := l.r.Include(prefix("127.0.0.5/32")); err == nil {
		t.Error("loopback could be included")
	}
}

func TestLoopbackIsLeftAlone(t *testing.T) {
	l := newLab(t, isolated)
	inNetns(t, l.app, func() {
		l.listen(t, "tcp", ":80", func(c net.Conn) { fmt.Fprint(c, "direct") })
		l.listen(t, "tcp", "127.0.0.1:53", func(c net.Conn) { fmt.Fprint(c, "direct") })
	})
	for _, dst := range []string{"127.0.0.1:80", "127.0.0.11:80", "0.0.0.0:80", "[::1]:80", "[::]:80", "[::ffff:127.0.0.1]:80", "127.0.0.1:53"} {
		l.wantDirect(l.do(call{Dst: ap(dst)})[0])
	}
}

func TestBypassLetsConnectsGoDirectly(t *testing.T) {
	l := newLab(t)
	dst := netip.AddrPortFrom(outside4, direct)
	l.wantTaken(l.do(call{Dst: dst})[0], dst)
	if err := l.r.Bypass(true); err != nil {
		t.Fatal(err)
	}
	l.wantDirect(l.do(call{Dst: dst})[0])
	if err := l.r.Bypass(false); err != nil {
		t.Fatal(err)
	}
	l.wantTaken(l.do(call{Dst: dst})[0], dst)
}

func TestAnIsolatedSessionCantBeBypassed(t *testing.T) {
	l := newLab(t, isolated)
	if err := l.r.Bypass(true); !errors.Is(err, ErrIsolated) {
		t.Errorf("Bypass: %v, want %v", err, ErrIsolated)
	}
	dst := netip.AddrPortFrom(outside4, direct)
	l.wantTaken(l.do(call{Dst: dst})[0], dst)
}

func TestAnUnknownServiceGoesDirectlyInRecord(t *testing.T) {
	l := newLab(t)
	rs := l.doIn(l.session, call{Dst: netip.AddrPortFrom(outside4, direct)}, call{Dst: netip.AddrPortFrom(outside6, direct)})
	l.wantDirect(rs[0])
	l.wantDirect(rs[1])

	if err := l.r.RemoveService(l.webID); err != nil {
		t.Fatal(err)
	}
	l.wantDirect(l.do(call{Dst: netip.AddrPortFrom(outside4, direct)})[0])
}

func TestAnUnknownServiceIsRefusedWhenIsolated(t *testing.T) {
	l := newLab(t, isolated)
	rs := l.doIn(l.session,
		call{Dst: netip.AddrPortFrom(outside4, direct)},
		call{Dst: netip.AddrPortFrom(outside6, direct)},
		call{Dst: netip.AddrPortFrom(outside4, direct), UDP: true, Unconnected: true})
	l.wantErr(rs[0], "connect: "+refused())
	l.wantErr(rs[1], "connect: "+refused())
	l.wantErr(rs[2], "sendto: "+refused())
}

// refused is the error of a refused call: see have_set_retval in redirect.bpf.c.
func refused() string {
	if haveSetRetval() {
		return unix.ECONNREFUSED.Error()
	}
	return unix.EPERM.Error()
}

func unreachable() string {
	if haveSetRetval() {
		return unix.ENETUNREACH.Error()
	}
	return unix.EPERM.Error()
}

func TestIPv6WithoutAnIPv6AddressOfTheAgent(t *testing.T) {
	to6 := netip.AddrPortFrom(outside6, direct)
	t.Run("goes to the mapped IPv4 address", func(t *testing.T) {
		l := newLab(t)
		l.setService(Service{CgroupID: l.webID, AgentIPv4: agent4})
		for _, bind := range []string{"", "[::]:34567", "[::ffff:10.77.0.2]:0"} {
			c := call{Dst: to6}
			if bind != "" {
				c.Bind = ap(bind)
			}
			r := l.do(c)[0]
			l.wantTaken(r, to6)
			l.wantPeer(r, to6)
		}
	})
	t.Run("goes directly in record from a socket that can't speak IPv4", func(t *testing.T) {
		l := newLab(t)
		l.setService(Service{CgroupID: l.webID, AgentIPv4: agent4})
		rs := l.do(call{Dst: to6, V6Only: true}, call{Dst: to6, Bind: ap("[fd77::2]:0")})
		l.wantDirect(rs[0])
		l.wantDirect(rs[1])
	})
	t.Run("is unreachable in an isolated session from a socket that can't speak IPv4", func(t *testing.T) {
		l := newLab(t, isolated)
		l.setService(Service{CgroupID: l.webID, AgentIPv4: agent4})
		rs := l.do(call{Dst: to6}, call{Dst: to6, V6Only: true})
		l.wantTaken(rs[0], to6)
		l.wantErr(rs[1], "connect: "+unix.ENETUNREACH.Error())
	})
	t.Run("is left alone in record where the service has no IPv6", func(t *testing.T) {
		l := newLab(t)
		l.setService(Service{CgroupID: l.webID, AgentIPv4: agent4, IPv4Only: true})
		l.wantDirect(l.do(call{Dst: to6})[0])
		l.ip(l.app, "-6 route del default")
		rs := l.do(call{Dst: to6}, call{Dst: netip.AddrPortFrom(outside6, 443), UDP: true})
		l.wantErr(rs[0], "connect: "+unix.ENETUNREACH.Error())
		l.wantErr(rs[1], "connect: "+unix.ENETUNREACH.Error())
	})
	t.Run("is unreachable in an isolated session where the service has no IPv6", func(t *testing.T) {
		l := newLab(t, isolated)
		l.setService(Service{CgroupID: l.webID, AgentIPv4: agent4, IPv4Only: true})
		rs := l.do(call{Dst: to6}, call{Dst: to6, UDP: true}, call{Dst: netip.AddrPortFrom(outside4, direct)})
		l.wantErr(rs[0], "connect: "+unreachable())
		l.wantErr(rs[1], "connect: "+unreachable())
		l.wantTaken(rs[2], netip.AddrPortFrom(outside4, direct))
	})
}

func TestIPv4WithoutAnIPv4AddressOfTheAgent(t *testing.T) {
	to4 := netip.AddrPortFrom(outside4, direct)
	mapped := netip.AddrPortFrom(netip.AddrFrom16(outside4.As16()), direct)
	l := newLab(t)
	if err := l.r.RemoveService(l.webID); err != nil {
		t.Fatal(err)
	}
	l.setService(Service{CgroupID: l.webID, AgentIPv6: agent6})
	rs := l.do(call{Dst: to4}, call{Dst: mapped})
	l.wantDirect(rs[0])
	l.wantTaken(rs[1], mapped)
	l.wantPeer(rs[1], mapped)

	l = newLab(t, isolated)
	l.setService(Service{CgroupID: l.webID, AgentIPv6: agent6})
	l.wantErr(l.do(call{Dst: to4})[0], "connect: "+unreachable())
}

func TestADeadAgentMeansRefused(t *testing.T) {
	l := newLab(t, func(c *Config) { c.TCPPorts = []uint16{15099} })
	l.wantErr(l.do(call{Dst: netip.AddrPortFrom(outside4, direct)})[0], "connect: connection refused")
}

func TestRealClientsReachTheAgent(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		name string
		args []string
		dst  netip.AddrPort
	}{
		{"curl over IPv4", []string{"curl", "-s", "--http0.9", "--max-time", "5", "http://203.0.113.8:8080/"}, ap("203.0.113.8:8080")},
		{"curl over IPv6", []string{"curl", "-s", "--http0.9", "--max-time", "5", "http://[2001:db8:5::8]:8080/"}, ap("[2001:db8:5::8]:8080")},
		{"python over IPv4", []string{"python3", "-c", pythonConnect, "203.0.113.8", "8080"}, ap("203.0.113.8:8080")},
		{"python over IPv6", []string{"python3", "-c", pythonConnect, "2001:db8:5::8", "8080"}, ap("[2001:db8:5::8]:8080")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.args[0]); err != nil {
				t.Skip(err)
			}
			out := l.in(t).output(tt.args[0], tt.args[1:]...)
			var got taken
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if !got.Known || got.Origin.Dst != tt.dst || got.Origin.CgroupID != l.webID {
				t.Errorf("the agent took %+v, want %v", got, tt.dst)
			}
		})
	}
}

const pythonConnect = `
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
s = socket.create_connection((host, port), 5)
assert s.getpeername()[:2] == (host, port), s.getpeername()
print(s.makefile().read())
`
