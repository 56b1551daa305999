package session

import (
	"context"
	"fmt"
	"strings"

	"github.com/wiretape/wiretape/compose/agent"
)

// A Change is what a plan shows of a step, and what takes the step back.
type Change interface {
	// Call says what is done, and Cause what it is for. A step that only looks has none.
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
	step     Step[T]
	needs    []planned
	outlives []planned     // later ones that don't need it, and are undone before it all the same
	done     chan struct{} // closed when it was done without an error
	result   T
}

// plan makes a step part of a plan: it begins when those that it needs are done, and is
// undone before they are.
func plan[T any](s Step[T], needs ...planned) *Planned[T] {
	return &Planned[T]{step: s, needs: needs, done: make(chan struct{})}
}

// Result is what the step returned; the zero value before it is done, and where the
// plan is only undone.
func (p *Planned[T]) Result() (result T) {
	if p != nil {
		result = p.result
	}
	return result
}

// wait waits until the step is done, and returns its result. Where it fails, ctx ends.
func (p *Planned[T]) wait(ctx context.Context) (result T, err error) {
	select {
	case <-p.done:
		return p.result, nil
	case <-ctx.Done():
		return result, context.Cause(ctx)
	}
}

func (p *Planned[T]) change() Change            { return p.step }
func (p *Planned[T]) needed() []planned         { return p.needs }
func (p *Planned[T]) outlived() []planned       { return p.outlives }
func (p *Planned[T]) finished() <-chan struct{} { return p.done }

func (p *Planned[T]) do(ctx context.Context, e *Env) (err error) {
	if p.result, err = p.step.Do(ctx, e); err == nil {
		close(p.done)
	}
	return err
}

// A planned is a step whose result is of any type.
type planned interface {
	change() Change
	do(ctx context.Context, e *Env) error
	needed() []planned
	outlived() []planned
	finished() <-chan struct{}
}

// A Plan is everything that a session changes.
type Plan struct {
	Session string
	Project string
	Mode    agent.Mode
	// stages are the steps in the order in which they begin; what a step needs stands in
	// a stage before it. They are undone in the opposite order.
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
	var (
		volume = plan(makeVolume{e.State.Volume()})
		net    = plan(makeNetwork{e.State.Network()}, volume)
		image  = plan(loadImage{e.Info.Arch}, volume)
		second = []planned{net, image}
	)
	creates, contains := []planned{volume}, []planned{net, image}
	if w.SetAside != nil {
		aside := plan(w.SetAside, volume)
		second = append(second, aside)
		// What compose makes again frees subnets, which the agent's network must not get:
		// the undo wants them back.
		creates = append(creates, aside, net)
	}
	at := e.tapeVolume()
	if at != nil && e.Options.records() {
		tape := plan(makeTapeVolume{at.Name}, volume)
		second = append(second, tape)
		contains = append(contains, tape)
	}
	var (
		create    = plan(w.Create, creates...)
		container = plan[agentMade](makeAgent{
			Name: e.State.agent(), Network: e.State.Network(), Volume: e.State.Volume(), Ports: w.Ports,
			Tape: replayed(e.Options), Records: e.Options.Mode == agent.Record, TapeVolume: at, Folder: e.State.Recording, image: image,
		}, contains...)
		roots = plan(readRoots{w.Services, create}, create)
		trust = plan(writeTrust{e.State.Volume(), w.Services, roots}, create, container)
	)
	create.outlives = []planned{container} // which is on its networks
	starts := []planned{create, container}
	third := []planned{roots}
	for _, n := range w.Networks {
		join := plan(joinNetwork{n}, create, container)
		third = append(third, join)
		starts = append(starts, join)
	}
	// The agent starts while the roots are read and the trust files written.
	start := plan(&startAgent{Name: e.State.agent(), wiring: w, created: create, roots: roots, made: container, of: s}, starts...)
	up := plan(w.Up(start), start, trust)
	return &Plan{
		Session: e.State.Session, Project: e.State.Project, Mode: e.State.Mode, Warnings: w.Warnings, agent: start,
		stages: [][]planned{
			{volume},
			second,
			{create, container},
			append(third, trust),
			{start},
			{up},
			{plan(runSession{Mode: e.State.Mode, agent: start, of: s}, up)},
		},
	}
}

// undoPlan is the plan of a session of which only the state is known: its steps can
// only be undone.
func undoPlan(e *Env, w *Wiring) *Plan {
	volume := plan(makeVolume{e.State.Volume()})
	net := plan(makeNetwork{e.State.Network()}, volume)
	second, creates := []planned{net}, []planned{volume}
	if w.SetAside != nil {
		aside := plan(w.SetAside, volume)
		second, creates = append(second, aside), append(creates, aside)
	}
	create := plan(w.Create, creates...)
	container := plan[agentMade](makeAgent{Name: e.State.agent()}, net)
	create.outlives = []planned{container}
	start := plan(&startAgent{Name: e.State.agent(), mayRun: true}, create, container)
	return &Plan{
		Session: e.State.Session, Project: e.State.Project, Mode: e.State.Mode,
		stages: [][]planned{{volume}, second, {create, container}, {start}, {plan(w.Up(nil), start)}},
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
		side := ""
		for _, s := range stage {
			if s.change().Call() == "" {
				continue
			}
			n++
			fmt.Fprintf(&b, "%2d. %s%s\n    why:  %s\n", n, s.change().Call(), side, s.change().Cause())
			if u := s.change().UndoCall(); u != "" {
				fmt.Fprintf(&b, "    undo: %s\n", u)
			}
			side = " (at the same time)"
		}
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w.Text)
	}
	return b.String()
}
