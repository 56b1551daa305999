package compose

import (
	"context"
	"fmt"
	"strings"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
)

// A Step is one change that a session makes: one call of the engine or of
// docker compose, with its cause and what takes it back.
type Step interface {
	// Call says what is done, and Cause what it is for.
	Call() string
	Cause() string
	// UndoCall says how it is taken back; empty if there is nothing to take back.
	UndoCall() string

	// do does it. A call that makes something is not cancelled with ctx: an engine
	// goes on with a request whose client is gone, and would make it after the undo.
	do(ctx context.Context, s *Session) error
	// undo takes back what do did, as far as it came: it is also called for a
	// step that failed halfway, and by a CLI that was not there at do.
	undo(ctx context.Context, s *Session) error
	// byHand is the command that does the same as undo.
	byHand(s *Session) string
}

// A Plan is everything that a session changes.
type Plan struct {
	Session  string
	Project  string
	Mode     agent.Mode
	Override []byte // the generated compose file, as far as it is known beforehand
	// Stages follow each other; the steps of one stage are done side by side, and
	// undone one after the other, the last first.
	Stages   [][]Step
	Warnings []Warning
}

// newPlan plans a session. It asks the engine nothing.
func newPlan(p *Project, state State, engine session.EngineInfo, opt *Options, l *layout, override []byte) *Plan {
	scale := scaleFlags(p, state.Before)
	plan := undoPlan(state)
	plan.Override, plan.Warnings = override, l.warnings
	plan.Stages = [][]Step{
		{makeVolume{state.volume()}},
		append([]Step{makeNetwork{state.network()}, loadImage{engine.Arch}}, asideStep(state.Before)...),
		{composeCreate{state.Before, scale}, makeAgent{
			Name: state.agent(), Network: state.network(), Volume: state.volume(),
			Ingress: l.ingress, Engine: engine, Privileged: opt.Privileged, Tape: replayed(opt),
			Records: opt.Mode == agent.Record,
		}},
		{},
		{startAgent{state.agent()}},
		{composeUp{state.Before, scale}},
		{runSession{opt.Mode}},
	}
	join := &plan.Stages[3]
	for _, a := range l.attach {
		*join = append(*join, joinNetwork{a})
	}
	*join = append(*join, writeTrust{state.volume(), l.targets})
	return plan
}

// undoPlan is the plan of a session of which only the state is known. Only the
// undo of its steps can be used.
func undoPlan(state State) *Plan {
	return &Plan{
		Session: state.Session, Project: state.Project, Mode: state.Mode,
		Stages: [][]Step{
			{makeVolume{state.volume()}},
			append([]Step{makeNetwork{state.network()}}, asideStep(state.Before)...),
			{composeCreate{Before: state.Before}, makeAgent{Name: state.agent()}},
			{startAgent{state.agent()}},
			{composeUp{Before: state.Before}},
		},
	}
}

// asideStep is the step that sets containers aside, if there are any. Networks
// are made again by its undo as well.
func asideStep(before Snapshot) []Step {
	if len(before.aside()) == 0 && len(before.Networks) == 0 {
		return nil
	}
	return []Step{setAside{before}}
}

// replayed is the tape that the agent plays; empty if it records.
func replayed(opt *Options) string {
	if opt.Mode == agent.Replay {
		return opt.Tape
	}
	return ""
}

// scaleFlags keeps services at the number of containers that they have.
func scaleFlags(p *Project, before Snapshot) []string {
	var flags []string
	for _, name := range before.services(func(Container) bool { return true }) {
		s, ok := p.Services[name]
		if n := before.scale(name); ok && n != s.GetScale() {
			flags = append(flags, "--scale", fmt.Sprintf("%s=%d", name, n))
		}
	}
	return flags
}

// String renders a plan for people.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "session %s: %s project %s\n", p.Session, p.Mode, p.Project)
	n := 0
	for _, stage := range p.Stages {
		for i, s := range stage {
			n++
			side := ""
			if i > 0 {
				side = " (at the same time)"
			}
			fmt.Fprintf(&b, "%2d. %s%s\n    why:  %s\n", n, s.Call(), side, s.Cause())
			if u := s.UndoCall(); u != "" {
				fmt.Fprintf(&b, "    undo: %s\n", u)
			}
		}
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w.Text)
	}
	return b.String()
}
