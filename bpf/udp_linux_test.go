package bpf

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDNSOverUDPIsLedToTheAgent(t *testing.T) {
	l := newLab(t, isolated)
	if err := l.r.Exclude(netip.MustParsePrefix("10.77.0.77/32")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		call call
	}{
		{"IPv4", call{Dst: ap("192.0.2.53:53")}},
		{"Docker's resolver", call{Dst: ap("127.0.0.11:53")}},
		{"an excluded destination", call{Dst: ap("10.77.0.77:53")}},
		{"IPv6", call{Dst: ap("[2001:db8:53::1]:53")}},
		{"IPv6 only", call{Dst: ap("[2001:db8:53::1]:53"), V6Only: true}},
		{"IPv4-mapped IPv6", call{Dst: ap("[::ffff:192.0.2.53]:53")}},
		{"Docker's resolver, mapped", call{Dst: ap("[::ffff:127.0.0.11]:53")}},
		{"an IPv6 socket given an IPv4 address", call{Dst: ap("192.0.2.53:53"), Family: unix.AF_INET6}},
		{"bound to a port", call{Dst: ap("192.0.2.53:53"), Bind: ap("0.0.0.0:45678")}},
		{"bound to an address", call{Dst: ap("192.0.2.53:53"), Bind: ap("10.77.0.2:0")}},
		{"bound to an IPv6 address", call{Dst: ap("[2001:db8:53::1]:53"), Bind: ap("[fd77::2]:0")}},
	} {
		for _, unconnected := range []bool{false, true} {
			name := tt.name + ", connected"
			if unconnected {
				name = tt.name + ", unconnected"
			}
			t.Run(name, func(t *testing.T) {
				l := l.in(t)
				c := tt.call
				c.UDP, c.Unconnected = true, unconnected
				r := l.do(c)[0]
				want := netip.AddrPortFrom(c.Dst.Addr().Unmap(), c.Dst.Port())
				if r.Err != "" || r.Reply != want.String() {
					t.Fatalf("got %+v, want an answer that names %v", r, want)
				}
				seen := c.Dst // an IPv6 socket sees IPv4 as mapped
				if c.Family == unix.AF_INET6 {
					seen = netip.AddrPortFrom(netip.AddrFrom16(c.Dst.Addr().As16()), c.Dst.Port())
				}
				if r.From != seen {
					t.Errorf("the answer came from %v, want %v", r.From, seen)
				}
				if !unconnected {
					l.wantPeer(r, seen)
				}
			})
		}
	}
}

func TestDNSOverIPv6WithoutAnIPv6AddressOfTheAgent(t *testing.T) {
	dst := ap("[2001:db8:53::1]:53")
	l := newLab(t, isolated)
	l.setService(Service{CgroupID: l.webID, AgentIPv4: agent4})
	rs := l.do(call{Dst: dst, UDP: true}, call{Dst: dst, UDP: true, Unconnected: true})
	if rs[0].Reply != dst.String() || rs[0].From != dst || rs[0].Peer != dst {
		t.Errorf("connected: %+v", rs[0])
	}
	l.wantErr(rs[1], "sendto: "+unreachable())
}

func TestASocketThatIsConnectedAgain(t *testing.T) {
	l := newLab(t)
	if err := l.r.Exclude(netip.PrefixFrom(outside4, 32)); err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(outside4, direct)
	rs := l.do(
		call{Dst: ap("192.0.2.53:53"), Then: to, UDP: true},
		call{Dst: to, Then: ap("192.0.2.53:53"), UDP: true},
		call{Dst: ap("192.0.2.53:53"), Then: ap("192.0.2.54:53"), UDP: true})
	l.wantDirect(rs[0])
	l.wantPeer(rs[0], to)
	for i, want := range []string{"192.0.2.53:53", "192.0.2.54:53"} {
		if r := rs[i+1]; r.Reply != want || r.Peer != ap(want) || r.From != ap(want) {
			t.Errorf("got %+v, want %s", r, want)
		}
	}
}

func TestQUICIsLedToAClosedPort(t *testing.T) {
	l := newLab(t)
	for _, dst := range []netip.AddrPort{ap("203.0.113.5:443"), ap("[2001:db8:5::1]:443"), ap("[::ffff:203.0.113.5]:443")} {
		rs := l.do(call{Dst: dst, UDP: true}, call{Dst: dst, UDP: true, Unconnected: true})
		l.wantErr(rs[0], "recv: "+unix.ECONNREFUSED.Error())
		l.wantPeer(rs[0], dst)
		l.wantErr(rs[1], "recv: "+unix.EAGAIN.Error())
	}
	// No IPv6 address of the agent's: the connected go to the mapped one, all else
	// to the app's own loopback.
	l.setService(Service{CgroupID: l.webID, AgentIPv4: agent4})
	dst := ap("[2001:db8:5::1]:443")
	rs := l.do(call{Dst: dst, UDP: true}, call{Dst: dst, UDP: true, V6Only: true}, call{Dst: dst, UDP: true, Unconnected: true})
	l.wantErr(rs[0], "recv: "+unix.ECONNREFUSED.Error())
	l.wantErr(rs[1], "recv: "+unix.ECONNREFUSED.Error())
	l.wantErr(rs[2], "recv: "+unix.EAGAIN.Error())
	l.wantPeer(rs[0], dst)
	l.wantPeer(rs[1], dst)
}

func TestOtherUDPGoesDirectlyUnlessIsolated(t *testing.T) {
	to4, to6 := netip.AddrPortFrom(outside4, direct), netip.AddrPortFrom(outside6, direct)
	calls := []call{
		{Dst: to4, UDP: true}, {Dst: to4, UDP: true, Unconnected: true},
		{Dst: to6, UDP: true}, {Dst: to6, UDP: true, Unconnected: true},
	}
	l := newLab(t)
	for i, r := range l.do(calls...) {
		l.wantDirect(r)
		if r.From != calls[i].Dst {
			t.Errorf("answer from %v", r.From)
		}
	}
	l = newLab(t, isolated)
	for i, r := range l.do(calls...) {
		l.wantErr(r, "recv: "+[]string{unix.ECONNREFUSED.Error(), unix.EAGAIN.Error()}[i%2])
	}
	if err := l.r.Exclude(netip.PrefixFrom(outside4, 32)); err != nil {
		t.Fatal(err)
	}
	for _, r := range l.do(calls[:2]...) {
		l.wantDirect(r)
	}
}

// One unconnected socket can ask a resolver and talk to others meanwhile.
func TestDNSAnswersKeepTheirSourceBesideOtherTraffic(t *testing.T) {
	l := newLab(t)
	r := l.do(call{Dst: ap("192.0.2.53:53"), Then: ap("203.0.113.5:443"), UDP: true, Unconnected: true})[0]
	if r.From != ap("192.0.2.53:53") {
		t.Errorf("got %+v", r)
	}
}

func TestRealResolversAreAnswered(t *testing.T) {
	l := newLab(t)
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.11\noptions ndots:0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(t.TempDir(), "nsswitch.conf")
	if err := os.WriteFile(hosts, []byte("hosts: dns\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// A mount namespace of its own keeps the files from all others.
	const script = `mount --bind "$1" /etc/resolv.conf && if [ -e /etc/nsswitch.conf ]; then mount --bind "$2" /etc/nsswitch.conf; fi && shift 2 && exec "$@"`
	const resolve = `
import socket
for info in socket.getaddrinfo("api.example.com", 443, proto=socket.IPPROTO_TCP): print(info[4][0])`
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"glibc, IPv4", dnsAnswer4.String(), []string{"getent", "ahostsv4", "api.example.com"}},
		{"glibc, IPv6", dnsAnswer6.String(), []string{"getent", "ahostsv6", "api.example.com"}},
		{"python", dnsAnswer4.String(), []string{"python3", "-c", resolve}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.args[0]); err != nil {
				t.Skip(err)
			}
			l.resolversAsked()
			out := l.in(t).output("unshare", slices.Concat([]string{"-m", "sh", "-c", script, "sh", conf, hosts}, tt.args)...)
			if !strings.Contains(out, tt.want) {
				t.Errorf("got %q, want %s", out, tt.want)
			}
			asked := l.resolversAsked()
			if len(asked) == 0 {
				t.Error("the agent was not asked")
			}
			for _, a := range asked {
				if a != ap("127.0.0.11:53") {
					t.Errorf("the app asked %v", a)
				}
			}
		})
	}
}
