package compose

import (
	"context"
	"fmt"
	"slices"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/wiretape/wiretape/compose/agent"
)

// watch follows the project's containers from before they start until the undo.
// It tells the agent the addresses that they get on networks that are not the
// project's own: these are inside, unlike the rest of such a network. And it
// tells the user of one that fails while the session runs.
func (s *Session) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stopWatching = cancel
	happened, failed := s.engine.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)),
		filters.Arg("event", string(events.ActionStart)), filters.Arg("event", string(events.ActionDie)),
		label(composeProject, s.state.Project))})
	s.background.Go(func() {
		told := make(map[string]bool)
		for {
			select {
			case e := <-happened:
				if e.Action == events.ActionDie {
					s.containerDied(ctx, e)
				} else if s.usesOthersNetworks() {
					s.excludeContainer(ctx, e.Actor.ID, told)
				}
			case err := <-failed:
				if ctx.Err() == nil {
					s.opt.progress(Warn, fmt.Sprintf("containers that start from now on are not noticed: %v", err), "")
				}
				return
			case <-ctx.Done():
				return
			}
		}
	})
}

// containerDied tells of a container that failed while the session runs, rather
// than being stopped: 137 and 143 are SIGKILL and SIGTERM.
func (s *Session) containerDied(ctx context.Context, e events.Message) {
	select {
	case <-s.ready:
	default:
		return // the wait for the services tells
	}
	service, code := e.Actor.Attributes[composeService], e.Actor.Attributes["exitCode"]
	if !isReplica(e.Actor.Attributes) || s.died(ctx, e.Actor.ID, service, code) || slices.Contains([]string{"0", "137", "143"}, code) {
		return
	}
	text := fmt.Sprintf("service %s ended with exit code %s", service, code)
	if logs := s.lastLines(ctx, e.Actor.ID, logLines); logs != "" {
		text += "; its last lines:\n" + indent(logs)
	}
	s.opt.progress(Warn, text, "")
}

// usesOthersNetworks reports whether a service is on a network that the project does not make.
func (s *Session) usesOthersNetworks() bool {
	for _, svc := range s.project.Services {
		for key := range svc.Networks {
			if s.project.Networks[key].External {
				return true
			}
		}
		if svc.NetworkMode == "bridge" {
			return true
		}
	}
	return false
}

func (s *Session) excludeContainer(ctx context.Context, id string, told map[string]bool) {
	c, err := s.engine.ContainerInspect(ctx, id)
	if err != nil || c.NetworkSettings == nil {
		return // it ended meanwhile
	}
	var fresh []string
	for name, n := range c.NetworkSettings.Networks {
		if n == nil || s.isOwnNetwork(name) {
			continue
		}
		for addr, bits := range map[string]string{n.IPAddress: "/32", n.GlobalIPv6Address: "/128"} {
			if addr != "" && !told[addr] {
				told[addr] = true
				fresh = append(fresh, addr+bits)
			}
		}
	}
	if len(fresh) == 0 {
		return
	}
	slices.Sort(fresh)
	if _, err := s.link.Request(ctx, agent.ToAgent{Exclude: fresh}); err != nil && ctx.Err() == nil {
		s.opt.progress(Warn, "the agent does not take the addresses of the project's containers on external networks: "+err.Error(), "")
	}
}

func (s *Session) isOwnNetwork(name string) bool {
	for _, n := range s.project.Networks {
		if n.Name == name {
			return !bool(n.External)
		}
	}
	return false
}
