//go:build !linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// An NS is a network namespace. It exists on Linux only.
type NS struct{}

// Of returns an error that wraps [errors.ErrUnsupported], as everything here does on
// other systems.
func Of(int) (*NS, error) { return nil, unsupported("open network namespace") }

// Inode identifies the namespace.
func (*NS) Inode() uint64 { return 0 }

// Close releases the namespace.
func (*NS) Close() error { return unsupported("close network namespace") }

// Do runs f in the namespace.
func (*NS) Do(func() error) error { return unsupported("enter network namespace") }

// Cookie is the SO_NETNS_COOKIE of the namespace.
func (*NS) Cookie() (uint64, error) { return 0, unsupported("network namespace cookie") }

// Addrs returns the addresses of the namespace's interfaces.
func (*NS) Addrs() ([]netip.Addr, error) { return nil, unsupported("network namespace addresses") }

// DialUDP makes a connected UDP socket of the namespace.
func (*NS) DialUDP(local, remote netip.AddrPort) (*net.UDPConn, error) {
	return nil, unsupported("dial UDP")
}

// ListenUDP makes a UDP socket of the namespace.
func (*NS) ListenUDP(netip.AddrPort) (*net.UDPConn, error) { return nil, unsupported("listen UDP") }

// DialTCP connects a socket of the namespace.
func (*NS) DialTCP(context.Context, netip.AddrPort) (*net.TCPConn, error) {
	return nil, unsupported("dial TCP")
}

// A Finder finds network namespaces. It exists on Linux only.
type Finder struct{}

// NewFinder finds processes of cgroups.
func NewFinder(...string) *Finder { return new(Finder) }

// Close closes the namespaces that were found.
func (*Finder) Close() error { return nil }

// ByAddr finds a process whose namespace has the address.
func (*Finder) ByAddr(context.Context, netip.Addr) (Process, error) {
	return Process{}, unsupported("find network namespace")
}

// A Recent keeps network namespaces open. It exists on Linux only.
type Recent struct{}

// NewRecent keeps nothing.
func NewRecent(time.Duration) *Recent { return new(Recent) }

// Get finds nothing.
func (*Recent) Get(uint64) *NS { return nil }

// Keep keeps nothing.
func (*Recent) Keep(uint64, *NS) bool { return false }

// Close closes nothing.
func (*Recent) Close() error { return nil }

func unsupported(what string) error {
	return fmt.Errorf("%s: %w: network namespaces exist on Linux only", what, errors.ErrUnsupported)
}
