package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
	"golang.org/x/sync/errgroup"
)

// composeCreate makes the project's containers with the override.
type composeCreate struct {
	Scale    []string
	services services
	cli      *overriddenCLI
	override []byte // as far as it is known beforehand
}

func (s composeCreate) Call() string {
	return strings.Join(append([]string{"docker compose create"}, s.Scale...), " ") + ", with the override"
}
func (s composeCreate) Cause() string {
	return "containers must be born in the session's cgroup, and their networks must exist for the agent"
}

func (s composeCreate) UndoCall() string {
	return "remove its containers, and the networks and volumes that were not there before"
}

func (s composeCreate) ByHand(e *session.Env) string {
	return "docker rm -f -v $(docker ps -a -q --filter label=" + session.LabelSession + "=" + e.State.Session + ")"
}

func (s composeCreate) Do(ctx context.Context, e *session.Env) (session.Created, error) {
	if err := os.WriteFile(s.cli.override, s.override, 0o600); err != nil {
		return session.Created{}, err
	}
	e.Report(session.Busy, "creating the containers", "")
	args := append([]string{"create"}, s.Scale...)
	if err := s.cli.run(ctx, e, args...); err != nil {
		return session.Created{}, err
	}
	// An image that was built or pulled just now may set variables that the
	// override must add to.
	env, err := s.services.imageEnv(ctx, e.Engine)
	if err != nil {
		return session.Created{}, err
	}
	text, err := s.services.override(e.State, env)
	if err != nil {
		return session.Created{}, err
	}
	if !bytes.Equal(text, s.override) {
		if err := s.again(ctx, e, text, args); err != nil {
			return session.Created{}, err
		}
	}
	return s.created(ctx, e, env)
}

// again makes the containers once more, with another override.
func (s composeCreate) again(ctx context.Context, e *session.Env, override []byte, args []string) error {
	if err := os.WriteFile(s.cli.override, override, 0o600); err != nil {
		return err
	}
	// Compose would keep the anonymous volumes of the containers that it replaces,
	// and with that make them named ones, which nobody removes.
	list, err := session.ContainersWith(ctx, e.Engine, ours(e)...)
	if err != nil {
		return session.EngineError(err)
	}
	for _, c := range list {
		if err := session.RemoveContainer(ctx, e.Engine, c); err != nil {
			return err
		}
	}
	return s.cli.run(ctx, e, args...)
}

// created tells what was made. env has the environment of the services' images.
func (s composeCreate) created(ctx context.Context, e *session.Env, env map[string]map[string]string) (session.Created, error) {
	list, err := session.ContainersWith(ctx, e.Engine, ours(e)...)
	if err != nil {
		return session.Created{}, session.EngineError(err)
	}
	created := session.Created{Environments: make(map[string]session.ProgramEnv)}
	for _, c := range list {
		created.Containers = append(created.Containers, session.Container{ID: c.ID, Name: session.NameOf(c), Service: c.Labels[composeService]})
	}
	for _, t := range s.services.layout.targets {
		svc := s.services.Services[t.Name]
		created.Environments[t.Name] = session.ProgramEnv{Variables: userEnv(svc, env[t.Name]), WorkingDir: svc.WorkingDir}
	}
	return created, nil
}

func (s composeCreate) Undo(ctx context.Context, e *session.Env) error {
	if err := s.cli.waitForEngine(ctx); err != nil {
		return err
	}
	return errors.Join(removeContainers(ctx, e.Engine, ours(e)...), s.removeNetworks(ctx, e), s.removeVolumes(ctx, e))
}

// An overriddenCLI runs docker compose on the session's project, with the override.
type overriddenCLI struct {
	project  *Project // nil where only the state is known
	override string   // the path of the generated compose file
	api      *apiProxy

	interrupted bool // one was, so that the engine may still be at work for it
}

func (c *overriddenCLI) run(ctx context.Context, e *session.Env, args ...string) error {
	line := func(text string) { e.Report(session.Busy, text, "") }
	dc := c.project.with(c.override)
	dc.env = append(dc.env, c.api.env()...)
	_, err := dc.run(ctx, line, append([]string{"--ansi", "never", "--progress", "plain"}, args...)...)
	if err != nil && ctx.Err() != nil {
		c.interrupted = true
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	err = composeError(err)
	var known *event.Problem
	if errors.As(err, &known) {
		return err
	}
	return &event.Problem{Kind: event.Environment, Err: err, Next: "try the same without wiretape: " + c.project.cli.byHand(args[0])}
}

// waitForEngine waits for what the engine may still be doing for a docker compose that
// was interrupted.
func (c *overriddenCLI) waitForEngine(ctx context.Context) error {
	if !c.interrupted {
		return nil
	}
	c.interrupted = false
	return session.Pause(ctx, engineGrace)
}

// ours selects what docker compose made for the session: the override labels it.
func ours(e *session.Env) []filters.KeyValuePair {
	return []filters.KeyValuePair{session.Label(composeProject, e.State.Project), session.Label(session.LabelSession, e.State.Session)}
}

// removeNetworks removes the networks that the session made, but for those that
// are in the place of the project's own: restoring replaces them.
func (s composeCreate) removeNetworks(ctx context.Context, e *session.Env) error {
	list, err := e.Engine.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(ours(e)...)})
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range list {
		if s.services.before.hasNetwork(n.Name) {
			continue
		}
		if err := session.RemoveNetwork(ctx, e.Engine, n); err != nil {
			errs = append(errs, &session.Leftover{Err: fmt.Errorf("remove network %s: %w", n.Name, err),
				ByHand: "docker network rm " + n.Name, Left: session.Harmless})
		}
	}
	return errors.Join(errs...)
}

// removeVolumes removes the volumes that the session made.
func (s composeCreate) removeVolumes(ctx context.Context, e *session.Env) error {
	list, err := e.Engine.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(ours(e)...)})
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range list.Volumes {
		if !slices.Contains(s.services.before.Volumes, v.Name) {
			if err := session.IgnoreMissing(e.Engine.VolumeRemove(ctx, v.Name, false)); err != nil {
				errs = append(errs, &session.Leftover{Err: fmt.Errorf("remove volume %s: %w", v.Name, err),
					ByHand: "docker volume rm " + v.Name, Left: session.Harmless})
			}
		}
	}
	return errors.Join(errs...)
}

// composeUp starts the services and waits until they are ready.
type composeUp struct {
	Scale    []string
	services services
	cli      *overriddenCLI
	agent    *session.Planned[session.Started]
	watcher  *watcher
}

func (s composeUp) Call() string {
	return strings.Join(append([]string{"docker compose up --detach --no-recreate --no-build"}, s.Scale...), " ") +
		", with the override, and wait until the services are ready"
}
func (s composeUp) Cause() string { return "the app runs, and its first connection is caught" }
func (s composeUp) UndoCall() string {
	return "stop the services, and remove their containers"
}

func (s composeUp) ByHand(e *session.Env) string {
	return "docker compose -p " + e.State.Project + " stop"
}

func (s composeUp) Do(ctx context.Context, e *session.Env) (session.None, error) {
	started := s.agent.Result()
	s.cli.api.publish(started.Ports)
	s.watcher.start(started.Link)
	timeout := s.services.opt.readyTimeout()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNotReady)
	defer cancel()
	r := &readiness{env: e, services: s.services, link: started.Link, timeout: timeout}
	e.Report(session.Busy, "starting the services", "")
	args := append([]string{"up", "--detach", "--no-recreate", "--no-build"}, s.Scale...)
	if err := s.cli.run(ctx, e, args...); err != nil {
		if why := r.whyNotUp(err); why != nil {
			return session.None{}, why
		}
		return session.None{}, err
	}
	if err := r.wait(ctx); err != nil {
		return session.None{}, err
	}
	s.watcher.servicesAreReady()
	return session.None{}, nil
}

func (s composeUp) Undo(ctx context.Context, e *session.Env) error {
	s.watcher.stop()
	if err := s.cli.waitForEngine(ctx); err != nil {
		return err
	}
	if s.services.Project != nil {
		s.runStopHooks(ctx, e)
	}
	list, err := session.ContainersWith(ctx, e.Engine, ours(e)...)
	if err != nil {
		return err
	}
	return stopInOrder(ctx, e.Engine, list, func(container.Summary) bool { return true })
}

// runStopHooks leaves to docker compose what only it can do when services stop.
func (s composeUp) runStopHooks(ctx context.Context, e *session.Env) {
	var hooked, provided []string
	for name, svc := range s.services.Services {
		switch {
		case svc.Provider != nil:
			provided = append(provided, name)
		case len(svc.PreStop) > 0:
			hooked = append(hooked, name)
		}
	}
	if len(hooked) > 0 {
		if err := s.cli.run(ctx, e, append([]string{"stop"}, hooked...)...); err != nil {
			e.Report(session.Warn, "pre_stop hooks: "+err.Error(), "")
		}
	}
	if len(provided) > 0 {
		if err := s.cli.run(ctx, e, append([]string{"down"}, provided...)...); err != nil {
			e.Report(session.Warn, "stop provider services: "+err.Error(), "")
		}
	}
}

// stopInOrder stops containers, those that depend on others first, and removes
// those that remove selects.
func stopInOrder(ctx context.Context, e session.Engine, list []container.Summary, remove func(container.Summary) bool) error {
	dependents := make(map[string][]string) // service → services that depend on it
	waits := make(map[string]*sync.WaitGroup)
	for _, c := range list {
		service := c.Labels[composeService]
		if waits[service] == nil {
			waits[service] = &sync.WaitGroup{}
		}
		waits[service].Add(1)
		for dep := range strings.SplitSeq(c.Labels[composeDependsOn], ",") {
			if on, _, _ := strings.Cut(dep, ":"); on != "" && on != service && !slices.Contains(dependents[on], service) {
				dependents[on] = append(dependents[on], service)
			}
		}
	}
	var g errgroup.Group
	var mu sync.Mutex
	var errs []error
	for _, c := range list {
		g.Go(func() error {
			service := c.Labels[composeService]
			defer waits[service].Done()
			for _, d := range dependents[service] {
				if waits[d] != nil {
					waits[d].Wait()
				}
			}
			if err := stopContainer(ctx, e, c, remove(c)); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
			return nil
		})
	}
	_ = g.Wait()
	return errors.Join(errs...)
}

func stopContainer(ctx context.Context, e session.Engine, c container.Summary, remove bool) error {
	if c.State != "created" && c.State != "exited" && c.State != "dead" {
		if err := e.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("stop %s: %w", session.NameOf(c), err)
		}
	}
	if !remove {
		return nil
	}
	return session.RemoveContainer(ctx, e, c)
}

// removeContainers removes the containers that args select, and waits for
// removals that others began.
func removeContainers(ctx context.Context, e session.Engine, args ...filters.KeyValuePair) error {
	for {
		list, err := session.ContainersWith(ctx, e, args...)
		if err != nil || len(list) == 0 {
			return err
		}
		var errs []error
		for _, c := range list {
			errs = append(errs, session.RemoveContainer(ctx, e, c))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if err := session.Pause(ctx, pollInterval); err != nil {
			return err
		}
	}
}
