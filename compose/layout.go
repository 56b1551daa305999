package compose

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
)

// A layout is how the agent is wired to the services of a project.
type layout struct {
	targets  []target
	attach   []session.Network // networks that the agent joins
	ingress  []session.Port
	warnings []session.Warning
	// crowded are services all of whose networks have no address left for the
	// agent: they meet it on a network of the session's own.
	crowded []string
	// replaced are the keys of networks that a test has internal ones of its own in
	// the place of, and rewired the services that must be told of it.
	replaced map[string]bool
	rewired  []string
}

// A target is a service whose calls are caught.
type target struct {
	session.Service
	Parent string // cgroup_parent in the override
}

// firstIngress is the first port that the agent listens on for what comes in.
const firstIngress = 20000

// A netRef is a network that a service is on.
type netRef struct {
	name     string // the engine's
	external bool
	ipv6     bool
	priority int
	full     bool // no address is left for the agent
}

// newLayout decides what the agent needs. containerNets has the networks of containers
// outside the project whose network a service uses, by container.
func newLayout(p *Project, state session.State, opt *Options, before Snapshot, containerNets map[string][]string) (*layout, error) {
	names, err := p.targets(opt.Services)
	if err != nil {
		return nil, err
	}
	if opt.Mode == agent.Replay {
		// Nothing may reach the outside, whatever was recorded.
		names, _ = p.targets(nil)
	}
	l := &layout{}
	if opt.Isolates() && !opt.KeepNetworks {
		l.replaceNetworks(p, state)
	}
	refs := make(map[string][]netRef)
	for _, name := range names {
		s := p.Services[name]
		if s.Provider != nil {
			continue // not a container
		}
		nets := p.netsOf(s, state.Network(), containerNets, before, nil)
		if len(nets) == 0 {
			l.warn("", "service %s has no network: nothing of it is recorded or replayed", name)
			continue
		}
		if !slices.ContainsFunc(nets, func(n netRef) bool { return !n.full }) {
			if owner := p.networkOwner(s); !slices.Contains(l.crowded, owner) {
				l.crowded = append(l.crowded, owner)
			}
			nets = append([]netRef{{name: state.SideNetwork()}}, nets...)
		}
		refs[name] = nets
		l.targets = append(l.targets, l.target(s, nets, state, len(l.targets)))
	}
	l.attachTo(p, refs, state.Network())
	for _, t := range l.targets {
		l.takePorts(p.Services[t.Name], opt.Mode, before)
	}
	switch {
	case opt.Isolates():
		l.warnUnfenced(refs, state.Network())
	case opt.Mode == agent.Replay:
		l.warn("without --on-miss, nothing gets out", "the services can reach the outside: calls that the tape does not answer are made for real")
	}
	return l, nil
}

func (l *layout) warn(hint, format string, args ...any) {
	l.warnings = append(l.warnings, session.Warning{Text: fmt.Sprintf(format, args...), Hint: hint})
}

func (l *layout) target(s types.ServiceConfig, nets []netRef, state session.State, n int) target {
	t := target{Service: session.Service{Name: s.Name, Folder: fmt.Sprintf("s%d", n)}}
	t.Cgroup, t.Parent = state.ServiceCgroup(n)
	for _, ref := range nets {
		t.Networks = append(t.Networks, ref.name)
	}
	t.Trust = path.Join(trustMount(s), t.Folder)
	if s.CgroupParent != "" {
		l.warn("", "service %s leaves its cgroup_parent %s while the session runs: limits set there don't hold", s.Name, s.CgroupParent)
	}
	return t
}

// trustMount is where the trust volume is mounted: not below a volume or a
// folder of the user's, in which the mount point would stay behind.
func trustMount(s types.ServiceConfig) string {
	for _, candidate := range []string{"/run/wiretape", "/opt/wiretape", "/wiretape-trust"} {
		inside := func(v types.ServiceVolumeConfig) bool {
			dir := path.Clean(v.Target)
			return v.Type != types.VolumeTypeTmpfs && dir != "/" && (candidate == dir || strings.HasPrefix(candidate, dir+"/"))
		}
		if !slices.ContainsFunc(s.Volumes, inside) {
			return candidate
		}
	}
	return "/wiretape-trust"
}

// netsOf lists the networks of a service's containers: the project's own first.
// bridge is the agent's own network, which the host's processes reach.
func (p *Project) netsOf(s types.ServiceConfig, bridge string, containerNets map[string][]string, before Snapshot, seen []string) []netRef {
	mode := s.NetworkMode
	switch {
	case mode == "none":
		return nil
	case mode == "host":
		return []netRef{{name: bridge}}
	case mode == "bridge" || mode == "default" && len(s.Networks) == 0:
		return []netRef{{name: "bridge", external: true}}
	case strings.HasPrefix(mode, types.ServicePrefix):
		other := strings.TrimPrefix(mode, types.ServicePrefix)
		if slices.Contains(seen, other) {
			return nil // compose refuses the cycle
		}
		return p.netsOf(p.Services[other], bridge, containerNets, before, append(seen, s.Name))
	case strings.HasPrefix(mode, types.ContainerPrefix):
		var refs []netRef
		for _, name := range containerNets[strings.TrimPrefix(mode, types.ContainerPrefix)] {
			refs = append(refs, externalRef(name, bridge, 0)...)
		}
		return refs
	}
	var refs []netRef
	for _, key := range slices.Sorted(maps.Keys(s.Networks)) {
		n, priority := p.Networks[key], 0
		if own := s.Networks[key]; own != nil {
			priority = own.Priority
		}
		if n.External {
			refs = append(refs, externalRef(n.Name, bridge, priority)...)
			continue
		}
		refs = append(refs, netRef{name: n.Name, ipv6: hasIPv6(n), priority: priority, full: p.isFull(key, before)})
	}
	slices.SortStableFunc(refs, func(a, b netRef) int {
		return cmp.Or(boolCompare(a.external, b.external), cmp.Compare(b.priority, a.priority))
	})
	return refs
}

// externalRef is a network that the project does not make; the engine's own
// have special names.
func externalRef(name, bridge string, priority int) []netRef {
	switch name {
	case "none":
		return nil
	case "host":
		return []netRef{{name: bridge}}
	}
	return []netRef{{name: name, external: true, priority: priority}}
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func hasIPv6(n types.NetworkConfig) bool {
	if n.EnableIPv6 != nil {
		return *n.EnableIPv6
	}
	return slices.ContainsFunc(n.Ipam.Config, func(c *types.IPAMPool) bool { return strings.Contains(c.Subnet, ":") })
}

// attachTo chooses the fewest networks, the project's own before others, so
// that each target shares one with the agent, and one with IPv6 if it has one.
func (l *layout) attachTo(p *Project, refs map[string][]netRef, bridge string) {
	chosen := map[string]netRef{bridge: {name: bridge}}
	cover := func(want func(netRef) bool) {
		for _, t := range l.targets {
			var first *netRef
			for _, ref := range refs[t.Name] {
				if !want(ref) {
					continue
				}
				if _, ok := chosen[ref.name]; ok {
					first = nil
					break
				}
				if first == nil {
					first = &ref
				}
			}
			if first != nil {
				chosen[first.name] = *first
			}
		}
	}
	cover(func(r netRef) bool { return !r.full })
	cover(func(r netRef) bool { return r.ipv6 && !r.full })
	delete(chosen, bridge) // the agent is made on it
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		l.attach = append(l.attach, session.Network{Name: name, External: chosen[name].external, Taken: p.staticAddresses(name)})
	}
}

// staticAddresses lists the addresses that services ask for on a network.
func (p *Project) staticAddresses(network string) []string {
	var taken []string
	for _, s := range p.Services {
		for key, n := range s.Networks {
			if n == nil || p.Networks[key].Name != network {
				continue
			}
			taken = append(taken, nonEmpty(n.Ipv4Address)...)
			taken = append(taken, nonEmpty(n.Ipv6Address)...)
		}
	}
	slices.Sort(taken)
	return taken
}

// takePorts gives the agent the TCP ports that a service publishes.
func (l *layout) takePorts(s types.ServiceConfig, mode agent.Mode, before Snapshot) {
	if s.NetworkMode == "host" {
		return
	}
	for _, port := range s.Ports {
		if !isTCP(port) {
			if mode == agent.Replay {
				l.warn("", "port %d/%s of service %s is not published during a test: only TCP is", port.Target, port.Protocol, s.Name)
			}
			continue
		}
		for range l.copies(s, port, before) {
			l.ingress = append(l.ingress, session.Port{
				Listen: firstIngress + len(l.ingress), Service: s.Name, Port: int(port.Target),
				HostIP: port.HostIP, Published: published(port),
			})
		}
	}
}

// copies is how many ports of the host lead to a port of a service: with a
// range, or the engine's choice, each replica has its own.
func (l *layout) copies(s types.ServiceConfig, port types.ServicePortConfig, before Snapshot) int {
	replicas := replicasOf(s, before)
	from, to, isRange := strings.Cut(published(port), "-")
	switch {
	case published(port) == "":
		return replicas
	case isRange:
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err1 == nil && err2 == nil {
			return min(replicas, last-first+1)
		}
	}
	return min(replicas, 1)
}

// replicasOf is how many containers a service gets: as many as it has now, if any.
func replicasOf(s types.ServiceConfig, before Snapshot) int {
	if n := before.scale(s.Name); n > 0 {
		return n
	}
	return s.GetScale()
}

func isTCP(port types.ServicePortConfig) bool { return port.Protocol == "" || port.Protocol == "tcp" }

// published is the host's port or range of ports; empty leaves it to the engine.
func published(port types.ServicePortConfig) string {
	if port.Published == "0" {
		return ""
	}
	return port.Published
}

// warnUnfenced names the networks on which a test's second fence is missing.
func (l *layout) warnUnfenced(refs map[string][]netRef, bridge string) {
	const hint = "the session's hooks still keep the services inside; use a network of the project's own to have both fences"
	users := make(map[string][]string)
	for _, t := range l.targets {
		for _, ref := range refs[t.Name] {
			if ref.external || ref.name == bridge {
				users[ref.name] = append(users[ref.name], t.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(users)) {
		services := strings.Join(users[name], ", ")
		if name == bridge {
			l.warn(hint, "the host's network can't be closed off for the test; it is used by %s", services)
			continue
		}
		l.warn(hint, "network %s is not the project's own and can't be closed off for the test; it is used by %s", name, services)
	}
}
