package compose

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
)

// A DeadError is a container that ended and is not started again.
type DeadError struct {
	Service string
	Code    string // the exit code
	OOM     bool   // the kernel killed it, for its memory
	Lines   string // the last lines of its log
}

func (e *DeadError) Error() string {
	text := fmt.Sprintf("service %s ended with exit code %s", e.Service, e.Code)
	if e.OOM {
		text += ", out of memory"
	}
	return text
}

// needed is what WhileTheyRun waits for.
type needed struct {
	services []string
	end      context.CancelCauseFunc
}

// WhileTheyRun calls f with a context that ends as soon as a container of one of
// the services ends and is not started again, or one of any other service does so
// with a failure. Its error is then an *event.Problem that wraps a *DeadError.
func (s *Session) WhileTheyRun(ctx context.Context, services []string, f func(context.Context) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	s.rt.watcher.needed.Store(&needed{services, end})
	defer s.rt.watcher.needed.Store(nil)
	s.rt.watcher.findDead(ctx, services)
	err := f(ctx)
	if dead := (*DeadError)(nil); errors.As(context.Cause(ctx), &dead) {
		return context.Cause(ctx)
	}
	return err
}

// findDead looks for what ended before anybody needed it.
func (w *watcher) findDead(ctx context.Context, services []string) {
	list, err := w.env.Engine.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		session.Label(composeProject, w.env.State.Project), session.Label(session.LabelSession, w.env.State.Session),
		filters.Arg("status", "exited"), filters.Arg("status", "dead"))})
	if err != nil {
		return // the first case that does not get through says so
	}
	for _, c := range list {
		if slices.Contains(services, c.Labels[composeService]) && c.Labels[composeOneOff] != "True" {
			w.died(ctx, c.ID, c.Labels[composeService], "")
			return
		}
	}
}

// died ends what needs a container that ended, and reports whether anything does.
func (w *watcher) died(ctx context.Context, id, service, code string) bool {
	n := w.needed.Load()
	if n == nil {
		return false
	}
	dead := &DeadError{Service: service, Code: code}
	if c, err := w.env.Engine.ContainerInspect(ctx, id); err == nil && c.State != nil {
		if c.State.Running || c.State.Restarting {
			return false
		}
		dead.Code, dead.OOM = fmt.Sprint(c.State.ExitCode), c.State.OOMKilled
	}
	if dead.Code == "0" && !slices.Contains(n.services, service) {
		return false // its work is done
	}
	dead.Lines = session.LastLines(ctx, w.env.Engine, id, logLines)
	n.end(&event.Problem{Kind: event.App, Err: dead, Next: "its last lines say why; mend it, and run the test again"})
	return true
}
