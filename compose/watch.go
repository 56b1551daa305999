package compose

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
)

// A watcher follows the project's containers from before they start until the undo.
// It tells the agent the addresses that they get on networks that are not the
// project's own: these are inside, unlike the rest of such a network. And it
// tells the user of one that fails while the session runs.
type watcher struct {
	env      *session.Env
	services services
	ready    chan struct{} // closed when the services are
	needed   atomic.Pointer[needed]

	link    *session.Link // set by start
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newWatcher(e *session.Env, s services) *watcher {
	return &watcher{env: e, services: s, ready: make(chan struct{}), cancel: func() {}}
}

// servicesAreReady has the watcher tell of containers that fail from now on.
func (w *watcher) servicesAreReady() { close(w.ready) }

func (w *watcher) start(link *session.Link) {
	ctx, cancel := context.WithCancel(context.Background())
	w.link, w.cancel = link, cancel
	happened, failed := w.env.Engine.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ContainerEventType)),
		filters.Arg("event", string(events.ActionStart)), filters.Arg("event", string(events.ActionDie)),
		session.Label(composeProject, w.env.State.Project))})
	w.running.Go(func() {
		excluded := make(map[string]bool)
		for {
			select {
			case e := <-happened:
				if e.Action == events.ActionDie {
					w.containerDied(ctx, e)
				} else if w.services.usesOthersNetworks() {
					w.excludeContainer(ctx, e.Actor.ID, excluded)
				}
			case err := <-failed:
				if ctx.Err() == nil {
					w.env.Report(session.Warn, fmt.Sprintf("containers that start from now on are not noticed: %v", err), "")
				}
				return
			case <-ctx.Done():
				return
			}
		}
	})
}

// stop ends the watch. A nil watcher, of a session of which only the state is known,
// has none.
func (w *watcher) stop() {
	if w != nil {
		w.cancel()
		w.running.Wait()
	}
}

// containerDied tells of a container that failed while the session runs, rather
// than being stopped: 137 and 143 are SIGKILL and SIGTERM.
func (w *watcher) containerDied(ctx context.Context, e events.Message) {
	select {
	case <-w.ready:
	default:
		return // the wait for the services tells
	}
	service, code := e.Actor.Attributes[composeService], e.Actor.Attributes["exitCode"]
	if !isReplica(e.Actor.Attributes) || w.died(ctx, e.Actor.ID, service, code) || slices.Contains([]string{"0", "137", "143"}, code) {
		return
	}
	text := fmt.Sprintf("service %s ended with exit code %s", service, code)
	if logs := session.LastLines(ctx, w.env.Engine, e.Actor.ID, logLines); logs != "" {
		text += "; its last lines:\n" + indent(logs)
	}
	w.env.Report(session.Warn, text, "")
}

// usesOthersNetworks reports whether a service is on a network that the project does not make.
func (s services) usesOthersNetworks() bool {
	for _, svc := range s.Services {
		for key := range svc.Networks {
			if s.Networks[key].External {
				return true
			}
		}
		if svc.NetworkMode == "bridge" {
			return true
		}
	}
	return false
}

func (w *watcher) excludeContainer(ctx context.Context, id string, excluded map[string]bool) {
	c, err := w.env.Engine.ContainerInspect(ctx, id)
	if err != nil || c.NetworkSettings == nil {
		return // it ended meanwhile
	}
	var fresh []string
	for name, n := range c.NetworkSettings.Networks {
		if n == nil || w.services.isOwnNetwork(name) {
			continue
		}
		for addr, bits := range map[string]string{n.IPAddress: "/32", n.GlobalIPv6Address: "/128"} {
			if addr != "" && !excluded[addr] {
				excluded[addr] = true
				fresh = append(fresh, addr+bits)
			}
		}
	}
	if len(fresh) == 0 {
		return
	}
	slices.Sort(fresh)
	if _, err := w.link.Request(ctx, agent.ToAgent{Exclude: fresh}); err != nil && ctx.Err() == nil {
		w.env.Report(session.Warn, "the agent does not take the addresses of the project's containers on external networks: "+err.Error(), "")
	}
}

func (s services) isOwnNetwork(name string) bool {
	for _, n := range s.Networks {
		if n.Name == name {
			return !bool(n.External)
		}
	}
	return false
}
