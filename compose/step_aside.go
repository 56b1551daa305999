package compose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/wiretape/wiretape/compose/session"
)

// setAside stops the containers that are there before the session, and gives
// them other names. They keep all that they have: their own layer, their log,
// their exit code. docker compose does not see them while the session runs, and
// makes new ones in their place; the undo gives them their names back.
type setAside struct{ Before Snapshot }

func (s setAside) Call() string {
	if len(s.Before.aside()) == 0 {
		return "keep in mind the networks that are there"
	}
	return "stop and set aside " + strings.Join(s.names(), ", ")
}
func (s setAside) Cause() string {
	if len(s.Before.aside()) == 0 {
		return "docker compose may make them again"
	}
	return "the session has containers of its own in their place"
}
func (s setAside) UndoCall() string {
	return "give them their names and networks back, start those that ran, and look whether all is as it was"
}

func (s setAside) ByHand(e *session.Env) string {
	var cmds []string
	for _, c := range s.Before.aside() {
		cmds = append(cmds, "docker rename "+asideName(e, c)+" "+c.Name)
		if c.Running {
			cmds = append(cmds, "docker start "+c.Name)
		}
	}
	return strings.Join(cmds, "; ")
}

func (s setAside) names() []string {
	var names []string
	for _, c := range s.Before.aside() {
		names = append(names, c.Name)
	}
	return names
}

func (s setAside) Do(ctx context.Context, e *session.Env) (session.None, error) {
	if len(s.Before.aside()) > 0 {
		e.Report(session.Busy, "stopping the project's containers", "")
	}
	list, err := session.ContainersWith(ctx, e.Engine, session.Label(composeProject, e.State.Project))
	if err != nil {
		return session.None{}, session.EngineError(err)
	}
	aside := s.Before.aside()
	list = slices.DeleteFunc(list, func(c container.Summary) bool {
		return !slices.ContainsFunc(aside, func(a Container) bool { return a.ID == c.ID })
	})
	for _, c := range list {
		if c.State == "paused" { // it can't stop by itself
			if err := e.Engine.ContainerUnpause(ctx, c.ID); err != nil {
				return session.None{}, session.EngineError(err)
			}
		}
	}
	// A stop that was begun is waited for: it would hit the undo.
	if err := stopInOrder(context.WithoutCancel(ctx), e.Engine, list, func(container.Summary) bool { return false }); err != nil {
		return session.None{}, session.EngineError(err)
	}
	for _, c := range aside {
		if ctx.Err() != nil {
			return session.None{}, context.Cause(ctx)
		}
		if err := e.Engine.ContainerRename(context.WithoutCancel(ctx), c.ID, asideName(e, c)); err != nil {
			if errdefs.IsNotFound(err) {
				return session.None{}, session.EnvironmentError("try again", "container %s was removed while the session began", c.Name)
			}
			return session.None{}, session.EngineError(fmt.Errorf("rename %s: %w", c.Name, err))
		}
	}
	return session.None{}, nil
}

func (s setAside) Undo(ctx context.Context, e *session.Env) error {
	r := &restoring{env: e, before: s.Before}
	return errors.Join(r.networks(ctx), r.containers(ctx))
}

// asideName is what a container is called while it is set aside.
func asideName(e *session.Env, c Container) string {
	return "wiretape-" + e.State.Session + "-aside-" + c.Name
}
