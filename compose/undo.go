package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/wiretape/wiretape/compose/session"
)

const (
	// stopPatience is how long the agent may be silent while it ends a recording.
	stopPatience = 10 * time.Second
	// undoTimeout bounds one step of the undo, on top of what services may take to stop.
	undoTimeout = 2 * time.Minute
)

// undo takes back the steps that were begun, the last first. No cancelled
// context reaches it: what was begun is taken back.
func (s *Session) undo() error {
	s.stopWatching()
	s.background.Wait()
	done := make(chan struct{})
	defer close(done)
	go s.answerInterrupts(done)

	var failed []string
	needed := false // the state, by another undo
	for i := len(s.begun) - 1; i >= 0; i-- {
		step := s.begun[i]
		what := step.UndoCall()
		if what == "" {
			continue
		}
		if _, last := step.(makeVolume); last && needed {
			break // it has what wiretape compose down needs
		}
		s.opt.progress(Detail, "undo: "+step.Call()+": "+what, "")
		s.mu.Lock()
		s.doing = what
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), undoTimeout+s.grace())
		err := step.undo(ctx, s)
		cancel()
		if err == nil {
			continue
		}
		for _, l := range leftovers(err, step.byHand(s)) {
			hint := ""
			if l.byHand != "" {
				hint = "by hand: " + l.byHand
			}
			if l.harmless {
				s.opt.progress(Warn, "left behind, which does no harm: "+l.Error(), hint)
				continue
			}
			needed = needed || !l.final
			failed = append(failed, l.Error())
			s.opt.progress(Failed, l.Error(), hint)
		}
	}
	if s.link != nil {
		s.link.Close()
	}
	if len(failed) == 0 {
		return nil
	}
	hint := "the lines above say what to do by hand"
	if s.blocked = needed; needed {
		hint = "try again with: wiretape compose down -p " + s.state.Project
	}
	return session.EnvironmentError(hint, "project %s is not as it was before session %s: %s", s.state.Project, s.state.Session, strings.Join(failed, "; "))
}

// grace is how long the services may take to stop, in all.
func (s *Session) grace() time.Duration {
	var sum time.Duration
	if s.project != nil {
		for _, svc := range s.project.Services {
			if svc.StopGracePeriod != nil {
				sum += time.Duration(*svc.StopGracePeriod)
			}
		}
	}
	return sum
}

// answerInterrupts tells a user who presses Ctrl-C again what is being done.
func (s *Session) answerInterrupts(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-s.opt.Interrupts:
			s.mu.Lock()
			doing := s.doing
			s.mu.Unlock()
			s.opt.progress(Info, "still leaving the project as it was found: "+doing, "")
		}
	}
}

// undoFound undoes a session whose CLI is gone. blocked is set where another undo
// is needed before a new session can be.
func undoFound(e session.Engine, info session.EngineInfo, state State, opt *Options) (blocked bool, err error) {
	tmp, err := makeTemp()
	if err != nil {
		return true, err
	}
	defer os.RemoveAll(tmp)
	plan := undoPlan(state)
	s := &Session{
		opt: opt, engine: e, info: info, state: state, plan: plan, tmp: tmp,
		agentStarted: true, stopWatching: func() {}, begun: slices.Concat(plan.Stages...),
		unsettled: true, // its docker compose may have been killed a moment ago
	}
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	if dir := state.cutOffTape(); dir != "" {
		rescued, err := session.Rescue(ctx, e, state.agent(), dir)
		switch {
		case err != nil:
			opt.progress(Warn, err.Error(), "")
		case rescued:
			opt.progress(Info, fmt.Sprintf("what the agent still held of the recording is on the tape %s", dir), "")
		}
	}
	err = s.undo()
	return s.blocked, errors.Join(err, state.removeTemp())
}

// Down undoes the sessions of a project that were begun and not undone, also
// one that still runs. Of the options it uses those that choose the project and
// the agent, and the functions that hear of it. It reports how many it undid.
func Down(ctx context.Context, opt Options) (int, error) {
	engine, err := Connect(ctx)
	if err != nil {
		return 0, err
	}
	defer engine.Close()
	info, err := session.ObserveEngine(ctx, engine)
	if err != nil {
		return 0, err
	}
	project, err := downProject(ctx, engine, opt.ProjectFlags)
	if err != nil {
		return 0, err
	}
	found, err := findSessions(ctx, engine, project)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, f := range found {
		opt.progress(Info, fmt.Sprintf("cleaning up after session %s of project %s", f.Session, project), "")
		_, err := undoFound(engine, info, f.State, &opt)
		errs = append(errs, err)
	}
	n := len(found)
	if err := errors.Join(errs...); err != nil {
		return n, asEnvironment(err)
	}
	return n, removeStray(ctx, engine, project, &opt)
}

// downProject finds out which project is meant, also where its file is gone or
// broken by now.
func downProject(ctx context.Context, e session.Engine, flags ProjectFlags) (string, error) {
	if flags.ProjectName != "" {
		return flags.ProjectName, nil
	}
	tmp, err := os.MkdirTemp("", tempPrefix)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	p, err := LoadProject(ctx, flags, tmp)
	if err == nil {
		return p.Name, nil
	}
	found, ferr := findSessions(ctx, e, "")
	if ferr != nil || len(found) == 0 {
		return "", err
	}
	var names []string
	for _, f := range found {
		if !slices.Contains(names, f.Project) {
			names = append(names, f.Project)
		}
	}
	return "", &Error{Kind: Usage, Err: err,
		Hint: "name the project instead: wiretape compose down -p NAME; sessions were left by: " + strings.Join(names, ", ")}
}

// removeStray removes what sessions of the project made for themselves, should
// something be left of which no state is.
func removeStray(ctx context.Context, e session.Engine, project string, opt *Options) error {
	r := &Session{engine: e, opt: opt}
	mine := label(labelProject, project)
	left := func(what, name string, err error) {
		if err != nil {
			opt.progress(Warn, fmt.Sprintf("left behind, which does no harm: %s %s: %v", what, name, err), "by hand: docker "+what+" rm "+name)
		}
	}
	list, err := containersWith(ctx, e, mine)
	if err != nil {
		return session.EngineError(err)
	}
	for _, c := range list {
		left("container", nameOf(c), r.removeContainer(ctx, c))
	}
	nets, err := e.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(mine)})
	if err != nil {
		return session.EngineError(err)
	}
	for _, n := range nets {
		left("network", n.Name, r.removeNetwork(ctx, n))
	}
	vols, err := e.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(mine)})
	if err != nil {
		return session.EngineError(err)
	}
	// A state that is of no use goes before what says so.
	slices.SortStableFunc(vols.Volumes, func(a, b *volume.Volume) int {
		return boolCompare(a.Labels[labelUndone] != "", b.Labels[labelUndone] != "")
	})
	for _, v := range vols.Volumes {
		err := session.IgnoreMissing(e.VolumeRemove(ctx, v.Name, true))
		left("volume", v.Name, err)
		if err != nil {
			break
		}
	}
	return nil
}
