package bpf

import (
	"net/netip"
	"testing"
	"testing/quick"
)

func TestAddressesComeBackFromTheProgramsForm(t *testing.T) {
	roundTrip := func(b [16]byte, v4 [4]byte, port uint16) bool {
		six := netip.AddrPortFrom(netip.AddrFrom16(b).Unmap(), port)
		four := netip.AddrPortFrom(netip.AddrFrom4(v4), port)
		mapped := netip.AddrPortFrom(netip.AddrFrom16(four.Addr().As16()), port)
		return addrPort(endpoint(six)) == six && addrPort(endpoint(four)) == four && endpoint(mapped) == endpoint(four)
	}
	if err := quick.Check(roundTrip, nil); err != nil {
		t.Error(err)
	}
}

func TestMappedPrefixesAreIPv4(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"::ffff:10.0.0.0/104", "10.0.0.0/8"},
		{"::ffff:0:0/96", "0.0.0.0/0"},
		{"::/64", "::/64"},
		{"10.0.0.0/8", "10.0.0.0/8"},
	} {
		if got := unmapPrefix(netip.MustParsePrefix(tt.in)); got.String() != tt.want {
			t.Errorf("%s: %v, want %s", tt.in, got, tt.want)
		}
	}
}

func TestConfigsThatCantWorkAreRefused(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no port":                  {},
		"port 0":                   {TCPPorts: []uint16{15001, 0}},
		"too many ports":           {TCPPorts: make([]uint16, MaxTCPPorts+1)},
		"isolated, no closed port": {TCPPorts: []uint16{15001}, Isolate: true},
	} {
		if r, err := Load(cfg); err == nil {
			r.Close()
			t.Errorf("%s: loaded", name)
		}
	}
}

func TestServicesThatCantBeReachedAreRefused(t *testing.T) {
	var m Maps
	addr := netip.MustParseAddr
	for name, s := range map[string]Service{
		"no address":          {CgroupID: 1},
		"IPv6 as IPv4":        {AgentIPv4: addr("fd00::1")},
		"IPv4 as IPv6":        {AgentIPv6: addr("10.0.0.1")},
		"mapped as IPv6":      {AgentIPv6: addr("::ffff:10.0.0.1")},
		"unspecified":         {AgentIPv4: addr("0.0.0.0")},
		"IPv6 with its zone":  {AgentIPv6: addr("fe80::1%eth0")},
		"unspecified as IPv6": {AgentIPv6: addr("::")},
	} {
		if err := m.SetService(s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
