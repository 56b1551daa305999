package compose

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/wiretape/wiretape/compose/agent"
	"golang.org/x/sync/errgroup"
)

// Labels on what a session makes on the engine.
const (
	labelSession = "io.wiretape.session" // its ID; also on the containers that run in it
	labelProject = "io.wiretape.project" // the compose project
	labelState   = "io.wiretape.state"   // on the trust volume: the State, as JSON
)

// Labels that compose sets.
const (
	composeProject   = "com.docker.compose.project"
	composeService   = "com.docker.compose.service"
	composeOneOff    = "com.docker.compose.oneoff"
	composeDependsOn = "com.docker.compose.depends_on"
)

// A Snapshot is what a project has on the engine, by name.
type Snapshot struct {
	Containers []Container `json:"containers,omitempty"`
	Networks   []string    `json:"networks,omitempty"`
	Volumes    []string    `json:"volumes,omitempty"`
}

// A Container is a container of a service; those of docker compose run are not here.
type Container struct {
	Name    string `json:"name"`
	Service string `json:"service"`
	Running bool   `json:"running,omitempty"`
	Paused  bool   `json:"paused,omitempty"`
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

func label(name, value string) filters.KeyValuePair {
	return filters.Arg("label", name+"="+value)
}

// containersWith lists containers in any state by label, in the order of their names.
func containersWith(ctx context.Context, e Engine, args ...filters.KeyValuePair) ([]container.Summary, error) {
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

func observeProject(ctx context.Context, e Engine, project string) (Snapshot, error) {
	var s Snapshot
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		list, err := containersWith(ctx, e, label(composeProject, project))
		for _, c := range list {
			if service := c.Labels[composeService]; service != "" && c.Labels[composeOneOff] != "True" {
				s.Containers = append(s.Containers, Container{
					Name: nameOf(c), Service: service,
					Running: c.State == "running" || c.State == "restarting" || c.State == "paused",
					Paused:  c.State == "paused",
				})
			}
		}
		return err
	})
	g.Go(func() error {
		list, err := e.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(label(composeProject, project))})
		for _, n := range list {
			s.Networks = append(s.Networks, n.Name)
		}
		slices.Sort(s.Networks)
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
		return Snapshot{}, engineError(err)
	}
	return s, nil
}

// A State is what the undo of a session depends on. It is kept in a label, for
// the case that the CLI is killed.
type State struct {
	Session string     `json:"session"`
	Project string     `json:"project"`
	Mode    agent.Mode `json:"mode"`
	Host    string     `json:"host"` // where the CLI runs
	PID     int        `json:"pid"`
	Created time.Time  `json:"created"`
	Systemd bool       `json:"systemd,omitempty"`
	Before  Snapshot   `json:"before"`
	Temp    string     `json:"temp"` // the session's folder on that host
	// Recording is the folder on that host in which a tape is being recorded.
	Recording string `json:"recording,omitempty"`
	// Dir and Config are the project's folder and its docker compose config,
	// compressed. They are kept where containers must be made again.
	Dir    string `json:"dir,omitempty"`
	Config []byte `json:"config,omitempty"`
}

func newState(id string, p *Project, mode agent.Mode, e EngineInfo, before Snapshot, tmp string) (State, error) {
	host, err := os.Hostname()
	if err != nil {
		return State{}, err
	}
	s := State{
		Session: id, Project: p.Name, Mode: mode, Host: host, PID: os.Getpid(),
		Created: time.Now().UTC().Truncate(time.Second), Systemd: e.Systemd, Before: before, Temp: tmp,
	}
	if len(before.Containers) == 0 {
		return s, nil
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(p.Config); err != nil {
		return State{}, err
	}
	if err := z.Close(); err != nil {
		return State{}, err
	}
	s.Dir, s.Config = p.dir(), buf.Bytes()
	return s, nil
}

// removeTemp removes the session's folder, where it is on this host and could be
// nothing else.
func (s State) removeTemp() error {
	host, err := os.Hostname()
	if err != nil || host != s.Host || filepath.Dir(s.Temp) != filepath.Clean(os.TempDir()) ||
		!strings.HasPrefix(filepath.Base(s.Temp), tempPrefix) {
		return err
	}
	return os.RemoveAll(s.Temp)
}

// config returns the project as docker compose config printed it.
func (s State) config() ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(s.Config))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func (s State) volume() string  { return "wiretape-" + s.Session + "-trust" }
func (s State) network() string { return "wiretape-" + s.Session }
func (s State) agent() string   { return "wiretape-" + s.Session + "-agent" }

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
func findSessions(ctx context.Context, e Engine, project string) ([]foundSession, error) {
	which := filters.Arg("label", labelProject)
	if project != "" {
		which = label(labelProject, project)
	}
	list, err := e.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(which)})
	if err != nil {
		return nil, engineError(err)
	}
	var found []foundSession
	for _, v := range list.Volumes {
		var f foundSession
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
		return nil, engineError(err)
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
	if host, err := os.Hostname(); err == nil && host == f.Host {
		return processAlive(f.PID)
	}
	return f.agentRuns
}
