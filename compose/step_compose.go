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
	return "remove its containers, and the networks and volumes that were not there before"
}

func (s composeCreate) byHand(r *Session) string {
	return "docker rm -f -v $(docker ps -a -q --filter label=" + labelSession + "=" + r.state.Session + ")"
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
		return session.EngineError(err)
	}
	for _, c := range list {
		if err := r.removeContainer(ctx, c); err != nil {
			return err
		}
	}
	return r.compose(ctx, args...)
}

// compose runs docker compose on the session's project, with the override.
func (r *Session) compose(ctx context.Context, args ...string) error {
	line := func(text string) { r.opt.progress(Detail, text, "") }
	dc := r.project.with(r.override)
	dc.env = append(dc.env, r.api.env()...)
	_, err := dc.run(ctx, line, append([]string{"--ansi", "never", "--progress", "plain"}, args...)...)
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
	return errors.Join(r.removeContainers(ctx, r.ours()...), r.removeNetworks(ctx), r.removeVolumes(ctx))
}

// settle waits for what the engine may still be doing for a docker compose that
// was interrupted.
func (r *Session) settle(ctx context.Context) error {
	if !r.unsettled {
		return nil
	}
	r.unsettled = false
	return session.Pause(ctx, settleTime)
}

// ours selects what docker compose made for the session: the override labels it.
func (r *Session) ours() []filters.KeyValuePair {
	return []filters.KeyValuePair{label(composeProject, r.state.Project), label(labelSession, r.state.Session)}
}

// removeNetworks removes the networks that the session made, but for those that
// are in the place of the project's own: restoring replaces them.
func (r *Session) removeNetworks(ctx context.Context) error {
	list, err := r.engine.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(r.ours()...)})
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range list {
		if r.state.Before.hasNetwork(n.Name) {
			continue
		}
		if err := r.removeNetwork(ctx, n); err != nil {
			errs = append(errs, &leftover{err: fmt.Errorf("remove network %s: %w", n.Name, err),
				byHand: "docker network rm " + n.Name, harmless: true, final: true})
		}
	}
	return errors.Join(errs...)
}

// removeVolumes removes the volumes that the session made.
func (r *Session) removeVolumes(ctx context.Context) error {
	list, err := r.engine.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(r.ours()...)})
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range list.Volumes {
		if !slices.Contains(r.state.Before.Volumes, v.Name) {
			if err := session.IgnoreMissing(r.engine.VolumeRemove(ctx, v.Name, false)); err != nil {
				errs = append(errs, &leftover{err: fmt.Errorf("remove volume %s: %w", v.Name, err),
					byHand: "docker volume rm " + v.Name, harmless: true, final: true})
			}
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
	return "stop the services, and remove their containers"
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
	return r.stopInOrder(ctx, list, func(container.Summary) bool { return true })
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
		if err := session.Pause(ctx, pollInterval); err != nil {
			return err
		}
	}
}
