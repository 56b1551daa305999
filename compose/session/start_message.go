package session

import (
	"cmp"
	"context"
	"maps"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/wiretape/wiretape/compose/agent"
)

// startMessage is all that the agent needs to know, but for its certificate.
func (s *startAgent) startMessage(ctx context.Context, e *Env) (*agent.Start, error) {
	self, err := e.Engine.ContainerInspect(ctx, e.State.agent())
	if err != nil {
		return nil, EngineError(err)
	}
	start := &agent.Start{
		Session: e.State.Session, Mode: e.Options.Mode, Cgroup: e.State.cgroup(),
		Hosts: e.Options.Hosts, UpstreamCA: string(e.Options.UpstreamCA), KeepEncoding: e.Options.KeepEncoding, Redact: e.Options.Redact, Correlate: e.Options.Correlate,
		Speed: e.Options.Speed, Reuse: e.Options.Reuse, OnMiss: e.Options.OnMiss, Noise: e.Options.Noise, LLMFormats: e.Options.LLMFormats, MatchHeaders: e.Options.MatchHeaders, Debug: e.Options.Debug,
	}
	if e.Options.Mode == agent.Replay && e.Options.Tape != "" {
		start.Tape = agent.TapeDir
		if at := e.tapeVolume(); at != nil {
			start.Tape = path.Join(agent.TapeDir, at.Folder)
		}
	}
	if s.of.mounted != nil {
		start.Recording = s.of.mounted.recording()
		start.Recording.Manifest = s.of.manifest()
	}
	roots := s.roots.Result()
	for _, t := range s.wiring.Services {
		svc := agent.Service{Name: t.Name, Cgroup: t.Cgroup, Roots: string(roots[t.Name])}
		for _, name := range t.Networks {
			if n := self.NetworkSettings.Networks[name]; n != nil {
				svc.AgentIPv4 = cmp.Or(svc.AgentIPv4, n.IPAddress)
				svc.AgentIPv6 = cmp.Or(svc.AgentIPv6, n.GlobalIPv6Address)
			}
		}
		start.Services = append(start.Services, svc)
	}
	for _, i := range s.wiring.Ports {
		at := publishedAt(self.NetworkSettings.Ports[nat.Port(strconv.Itoa(i.Listen)+"/tcp")])
		start.Ingress = append(start.Ingress, agent.Ingress{Listen: i.Listen, Service: i.Service, Port: i.Port, Published: at})
	}
	start.Names = s.internalNames()
	return start, s.internalAddresses(ctx, e, start)
}

// publishedAt is where a client on this host reaches a port.
func publishedAt(bindings []nat.PortBinding) string {
	if len(bindings) == 0 {
		return ""
	}
	host := bindings[0].HostIP
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, bindings[0].HostPort)
}

// internalAddresses fills in the networks of the project's own, but for their
// gateways: those are the host, which is outside.
func (s *startAgent) internalAddresses(ctx context.Context, e *Env, start *agent.Start) error {
	names := append([]string{e.State.Network(), e.State.SideNetwork()}, s.wiring.Inside...)
	for _, name := range names {
		n, err := e.Engine.NetworkInspect(ctx, name, network.InspectOptions{})
		if err != nil {
			if IgnoreMissing(err) == nil {
				continue // no service uses it, so compose did not make it
			}
			return EngineError(err)
		}
		for _, pool := range n.IPAM.Config {
			start.Exclude = append(start.Exclude, pool.Subnet)
			start.Include = append(start.Include, gatewayOf(pool)...)
		}
	}
	return nil
}

// gatewayOf is the host's address on a network. An engine that chose it itself does
// not tell: it takes the first of the range that addresses are given from.
func gatewayOf(pool network.IPAMConfig) []string {
	if gateway, _, _ := strings.Cut(pool.Gateway, "/"); gateway != "" {
		return []string{gateway}
	}
	subnet, err := netip.ParsePrefix(pool.Subnet)
	if err != nil {
		return nil
	}
	first := subnet.Masked().Addr()
	if r, err := netip.ParsePrefix(pool.IPRange); err == nil {
		first = r.Masked().Addr()
	}
	if first == subnet.Masked().Addr() {
		first = first.Next() // that is the subnet's own name
	}
	return []string{first.String()}
}

// internalNames lists what the project's own networks answer to a DNS query.
func (s *startAgent) internalNames() []string {
	names := make(map[string]bool)
	add := func(s string) {
		if s != "" {
			names[strings.ToLower(strings.TrimSuffix(s, "."))] = true
		}
	}
	for _, name := range s.wiring.Names {
		add(name)
	}
	for _, c := range s.created.Result().Containers {
		add(c.Name)
		add(c.ID[:min(len(c.ID), 12)])
	}
	return slices.Sorted(maps.Keys(names))
}
