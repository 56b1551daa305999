// Package compose runs sessions over docker compose projects: it finds the
// project, plans what a session changes, applies it step by step, and undoes it
// on every way out, so that the project is left as it was found.
package compose

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/client"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
	"golang.org/x/sync/errgroup"
)

// tempPrefix is what the names of sessions' folders begin with.
const tempPrefix = "wiretape-session-"

// longestTemp leaves room for a socket's path, which 104 bytes bound on some systems.
const longestTemp = 60

// makeTemp makes a session's folder.
func makeTemp() (string, error) {
	dir := os.TempDir()
	if runtime.GOOS != "windows" && len(dir) > longestTemp {
		dir = shortTemp
	}
	return os.MkdirTemp(dir, tempPrefix)
}

// shortTemp is where a session's folder is if TMPDIR is too long for a socket.
const shortTemp = "/tmp"

// A Session is one run of wiretape over a project.
type Session struct {
	opt     *Options
	engine  session.Engine
	info    session.EngineInfo
	state   State
	project *Project // nil where only the state is known
	layout  *layout
	plan    *Plan
	tmp     string // a folder of the session's own
	// override is the path of the generated compose file.
	override string
	api      *apiProxy // nil where only the state is known

	image        string        // of the agent
	link         *session.Link // nil until the agent was attached to
	agentStarted bool          // the agent's container may have run
	unsettled    bool          // docker compose was interrupted
	blocked      bool          // the undo failed, and must be done again
	ready        chan struct{} // closed when the services were
	published    []agent.Ingress
	roots        map[string][]byte    // PEM, by service
	recording    *session.PendingTape // nil where nothing is recorded
	background   sync.WaitGroup
	stopWatching context.CancelFunc
	needed       atomic.Pointer[needed] // nil where nothing ends with a container

	mu        sync.Mutex
	begun     []Step
	strangers map[string]bool // services that were started, and that the session does not know
	doing     string          // the step that is being undone, for people
}

// Run runs a session: it brings the project up with the agent, calls use, and
// undoes everything, whatever happened. The context that use gets ends with ctx
// and when the agent is gone; context.Cause tells which. When ctx ends while use
// runs, Run's error is use's. The result is nil where nothing was recorded.
func Run(ctx context.Context, opt Options, use func(context.Context, *Session) error) (*session.Result, error) {
	tmp, err := makeTemp()
	if err != nil {
		return nil, asEnvironment(err)
	}
	defer os.RemoveAll(tmp)
	s := &Session{
		opt: &opt, tmp: tmp, override: filepath.Join(tmp, "wiretape.yaml"),
		roots: make(map[string][]byte), ready: make(chan struct{}), stopWatching: func() {},
	}
	closeEngine, err := s.prepare(ctx)
	defer closeEngine()
	if err != nil {
		return nil, interrupted(ctx, asEnvironment(err))
	}
	if opt.Mode == agent.Record && opt.Tape != "" {
		if s.recording, err = session.CreatePendingTape(opt.Tape, s.manifest()); err != nil {
			return nil, err
		}
	}
	err = s.run(ctx, use)
	if s.recording == nil {
		return nil, err
	}
	select {
	case <-s.ready:
	default:
		return nil, errors.Join(err, s.recording.Discard())
	}
	result, rerr := s.recording.Finish(err == nil)
	return result, errors.Join(err, rerr)
}

// prepare observes the engine and the project and makes the plan.
func (s *Session) prepare(ctx context.Context) (closeEngine func(), err error) {
	var engine *client.Client
	var engineErr error
	var observed sync.WaitGroup
	observing, cancel := context.WithCancel(ctx)
	defer cancel()
	observed.Go(func() {
		if engine, engineErr = Connect(observing); engineErr == nil {
			s.engine = engine
			s.info, engineErr = session.ObserveEngine(observing, engine)
		}
	})
	// What is wrong with the user's own files is said first: it is wrong with any engine.
	if s.project, err = LoadProject(ctx, s.opt.ProjectFlags, s.tmp); err != nil {
		cancel()
	}
	observed.Wait()
	if err == nil {
		err = engineErr
	}
	closeEngine = func() {
		s.api.close()
		if engine != nil {
			engine.Close()
		}
	}
	if err != nil {
		return closeEngine, err
	}
	for _, w := range s.project.Warnings {
		s.opt.progress(Warn, w, "")
	}
	if err := s.cleanLeftovers(ctx); err != nil {
		return closeEngine, err
	}
	if err := s.makePlan(ctx); err != nil {
		return closeEngine, err
	}
	s.api, err = startAPIProxy(s.tmp, engine.Dialer(), s.project.Name, s.state.Before.aside(), s.adopt)
	return closeEngine, err
}

// cleanLeftovers undoes what sessions left that were killed.
func (s *Session) cleanLeftovers(ctx context.Context) error {
	found, err := findSessions(ctx, s.engine, s.project.Name)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.alive() {
			return alreadyRunning(s.project.Name)
		}
		s.opt.progress(Info, fmt.Sprintf("cleaning up after session %s, which ended without doing so", f.Session), "")
		blocked, err := undoFound(s.engine, s.info, f.State, s.opt)
		if blocked {
			return err
		}
		if err != nil {
			s.opt.progress(Warn, err.Error(), "the session goes on with the project as it is")
		}
	}
	return nil
}

func (s *Session) makePlan(ctx context.Context) error {
	before, err := observeProject(ctx, s.engine, s.project.Name)
	if err != nil {
		return err
	}
	before.setAside(s.project, s.opt.fenced())
	if s.state, err = newState(newID(), s.project, s.opt.Mode, s.info, before, s.tmp); err != nil {
		return err
	}
	if s.opt.Mode == agent.Record && s.opt.Tape != "" {
		if s.state.Recording, err = session.PendingPath(s.opt.Tape); err != nil {
			return err
		}
	}
	nets, err := s.containerNetworks(ctx)
	if err != nil {
		return err
	}
	if s.layout, err = lay(s.project, s.state, s.opt, nets); err != nil {
		return err
	}
	env, err := s.imageEnv(ctx)
	if err != nil {
		return err
	}
	override, err := s.layout.override(s.project, s.state, s.opt, env)
	if err != nil {
		return err
	}
	s.plan = newPlan(s.project, s.state, s.info, s.opt, s.layout, override)
	for _, w := range s.plan.Warnings {
		s.opt.progress(Warn, w.Text, w.Hint)
	}
	return nil
}

// newID returns a session's name: short, and fit for a slice of systemd's.
func newID() string {
	var b [4]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// containerNetworks finds the networks of the containers outside the project
// whose network a service uses.
func (s *Session) containerNetworks(ctx context.Context) (map[string][]string, error) {
	nets := make(map[string][]string)
	for _, svc := range s.project.Services {
		name, ok := strings.CutPrefix(svc.NetworkMode, "container:")
		if !ok || nets[name] != nil {
			continue
		}
		c, err := s.engine.ContainerInspect(ctx, name)
		if err != nil {
			if session.IgnoreMissing(err) == nil {
				continue // compose says what is wrong
			}
			return nil, session.EngineError(err)
		}
		for network := range c.NetworkSettings.Networks {
			nets[name] = append(nets[name], network)
		}
		slices.Sort(nets[name])
	}
	return nets, nil
}

// run applies the plan, calls use, and undoes what was applied.
func (s *Session) run(ctx context.Context, use func(context.Context, *Session) error) error {
	err := interrupted(ctx, asEnvironment(s.apply(ctx)))
	if err == nil {
		close(s.ready)
		err = s.use(ctx, use)
	}
	undoErr := s.undo()
	var known *Error
	if err == nil || undoErr != nil && errors.As(err, &known) && known.Kind == Interrupted {
		return undoErr
	}
	return err
}

// use calls use until it returns, with a context that ends when the agent is gone.
func (s *Session) use(ctx context.Context, use func(context.Context, *Session) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-s.link.Done():
			cancel(s.link.Err())
		case <-s.recording.Failed():
			cancel(s.recording.Err())
		case <-ended:
		}
	}()
	err := use(ctx, s)
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	// Whatever use makes of it, the session failed.
	select {
	case <-s.link.Done():
		return s.link.Err()
	case <-s.recording.Failed():
		return s.recording.Err()
	default:
		return err
	}
}

// interrupted says so where a context's end is what kept a session from running.
func interrupted(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return &Error{Kind: Interrupted, Err: errors.New("interrupted before the session ran")}
}

// apply does the plan's stages, one after the other.
func (s *Session) apply(ctx context.Context) error {
	for _, stage := range s.plan.Stages {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		g, gctx := errgroup.WithContext(ctx)
		for _, step := range stage {
			s.opt.progress(Detail, step.Call(), "")
			s.begun = append(s.begun, step)
			g.Go(func() error { return step.do(gctx, s) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// hear passes on what the agent says.
func (s *Session) hear(m agent.FromAgent) {
	if m.Record != nil {
		s.recording.Apply(*m.Record)
		return
	}
	if m.Event != nil && m.Event.Notice != nil && m.Event.Notice.Kind == event.Unrecorded {
		s.recording.AddProblem(m.Event.Notice.Detail)
	}
	if s.opt.Message != nil {
		s.opt.Message(m)
	}
}

// manifest is what is known of a tape before it is recorded.
func (s *Session) manifest() tape.Manifest {
	m := s.opt.Manifest
	if m.Created.IsZero() {
		m.Created = time.Now()
	}
	if m.By == "" {
		m.By = s.opt.Version
	}
	m.Project, m.Services = s.state.Project, s.Services()
	return m
}

// Project is the name of the compose project.
func (s *Session) Project() string { return s.state.Project }

// ID is the session's own name.
func (s *Session) ID() string { return s.state.Session }

// Services are the services whose calls are caught.
func (s *Session) Services() []string {
	names := make([]string, len(s.layout.targets))
	for i, t := range s.layout.targets {
		names[i] = t.Name
	}
	return names
}

// Files are the session's compose files: the user's, then the generated one.
func (s *Session) Files() []string { return append(slices.Clone(s.project.Files), s.override) }

// Published are the ports of the host that the agent forwards to services.
func (s *Session) Published() []agent.Ingress { return slices.Clone(s.published) }

// Plan is what the session changes.
func (s *Session) Plan() *Plan { return s.plan }

// Done is closed when the agent is gone; Err tells why.
func (s *Session) Done() <-chan struct{} { return s.link.Done() }

// Err is why the agent is gone, once Done is closed.
func (s *Session) Err() error { return s.link.Err() }

// Request sends a request to the agent and returns its reply.
func (s *Session) Request(ctx context.Context, m agent.ToAgent) (agent.Reply, error) {
	return s.link.Request(ctx, m)
}

// Env is the environment, on top of one's own, in which docker compose means
// this session's project.
func (s *Session) Env() []string {
	env := append(append(composeFileEnv(s.Files()), s.api.env()...),
		"COMPOSE_PROJECT_NAME="+s.state.Project, "WIRETAPE_MODE="+string(s.opt.Mode), "WIRETAPE_SESSION="+s.state.Session)
	if len(s.opt.Profiles) > 0 {
		env = append(env, "COMPOSE_PROFILES="+strings.Join(s.opt.Profiles, ","))
	}
	if len(s.opt.EnvFiles) > 0 {
		files := make([]string, len(s.opt.EnvFiles))
		for i, f := range s.opt.EnvFiles {
			files[i], _ = filepath.Abs(f)
		}
		env = append(env, "COMPOSE_ENV_FILES="+strings.Join(files, ","))
	}
	return env
}

// runSession is the time between the services' start and the undo.
type runSession struct{ Mode agent.Mode }

func (s runSession) Call() string {
	if s.Mode == agent.Replay {
		return "replay"
	}
	return "record"
}
func (s runSession) Cause() string          { return "this is what the session is for" }
func (s runSession) UndoCall() string       { return "tell the agent to stop: it sends what it still holds" }
func (s runSession) byHand(*Session) string { return "" }

func (s runSession) do(context.Context, *Session) error { return nil }

func (s runSession) undo(ctx context.Context, r *Session) error {
	select {
	case <-r.link.Done(): // reported already
		r.recording.AddProblem(r.link.Err().Error())
		return nil
	default:
	}
	if err := r.link.Stop(ctx, stopPatience); err != nil {
		r.recording.AddProblem("the end of the recording is missing: " + err.Error())
		r.opt.progress(Warn, "the agent did not end the recording: "+err.Error(), "")
	}
	return nil
}
