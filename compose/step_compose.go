package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/wiretape/wiretape/compose/agent"
	"golang.org/x/sync/errgroup"
)

// composeCreate makes the project's containers with the override.
type composeCreate struct {
	Before Snapshot
	Scale  []string
}

func (s composeCreate) Call() string {
	return strings.Join(append([]string{"docker compose create"}, s.Scale...), " ") + ", with the override"
}
func (s composeCreate) Cause() string {
	return "containers must be born in the session's cgroup, and their networks must exist for the agent"
}

func (s composeCreate) UndoCall() string {
	if existed := s.Before.services(func(Container) bool { return true }); len(existed) > 0 {
		return "make " + strings.Join(existed, ", ") + " again without the override, start what ran, remove the rest"
	}
	return "remove its containers, networks and volumes that were not there before"
}

func (s composeCreate) byHand(r *Session) string {
	if r.project != nil {
		return r.project.cli.byHand("up", "-d")
	}
	return "docker compose up -d"
}

func (s composeCreate) do(ctx context.Context, r *Session) error {
	if err := os.WriteFile(r.override, r.plan.Override, 0o600); err != nil {
		return err
	}
	args := append([]string{"create"}, s.Scale...)
	if err := r.compose(ctx, args...); err != nil {
		return err
	}
	// An image that was built or pulled just now may set variables that the
	// override must add to.
	env, err := r.imageEnv(ctx)
	if err != nil {
		return err
	}
	text, err := r.layout.override(r.project, r.state, r.opt, env)
	if err != nil || bytes.Equal(text, r.plan.Override) {
		return err
	}
	r.plan.Override = text
	if err := os.WriteFile(r.override, text, 0o600); err != nil {
		return err
	}
	// Compose would keep the anonymous volumes of the containers that it replaces,
	// and with that make them named ones, which nobody removes.
	list, err := containersWith(ctx, r.engine, r.ours()...)
	if err != nil {
		return engineError(err)
	}
	for _, c := range list {
		if s.Before.scale(c.Labels[composeService]) == 0 {
			if err := r.removeContainer(ctx, c); err != nil {
				return err
			}
		}
	}
	return r.compose(ctx, args...)
}

// compose runs docker compose on the session's project, with the override.
func (r *Session) compose(ctx context.Context, args ...string) error {
	line := func(text string) { r.opt.progress(Detail, text, "") }
	_, err := r.project.with(r.override).run(ctx, line, append([]string{"--ansi", "never", "--progress", "plain"}, args...)...)
	if err != nil && ctx.Err() != nil {
		r.unsettled = true
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	err = composeError(err)
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	return &Error{Kind: Environment, Err: err, Hint: "try the same without wiretape: " + r.project.cli.byHand(args[0])}
}

func (s composeCreate) undo(ctx context.Context, r *Session) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	var errs []error
	existed := s.Before.services(func(Container) bool { return true })
	if len(existed) > 0 {
		errs = append(errs, r.restore(ctx))
	}
	errs = append(errs, r.removeContainers(ctx, r.ours()...))
	errs = append(errs, r.removeNetworks(ctx), r.removeVolumes(ctx))
	return errors.Join(errs...)
}

// settle waits for what the engine may still be doing for a docker compose that
// was interrupted.
func (r *Session) settle(ctx context.Context) error {
	if !r.unsettled {
		return nil
	}
	r.unsettled = false
	return pause(ctx, settleTime)
}

// ours selects the containers that run in the session.
func (r *Session) ours() []filters.KeyValuePair {
	return []filters.KeyValuePair{label(composeProject, r.state.Project), label(labelSession, r.state.Session)}
}

// restore makes the containers that were there before as they were. Compose
// takes over the anonymous volumes of those that it replaces.
func (r *Session) restore(ctx context.Context) error {
	before := r.state.Before
	changed, err := r.anyChanged(ctx)
	if err != nil || !changed {
		return err
	}
	cli, known, err := r.original(ctx)
	if err != nil {
		return err
	}
	running := before.services(func(c Container) bool { return c.Running && known(c.Service) })
	stopped := before.services(func(c Container) bool { return known(c.Service) && !slices.Contains(running, c.Service) })
	up := func(services []string, args ...string) error {
		if len(services) == 0 {
			return nil
		}
		args = append([]string{"--ansi", "never", "--progress", "plain", "up", "--no-build", "--no-deps", "--quiet-pull"}, args...)
		for _, name := range services {
			args = append(args, "--scale", fmt.Sprintf("%s=%d", name, before.scale(name)))
		}
		_, err := cli.run(ctx, func(s string) { r.opt.progress(Detail, s, "") }, append(args, services...)...)
		return err
	}
	if err := errors.Join(up(stopped, "--no-start"), up(running, "--detach")); err != nil {
		return err
	}
	for _, c := range before.Containers {
		if c.Paused {
			err = errors.Join(err, r.engine.ContainerPause(ctx, c.Name))
		}
	}
	return err
}

// anyChanged reports whether the session touched a container that was there
// before, or may have touched a network.
func (r *Session) anyChanged(ctx context.Context) (bool, error) {
	if r.state.Mode == agent.Replay && len(r.state.Before.Networks) > 0 {
		return true, nil
	}
	list, err := containersWith(ctx, r.engine, label(composeProject, r.state.Project))
	if err != nil {
		return false, err
	}
	for _, c := range r.state.Before.Containers {
		i := slices.IndexFunc(list, func(now container.Summary) bool { return nameOf(now) == c.Name })
		if i < 0 || list[i].Labels[labelSession] != "" {
			return true, nil
		}
		if running := list[i].State == "running" || list[i].State == "restarting" || list[i].State == "paused"; running != c.Running {
			return true, nil
		}
	}
	return false, nil
}

// original is how to run docker compose on the project as it was found: on its
// own files, or, where they were read by a CLI that is gone, on what they said
// then. known tells which services the project has; others were not touched.
func (r *Session) original(ctx context.Context) (dc composeCLI, known func(service string) bool, err error) {
	knownTo := func(p *types.Project) func(string) bool {
		return func(service string) bool { _, ok := p.Services[service]; return ok }
	}
	if r.project != nil {
		return r.project.cli, knownTo(r.project.Project), nil
	}
	config, err := r.state.config()
	if err != nil {
		return dc, nil, err
	}
	project, err := parseConfig(ctx, config)
	if err != nil {
		return dc, nil, err
	}
	file := filepath.Join(r.tmp, "compose.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return dc, nil, err
	}
	dc.docker, dc.files = "docker", []string{file}
	dc.flags = []string{"--project-name", r.state.Project, "--project-directory", r.state.Dir, "--profile", "*"}
	return dc, knownTo(project), nil
}

// removeNetworks removes the project's networks that were not there before.
func (r *Session) removeNetworks(ctx context.Context) error {
	list, err := r.engine.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(label(composeProject, r.state.Project))})
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range list {
		if !slices.Contains(r.state.Before.Networks, n.Name) {
			errs = append(errs, ignoreMissing(r.engine.NetworkRemove(ctx, n.ID)))
		}
	}
	return errors.Join(errs...)
}

// removeVolumes removes the project's volumes that were not there before.
func (r *Session) removeVolumes(ctx context.Context) error {
	list, err := r.engine.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(label(composeProject, r.state.Project))})
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range list.Volumes {
		if !slices.Contains(r.state.Before.Volumes, v.Name) {
			errs = append(errs, ignoreMissing(r.engine.VolumeRemove(ctx, v.Name, false)))
		}
	}
	return errors.Join(errs...)
}

// composeUp starts the services and waits until they are ready.
type composeUp struct {
	Before Snapshot
	Scale  []string
}

func (s composeUp) Call() string {
	return strings.Join(append([]string{"docker compose up --detach --no-recreate --no-build"}, s.Scale...), " ") +
		", with the override, and wait until the services are ready"
}
func (s composeUp) Cause() string { return "the app runs, and its first connection is caught" }
func (s composeUp) UndoCall() string {
	return "stop the services, and remove the containers that were not there before"
}

func (s composeUp) byHand(r *Session) string { return "docker compose -p " + r.state.Project + " stop" }

func (s composeUp) do(ctx context.Context, r *Session) error {
	r.watch()
	ctx, cancel := context.WithTimeoutCause(ctx, r.opt.readyTimeout(), errNotReady)
	defer cancel()
	args := append([]string{"up", "--detach", "--no-recreate", "--no-build"}, s.Scale...)
	if err := r.compose(ctx, args...); err != nil {
		if why := r.whyNotUp(err); why != nil {
			return why
		}
		return err
	}
	return r.waitReady(ctx)
}

func (s composeUp) undo(ctx context.Context, r *Session) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	if r.project != nil {
		r.runStopHooks(ctx)
	}
	list, err := containersWith(ctx, r.engine, r.ours()...)
	if err != nil {
		return err
	}
	return r.stopInOrder(ctx, list, func(c container.Summary) bool {
		return c.Labels[composeOneOff] == "True" || s.Before.scale(c.Labels[composeService]) == 0
	})
}

// runStopHooks leaves to docker compose what only it can do when services stop.
func (r *Session) runStopHooks(ctx context.Context) {
	var hooked, provided []string
	for name, s := range r.project.Services {
		switch {
		case s.Provider != nil:
			provided = append(provided, name)
		case len(s.PreStop) > 0:
			hooked = append(hooked, name)
		}
	}
	if len(hooked) > 0 {
		if err := r.compose(ctx, append([]string{"stop"}, hooked...)...); err != nil {
			r.opt.progress(Warn, "pre_stop hooks: "+err.Error(), "")
		}
	}
	if len(provided) > 0 {
		if err := r.compose(ctx, append([]string{"down"}, provided...)...); err != nil {
			r.opt.progress(Warn, "stop provider services: "+err.Error(), "")
		}
	}
}

// stopInOrder stops containers, those that depend on others first, and removes
// those that remove selects.
func (r *Session) stopInOrder(ctx context.Context, list []container.Summary, remove func(container.Summary) bool) error {
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
			if err := r.stopContainer(ctx, c, remove(c)); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
			return nil
		})
	}
	g.Wait()
	return errors.Join(errs...)
}

func (r *Session) stopContainer(ctx context.Context, c container.Summary, remove bool) error {
	if c.State != "created" && c.State != "exited" && c.State != "dead" {
		if err := r.engine.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("stop %s: %w", nameOf(c), err)
		}
	}
	if !remove {
		return nil
	}
	return r.removeContainer(ctx, c)
}

func (r *Session) removeContainer(ctx context.Context, c container.Summary) error {
	err := r.engine.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) && !strings.Contains(err.Error(), "already in progress") {
		return fmt.Errorf("remove %s: %w", nameOf(c), err)
	}
	return nil
}

// removeContainers removes the containers that args select, and waits for
// removals that others began.
func (r *Session) removeContainers(ctx context.Context, args ...filters.KeyValuePair) error {
	for {
		list, err := containersWith(ctx, r.engine, args...)
		if err != nil || len(list) == 0 {
			return err
		}
		var errs []error
		for _, c := range list {
			errs = append(errs, r.removeContainer(ctx, c))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if err := pause(ctx, pollInterval); err != nil {
			return err
		}
	}
}
