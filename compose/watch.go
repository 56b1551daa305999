package compose

import (
	"context"
	"slices"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/wiretape/wiretape/compose/agent"
)

// watchAddresses tells the agent the addresses that the project's containers
// have on networks that are not the project's own, as they start: these are
// inside, unlike the rest of such a network. It returns once it listens.
func (s *Session) watchAddresses() {
	if !s.usesOthersNetworks() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stopWatching = cancel
	started, failed := s.engine.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)), filters.Arg("event", string(events.ActionStart)),
		label(composeProject, s.state.Project))})
	s.background.Go(func() {
		told := make(map[string]bool)
		for {
			select {
			case e := <-started:
				s.excludeContainer(ctx, e.Actor.ID, told)
			case <-failed:
				return
			case <-ctx.Done():
				return
			}
		}
	})
}

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
	if _, err := s.link.request(ctx, agent.ToAgent{Exclude: fresh}); err != nil && ctx.Err() == nil {
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
