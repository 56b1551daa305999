package session

import (
	"context"
	"encoding/json"
	"time"

	"github.com/wiretape/wiretape/compose/recording"
)

// A Runtime runs the services of a session: docker compose is the first.
type Runtime interface {
	// Project names what the services belong to. There is one session of it at a time.
	Project() string
	// Wire observes the project, and says how the session is wired to its services
	// and what else the plan has.
	Wire(ctx context.Context, e *Env) (*Wiring, error)
	// Unwire returns the steps that undo a session which another process began, as
	// far as they can be told by what Wire kept of the project.
	Unwire(e *Env) (*Wiring, error)
}

// A Wiring is how the agent stands between a project's services and the outside.
type Wiring struct {
	// Services are those whose calls are caught.
	Services []Service
	// Networks are those of the services that the agent joins.
	Networks []Network
	// Ports are published ports that the agent takes over.
	Ports []Port
	// Inside are the engine's names of the project's own networks. One that is not
	// there is left out.
	Inside []string
	// Names are what these networks answer to a DNS query, beside the names of containers.
	Names []string
	// StopGrace is how long the services may take to stop, in all.
	StopGrace time.Duration
	Warnings  []Warning

	// SetAside makes room for the session's containers; nil where nothing is in their place.
	SetAside Step[None]
	// Create makes the services' containers, which run nothing yet.
	Create Step[Created]
	// Up starts the services, with the agent there, and waits until they are ready.
	Up func(agent *Planned[Started]) Step[None]
}

// A Service is one whose calls are caught.
type Service struct {
	Name   string
	Cgroup string // the parent of its containers', as a path from the hierarchy's root
	// Networks are the engine's names of the networks that its containers are on,
	// those that the agent should be reached on first.
	Networks []string
	Trust    string // the folder in its containers that has the trust files
	Folder   string // the same in the trust volume
}

// A Network is one that the agent joins.
type Network struct {
	Name     string // the engine's
	External bool   // the project does not make it
	// Taken are addresses that services ask for on it; the agent must not get one.
	Taken []string
}

// A Port is a published port that the agent takes over.
type Port struct {
	Listen    int // in the agent's container
	Service   string
	Port      int    // in the service's container
	HostIP    string // empty for all addresses
	Published string // a port, a range of ports, or empty for any
}

// Created is what a runtime made for the services.
type Created struct {
	Containers []Container // in the order of their names
	// Environments are what the programs of services get without the session, by service.
	Environments map[string]ProgramEnv
}

// A Container is one that was made for a service.
type Container struct {
	ID, Name, Service string
}

// A ProgramEnv is where a program runs.
type ProgramEnv struct {
	Variables  map[string]string
	WorkingDir string
}

// Env is what every step knows of its session.
type Env struct {
	Engine  Engine
	Info    EngineInfo
	State   State
	Options *Options
	Temp    string // a folder of the session's own
}

// Report tells the user something.
func (e *Env) Report(kind ProgressKind, text, hint string) { e.Options.Report(kind, text, hint) }

// tapeVolume is where the tape is, if it is in a volume; else nil.
func (e *Env) tapeVolume() *recording.Volume {
	at, is, err := recording.ParseVolume(e.Options.Tape)
	if !is || err != nil { // New has looked at it
		return nil
	}
	return &at
}

// Keep has the undo know v, which is what a runtime found before the session, also
// where another process undoes it.
func (e *Env) Keep(v any) error {
	data, err := json.Marshal(v)
	e.State.Before = data
	return err
}
