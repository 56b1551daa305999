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

// A leftover is something that an undo could not take back.
type leftover struct {
	err    error
	byHand string // the command that does it
	// harmless is set where nothing of the project depends on it, and final where
	// another undo has nothing to add to byHand.
	harmless, final bool
}

func (l *leftover) Error() string { return l.err.Error() }
func (l *leftover) Unwrap() error { return l.err }

// leftovers lists what an undo's error has: one for each error that was joined.
func leftovers(err error, byHand string) []*leftover {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*leftover
		for _, e := range joined.Unwrap() {
			all = append(all, leftovers(e, byHand)...)
		}
		return all
	}
	if l, ok := err.(*leftover); ok {
		return []*leftover{l}
	}
	return []*leftover{{err: err, byHand: byHand}}
}

// restoring puts a project back as it was before the session.
type restoring struct {
	r      *Session
	before Snapshot
}

// networks makes networks again that the session removed or replaced. One that
// somebody else made meanwhile stays.
func (b *restoring) networks(ctx context.Context) error {
	var errs []error
	for _, want := range b.before.Networks {
		now, err := b.r.engine.NetworkInspect(ctx, want.Name, network.InspectOptions{})
		if err == nil && now.Name != want.Name { // it is another one's ID
			now, err = network.Inspect{}, errdefs.ErrNotFound
		}
		switch {
		case err == nil && (now.ID == want.ID || now.Labels[labelSession] != b.r.state.Session):
			continue
		case err == nil:
			err = b.r.removeNetwork(ctx, now)
		case errdefs.IsNotFound(err):
			err = nil
		}
		if err == nil {
			err = b.makeNetwork(ctx, want)
		}
		if err != nil {
			errs = append(errs, &leftover{err: fmt.Errorf("make network %s again: %w", want.Name, err),
				byHand: "docker network rm " + want.Name + " && docker compose -p " + b.r.state.Project + " up -d"})
		}
	}
	return errors.Join(errs...)
}

// makeNetwork makes a network as it was: also with the addresses that the
// engine chose for it, unless somebody took them meanwhile.
func (b *restoring) makeNetwork(ctx context.Context, n Network) error {
	_, err := b.r.engine.NetworkCreate(ctx, n.Name, n.Create)
	if err == nil || !strings.Contains(err.Error(), "overlap") || b.hasFixedAddress(n.Name) {
		return err
	}
	opt := n.Create
	opt.IPAM = &network.IPAM{Driver: n.Create.IPAM.Driver, Options: n.Create.IPAM.Options}
	_, err = b.r.engine.NetworkCreate(ctx, n.Name, opt)
	return err
}

func (b *restoring) hasFixedAddress(network string) bool {
	return slices.ContainsFunc(b.before.Containers, func(c Container) bool { return c.Networks[network].IPAM != nil })
}

// containers gives the containers their names back, their networks and their
// state, and looks with the engine whether they have them.
func (b *restoring) containers(ctx context.Context) error {
	var errs []error
	there := make(map[string]container.InspectResponse)
	var wanted []Container
	for _, c := range b.before.Containers {
		now, err := b.r.engine.ContainerInspect(ctx, c.ID)
		switch {
		case errdefs.IsNotFound(err):
			errs = append(errs, &leftover{err: fmt.Errorf("container %s was removed while the session ran", c.Name),
				byHand: "docker compose -p " + b.r.state.Project + " up -d " + c.Service, final: true})
			continue
		case err == nil && strings.TrimPrefix(now.Name, "/") == b.r.state.asideName(c):
			err = b.r.engine.ContainerRename(ctx, c.ID, c.Name)
		}
		if err == nil {
			err = b.attach(ctx, c, now)
		}
		if err != nil {
			errs = append(errs, &leftover{err: fmt.Errorf("put container %s back: %w", c.Name, err), byHand: setAside{b.before}.byHand(b.r)})
			continue
		}
		there[c.ID] = now
		wanted = append(wanted, c)
	}
	for _, c := range startOrder(wanted, there) {
		if err := b.bringTo(ctx, c); err != nil {
			verb := "start "
			if !c.Running {
				verb = "stop "
			}
			errs = append(errs, &leftover{err: fmt.Errorf("container %s: %w", c.Name, err), byHand: "docker " + verb + c.Name, final: true})
		}
	}
	for _, c := range wanted {
		if err := b.verify(ctx, c); err != nil {
			errs = append(errs, &leftover{err: fmt.Errorf("container %s: %w", c.Name, err), byHand: "docker start " + c.Name, final: true})
		}
	}
	return errors.Join(errs...)
}

// attach connects a container to the networks that it was on, where it is not.
func (b *restoring) attach(ctx context.Context, c Container, now container.InspectResponse) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Networks)) {
		want := c.Networks[name]
		var has *network.EndpointSettings
		if now.NetworkSettings != nil {
			has = now.NetworkSettings.Networks[name]
		}
		n, err := b.r.engine.NetworkInspect(ctx, name, network.InspectOptions{})
		if err == nil && has != nil && (has.NetworkID == n.ID || has.NetworkID == "" && !now.State.Running) {
			continue
		}
		if err == nil && has != nil { // one that is gone
			if !now.State.Running {
				want.MAC = has.MacAddress
			}
			err = b.r.engine.NetworkDisconnect(ctx, name, c.ID, true)
		}
		if err == nil {
			err = b.r.engine.NetworkConnect(ctx, name, c.ID, want.settings())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("connect it to network %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// bringTo starts a container that ran, and pauses it if it was.
func (b *restoring) bringTo(ctx context.Context, c Container) error {
	now, err := b.r.engine.ContainerInspect(ctx, c.ID)
	if err != nil {
		return err
	}
	switch {
	case c.Running && !now.State.Running:
		if err := b.r.engine.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
			return fmt.Errorf("start it: %w", err)
		}
		now.State.Paused = false
	case !c.Running && now.State.Running:
		if err := b.r.engine.ContainerStop(ctx, c.ID, container.StopOptions{}); err != nil {
			return fmt.Errorf("stop it: %w", err)
		}
	}
	if c.Paused && !now.State.Paused {
		return b.r.engine.ContainerPause(ctx, c.ID)
	}
	if !c.Paused && now.State.Paused {
		return b.r.engine.ContainerUnpause(ctx, c.ID)
	}
	return nil
}

// verify looks whether a container is as it was.
func (b *restoring) verify(ctx context.Context, c Container) error {
	now, err := b.r.engine.ContainerInspect(ctx, c.ID)
	if err != nil {
		return err
	}
	var errs []error
	if name := strings.TrimPrefix(now.Name, "/"); name != c.Name {
		errs = append(errs, fmt.Errorf("it is called %s", name))
	}
	if running := now.State.Running || now.State.Restarting; running != c.Running {
		errs = append(errs, fmt.Errorf("it is %s%s", now.State.Status, b.lastWords(ctx, c)))
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

func (b *restoring) lastWords(ctx context.Context, c Container) string {
	if !c.Running {
		return ""
	}
	logs := b.r.lastLines(ctx, c.ID, 5)
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

// removeNetwork removes a network, also one on which the engine still believes
// containers to be that are gone.
func (r *Session) removeNetwork(ctx context.Context, n network.Inspect) error {
	err := session.IgnoreMissing(r.engine.NetworkRemove(ctx, n.ID))
	if err == nil {
		return nil
	}
	now, ierr := r.engine.NetworkInspect(ctx, n.ID, network.InspectOptions{})
	if ierr != nil {
		return session.IgnoreMissing(ierr)
	}
	for id, endpoint := range now.Containers {
		c, ierr := r.engine.ContainerInspect(ctx, id)
		if ierr == nil && c.State.Running {
			return fmt.Errorf("%w (container %s uses it)", err, strings.TrimPrefix(c.Name, "/"))
		}
		r.engine.NetworkDisconnect(ctx, n.ID, cmp.Or(endpoint.Name, id), true)
	}
	return session.IgnoreMissing(r.engine.NetworkRemove(ctx, n.ID))
}
