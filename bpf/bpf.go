// Package bpf leads what the processes of one cgroup send to the outside to an
// agent, and remembers where it was going. It attaches to the cgroup that it is
// given and to nothing else. What it attaches is gone when the process that holds
// the [Redirect] ends, but in an isolated session: there it stays with the cgroup,
// refuses what it would lead to an agent that is gone, and lets no packet out.
//
// TCP goes to one of the agent's TCP ports, DNS over UDP to its DNS port, and
// UDP/443 to a port where nothing listens, so that QUIC falls back to TCP. The
// agent asks [Maps.Take] where an accepted connection was going, and
// [Maps.UDPOrigin] which resolver a DNS query was for. The app sees its real peer:
// getpeername and the source address of DNS answers are the original ones.
package bpf

import (
	"fmt"
	"net/netip"
)

// MaxTCPPorts is how many TCP ports of the agent connections can be spread over.
const MaxTCPPorts = 16

// A Config is what the programs are loaded with.
type Config struct {
	// Cgroup is the folder of the session's cgroup, in a cgroup2 mount.
	Cgroup string
	// TCPPorts are the ports that the agent accepts connections on. Each carries
	// about 28,000 connections at once from one source address.
	TCPPorts []uint16
	// DNSPort is where the agent answers DNS over UDP; 0 leaves it alone. DNS over
	// TCP goes to TCPPorts.
	DNSPort uint16
	// ClosedPort is a UDP port of the agent's address where nothing listens; 0
	// leaves UDP/443 alone.
	ClosedPort uint16
	// Isolate refuses what can't be led to the agent, and leads all other UDP to
	// ClosedPort: nothing leaves but what is excluded, and answers to what others
	// opened. That goes for every packet, also of raw sockets. Without it such
	// calls go on directly.
	Isolate bool
}

// A Service is a set of processes that reach the agent at the same addresses.
type Service struct {
	// CgroupID is the cgroup of the service: one between the session's and those
	// of the containers, or a container's own. See [CgroupID].
	CgroupID uint64
	// AgentIPv4 and AgentIPv6 are the agent's addresses on a network that it
	// shares with the service. One may be missing.
	AgentIPv4, AgentIPv6 netip.Addr
	// IPv4Only says that the service has no way to the outside over IPv6. Without
	// an AgentIPv6, its IPv6 connects then fail as they would without us, so that
	// programs that try several addresses go on to the next. Without IPv4Only they
	// are led to AgentIPv4 as ::ffff:a.b.c.d, as far as the socket can do that.
	IPv4Only bool
}

// An Origin is what is known of a redirected socket.
type Origin struct {
	// Dst is where the app wanted to go. An IPv4-mapped IPv6 address is given as
	// IPv4.
	Dst netip.AddrPort
	// PID is the process that connected, in the first pid namespace.
	PID uint32
	// CgroupID is the cgroup of the Service, TaskCgroupID that of the process
	// itself.
	CgroupID, TaskCgroupID uint64
	// NetnsCookie is the SO_NETNS_COOKIE of the socket's network namespace.
	NetnsCookie uint64
}

// Unsupported says what the environment lacks, and what to do about it.
type Unsupported struct {
	Feature string // what is missing
	Since   string // the Linux version that brought it; empty where that is not the reason
	Option  string // what the kernel was built without; empty where that is not the reason
	Kernel  string // the release of the kernel; may be empty
	Hint    string // what to do
	Cause   error  // what the kernel answered; may be nil
}

func (u *Unsupported) Error() string {
	msg := "no " + u.Feature
	switch {
	case u.Option != "":
		msg += " (needs " + u.Option + ", which this Linux " + u.Kernel + " was built without)"
	case u.Since != "" && u.Kernel != "":
		msg += " (needs Linux " + u.Since + ", and this is " + u.Kernel + ")"
	case u.Since != "":
		msg += " (needs Linux " + u.Since + ")"
	}
	if u.Cause != nil {
		msg += fmt.Sprintf(": %v", u.Cause)
	}
	return msg
}

func (u *Unsupported) Unwrap() error { return u.Cause }
