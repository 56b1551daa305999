package session

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/wiretape/wiretape/compose/agent"
)

// Labels on what a session makes on the engine.
const (
	LabelSession = "io.wiretape.session" // its ID; also on the containers that run in it
	LabelProject = "io.wiretape.project" // the compose project
	labelState   = "io.wiretape.state"   // on the trust volume: the State, as JSON
	LabelUndone  = "io.wiretape.undone"  // on a volume beside one that could not be removed: that state is of no use
)

// A State is what the undo of a session depends on. It is kept in a label, for
// the case that the CLI is killed.
type State struct {
	Session string     `json:"session"`
	Project string     `json:"project"`
	Mode    agent.Mode `json:"mode"`
	Host    string     `json:"host"`           // where the CLI runs
	PIDs    string     `json:"pids,omitempty"` // the pid namespace that PID counts in
	PID     int        `json:"pid"`
	Process string     `json:"process,omitempty"` // tells that process from a later one with its number
	Created time.Time  `json:"created"`
	Systemd bool       `json:"systemd,omitempty"`
	// Before is what the runtime keeps of the project for its undo.
	Before json.RawMessage `json:"before"`
	Temp   string          `json:"temp"` // the session's folder on that host
	// Recording is the folder on that host in which a tape is being recorded.
	Recording string `json:"recording,omitempty"`
	// TapeVolume is the volume that the agent records to, as --tape has it.
	TapeVolume string `json:"tape_volume,omitempty"`
}

func newState(id, project string, mode agent.Mode, e EngineInfo, tmp string) (State, error) {
	host, err := os.Hostname()
	if err != nil {
		return State{}, err
	}
	return State{
		Session: id, Project: project, Mode: mode, Host: host, PIDs: pidNamespace(), PID: os.Getpid(), Process: processBirth(os.Getpid()),
		Created: time.Now().UTC().Truncate(time.Second), Systemd: e.Systemd, Temp: tmp,
	}, nil
}

// Volume is the name of the trust volume.
func (s State) Volume() string { return "wiretape-" + s.Session + "-trust" }

func (s State) undone() string { return "wiretape-" + s.Session + "-undone" }

// Network is the name of the agent's own network.
func (s State) Network() string { return "wiretape-" + s.Session }

// SideNetwork is for services whose own networks have no room for the agent.
func (s State) SideNetwork() string { return "wiretape-" + s.Session + "-side" }

func (s State) agent() string { return "wiretape-" + s.Session + "-agent" }

// labels are on all that the session makes for itself.
func (s State) labels() map[string]string {
	return map[string]string{LabelSession: s.Session, LabelProject: s.Project}
}

// cgroup is the session's cgroup as a path from the root of the hierarchy. With a hyphen
// in its name, a slice would be in one that all sessions share, and that stays.
func (s State) cgroup() string {
	if s.Systemd {
		return "/wiretape_" + s.Session + ".slice"
	}
	return "/wiretape-" + s.Session
}

// ServiceCgroup returns the cgroup of the n-th service, and how a runtime asks for it.
func (s State) ServiceCgroup(n int) (path, parent string) {
	if s.Systemd {
		parent = fmt.Sprintf("wiretape_%s-s%d.slice", s.Session, n)
		return s.cgroup() + "/" + parent, parent
	}
	path = fmt.Sprintf("%s/s%d", s.cgroup(), n)
	return path, path
}

// A found session is one that was begun and not undone.
type Found struct {
	State
	agentRuns bool
}

// Find lists the sessions of a project, or of all if project is "".
func Find(ctx context.Context, e Engine, project string) ([]Found, error) {
	which := filters.Arg("label", LabelProject)
	if project != "" {
		which = Label(LabelProject, project)
	}
	list, err := e.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(which)})
	if err != nil {
		return nil, EngineError(err)
	}
	var found []Found
	undone := make(map[string]bool)
	for _, v := range list.Volumes {
		if v.Labels[LabelUndone] != "" {
			undone[v.Labels[LabelSession]] = true
		}
	}
	for _, v := range list.Volumes {
		var f Found
		if undone[v.Labels[LabelSession]] {
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
	agents, err := ContainersWith(ctx, e, which)
	if err != nil {
		return nil, EngineError(err)
	}
	for i := range found {
		found[i].agentRuns = slices.ContainsFunc(agents, func(c container.Summary) bool {
			return NameOf(c) == found[i].agent() && c.State == "running"
		})
	}
	slices.SortFunc(found, func(a, b Found) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.Session, b.Session)
	})
	return found, nil
}

// alive reports whether somebody still holds the session: the CLI's process where it
// can be seen, else the agent, which ends when its CLI does.
func (f Found) alive() bool {
	if seen, alive := f.cli(); seen {
		return alive
	}
	return f.agentRuns
}

// cutOffTape is the folder of the tape that the session was recording, if that is on
// this host and nobody writes it any more; "" otherwise.
func (f Found) cutOffTape() string {
	if !f.onThisHost() || f.alive() {
		return ""
	}
	return f.Recording
}

// onThisHost tells whether the session's CLI is or was on a host of this name.
func (s State) onThisHost() bool {
	host, err := os.Hostname()
	return err == nil && host == s.Host
}

// cli tells whether the session's CLI is or was where this process would see it, and
// whether it is alive. WSL distributions and dev containers share a name, and count
// their processes apart.
func (s State) cli() (seen, alive bool) {
	if !s.onThisHost() || s.PIDs != pidNamespace() {
		return false, false
	}
	if !processAlive(s.PID) {
		return true, false
	}
	// Its number may be another process's by now. Of other users' processes the system
	// may tell nothing.
	birth := processBirth(s.PID)
	return true, s.Process == "" || birth == "" || s.Process == birth
}

// heldHere reports whether the session's CLI is seen from here, and alive.
func (s State) heldHere() bool {
	seen, alive := s.cli()
	return seen && alive
}
