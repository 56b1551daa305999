package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

const (
	// stopPatience is how long the agent may be silent while it ends a recording.
	stopPatience = 10 * time.Second
	// undoTimeout bounds one step of the undo, on top of what services may take to stop.
	undoTimeout = 2 * time.Minute
)

// A Leftover is something that an undo could not take back.
type Leftover struct {
	Err    error
	ByHand string // the command that does it
	Left   Left
}

// Left says what is to be done about a leftover.
type Left int

const (
	// Mendable is what another undo can still take back.
	Mendable Left = iota
	// Final is what another undo has nothing to add to ByHand for.
	Final
	// Harmless is Final, and nothing of the project depends on it.
	Harmless
)

func (l *Leftover) Error() string { return l.Err.Error() }
func (l *Leftover) Unwrap() error { return l.Err }

// leftovers lists what an undo's error has: one for each error that was joined.
func leftovers(err error, byHand string) []*Leftover {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*Leftover
		for _, e := range joined.Unwrap() {
			all = append(all, leftovers(e, byHand)...)
		}
		return all
	}
	if l, ok := err.(*Leftover); ok { //nolint:errorlint // what wraps one says more
		return []*Leftover{l}
	}
	return []*Leftover{{Err: err, ByHand: byHand}}
}

// undo takes back the steps that were begun, the last first, and each once those that
// needed it are undone. No cancelled context reaches it: what was begun is taken back.
// again is set where another undo is needed before a new session can be.
func (s *Session) undo() (again bool, err error) {
	done := make(chan struct{})
	defer close(done)
	go s.answerInterrupts(done)

	s.env.Report(Busy, "leaving the project as it was found", "")
	u := &undoing{s: s, undone: make([]chan struct{}, len(s.begun)), failed: make([][]string, len(s.begun))}
	for i := len(s.begun) - 1; i >= 0; i-- {
		u.undone[i] = make(chan struct{})
		u.waitForLater(i)
		if i == 0 && u.needsAnother() {
			close(u.undone[i]) // the volume has what wiretape compose down needs
			break
		}
		u.begin(i)
	}
	for i := range u.undone {
		<-u.undone[i]
	}
	return u.result()
}

// An undoing is an undo under way. Its slices have an element for each step that was begun.
type undoing struct {
	s      *Session
	undone []chan struct{} // closed when the step is

	mu     sync.Mutex
	again  bool
	failed [][]string
}

// waitForLater waits until the steps are undone that must be before the ith.
func (u *undoing) waitForLater(i int) {
	for j := i + 1; j < len(u.s.begun); j++ {
		if slices.Contains(u.s.begun[j].needed(), u.s.begun[i]) || slices.Contains(u.s.begun[i].outlived(), u.s.begun[j]) {
			<-u.undone[j]
		}
	}
}

// begin undoes the ith step while the next one is looked at.
func (u *undoing) begin(i int) {
	s, step := u.s, u.s.begun[i].change()
	what := step.UndoCall()
	if what == "" {
		close(u.undone[i])
		return
	}
	s.env.Report(Detail, "undo: "+step.Call()+": "+what, "")
	s.mu.Lock()
	s.undoing = what
	s.mu.Unlock()
	go func() {
		defer close(u.undone[i])
		ctx, cancel := context.WithTimeout(context.Background(), undoTimeout+s.wiring.StopGrace)
		defer cancel()
		if err := step.Undo(ctx, s.env); err != nil {
			u.report(i, leftovers(err, step.ByHand(s.env)))
		}
	}()
}

// report tells of what could not be taken back.
func (u *undoing) report(i int, left []*Leftover) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range left {
		next := ""
		if l.ByHand != "" {
			next = "by hand: " + l.ByHand
		}
		if l.Left == Harmless {
			u.s.env.Report(Warn, "left behind, which does no harm: "+l.Error(), next)
			continue
		}
		u.again = u.again || l.Left == Mendable
		u.failed[i] = append(u.failed[i], l.Error())
		u.s.env.Report(Failed, l.Error(), next)
	}
}

func (u *undoing) needsAnother() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.again
}

// result is what the undo as a whole has to say, the last step's failures first.
func (u *undoing) result() (again bool, err error) {
	slices.Reverse(u.failed)
	failed := slices.Concat(u.failed...)
	if len(failed) == 0 {
		return false, nil
	}
	next := "the lines above say what to do by hand"
	if u.again {
		next = "try again with: wiretape compose down -p " + u.s.Project()
	}
	return u.again, EnvironmentError(next, "project %s is not as it was before session %s: %s", u.s.Project(), u.s.ID(), strings.Join(failed, "; "))
}

// answerInterrupts tells a user who presses Ctrl-C again what is being done.
func (s *Session) answerInterrupts(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-s.env.Options.Interrupts:
			s.mu.Lock()
			undoing := s.undoing
			s.mu.Unlock()
			s.env.Report(Info, "still leaving the project as it was found: "+undoing, "")
		}
	}
}

// undoFound undoes a session whose CLI is gone. again is set where another undo is
// needed before a new session can be.
func undoFound(e Engine, info EngineInfo, f Found, opt *Options, rt Runtime) (again bool, err error) {
	tmp, err := MakeTemp()
	if err != nil {
		return true, err
	}
	defer os.RemoveAll(tmp)
	state := f.State
	s := &Session{env: &Env{Engine: e, Info: info, State: state, Options: opt, Temp: tmp}}
	if s.wiring, err = rt.Unwire(s.env); err != nil {
		return true, err
	}
	for _, stage := range undoPlan(s.env, s.wiring).stages {
		s.begun = append(s.begun, stage...)
	}
	if at := state.TapeVolume; at != "" && !state.heldHere() {
		ctx, cancel := context.WithTimeout(context.Background(), rescuePatience)
		if err := waitForEnd(ctx, e, state.agent()); err != nil {
			opt.Report(Warn, "the agent does not end the recording in "+at+": "+err.Error(), "look at it with wiretape tape verify "+at)
		}
		cancel()
	}
	if dir := f.cutOffTape(); dir != "" {
		ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
		defer cancel()
		rescued, err := Rescue(ctx, e, state.agent(), dir)
		switch {
		case err != nil:
			opt.Report(Warn, err.Error(), "")
		case rescued:
			opt.Report(Info, fmt.Sprintf("what the agent still held of the recording is on the tape %s", dir), "")
		}
	}
	again, err = s.undo()
	return again, errors.Join(err, state.removeTemp())
}

// cleanLeftovers undoes what sessions left that were killed.
func cleanLeftovers(ctx context.Context, e Engine, info EngineInfo, opt *Options, rt Runtime) error {
	found, err := Find(ctx, e, rt.Project())
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.alive() {
			return alreadyRunning(rt.Project())
		}
		opt.Report(Info, fmt.Sprintf("cleaning up after session %s, which ended without doing so", f.Session), "")
		again, err := undoFound(e, info, f, opt, rt)
		if again {
			return err
		}
		if err != nil {
			opt.Report(Warn, err.Error(), "the session goes on with the project as it is")
		}
	}
	return nil
}

// Down undoes the sessions of the runtime's project that were begun and not undone,
// also one that still runs, and reports how many they were.
func Down(ctx context.Context, e Engine, info EngineInfo, opt *Options, rt Runtime) (int, error) {
	found, err := Find(ctx, e, rt.Project())
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, f := range found {
		opt.Report(Info, fmt.Sprintf("cleaning up after session %s of project %s", f.Session, rt.Project()), "")
		_, err := undoFound(e, info, f, opt, rt)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return len(found), AsEnvironment(err)
	}
	return len(found), removeStray(ctx, e, rt.Project(), opt)
}

// removeStray removes what sessions of the project made for themselves, should
// something be left of which no state is.
func removeStray(ctx context.Context, e Engine, project string, opt *Options) error {
	mine := Label(LabelProject, project)
	left := func(what, name string, err error) {
		if err != nil {
			opt.Report(Warn, fmt.Sprintf("left behind, which does no harm: %s %s: %v", what, name, err), "by hand: docker "+what+" rm "+name)
		}
	}
	list, err := ContainersWith(ctx, e, mine)
	if err != nil {
		return EngineError(err)
	}
	for _, c := range list {
		left("container", NameOf(c), RemoveContainer(ctx, e, c))
	}
	nets, err := e.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(mine)})
	if err != nil {
		return EngineError(err)
	}
	for _, n := range nets {
		left("network", n.Name, RemoveNetwork(ctx, e, n))
	}
	vols, err := e.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(mine)})
	if err != nil {
		return EngineError(err)
	}
	// A state that is of no use goes before what says so.
	slices.SortStableFunc(vols.Volumes, func(a, b *volume.Volume) int {
		return len(a.Labels[LabelUndone]) - len(b.Labels[LabelUndone])
	})
	for _, v := range vols.Volumes {
		err := IgnoreMissing(e.VolumeRemove(ctx, v.Name, true))
		left("volume", v.Name, err)
		if err != nil {
			break
		}
	}
	return nil
}
