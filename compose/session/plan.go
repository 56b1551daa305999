package session

import (
	"context"
	"fmt"
	"strings"

	"github.com/wiretape/wiretape/compose/agent"
)

// A Change is what a plan shows of a step, and what takes the step back.
type Change interface {
	// Call says what is done, and Cause what it is for.
	Call() string
	Cause() string
	// UndoCall says how it is taken back; empty if there is nothing to take back.
	UndoCall() string

	// Undo takes back what Do did, as far as it came: it is also called for a
	// step that failed halfway, and by a CLI that was not there at Do. What could not
	// be taken back is a *Leftover, or several that are joined.
	Undo(ctx context.Context, e *Env) error
	// ByHand is the command that does the same as Undo.
	ByHand(e *Env) string
}

// A Step is one change that a session makes: one call of the engine or of the
// runtime, with its cause and what takes it back. T is what later steps need of it.
type Step[T any] interface {
	Change
	// Do does it. A call that makes something is not cancelled with ctx: an engine
	// goes on with a request whose client is gone, and would make it after the undo.
	Do(ctx context.Context, e *Env) (T, error)
}

// None is the result of a step that no later one needs anything of.
type None struct{}

// Planned is a step in a plan. Steps that need its result are given it by name when
// the plan is made.
type Planned[T any] struct {
	step   Step[T]
	result T
}

// Result is what the step returned; the zero value before it is done, and where the
// plan is only undone.
func (p *Planned[T]) Result() (result T) {
	if p != nil {
		result = p.result
	}
	return result
}

func (p *Planned[T]) change() Change { return p.step }

func (p *Planned[T]) do(ctx context.Context, e *Env) (err error) {
	p.result, err = p.step.Do(ctx, e)
	return err
}

// A planned is a step whose result is of any type.
type planned interface {
	change() Change
	do(ctx context.Context, e *Env) error
}

// plan makes a step part of a plan.
func plan[T any](s Step[T]) *Planned[T] { return &Planned[T]{step: s} }

// A Plan is everything that a session changes.
type Plan struct {
	Session string
	Project string
	Mode    agent.Mode
	// stages follow each other; the steps of one stage are done side by side, and
	// undone one after the other, the last first.
	stages   [][]planned
	Warnings []Warning

	agent *Planned[Started]
}

// A Warning is something that the user should know before a session runs.
type Warning struct {
	Text string
	Hint string
}

// NewPlan plans a session. It asks the engine nothing.
func NewPlan(e *Env, w *Wiring) *Plan { return newPlan(e, w, nil) }

// newPlan plans s, which takes what the agent says; nil plans one that is only shown.
func newPlan(e *Env, w *Wiring, s *Session) *Plan {
	at := e.tapeVolume()
	var (
		image     = plan(loadImage{e.Info.Arch})
		create    = plan(w.Create)
		container = plan[agentMade](makeAgent{
			Name: e.State.agent(), Network: e.State.Network(), Volume: e.State.Volume(), Ports: w.Ports,
			Tape: replayed(e.Options), Records: e.Options.Mode == agent.Record, TapeVolume: at, Folder: e.State.Recording, image: image,
		})
		trust = plan(writeTrust{e.State.Volume(), w.Services, create})
		start = plan[Started](&startAgent{Name: e.State.agent(), wiring: w, created: create, roots: trust, made: container, of: s})
	)
	second := []planned{plan(makeNetwork{e.State.Network()}), image}
	if w.SetAside != nil {
		second = append(second, plan(w.SetAside))
	}
	if at != nil && e.Options.records() {
		second = append(second, plan(makeTapeVolume{at.Name}))
	}
	var join []planned
	for _, n := range w.Networks {
		join = append(join, plan(joinNetwork{n}))
	}
	return &Plan{
		Session: e.State.Session, Project: e.State.Project, Mode: e.State.Mode, Warnings: w.Warnings, agent: start,
		stages: [][]planned{
			{plan(makeVolume{e.State.Volume()})},
			second,
			{create, container},
			append(join, trust),
			{start},
			{plan(w.Up(start))},
			{plan(runSession{Mode: e.State.Mode, agent: start, of: s})},
		},
	}
}

// undoPlan is the plan of a session of which only the state is known: its steps can
// only be undone.
func undoPlan(e *Env, w *Wiring) *Plan {
	second := []planned{plan(makeNetwork{e.State.Network()})}
	if w.SetAside != nil {
		second = append(second, plan(w.SetAside))
	}
	return &Plan{
		Session: e.State.Session, Project: e.State.Project, Mode: e.State.Mode,
		stages: [][]planned{
			{plan(makeVolume{e.State.Volume()})},
			second,
			{plan(w.Create), plan[agentMade](makeAgent{Name: e.State.agent()})},
			{plan[Started](&startAgent{Name: e.State.agent(), mayRun: true})},
			{plan(w.Up(nil))},
		},
	}
}

// replayed is the tape that the agent plays; empty if it records.
func replayed(opt *Options) string {
	if opt.Mode == agent.Replay {
		return opt.Tape
	}
	return ""
}

// String renders a plan for people.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "session %s: %s project %s\n", p.Session, p.Mode, p.Project)
	n := 0
	for _, stage := range p.stages {
		for i, s := range stage {
			n++
			side := ""
			if i > 0 {
				side = " (at the same time)"
			}
			fmt.Fprintf(&b, "%2d. %s%s\n    why:  %s\n", n, s.change().Call(), side, s.change().Cause())
			if u := s.change().UndoCall(); u != "" {
				fmt.Fprintf(&b, "    undo: %s\n", u)
			}
		}
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w.Text)
	}
	return b.String()
}
