package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
	"golang.org/x/sync/errgroup"
)

const (
	pollInterval = 30 * time.Millisecond
	// portGrace is how long a service that listens on one of its ports may take
	// for the others, and lateGrace how long one that only its image says has
	// ports is waited for: it may not be the program that the image was made for.
	portGrace = 2 * time.Second
	lateGrace = time.Second
	// runGrace is how long a service that has no ports must run: one that can't
	// start often ends at once.
	runGrace = 200 * time.Millisecond
	logLines = 20
)

// errNotReady ends the wait for the services.
var errNotReady = errors.New("the services did not get ready in time")

// readiness waits for the services to be ready.
type readiness struct {
	env      *session.Env
	services services
	link     *session.Link
	timeout  time.Duration // that they have, for messages
}

// A serviceError is a service that doesn't come up.
func (r *readiness) serviceError(service, id, what string) error {
	// The wait is over, so its context may be.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	text := fmt.Sprintf("service %s %s", service, what)
	if logs := session.LastLines(ctx, r.env.Engine, id, logLines); logs != "" {
		text += "; its last lines:\n" + indent(logs)
	}
	return &event.Problem{Kind: event.App, Err: errors.New(text),
		Next: "see that it starts without wiretape (docker compose up " + service + "), or give it longer with --ready-timeout"}
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

// A waiting is a service that is not known to be ready.
type waiting struct {
	since   time.Time // when all its containers were first seen running
	some    time.Time // when one of its ports was first seen open
	missing string    // what it lacks, for people
	id      string    // the container that lacks it
}

// wait waits until every service is healthy, or runs and listens, or has
// ended with success.
func (r *readiness) wait(ctx context.Context) error {
	open := make(map[string]*waiting)
	for name, s := range r.services.Services {
		if s.Provider == nil && replicasOf(s, r.services.before) > 0 {
			open[name] = &waiting{}
		}
	}
	said := ""
	for {
		if err := r.look(ctx, open); err != nil && ctx.Err() == nil {
			return err
		}
		if len(open) == 0 {
			return nil
		}
		if text := waitingFor(open); text != said {
			r.env.Report(session.Busy, text, "")
			said = text
		}
		select {
		case <-r.link.Done():
			return r.link.Err()
		case <-time.After(pollInterval):
		case <-ctx.Done():
			if !errors.Is(context.Cause(ctx), errNotReady) {
				return context.Cause(ctx)
			}
			return r.notReadyError(open)
		}
	}
}

// waitingFor says which services are waited for, and what they lack.
func waitingFor(open map[string]*waiting) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(open)) {
		list = append(list, strings.TrimSpace(name+" "+open[name].missing))
	}
	return "waiting for the services: " + strings.Join(list, ", ")
}

func (r *readiness) notReadyError(open map[string]*waiting) error {
	var names []string
	for name := range open {
		names = append(names, name)
	}
	slices.Sort(names)
	w := open[names[0]]
	what := w.missing
	if what == "" {
		what = "does not run"
	}
	what = fmt.Sprintf("%s after %v", what, r.timeout)
	if len(names) > 1 {
		what += " (nor are ready: " + strings.Join(names[1:], ", ") + ")"
	}
	return r.serviceError(names[0], w.id, what)
}

// look looks at the services that are open and drops those that are ready.
func (r *readiness) look(ctx context.Context, open map[string]*waiting) error {
	list, err := session.ContainersWith(ctx, r.env.Engine, ours(r.env)...)
	if err != nil {
		return session.EngineError(err)
	}
	byService := make(map[string][]container.InspectResponse)
	var g errgroup.Group
	all := make([]container.InspectResponse, len(list))
	for i, c := range list {
		if open[c.Labels[composeService]] == nil || !isReplica(c.Labels) {
			continue
		}
		g.Go(func() (err error) {
			all[i], err = r.env.Engine.ContainerInspect(ctx, c.ID)
			return session.IgnoreMissing(err)
		})
	}
	if err := g.Wait(); err != nil {
		return session.EngineError(err)
	}
	for i, c := range list {
		if all[i].ContainerJSONBase != nil {
			name := c.Labels[composeService]
			byService[name] = append(byService[name], all[i])
		}
	}
	for name, cs := range byService {
		ready, err := r.serviceReady(ctx, name, cs, open[name])
		if err != nil {
			return err
		}
		if ready {
			delete(open, name)
		}
	}
	return nil
}

// serviceReady looks at the containers of one service. An error means that it
// will not get ready any more.
func (r *readiness) serviceReady(ctx context.Context, name string, cs []container.InspectResponse, w *waiting) (bool, error) {
	checked, running := false, 0
	for _, c := range cs {
		w.id = c.ID
		switch state := c.State; {
		case state.Status == "exited" || state.Status == "dead":
			if state.ExitCode != 0 {
				return false, r.serviceError(name, c.ID, fmt.Sprintf("ended with exit code %d", state.ExitCode))
			}
			continue // has done its work
		case state.Status != "running" && state.Status != "paused":
			w.missing = "is " + state.Status
			return false, nil
		case state.Health != nil && state.Health.Status != "" && state.Health.Status != container.NoHealthcheck:
			checked = true
			switch state.Health.Status {
			case container.Unhealthy:
				return false, r.serviceError(name, c.ID, "is unhealthy"+lastProbe(state.Health))
			case container.Starting:
				w.missing = "is not healthy" + lastProbe(state.Health)
				return false, nil
			}
		}
		running++
	}
	if checked || running == 0 {
		return true, nil
	}
	if w.since.IsZero() {
		w.since = time.Now()
	}
	return r.listens(ctx, name, cs, running, w)
}

func lastProbe(h *container.Health) string {
	if len(h.Log) == 0 {
		return ""
	}
	last := h.Log[len(h.Log)-1]
	return fmt.Sprintf(" (its health check: exit code %d, %.200s)", last.ExitCode, strings.TrimSpace(last.Output))
}

// listens reports whether the containers of a service listen on its ports.
func (r *readiness) listens(ctx context.Context, name string, cs []container.InspectResponse, running int, w *waiting) (bool, error) {
	ports, declared := r.portsOf(name, cs)
	// The agent can't look into services that are no targets.
	if len(ports) == 0 || !slices.ContainsFunc(r.services.layout.targets, func(t target) bool { return t.Name == name }) {
		return time.Since(w.since) > runGrace, nil
	}
	reply, err := r.link.Request(ctx, agent.ToAgent{Listening: &agent.Listening{Service: name}})
	if err != nil {
		return false, err
	}
	some, every := len(reply.Ports) >= running, len(reply.Ports) >= running
	for _, open := range reply.Ports {
		isOpen := func(p int) bool { return slices.Contains(open, p) }
		some = some && slices.ContainsFunc(ports, isOpen)
		every = every && !slices.ContainsFunc(ports, func(p int) bool { return !isOpen(p) })
	}
	now := time.Now()
	switch {
	case every:
		return true, nil
	case !declared && now.Sub(w.since) > lateGrace:
		return true, nil
	case some && w.some.IsZero():
		w.some = now
	case some && now.Sub(w.some) > portGrace:
		return true, nil
	}
	w.missing = "does not listen on port " + joinInts(ports)
	return false, nil
}

// portsOf lists the TCP ports that a service publishes or exposes. declared
// tells whether the compose file says so, or only the image.
func (r *readiness) portsOf(name string, cs []container.InspectResponse) (ports []int, declared bool) {
	s := r.services.Services[name]
	for _, p := range s.Ports {
		if isTCP(p) {
			ports = append(ports, int(p.Target))
		}
	}
	for _, e := range s.Expose {
		port, proto, _ := strings.Cut(e, "/")
		if n, err := strconv.Atoi(port); err == nil && (proto == "" || proto == "tcp") {
			ports = append(ports, n)
		}
	}
	declared = len(ports) > 0
	if !declared && len(cs) > 0 && cs[0].Config != nil {
		for p := range cs[0].Config.ExposedPorts {
			if p.Proto() == "tcp" {
				ports = append(ports, p.Int())
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports), declared
}

func joinInts(ns []int) string {
	words := make([]string, len(ns))
	for i, n := range ns {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}

// whyNotUp finds the service that docker compose up failed for, if it was one.
func (r *readiness) whyNotUp(err error) error {
	timedOut := errors.Is(err, errNotReady)
	var cmd *CommandError
	if !timedOut && !errors.As(err, &cmd) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	list, lerr := session.ContainersWith(ctx, r.env.Engine, ours(r.env)...)
	if lerr != nil {
		return nil
	}
	var late error
	for _, c := range list {
		service := c.Labels[composeService]
		info, ierr := r.env.Engine.ContainerInspect(ctx, c.ID)
		if ierr != nil || info.ContainerJSONBase == nil || !isReplica(c.Labels) {
			continue
		}
		health := info.State.Health
		switch {
		case info.State.Status == "exited" && info.State.ExitCode != 0:
			return r.serviceError(service, c.ID, fmt.Sprintf("ended with exit code %d", info.State.ExitCode))
		case info.State.Status == "created" && (info.State.ExitCode == 126 || info.State.ExitCode == 127):
			// The engine's code for a program that can't be run, or is not there.
			return r.serviceError(service, c.ID, "can't be started: "+info.State.Error)
		case health != nil && health.Status == container.Unhealthy:
			return r.serviceError(service, c.ID, "is unhealthy"+lastProbe(health))
		case !timedOut || late != nil:
		case health != nil && health.Status == container.Starting && info.State.Running:
			late = r.serviceError(service, c.ID, fmt.Sprintf("is not healthy after %v%s", r.timeout, lastProbe(health)))
		}
	}
	if timedOut && late == nil {
		return &event.Problem{Kind: event.App, Err: fmt.Errorf("%w: docker compose up did not end within %v", errNotReady, r.timeout),
			Next: "give it longer with --ready-timeout"}
	}
	return late
}
