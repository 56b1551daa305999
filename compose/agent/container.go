package agent

import "net/netip"

// What the agent's container has.
const (
	// RunDir is a tmpfs in the agent's container, whose root is read-only.
	RunDir = "/run/wiretape-agent"
	// CgroupDir is where the guard mounts the host's cgroup2 hierarchy.
	CgroupDir = RunDir + "/cgroup2"

	// TapeDir is where its container has the tape to replay, or the volume that the tape is in.
	TapeDir = "/tape"
	// UnsavedDir is a volume of the agent's own in its container.
	UnsavedDir = "/unsaved"
	// UnsavedFile has the records that the CLI did not say it has written, one after
	// the other as the agent sent them, if it went away while it recorded.
	UnsavedFile = "records"
	// UnsavedPart is that file while it is written.
	UnsavedPart = UnsavedFile + ".part"

	// DNSPort is the UDP port that queries are led to.
	DNSPort = 19053
	// ClosedPort is where QUIC is led: nothing in the agent's container listens on it.
	ClosedPort = 9
)

// TCPPorts are where connections are led to. They are several because about 28,000
// connections fit between one source address and one port.
func TCPPorts() []uint16 { return []uint16{19001, 19002, 19003, 19004} }

// ParsePrefix reads a CIDR, or an address as the CIDR that has nothing else.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}
