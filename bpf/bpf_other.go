//go:build !linux

package bpf

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
)

// ErrIsolated is returned by [Maps.Bypass] where nothing may leave.
var ErrIsolated = errors.New("an isolated session can't be bypassed")

func unsupported() error {
	return &Unsupported{
		Feature: "BPF on this system",
		Hint:    "the redirect runs in the engine's Linux, inside the agent container",
	}
}

// Maps is what the programs and the agent share. It exists on Linux only.
type Maps struct{}

// A Redirect holds the loaded programs. It exists on Linux only.
type Redirect struct{ Maps }

// Load returns an [*Unsupported], as everything here does on other systems.
func Load(Config) (*Redirect, error) { return nil, unsupported() }

// Attach links the programs to the cgroup.
func (*Redirect) Attach() error { return unsupported() }

// Detach takes the programs off the cgroup.
func (*Redirect) Detach() error { return unsupported() }

// Close frees what this process holds.
func (*Redirect) Close() error { return unsupported() }

// FromFiles makes Maps of what [Maps.Files] returned.
func FromFiles([]*os.File) (*Maps, error) { return nil, unsupported() }

// Files returns the maps as files.
func (*Maps) Files() ([]*os.File, error) { return nil, unsupported() }

// Close closes this process's handles.
func (*Maps) Close() error { return unsupported() }

// SetService sets where a service reaches the agent.
func (*Maps) SetService(Service) error { return unsupported() }

// RemoveService forgets a service.
func (*Maps) RemoveService(uint64) error { return unsupported() }

// Exclude leaves the destinations of a prefix alone.
func (*Maps) Exclude(netip.Prefix) error { return unsupported() }

// Borrow is Exclude for addresses that may be another's after the session.
func (*Maps) Borrow(netip.Prefix) error { return unsupported() }

// Include redirects the destinations of a prefix.
func (*Maps) Include(netip.Prefix) error { return unsupported() }

// Forget takes back an Exclude or Include.
func (*Maps) Forget(netip.Prefix) error { return unsupported() }

// Bypass lets new connects go directly.
func (*Maps) Bypass(bool) error { return unsupported() }

// Live says that this process is there for what is led to the agent.
func (*Maps) Live() (io.Closer, error) { return nil, unsupported() }

// Take returns where an accepted connection was going.
func (*Maps) Take(local, remote netip.AddrPort) (Origin, bool, error) {
	return Origin{}, false, unsupported()
}

// UDPOrigin returns what the last DNS query from a UDP port was sent to.
func (*Maps) UDPOrigin(cookie uint64, port uint16) (Origin, bool, error) {
	return Origin{}, false, unsupported()
}

// Probe loads and attaches every program.
func Probe(string) error { return unsupported() }

// FindCgroup2 returns where the cgroup2 tree is mounted.
func FindCgroup2() (string, error) { return "", unsupported() }

// MountCgroup2 mounts the cgroup2 tree.
func MountCgroup2(string) error { return unsupported() }

// MakeCgroup makes a cgroup2 folder.
func MakeCgroup(string) (uint64, error) { return 0, unsupported() }

// CgroupID returns the id of a cgroup.
func CgroupID(string) (uint64, error) { return 0, unsupported() }

// ProcessCgroup returns the path of a process in the cgroup2 tree.
func ProcessCgroup(int) (string, error) { return "", unsupported() }

// RemoveCgroups removes a cgroup and all below it.
func RemoveCgroups(context.Context, string, string) error { return unsupported() }
