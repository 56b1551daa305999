package dns

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
)

func TestMadeUpAddressesAreStableAndInTheirRange(t *testing.T) {
	n := NewNames(nil, nil, nil)
	first := map[netip.Addr]string{}
	for round := range 2 {
		for i := range 1000 {
			name := fmt.Sprintf("host%d.example.com", i)
			for _, c := range []struct {
				addr netip.Addr
				in   netip.Prefix
			}{{n.madeUpFor(name), madeUp}, {n.madeUpFor6(name + "."), madeUp6}} {
				if !c.in.Contains(c.addr) || c.addr == c.in.Addr() {
					t.Fatalf("%s is not in %s", c.addr, c.in)
				}
				if got, ok := first[c.addr]; round == 0 && ok || round == 1 && got != name {
					t.Fatalf("%s is of %q and of %q", c.addr, got, name)
				}
				first[c.addr] = name
				if n.NameOf(c.addr) != name {
					t.Fatalf("%s was looked up as %q", c.addr, n.NameOf(c.addr))
				}
			}
		}
	}
}

func TestMadeUpAddressesStayInTheirRangeWhenItIsUsedUp(t *testing.T) {
	n := NewNames(nil, nil, nil)
	n.next = 1<<17 - 4
	for i := range 6 {
		if a := n.madeUpFor(fmt.Sprint(i)); !madeUp.Contains(a) || a == netip.MustParseAddr("198.19.255.255") || a == madeUp.Addr() {
			t.Errorf("%s was made up", a)
		}
	}
}

func TestWhichRecordedAddressesAreUsable(t *testing.T) {
	n := NewNames(nil, nil, []netip.Prefix{netip.MustParsePrefix("172.18.0.0/16")})
	var wg sync.WaitGroup
	wg.Go(func() { n.AddExclude(netip.MustParsePrefix("172.19.0.0/16")) }) // while the app asks
	n.usable(netip.MustParseAddr("172.19.0.1"))
	wg.Wait()
	for addr, want := range map[string]bool{
		"203.0.113.1": true, "10.1.2.3": true, "2001:db8::1": true, "172.18.3.4": false, "172.19.3.4": false,
		"::ffff:172.18.3.4": false, "127.0.0.1": false, "::1": false, "0.0.0.0": false, "169.254.1.1": false, "fe80::1": false, "224.0.0.1": false,
	} {
		if n.usable(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s is usable: %v, want %v", addr, !want, want)
		}
	}
}

func TestNamesAreComparedAsDNSDoes(t *testing.T) {
	n := NewNames([]string{"DB.", "cache"}, nil, nil)
	for name, want := range map[string]bool{"db": true, "Db.": true, "cache.": true, "db.example.com": false, "": false} {
		if n.isInternal(name) != want {
			t.Errorf("%q is internal: %v, want %v", name, !want, want)
		}
	}
}

func TestMadeUpAddressesAreKnown(t *testing.T) {
	table := NewNames(nil, nil, nil)
	if !IsMadeUp(table.madeUpFor("a.example")) || !IsMadeUp(table.madeUpFor6("a.example")) || IsMadeUp(asker.Addr()) {
		t.Error("made-up addresses are taken for others")
	}
}
