package compose

import (
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/wiretape/wiretape/compose/session"
	"go.yaml.in/yaml/v3"
)

// bridgeKey is what the override calls the network that a test has in the place of
// the engine's default bridge.
const bridgeKey = "wiretape-bridge"

// replaceNetworks gives a project networks of the session's own in the place of
// those that it does not make, which can't be closed off: with the same keys, so
// that services keep their aliases there. Fixed addresses can't be kept, since an
// engine gives no subnet to two networks.
func (l *layout) replaceNetworks(p *Project, state session.State) {
	l.replaced = make(map[string]bool)
	networks, services := maps.Clone(p.Networks), maps.Clone(p.Services)
	if networks == nil {
		networks = make(types.Networks)
	}
	var names []string
	replace := func(key, name string) {
		if l.replaced[key] {
			return
		}
		l.replaced[key] = true
		names = append(names, name)
		networks[key] = types.NetworkConfig{Name: state.Network() + "-" + key, Internal: true}
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		s := services[name]
		if s.NetworkMode == "bridge" || s.NetworkMode == "default" && len(s.Networks) == 0 {
			l.rewired = append(l.rewired, name)
			replace(bridgeKey, "bridge")
			s.NetworkMode, s.Networks = "", map[string]*types.ServiceNetworkConfig{bridgeKey: {}}
			services[name] = s
			continue
		}
		s.Networks = maps.Clone(s.Networks)
		for _, key := range slices.Sorted(maps.Keys(s.Networks)) {
			// An engine's "host" is no network, and what is on "none" has none.
			n := p.Networks[key]
			if !n.External || n.Name == "host" || n.Name == "none" {
				continue
			}
			replace(key, n.Name)
			if at := s.Networks[key]; at != nil && at.Ipv4Address+at.Ipv6Address != "" {
				l.warn("the other services still reach it by name; --keep-networks, or test.keep_networks in wiretape.yaml, leaves network "+n.Name+" to the test",
					"service %s does not have its fixed address on network %s during the test", name, n.Name)
				free := *at
				free.Ipv4Address, free.Ipv6Address = "", ""
				s.Networks[key] = &free
				if !slices.Contains(l.rewired, name) {
					l.rewired = append(l.rewired, name)
				}
			}
		}
		services[name] = s
	}
	p.Networks, p.Services = networks, services
	if len(names) > 0 {
		slices.Sort(names)
		l.warn("nothing outside the project is reached on them; --keep-networks, or test.keep_networks in wiretape.yaml, leaves them to the test",
			"the test has internal networks of its own in the place of %s", strings.Join(names, ", "))
	}
}

// rewire tells services of networks that they are on otherwise than the user's files
// say.
func (l *layout) rewire(p *Project, services map[string]overrideService) error {
	for _, name := range l.rewired {
		s, o := p.Services[name], services[name]
		if _, bridged := s.Networks[bridgeKey]; bridged {
			// The !reset tag takes away what the user's files say.
			o.NetworkMode = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!reset", Value: "null"}
		}
		var err error
		if o.Networks, err = networksOf(s); err != nil {
			return err
		}
		services[name] = o
	}
	return nil
}

// networksOf is a service's networks, instead of those that the user's files say.
// Further keys may be added.
func networksOf(s types.ServiceConfig, further ...string) (*yaml.Node, error) {
	all := make(map[string]*types.ServiceNetworkConfig)
	for _, key := range further {
		all[key] = &types.ServiceNetworkConfig{}
	}
	for key, own := range s.Networks {
		if own == nil {
			own = &types.ServiceNetworkConfig{}
		}
		all[key] = own
	}
	node := &yaml.Node{}
	err := node.Encode(all)
	node.Tag = "!override"
	return node, err
}

// MarshalYAML has a network that replaces another one do so (the !override tag).
func (n overrideNetwork) MarshalYAML() (any, error) {
	type plain overrideNetwork
	if !n.replaces {
		return plain(n), nil
	}
	node := &yaml.Node{}
	if err := node.Encode(plain(n)); err != nil {
		return nil, err
	}
	node.Tag = "!override"
	return node, nil
}
