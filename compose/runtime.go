package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/wiretape/wiretape/compose/session"
	"golang.org/x/sync/errgroup"
)

// A composeRuntime runs a session's services with docker compose.
type composeRuntime struct {
	opt     *Options
	name    string   // of the project
	project *Project // nil where only the state is known
	// dial connects to the engine.
	dial func(context.Context) (net.Conn, error)

	// What Wire found and made.
	services     services
	overridePath string
	api          *apiProxy
	watcher      *watcher
}

// services are a project as its session has it.
type services struct {
	*Project
	opt    *Options
	before Snapshot
	layout *layout
}

func (rt *composeRuntime) Project() string { return rt.name }

func (rt *composeRuntime) Wire(ctx context.Context, e *session.Env) (*session.Wiring, error) {
	before, err := observeProject(ctx, e.Engine, rt.name)
	if err != nil {
		return nil, err
	}
	before.setAside(rt.project, rt.opt.Isolates())
	if err := e.Keep(before); err != nil {
		return nil, err
	}
	nets, err := containerNetworks(ctx, e.Engine, rt.project)
	if err != nil {
		return nil, err
	}
	l, err := newLayout(rt.project, e.State, rt.opt, before, nets)
	if err != nil {
		return nil, err
	}
	rt.services = services{rt.project, rt.opt, before, l}
	env, err := rt.services.imageEnv(ctx, e.Engine)
	if err != nil {
		return nil, err
	}
	override, err := rt.services.override(e.State, env)
	if err != nil {
		return nil, err
	}
	rt.overridePath = filepath.Join(e.Temp, "wiretape.yaml")
	adoption := &adoption{env: e, services: rt.services, reported: make(map[string]bool)}
	if rt.api, err = startAPIProxy(e.Temp, rt.dial, rt.name, before.aside(), adoption.adopt); err != nil {
		return nil, err
	}
	rt.watcher = newWatcher(e, rt.services)
	return rt.wiring(override), nil
}

// wiring is how the session is wired to the services.
func (rt *composeRuntime) wiring(override []byte) *session.Wiring {
	s := rt.services
	w := &session.Wiring{
		Networks: s.layout.attach, Ports: s.layout.ingress, Warnings: s.layout.warnings,
		Inside: s.ownNetworks(), Names: s.names(), StopGrace: s.stopGrace(),
	}
	for _, t := range s.layout.targets {
		w.Services = append(w.Services, t.Service)
	}
	rt.addSteps(w, override)
	return w
}

// addSteps adds what docker compose does.
func (rt *composeRuntime) addSteps(w *session.Wiring, override []byte) {
	s := rt.services
	cli := &overriddenCLI{project: rt.project, override: rt.overridePath, api: rt.api}
	if rt.project == nil {
		cli.interrupted = true // one that was killed a moment ago may still be at work
	}
	if len(s.before.aside()) > 0 || len(s.before.Networks) > 0 { // networks are made again by its undo
		w.SetAside = setAside{s.before}
	}
	w.Create = composeCreate{Scale: s.scaleFlags(), services: s, cli: cli, override: override}
	w.Up = func(agent *session.Planned[session.Started]) session.Step[session.None] {
		return composeUp{Scale: s.scaleFlags(), services: s, cli: cli, agent: agent, watcher: rt.watcher}
	}
}

func (rt *composeRuntime) Unwire(e *session.Env) (*session.Wiring, error) {
	unwired := &composeRuntime{opt: rt.opt, name: rt.name}
	if err := json.Unmarshal(e.State.Before, &unwired.services.before); err != nil {
		return nil, fmt.Errorf("the state of session %s: %w", e.State.Session, err)
	}
	w := &session.Wiring{}
	unwired.addSteps(w, nil)
	return w, nil
}

// containerNetworks finds the networks of the containers outside the project
// whose network a service uses.
func containerNetworks(ctx context.Context, e session.Engine, p *Project) (map[string][]string, error) {
	nets := make(map[string][]string)
	for _, svc := range p.Services {
		name, ok := strings.CutPrefix(svc.NetworkMode, "container:")
		if !ok || nets[name] != nil {
			continue
		}
		c, err := e.ContainerInspect(ctx, name)
		if err != nil {
			if session.IgnoreMissing(err) == nil {
				continue // compose says what is wrong
			}
			return nil, session.EngineError(err)
		}
		for network := range c.NetworkSettings.Networks {
			nets[name] = append(nets[name], network)
		}
		slices.Sort(nets[name])
	}
	return nets, nil
}

// ownNetworks are the engine's names of the networks that the project makes.
func (s services) ownNetworks() []string {
	var names []string
	for _, n := range s.Networks {
		if !n.External {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}

// names are what the project's own networks answer to a DNS query, beside the names of
// containers.
func (s services) names() []string {
	var names []string
	for _, svc := range s.Services {
		names = append(names, svc.Name, svc.ContainerName, svc.Hostname)
		if svc.Hostname != "" && svc.DomainName != "" {
			names = append(names, svc.Hostname+"."+svc.DomainName)
		}
		for _, n := range svc.Networks {
			if n != nil {
				names = append(names, n.Aliases...)
			}
		}
		for _, l := range svc.Links {
			_, alias, _ := strings.Cut(l, ":")
			names = append(names, alias)
		}
		for i := range replicasOf(svc, s.before) {
			names = append(names, fmt.Sprintf("%s-%s-%d", s.Name, svc.Name, i+1))
		}
	}
	return names
}

// stopGrace is how long the services may take to stop, in all.
func (s services) stopGrace() time.Duration {
	var sum time.Duration
	for _, svc := range s.Services {
		if svc.StopGracePeriod != nil {
			sum += time.Duration(*svc.StopGracePeriod)
		}
	}
	return sum
}

// scaleFlags keeps services at the number of containers that they have.
func (s services) scaleFlags() []string {
	if s.Project == nil {
		return nil
	}
	var flags []string
	for _, name := range s.before.services(func(Container) bool { return true }) {
		svc, ok := s.Services[name]
		if n := s.before.scale(name); ok && n != svc.GetScale() {
			flags = append(flags, "--scale", fmt.Sprintf("%s=%d", name, n))
		}
	}
	return flags
}

// imageEnv returns the variables that the images of the targets set, by
// service. Images that are not there yet have none.
func (s services) imageEnv(ctx context.Context, e session.Engine) (map[string]map[string]string, error) {
	var mu sync.Mutex
	byService := make(map[string]map[string]string)
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range s.layout.targets {
		ref := s.Services[t.Name].Image
		if ref == "" {
			ref = s.Project.Name + "-" + t.Name
		}
		g.Go(func() error {
			img, err := e.ImageInspect(ctx, ref)
			if errdefs.IsNotFound(err) || err == nil && img.Config == nil {
				return nil
			}
			if err != nil {
				return session.EngineError(err)
			}
			env := make(map[string]string)
			for _, kv := range img.Config.Env {
				k, v, _ := strings.Cut(kv, "=")
				env[k] = v
			}
			mu.Lock()
			defer mu.Unlock()
			byService[t.Name] = env
			return nil
		})
	}
	return byService, g.Wait()
}
