package compose

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/wiretape/wiretape/compose/session"
	"golang.org/x/sync/errgroup"
)

// Labels that compose sets.
const (
	composeProject   = "com.docker.compose.project"
	composeService   = "com.docker.compose.service"
	composeOneOff    = "com.docker.compose.oneoff"
	composeHook      = "com.docker.compose.hook" // since compose 5.3: of a container of pre_start
	composeDependsOn = "com.docker.compose.depends_on"
	composeNumber    = "com.docker.compose.container-number"
)

// A Snapshot is what a project has on the engine, sorted by name.
type Snapshot struct {
	Containers []Container `json:"containers,omitempty"`
	Networks   []Network   `json:"networks,omitempty"`
	Volumes    []string    `json:"volumes,omitempty"`
}

// A Container is a container of a service; those of docker compose run are not here.
type Container struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Service string `json:"service"`
	Running bool   `json:"running,omitempty"`
	Paused  bool   `json:"paused,omitempty"`
	// Aside is set where the session sets it aside.
	Aside bool `json:"aside,omitempty"`
	// Networks are how it is attached to networks, by their names. What the engine
	// chooses anew at each start is not here, but for the address: see startOrder.
	Networks map[string]Endpoint `json:"networks,omitempty"`
	// Anonymous are its volumes that have no name of the user's, by where they
	// are mounted.
	Anonymous map[string]string `json:"anonymous,omitempty"`
}

// An Endpoint is how a container is attached to a network.
type Endpoint struct {
	Aliases    []string                    `json:"aliases,omitempty"`
	Links      []string                    `json:"links,omitempty"`
	IPAM       *network.EndpointIPAMConfig `json:"ipam,omitempty"` // addresses that it asked for
	DriverOpts map[string]string           `json:"driver_opts,omitempty"`
	MAC        string                      `json:"mac,omitempty"` // that it asked for
	GwPriority int                         `json:"gw_priority,omitempty"`
	Address    string                      `json:"address,omitempty"` // that it has
}

// A Network is a network of the project's own, with all that makes it anew.
type Network struct {
	Name   string                `json:"name"`
	ID     string                `json:"id"`
	Create network.CreateOptions `json:"create"`
}

// scale returns how many containers the service has.
func (s Snapshot) scale(service string) int {
	n := 0
	for _, c := range s.Containers {
		if c.Service == service {
			n++
		}
	}
	return n
}

// services returns the services that have containers of which keep is true, sorted.
func (s Snapshot) services(keep func(Container) bool) []string {
	var names []string
	for _, c := range s.Containers {
		if keep(c) && !slices.Contains(names, c.Service) {
			names = append(names, c.Service)
		}
	}
	slices.Sort(names)
	return names
}

// hasNetwork reports whether a network of that name was there.
func (s Snapshot) hasNetwork(name string) bool {
	return slices.ContainsFunc(s.Networks, func(n Network) bool { return n.Name == name })
}

// setAside marks the containers that the session sets aside: those of the
// project's services, and where all of its networks are made again, all.
func (s *Snapshot) setAside(p *Project, all bool) {
	for i, c := range s.Containers {
		_, known := p.Services[c.Service]
		s.Containers[i].Aside = known || all
	}
}

// aside are the containers that the session sets aside.
func (s Snapshot) aside() []Container {
	var out []Container
	for _, c := range s.Containers {
		if c.Aside {
			out = append(out, c)
		}
	}
	return out
}

func observeProject(ctx context.Context, e session.Engine, project string) (Snapshot, error) {
	var s Snapshot
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		s.Containers, err = observeContainers(ctx, e, project)
		return err
	})
	g.Go(func() error {
		list, err := e.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(session.Label(composeProject, project))})
		for _, n := range list {
			s.Networks = append(s.Networks, networkOf(n))
		}
		slices.SortFunc(s.Networks, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
		return err
	})
	g.Go(func() error {
		list, err := e.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(session.Label(composeProject, project))})
		for _, v := range list.Volumes {
			s.Volumes = append(s.Volumes, v.Name)
		}
		slices.Sort(s.Volumes)
		return err
	})
	if err := g.Wait(); err != nil {
		return Snapshot{}, session.EngineError(err)
	}
	return s, nil
}

func observeContainers(ctx context.Context, e session.Engine, project string) ([]Container, error) {
	list, err := session.ContainersWith(ctx, e, session.Label(composeProject, project))
	if err != nil {
		return nil, err
	}
	found := make([]Container, len(list))
	var g errgroup.Group
	for i, c := range list {
		if !isReplica(c.Labels) || c.State == "removing" {
			continue
		}
		g.Go(func() error {
			info, err := e.ContainerInspect(ctx, c.ID)
			if err != nil || info.ContainerJSONBase == nil {
				return session.IgnoreMissing(err)
			}
			found[i] = containerOf(c, info)
			return nil
		})
	}
	err = g.Wait()
	return slices.DeleteFunc(found, func(c Container) bool { return c.ID == "" }), err
}

// isReplica reports whether a container is one of its service's own, and not of
// docker compose run or of a hook.
func isReplica(labels map[string]string) bool {
	return labels[composeService] != "" && labels[composeOneOff] != "True" && labels[composeHook] == ""
}

var anonymousName = regexp.MustCompile(`^[0-9a-f]{64}$`)

func containerOf(c container.Summary, info container.InspectResponse) Container {
	out := Container{
		ID: c.ID, Name: session.NameOf(c), Service: c.Labels[composeService],
		Running:   info.State.Running || info.State.Restarting || info.State.Paused,
		Paused:    info.State.Paused,
		Networks:  make(map[string]Endpoint),
		Anonymous: make(map[string]string),
	}
	if info.NetworkSettings != nil {
		for name, n := range info.NetworkSettings.Networks {
			if n != nil {
				out.Networks[name] = endpointOf(n, !info.State.Running)
			}
		}
	}
	for _, m := range info.Mounts {
		if m.Type == mount.TypeVolume && anonymousName.MatchString(m.Name) {
			out.Anonymous[m.Destination] = m.Name
		}
	}
	return out
}

// endpointOf keeps of an endpoint what it was asked to be. Its MAC address is the
// engine's choice while it runs.
func endpointOf(n *network.EndpointSettings, stopped bool) Endpoint {
	e := Endpoint{
		Aliases: n.Aliases, Links: n.Links, IPAM: n.IPAMConfig, DriverOpts: n.DriverOpts,
		GwPriority: n.GwPriority, Address: n.IPAddress,
	}
	if stopped {
		e.MAC = n.MacAddress
	}
	if e.IPAM != nil && e.IPAM.IPv4Address == "" && e.IPAM.IPv6Address == "" && len(e.IPAM.LinkLocalIPs) == 0 {
		e.IPAM = nil
	}
	return e
}

func (e Endpoint) settings() *network.EndpointSettings {
	return &network.EndpointSettings{
		Aliases: e.Aliases, Links: e.Links, IPAMConfig: e.IPAM, DriverOpts: e.DriverOpts,
		MacAddress: e.MAC, GwPriority: e.GwPriority,
	}
}

func networkOf(n network.Inspect) Network {
	opt := network.CreateOptions{
		Driver: n.Driver, Scope: n.Scope, IPAM: &n.IPAM, Internal: n.Internal, Attachable: n.Attachable,
		Ingress: n.Ingress, ConfigOnly: n.ConfigOnly, Options: n.Options, Labels: n.Labels,
	}
	if n.EnableIPv6 {
		opt.EnableIPv6 = &n.EnableIPv6
	}
	if n.ConfigFrom.Network != "" {
		opt.ConfigFrom = &n.ConfigFrom
	}
	return Network{Name: n.Name, ID: n.ID, Create: opt}
}
