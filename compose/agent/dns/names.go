package dns

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// madeUp is the range that addresses for names without a usable one are taken
// from: RFC 2544 keeps it for benchmarks, so that no real host is in it.
var madeUp = netip.MustParsePrefix("198.18.0.0/15")

// madeUp6 is the same for IPv6 (RFC 5180 section 8).
var madeUp6 = netip.MustParsePrefix("2001:2::/48")

// Names knows which name the app asked for to get an address, and, in
// replay, which addresses a name has.
type Names struct {
	internal map[string]bool // names that the compose network answers itself

	mu       sync.Mutex
	ownAddrs map[netip.Addr]bool // what internal names led to
	byAddr   map[netip.Addr]string
	made     map[nameKey]netip.Addr // addresses from the made-up ranges
	next     uint32
	recorded map[nameKey]tape.Name
	exclude  []netip.Prefix // addresses that would be taken for the project's own
}

type nameKey struct{ name, typ string }

func NewNames(internal []string, recorded []tape.Name, exclude []netip.Prefix) *Names {
	t := &Names{
		internal: make(map[string]bool),
		ownAddrs: make(map[netip.Addr]bool),
		byAddr:   make(map[netip.Addr]string),
		made:     make(map[nameKey]netip.Addr),
		recorded: make(map[nameKey]tape.Name),
		exclude:  exclude,
	}
	for _, n := range internal {
		t.internal[canonicalName(n)] = true
	}
	for _, n := range recorded {
		t.recorded[nameKey{canonicalName(n.Name), n.Type}] = n
	}
	return t
}

func canonicalName(s string) string {
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

func (t *Names) isInternal(name string) bool { return t.internal[canonicalName(name)] }

// learn remembers that name led to addr.
func (t *Names) learn(name string, addr netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	addr, name = addr.Unmap(), canonicalName(name)
	t.byAddr[addr] = name
	if t.internal[name] {
		t.ownAddrs[addr] = true
	} else {
		delete(t.ownAddrs, addr)
	}
}

// IsInternalAddr reports whether an internal name led to addr, which may be on
// a network that others are on as well.
func (t *Names) IsInternalAddr(addr netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ownAddrs[addr.Unmap()]
}

// NameOf returns the name that was last asked for to get addr, or "".
func (t *Names) NameOf(addr netip.Addr) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byAddr[addr.Unmap()]
}

func (t *Names) AddExclude(p netip.Prefix) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.exclude = append(t.exclude, p)
}

// usable reports whether a recorded address leads to the agent today; networks
// get new subnets in every session, and loopback never leaves the app.
func (t *Names) usable(addr netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	addr = addr.Unmap()
	if addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast() {
		return false
	}
	return !slices.ContainsFunc(t.exclude, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// madeUpFor returns name's IPv4 address from the made-up range, the same each time.
func (t *Names) madeUpFor(name string) netip.Addr {
	return t.makeUp(nameKey{canonicalName(name), "A"})
}

// madeUpFor6 is madeUpFor for IPv6.
func (t *Names) madeUpFor6(name string) netip.Addr {
	return t.makeUp(nameKey{canonicalName(name), "AAAA"})
}

// IsMadeUp reports whether addr leads nowhere.
func IsMadeUp(addr netip.Addr) bool {
	addr = addr.Unmap()
	return madeUp.Contains(addr) || madeUp6.Contains(addr)
}

func (t *Names) makeUp(key nameKey) netip.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a, ok := t.made[key]; ok {
		return a
	}
	size := uint32(1) << (32 - madeUp.Bits())
	t.next = t.next%(size-2) + 1
	var a netip.Addr
	if key.typ == "A" {
		b := madeUp.Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+t.next)
		a = netip.AddrFrom4(b)
	} else {
		b := madeUp6.Addr().As16()
		binary.BigEndian.PutUint32(b[12:], t.next)
		a = netip.AddrFrom16(b)
	}
	t.made[key] = a
	t.byAddr[a] = key.name
	return a
}
