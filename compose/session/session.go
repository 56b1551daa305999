// Package session runs a session over the services of a runtime: it plans what the
// session changes, applies that step by step, talks with the agent, writes the
// recording, and undoes everything on every way out. It knows steps and an agent, and
// not what the services run in.
package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
	"golang.org/x/sync/errgroup"
)

// A Session is one run of wiretape over a project.
type Session struct {
	env    *Env
	wiring *Wiring
	plan   *Plan
	tape   tapeWriter
	// mounted is tape where the agent writes it; else nil.
	mounted *mountedTape
	ready   chan struct{} // closed when the services were

	mu      sync.Mutex
	begun   []planned
	undoing string // the step that is being undone, for people
}

// New observes and plans a session over the runtime's services, once what sessions
// left that were killed is undone. tmp is a folder of the session's own.
func New(ctx context.Context, engine Engine, info EngineInfo, opt *Options, rt Runtime, tmp string) (*Session, error) {
	if err := cleanLeftovers(ctx, engine, info, opt, rt); err != nil {
		return nil, err
	}
	e := &Env{Engine: engine, Info: info, Options: opt, Temp: tmp}
	var err error
	if e.State, err = newState(NewID(), rt.Project(), opt.Mode, info, tmp); err != nil {
		return nil, err
	}
	s := &Session{env: e, tape: (*recording.Pending)(nil), ready: make(chan struct{})}
	if err := s.placeTape(); err != nil {
		return nil, err
	}
	if s.wiring, err = rt.Wire(ctx, e); err != nil {
		return nil, err
	}
	for _, w := range s.wiring.Warnings {
		e.Report(Warn, w.Text, w.Hint)
	}
	return s, nil
}

// placeTape finds out where the tape is.
func (s *Session) placeTape() error {
	opt := s.env.Options
	at, is, err := recording.ParseVolume(opt.Tape)
	if err != nil {
		return err
	}
	if !opt.records() {
		return nil
	}
	if is {
		s.env.State.TapeVolume = opt.Tape
		s.mounted = newMountedTape(at)
		s.tape = s.mounted
		return nil
	}
	s.env.State.Recording, err = recording.Path(opt.Tape)
	return err
}

// NewID returns a session's name: short, and fit for a slice of systemd's.
func NewID() string {
	var b [4]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Run brings the services up with the agent, calls use, and undoes everything,
// whatever happened. The context that use gets ends with ctx and when the agent is
// gone; context.Cause tells which. When ctx ends while use runs, Run's error is use's.
// The result is nil where nothing was recorded.
func (s *Session) Run(ctx context.Context, use func(context.Context) error) (*recording.Result, error) {
	records := s.env.Options.records()
	if records && s.mounted == nil {
		pending, err := recording.Create(s.env.Options.Tape, s.manifest())
		if err != nil {
			return nil, err
		}
		s.tape = pending
	}
	s.plan = newPlan(s.env, s.wiring, s)
	err := s.run(ctx, use)
	if !records {
		return nil, err
	}
	select {
	case <-s.ready:
	default:
		return nil, errors.Join(err, s.tape.Discard())
	}
	result, rerr := s.tape.Finish(recording.OutcomeOf(err))
	return result, errors.Join(err, rerr)
}

// handOver leaves the writing of the recording to the agent, which has its folder mounted.
func (s *Session) handOver() error {
	pending, ok := s.tape.(*recording.Pending)
	if !ok || pending == nil {
		return errors.New("there is no recording to hand over")
	}
	if err := pending.Leave(); err != nil {
		return err
	}
	s.mounted = &mountedTape{folder: pending, fail: make(chan struct{})}
	s.tape = s.mounted
	return nil
}

// manifest is what is known of a tape before it is recorded.
func (s *Session) manifest() tape.Manifest {
	m := s.env.Options.Manifest
	if m.Created.IsZero() {
		m.Created = time.Now()
	}
	if m.By == "" {
		m.By = s.env.Options.Version
	}
	m.Project, m.Services = s.Project(), s.Services()
	return m
}

// run applies the plan, calls use, and undoes what was applied.
func (s *Session) run(ctx context.Context, use func(context.Context) error) error {
	err := InterruptedBy(ctx, AsEnvironment(s.apply(ctx)))
	if err == nil {
		close(s.ready)
		err = s.use(ctx, use)
		s.mounted.used(err)
	}
	_, undoErr := s.undo()
	var known *event.Problem
	if err == nil || undoErr != nil && errors.As(err, &known) && known.Kind == event.Interrupted {
		return undoErr
	}
	return err
}

// apply begins the plan's steps in their order, each as soon as those that it needs are
// done. After the first that fails no other begins.
func (s *Session) apply(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, stage := range s.plan.stages {
		for _, step := range stage {
			if !begins(gctx, step) {
				return cmp.Or(g.Wait(), context.Cause(ctx))
			}
			if call := step.change().Call(); call != "" {
				s.env.Report(Detail, call, "")
			}
			s.begun = append(s.begun, step)
			g.Go(func() error { return step.do(gctx, s.env) })
		}
	}
	return g.Wait()
}

// begins waits until all that a step needs is done, and reports whether it is.
func begins(ctx context.Context, step planned) bool {
	for _, n := range step.needed() {
		select {
		case <-n.finished():
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// use calls use until it returns, with a context that ends when the agent is gone.
func (s *Session) use(ctx context.Context, use func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-s.Done():
			cancel(s.Err())
		case <-s.tape.Failed():
			cancel(s.tape.Err())
		case <-ended:
		}
	}()
	err := use(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	// Whatever use makes of it, the session failed.
	select {
	case <-s.Done():
		return s.Err()
	case <-s.tape.Failed():
		return s.tape.Err()
	default:
		return err
	}
}

// InterruptedBy says so where a context's end is what kept a session from running.
func InterruptedBy(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return &event.Problem{Kind: event.Interrupted, Err: errors.New("interrupted before the session ran")}
}

// receive takes what the agent says: records go to the tape, and the rest to who asked.
func (s *Session) receive(m agent.FromAgent) {
	if m.Record != nil {
		s.tape.Apply(*m.Record)
		return
	}
	if m.Unwritable != nil && s.mounted != nil {
		s.mounted.unwritable(m.Unwritable)
		return
	}
	if m.Event != nil && m.Event.Notice != nil && m.Event.Notice.Kind == event.Unrecorded {
		s.tape.AddProblem(m.Event.Notice.Detail)
	}
	if s.env.Options.Message != nil {
		s.env.Options.Message(m)
	}
}

// Project is the name of the project.
func (s *Session) Project() string { return s.env.State.Project }

// ID is the session's own name.
func (s *Session) ID() string { return s.env.State.Session }

// Services are the services whose calls are caught.
func (s *Session) Services() []string {
	names := make([]string, len(s.wiring.Services))
	for i, svc := range s.wiring.Services {
		names[i] = svc.Name
	}
	return names
}

// Published are the ports of the host that the agent forwards to services.
func (s *Session) Published() []agent.Ingress { return slices.Clone(s.plan.agent.Result().Ports) }

// Plan is what the session changes.
func (s *Session) Plan() *Plan { return s.plan }

// Done is closed when the agent is gone; Err tells why.
func (s *Session) Done() <-chan struct{} { return s.plan.agent.Result().Link.Done() }

// Err is why the agent is gone, once Done is closed.
func (s *Session) Err() error { return s.plan.agent.Result().Link.Err() }

// Request sends a request to the agent and returns its reply.
func (s *Session) Request(ctx context.Context, m agent.ToAgent) (agent.Reply, error) {
	return s.plan.agent.Result().Link.Request(ctx, m)
}

// runSession is the time between the services' start and the undo.
type runSession struct {
	Mode  agent.Mode
	agent *Planned[Started]
	of    *Session
}

func (s runSession) Call() string {
	if s.Mode == agent.Replay {
		return "replay"
	}
	return "record"
}
func (s runSession) Cause() string      { return "this is what the session is for" }
func (s runSession) UndoCall() string   { return "tell the agent to stop: it sends what it still holds" }
func (s runSession) ByHand(*Env) string { return "" }

func (s runSession) Do(context.Context, *Env) (None, error) { return None{}, nil }

func (s runSession) Undo(ctx context.Context, e *Env) error {
	link := s.agent.Result().Link
	select {
	case <-link.Done(): // reported already
		s.of.tape.AddProblem(link.Err().Error())
		return nil
	default:
	}
	if err := link.Stop(ctx, stopPatience); err != nil {
		s.of.tape.AddProblem("the end of the recording is missing: " + err.Error())
		e.Report(Warn, "the agent did not end the recording: "+err.Error(), "")
	}
	s.of.mounted.end(ctx, link)
	return nil
}
