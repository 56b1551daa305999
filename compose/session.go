// Package compose runs sessions over docker compose projects: it finds the project,
// wires a session to its services with an override, and has docker compose make, start
// and stop them.
package compose

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/docker/docker/client"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
)

// A Session is one run of wiretape over a compose project.
type Session struct {
	*session.Session
	rt *composeRuntime
}

// Run runs a session over a project: see session.Session.Run.
func Run(ctx context.Context, opt Options, use func(context.Context, *Session) error) (*Result, error) {
	tmp, err := session.MakeTemp()
	if err != nil {
		return nil, asEnvironment(err)
	}
	defer os.RemoveAll(tmp)
	s, end, err := prepare(ctx, &opt, tmp)
	defer end()
	if err != nil {
		return nil, session.InterruptedBy(ctx, asEnvironment(err))
	}
	return s.Session.Run(ctx, func(ctx context.Context) error { return use(ctx, s) })
}

// prepare observes the engine and the project, and plans the session.
func prepare(ctx context.Context, opt *Options, tmp string) (s *Session, end func(), err error) {
	var engine *client.Client
	var info session.EngineInfo
	var engineErr error
	var observed sync.WaitGroup
	observing, cancel := context.WithCancel(ctx)
	defer cancel()
	observed.Go(func() {
		if engine, engineErr = Connect(observing); engineErr == nil {
			info, engineErr = session.ObserveEngine(observing, engine)
		}
	})
	// What is wrong with the user's own files is said first: it is wrong with any engine.
	project, err := LoadProject(ctx, opt.ProjectFlags, tmp)
	if err != nil {
		cancel()
	}
	observed.Wait()
	rt := &composeRuntime{opt: opt, project: project}
	end = func() {
		rt.api.close()
		if engine != nil {
			engine.Close()
		}
	}
	if err = firstError(err, engineErr); err != nil {
		return nil, end, err
	}
	for _, w := range project.Warnings {
		opt.Report(session.Warn, w, "")
	}
	rt.name, rt.dial = project.Name, engine.Dialer()
	s = &Session{rt: rt}
	s.Session, err = session.New(ctx, engine, info, &opt.Options, rt, tmp)
	return s, end, err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Files are the session's compose files: the user's, then the generated one.
func (s *Session) Files() []string { return s.rt.files() }

func (rt *composeRuntime) files() []string {
	return append(slices.Clone(rt.project.Files), rt.overridePath)
}

// Env is the environment, on top of one's own, in which docker compose means
// this session's project.
func (s *Session) Env() []string { return s.rt.environment(s.ID()) }

func (rt *composeRuntime) environment(id string) []string {
	opt := rt.opt
	env := append(append(composeFileEnv(rt.files()), rt.api.env()...),
		"COMPOSE_PROJECT_NAME="+rt.name, "WIRETAPE_MODE="+string(opt.Mode), "WIRETAPE_SESSION="+id)
	if len(opt.Profiles) > 0 {
		env = append(env, "COMPOSE_PROFILES="+strings.Join(opt.Profiles, ","))
	}
	if len(opt.EnvFiles) > 0 {
		files := make([]string, len(opt.EnvFiles))
		for i, f := range opt.EnvFiles {
			files[i], _ = filepath.Abs(f)
		}
		env = append(env, "COMPOSE_ENV_FILES="+strings.Join(files, ","))
	}
	return env
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
	name, err := downProject(ctx, engine, opt.ProjectFlags)
	if err != nil {
		return 0, err
	}
	return session.Down(ctx, engine, info, &opt.Options, &composeRuntime{opt: &opt, name: name})
}

// downProject finds out which project is meant, also where its file is gone or
// broken by now.
func downProject(ctx context.Context, e session.Engine, flags ProjectFlags) (string, error) {
	if flags.ProjectName != "" {
		return flags.ProjectName, nil
	}
	tmp, err := session.MakeTemp()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	p, err := LoadProject(ctx, flags, tmp)
	if err == nil {
		return p.Name, nil
	}
	found, ferr := session.Find(ctx, e, "")
	if ferr != nil || len(found) == 0 {
		return "", err
	}
	var names []string
	for _, f := range found {
		if !slices.Contains(names, f.Project) {
			names = append(names, f.Project)
		}
	}
	return "", &event.Problem{Kind: event.Usage, Err: err,
		Next: "name the project instead: wiretape compose down -p NAME; sessions were left by: " + strings.Join(names, ", ")}
}
