package compose

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/wiretape/wiretape/compose/session"
)

// restoring puts a project back as it was before the session.
type restoring struct {
	env    *session.Env
	before Snapshot
}

// networks makes networks again that the session removed or replaced. One that
// somebody else made meanwhile stays.
func (r *restoring) networks(ctx context.Context) error {
	var errs []error
	for _, want := range r.before.Networks {
		now, err := r.env.Engine.NetworkInspect(ctx, want.Name, network.InspectOptions{})
		if err == nil && now.Name != want.Name { // it is another one's ID
			now, err = network.Inspect{}, errdefs.ErrNotFound
		}
		switch {
		case err == nil && (now.ID == want.ID || now.Labels[session.LabelSession] != r.env.State.Session):
			continue
		case err == nil:
			err = session.RemoveNetwork(ctx, r.env.Engine, now)
		case errdefs.IsNotFound(err):
			err = nil
		}
		if err == nil {
			err = r.makeNetwork(ctx, want)
		}
		if err != nil {
			errs = append(errs, &session.Leftover{Err: fmt.Errorf("make network %s again: %w", want.Name, err),
				ByHand: "docker network rm " + want.Name + " && docker compose -p " + r.env.State.Project + " up -d"})
		}
	}
	return errors.Join(errs...)
}

// makeNetwork makes a network as it was: also with the addresses that the
// engine chose for it, unless somebody took them meanwhile.
func (r *restoring) makeNetwork(ctx context.Context, n Network) error {
	_, err := r.env.Engine.NetworkCreate(ctx, n.Name, n.Create)
	if err == nil || !strings.Contains(err.Error(), "overlap") || r.hasFixedAddress(n.Name) {
		return err
	}
	opt := n.Create
	opt.IPAM = &network.IPAM{Driver: n.Create.IPAM.Driver, Options: n.Create.IPAM.Options}
	_, err = r.env.Engine.NetworkCreate(ctx, n.Name, opt)
	return err
}

func (r *restoring) hasFixedAddress(network string) bool {
	return slices.ContainsFunc(r.before.Containers, func(c Container) bool { return c.Networks[network].IPAM != nil })
}

// containers gives the containers their names back, their networks and their
// state, and looks with the engine whether they have them.
func (r *restoring) containers(ctx context.Context) error {
	var errs []error
	there := make(map[string]container.InspectResponse)
	var wanted []Container
	for _, c := range r.before.Containers {
		now, err := r.env.Engine.ContainerInspect(ctx, c.ID)
		switch {
		case errdefs.IsNotFound(err):
			errs = append(errs, &session.Leftover{Err: fmt.Errorf("container %s was removed while the session ran", c.Name),
				ByHand: "docker compose -p " + r.env.State.Project + " up -d " + c.Service, Left: session.Final})
			continue
		case err == nil && strings.TrimPrefix(now.Name, "/") == asideName(r.env, c):
			err = r.env.Engine.ContainerRename(ctx, c.ID, c.Name)
		}
		if err == nil {
			err = r.attach(ctx, c, now)
		}
		if err != nil {
			errs = append(errs, &session.Leftover{Err: fmt.Errorf("put container %s back: %w", c.Name, err), ByHand: setAside{r.before}.ByHand(r.env)})
			continue
		}
		there[c.ID] = now
		wanted = append(wanted, c)
	}
	for _, c := range startOrder(wanted, there) {
		if err := r.bringTo(ctx, c); err != nil {
			verb := "start "
			if !c.Running {
				verb = "stop "
			}
			errs = append(errs, &session.Leftover{Err: fmt.Errorf("container %s: %w", c.Name, err), ByHand: "docker " + verb + c.Name, Left: session.Final})
		}
	}
	for _, c := range wanted {
		if err := r.verify(ctx, c); err != nil {
			errs = append(errs, &session.Leftover{Err: fmt.Errorf("container %s: %w", c.Name, err), ByHand: "docker start " + c.Name, Left: session.Final})
		}
	}
	return errors.Join(errs...)
}

// attach connects a container to the networks that it was on, where it is not.
func (r *restoring) attach(ctx context.Context, c Container, now container.InspectResponse) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Networks)) {
		want := c.Networks[name]
		var has *network.EndpointSettings
		if now.NetworkSettings != nil {
			has = now.NetworkSettings.Networks[name]
		}
		n, err := r.env.Engine.NetworkInspect(ctx, name, network.InspectOptions{})
		if err == nil && has != nil && (has.NetworkID == n.ID || has.NetworkID == "" && !now.State.Running) {
			continue
		}
		if err == nil && has != nil { // one that is gone
			if !now.State.Running {
				want.MAC = has.MacAddress
			}
			err = r.env.Engine.NetworkDisconnect(ctx, name, c.ID, true)
		}
		if err == nil {
			err = r.env.Engine.NetworkConnect(ctx, name, c.ID, want.settings())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("connect it to network %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// bringTo starts a container that ran, and pauses it if it was.
func (r *restoring) bringTo(ctx context.Context, c Container) error {
	now, err := r.env.Engine.ContainerInspect(ctx, c.ID)
	if err != nil {
		return err
	}
	switch {
	case c.Running && !now.State.Running:
		if err := r.env.Engine.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
			return fmt.Errorf("start it: %w", err)
		}
		now.State.Paused = false
	case !c.Running && now.State.Running:
		if err := r.env.Engine.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil {
			return fmt.Errorf("stop it: %w", err)
		}
	}
	if c.Paused && !now.State.Paused {
		return r.env.Engine.ContainerPause(ctx, c.ID)
	}
	if !c.Paused && now.State.Paused {
		return r.env.Engine.ContainerUnpause(ctx, c.ID)
	}
	return nil
}

// verify looks whether a container is as it was.
func (r *restoring) verify(ctx context.Context, c Container) error {
	now, err := r.env.Engine.ContainerInspect(ctx, c.ID)
	if err != nil {
		return err
	}
	var errs []error
	if name := strings.TrimPrefix(now.Name, "/"); name != c.Name {
		errs = append(errs, fmt.Errorf("it is called %s", name))
	}
	if running := now.State.Running || now.State.Restarting; running != c.Running {
		errs = append(errs, fmt.Errorf("it is %s%s", now.State.Status, r.lastWords(ctx, c)))
	} else if now.State.Paused != c.Paused {
		errs = append(errs, fmt.Errorf("it is %s", now.State.Status))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Networks)) {
		want, has := c.Networks[name], now.NetworkSettings.Networks[name]
		if has == nil {
			errs = append(errs, fmt.Errorf("it is not on network %s", name))
			continue
		}
		for _, alias := range want.Aliases {
			if !slices.Contains(has.Aliases, alias) {
				errs = append(errs, fmt.Errorf("it is not called %s on network %s", alias, name))
			}
		}
		if want.IPAM != nil && (has.IPAMConfig == nil || has.IPAMConfig.IPv4Address != want.IPAM.IPv4Address || has.IPAMConfig.IPv6Address != want.IPAM.IPv6Address) {
			errs = append(errs, fmt.Errorf("it does not have its addresses on network %s", name))
		}
	}
	return errors.Join(errs...)
}

func (r *restoring) lastWords(ctx context.Context, c Container) string {
	if !c.Running {
		return ""
	}
	logs := session.LastLines(ctx, r.env.Engine, c.ID, 5)
	if logs == "" {
		return ""
	}
	return "; its last lines:\n" + indent(logs)
}

// startOrder sorts containers so that each comes behind those that it needs.
// The engine gives out addresses in the order in which containers start, so
// those that need nothing of each other come in the order of their addresses.
func startOrder(list []Container, info map[string]container.InspectResponse) []Container {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Container) int {
		return cmp.Or(bytes.Compare(firstAddress(a), firstAddress(b)), strings.Compare(a.Name, b.Name))
	})
	needs := make(map[string][]string) // services that a service depends on
	for _, c := range list {
		for dep := range strings.SplitSeq(info[c.ID].Config.Labels[composeDependsOn], ",") {
			if on, _, _ := strings.Cut(dep, ":"); on != "" {
				needs[c.Service] = append(needs[c.Service], on)
			}
		}
	}
	var out []Container
	seen := make(map[string]bool)
	var visit func(c Container)
	visit = func(c Container) {
		if seen[c.ID] {
			return
		}
		seen[c.ID] = true
		for _, other := range list {
			if slices.Contains(needs[c.Service], other.Service) || usesNamespace(info[c.ID], other.ID) {
				visit(other)
			}
		}
		out = append(out, c)
	}
	for _, c := range list {
		visit(c)
	}
	return out
}

// firstAddress is the lowest IPv4 address of a container, as a sort key.
func firstAddress(c Container) []byte {
	var lowest []byte
	for _, e := range c.Networks {
		if a, err := netip.ParseAddr(e.Address); err == nil {
			if b := a.AsSlice(); lowest == nil || bytes.Compare(b, lowest) < 0 {
				lowest = b
			}
		}
	}
	return lowest
}

// usesNamespace reports whether a container lives in a namespace of another.
func usesNamespace(c container.InspectResponse, other string) bool {
	if c.HostConfig == nil {
		return false
	}
	return string(c.HostConfig.NetworkMode) == "container:"+other ||
		string(c.HostConfig.IpcMode) == "container:"+other || string(c.HostConfig.PidMode) == "container:"+other
}
