package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
	"golang.org/x/sync/errgroup"
)

// Labels on what a session makes on the engine.
const (
	labelSession = "io.wiretape.session" // its ID; also on the containers that run in it
	labelProject = "io.wiretape.project" // the compose project
	labelState   = "io.wiretape.state"   // on the trust volume: the State, as JSON
	labelUndone  = "io.wiretape.undone"  // on a volume beside one that could not be removed: that state is of no use
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

func label(name, value string) filters.KeyValuePair {
	return filters.Arg("label", name+"="+value)
}

// containersWith lists containers in any state by label, in the order of their names.
func containersWith(ctx context.Context, e session.Engine, args ...filters.KeyValuePair) ([]container.Summary, error) {
	list, err := e.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(args...)})
	slices.SortFunc(list, func(a, b container.Summary) int { return strings.Compare(nameOf(a), nameOf(b)) })
	return list, err
}

func nameOf(c container.Summary) string {
	if len(c.Names) == 0 {
		return c.ID
	}
	return strings.TrimPrefix(c.Names[0], "/")
}

func observeProject(ctx context.Context, e session.Engine, project string) (Snapshot, error) {
	var s Snapshot
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		s.Containers, err = observeContainers(ctx, e, project)
		return err
	})
	g.Go(func() error {
		list, err := e.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(label(composeProject, project))})
		for _, n := range list {
			s.Networks = append(s.Networks, networkOf(n))
		}
		slices.SortFunc(s.Networks, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
		return err
	})
	g.Go(func() error {
		list, err := e.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(label(composeProject, project))})
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
	list, err := containersWith(ctx, e, label(composeProject, project))
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
		ID: c.ID, Name: nameOf(c), Service: c.Labels[composeService],
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

// A State is what the undo of a session depends on. It is kept in a label, for
// the case that the CLI is killed.
type State struct {
	Session string     `json:"session"`
	Project string     `json:"project"`
	Mode    agent.Mode `json:"mode"`
	Host    string     `json:"host"` // where the CLI runs
	PID     int        `json:"pid"`
	Process string     `json:"process,omitempty"` // tells that process from a later one with its number
	Created time.Time  `json:"created"`
	Systemd bool       `json:"systemd,omitempty"`
	Before  Snapshot   `json:"before"`
	Temp    string     `json:"temp"` // the session's folder on that host
	// Recording is the folder on that host in which a tape is being recorded.
	Recording string `json:"recording,omitempty"`
}

func newState(id string, p *Project, mode agent.Mode, e session.EngineInfo, before Snapshot, tmp string) (State, error) {
	host, err := os.Hostname()
	if err != nil {
		return State{}, err
	}
	return State{
		Session: id, Project: p.Name, Mode: mode, Host: host, PID: os.Getpid(), Process: processBirth(os.Getpid()),
		Created: time.Now().UTC().Truncate(time.Second), Systemd: e.Systemd, Before: before, Temp: tmp,
	}, nil
}

// removeTemp removes the session's folder, where it is on this host and could be
// nothing else.
func (s State) removeTemp() error {
	host, err := os.Hostname()
	if dir := filepath.Dir(s.Temp); err != nil || host != s.Host || dir != filepath.Clean(os.TempDir()) && dir != shortTemp ||
		!strings.HasPrefix(filepath.Base(s.Temp), tempPrefix) {
		return err
	}
	return os.RemoveAll(s.Temp)
}

func (s State) volume() string  { return "wiretape-" + s.Session + "-trust" }
func (s State) undone() string  { return "wiretape-" + s.Session + "-undone" }
func (s State) network() string { return "wiretape-" + s.Session }

// sideNetwork is for services whose own networks have no room for the agent.
func (s State) sideNetwork() string { return "wiretape-" + s.Session + "-side" }

func (s State) agent() string { return "wiretape-" + s.Session + "-agent" }

// asideName is what a container is called while it is set aside.
func (s State) asideName(c Container) string { return "wiretape-" + s.Session + "-aside-" + c.Name }

// labels are on all that the session makes for itself.
func (s State) labels() map[string]string {
	return map[string]string{labelSession: s.Session, labelProject: s.Project}
}

// cgroup is the session's cgroup as a path from the root of the hierarchy.
func (s State) cgroup() string {
	if s.Systemd {
		return "/wiretape.slice/wiretape-" + s.Session + ".slice"
	}
	return "/wiretape-" + s.Session
}

// serviceCgroup returns the cgroup of the n-th service, and how compose names it.
func (s State) serviceCgroup(n int) (path, parent string) {
	if s.Systemd {
		parent = fmt.Sprintf("wiretape-%s-s%d.slice", s.Session, n)
		return s.cgroup() + "/" + parent, parent
	}
	path = fmt.Sprintf("%s/s%d", s.cgroup(), n)
	return path, path
}

// A found session is one that was begun and not undone.
type foundSession struct {
	State
	agentRuns bool
}

// findSessions lists the sessions of a project, or of all if project is "".
func findSessions(ctx context.Context, e session.Engine, project string) ([]foundSession, error) {
	which := filters.Arg("label", labelProject)
	if project != "" {
		which = label(labelProject, project)
	}
	list, err := e.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(which)})
	if err != nil {
		return nil, session.EngineError(err)
	}
	var found []foundSession
	undone := make(map[string]bool)
	for _, v := range list.Volumes {
		if v.Labels[labelUndone] != "" {
			undone[v.Labels[labelSession]] = true
		}
	}
	for _, v := range list.Volumes {
		var f foundSession
		if undone[v.Labels[labelSession]] {
			continue
		}
		if err := json.Unmarshal([]byte(v.Labels[labelState]), &f.State); err != nil || f.Session == "" {
			continue
		}
		found = append(found, f)
	}
	if len(found) == 0 {
		return nil, nil
	}
	agents, err := containersWith(ctx, e, which)
	if err != nil {
		return nil, session.EngineError(err)
	}
	for i := range found {
		found[i].agentRuns = slices.ContainsFunc(agents, func(c container.Summary) bool {
			return nameOf(c) == found[i].agent() && c.State == "running"
		})
	}
	slices.SortFunc(found, func(a, b foundSession) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Session, b.Session)
	})
	return found, nil
}

// alive reports whether somebody still holds the session. Its agent ends when
// its CLI does; before there is an agent, the CLI's process tells.
func (f foundSession) alive() bool {
	if here, alive := f.cli(); here {
		return alive
	}
	return f.agentRuns
}

// cli tells whether the session's CLI is or was on this host, and whether it is alive: its
// number may be another process's by now.
func (s State) cli() (here, alive bool) {
	host, err := os.Hostname()
	if err != nil || host != s.Host {
		return false, false
	}
	return true, processAlive(s.PID) && (s.Process == "" || s.Process == processBirth(s.PID))
}

// cutOffTape is the folder of the tape that the session was recording, if that is on
// this host and nobody writes it any more; "" otherwise.
func (s State) cutOffTape() string {
	if here, alive := s.cli(); !here || alive {
		return ""
	}
	return s.Recording
}
