package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/images"
)

// makeVolume makes the trust volume. Being the first thing made and the last
// removed, it also carries what an undo depends on.
type makeVolume struct{ Name string }

func (s makeVolume) Call() string     { return "create volume " + s.Name }
func (s makeVolume) Cause() string    { return "containers read the root certificates from it" }
func (s makeVolume) UndoCall() string { return "remove it" }

func (s makeVolume) ByHand(*Env) string { return "docker volume rm " + s.Name }

func (s makeVolume) Do(ctx context.Context, e *Env) (None, error) {
	state, err := json.Marshal(e.State)
	if err != nil {
		return None{}, err
	}
	labels := e.State.labels()
	labels[labelState] = string(state)
	if _, err := e.Engine.VolumeCreate(context.WithoutCancel(ctx), volume.CreateOptions{Name: s.Name, Labels: labels}); err != nil {
		return None{}, EngineError(err)
	}
	// Two sessions that begin at once see each other now; the first stays.
	found, err := Find(ctx, e.Engine, e.State.Project)
	if err != nil {
		return None{}, err
	}
	if len(found) > 0 && found[0].Session != e.State.Session {
		return None{}, alreadyRunning(e.State.Project)
	}
	return None{}, nil
}

func (s makeVolume) Undo(ctx context.Context, e *Env) error {
	err := IgnoreMissing(e.Engine.VolumeRemove(ctx, s.Name, true))
	if err == nil {
		return nil
	}
	// The rest is undone, and must not be once more, when the project is another.
	labels := e.State.labels()
	labels[LabelUndone] = "true"
	left := Harmless
	_, merr := e.Engine.VolumeCreate(ctx, volume.CreateOptions{Name: e.State.undone(), Labels: labels})
	if merr != nil {
		left = Final
	}
	return errors.Join(&Leftover{Err: fmt.Errorf("remove volume %s: %w", s.Name, err), ByHand: s.ByHand(e), Left: left}, merr)
}

func alreadyRunning(project string) error {
	return &event.Problem{Kind: event.Usage, Err: fmt.Errorf("a wiretape session is already running for project %s", project),
		Next: "end it, or clean up after it with: wiretape compose down -p " + project}
}

// labelTape is on volumes that were made for tapes.
const labelTape = "io.wiretape.tape"

// makeTapeVolume makes the volume that the user has named for the tape.
type makeTapeVolume struct{ Name string }

func (s makeTapeVolume) Call() string { return "create volume " + s.Name + " if it is missing" }
func (s makeTapeVolume) Cause() string {
	return "the agent writes the tape in it"
}
func (s makeTapeVolume) UndoCall() string { return "" } // the tape is what the session is for

func (s makeTapeVolume) ByHand(*Env) string { return "" }

func (s makeTapeVolume) Do(ctx context.Context, e *Env) (None, error) {
	return None{}, createTapeVolume(context.WithoutCancel(ctx), e.Engine, s.Name)
}

func (s makeTapeVolume) Undo(context.Context, *Env) error { return nil }

// createTapeVolume makes a volume; one that is there stays as it is.
func createTapeVolume(ctx context.Context, e Engine, name string) error {
	_, err := e.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: map[string]string{labelTape: "true"}})
	if err != nil {
		return EngineError(fmt.Errorf("make volume %s: %w", name, err))
	}
	return nil
}

// makeNetwork makes the agent's own bridge.
type makeNetwork struct{ Name string }

func (s makeNetwork) Call() string { return "create network " + s.Name }
func (s makeNetwork) Cause() string {
	return "the agent's published ports and processes on the host's network need a bridge that is not internal"
}
func (s makeNetwork) UndoCall() string { return "remove it" }

func (s makeNetwork) ByHand(*Env) string { return "docker network rm " + s.Name }

func (s makeNetwork) Do(ctx context.Context, e *Env) (None, error) {
	_, err := e.Engine.NetworkCreate(context.WithoutCancel(ctx), s.Name, network.CreateOptions{Driver: "bridge", Labels: e.State.labels()})
	if err != nil {
		return None{}, EngineError(err)
	}
	return None{}, nil
}

func (s makeNetwork) Undo(ctx context.Context, e *Env) error {
	n, err := e.Engine.NetworkInspect(ctx, s.Name, network.InspectOptions{})
	if err == nil {
		err = RemoveNetwork(ctx, e.Engine, n)
	}
	if err = IgnoreMissing(err); err != nil {
		return &Leftover{Err: fmt.Errorf("remove network %s: %w", s.Name, err), ByHand: s.ByHand(e), Left: Harmless}
	}
	return nil
}

// loadImage makes sure of the agent's image. It stays: the next session needs it.
type loadImage struct{ Arch string }

func (s loadImage) Call() string {
	return "load the agent's image for linux/" + s.Arch + " if it is missing"
}
func (s loadImage) Cause() string      { return "the agent is this program in a container" }
func (s loadImage) UndoCall() string   { return "" }
func (s loadImage) ByHand(*Env) string { return "" }

func (s loadImage) Do(ctx context.Context, e *Env) (ref string, err error) {
	return ensureImage(ctx, e, s.Arch)
}

// ensureImage makes sure of the agent's image and returns its name.
func ensureImage(ctx context.Context, e *Env, arch string) (ref string, err error) {
	binary := e.Options.Agent
	if binary == nil {
		if binary, err = images.AgentBinary(arch); err != nil {
			return "", &event.Problem{Kind: event.Environment, Err: err}
		}
	}
	img := images.AgentImage(binary, e.Options.Version)
	e.Report(Busy, "making the agent's image ready", "")
	loaded, err := images.Ensure(ctx, e.Engine, img)
	if err != nil {
		return "", EngineError(err)
	}
	if loaded {
		e.Report(Detail, "loaded the image "+img.Ref, "")
	}
	return img.Ref, nil
}

func (s loadImage) Undo(context.Context, *Env) error { return nil }

// joinNetwork connects the agent to a network of the project's services.
type joinNetwork struct{ Network }

func (s joinNetwork) Call() string {
	if s.External {
		return "connect the agent to the external network " + s.Name
	}
	return "connect the agent to network " + s.Name
}
func (s joinNetwork) Cause() string      { return "the services on it reach the agent there" }
func (s joinNetwork) UndoCall() string   { return "removing the agent's container disconnects it" }
func (s joinNetwork) ByHand(*Env) string { return "" }

func (s joinNetwork) Do(ctx context.Context, e *Env) (None, error) {
	endpoint := &network.EndpointSettings{}
	if len(s.Taken) > 0 {
		n, err := e.Engine.NetworkInspect(ctx, s.Name, network.InspectOptions{})
		if err != nil {
			return None{}, EngineError(err)
		}
		endpoint.IPAMConfig = freeAddresses(n, s.Taken)
	}
	if err := e.Engine.NetworkConnect(context.WithoutCancel(ctx), s.Name, e.State.agent(), endpoint); err != nil {
		if text := strings.ToLower(err.Error()); strings.Contains(text, "no available") || strings.Contains(text, "address already in use") {
			return None{}, EnvironmentError("stop a container that is on it (docker network inspect "+s.Name+"), or give it a larger subnet",
				"network %s has no address left for the agent: %w", s.Name, err)
		}
		return None{}, EngineError(err)
	}
	return None{}, nil
}

func (s joinNetwork) Undo(context.Context, *Env) error { return nil }

// freeAddresses chooses addresses at the end of a network's subnets, because
// services ask for addresses that the engine could give to the agent first.
func freeAddresses(n network.Inspect, taken []string) *network.EndpointIPAMConfig {
	used := make(map[netip.Addr]bool)
	add := func(s string) {
		s, _, _ = strings.Cut(s, "/")
		if a, err := netip.ParseAddr(s); err == nil {
			used[a] = true
		}
	}
	for _, t := range taken {
		add(t)
	}
	for _, c := range n.Containers {
		add(c.IPv4Address)
		add(c.IPv6Address)
	}
	c := &network.EndpointIPAMConfig{}
	for _, pool := range n.IPAM.Config {
		add(pool.Gateway)
		for _, a := range pool.AuxAddress {
			add(a)
		}
		prefix, err := netip.ParsePrefix(pool.Subnet)
		if err != nil {
			continue
		}
		a := lastAddr(prefix)
		for used[a] && prefix.Contains(a) {
			a = a.Prev()
		}
		if !prefix.Contains(a) || a == prefix.Masked().Addr() {
			continue // full: let the engine say so
		}
		if a.Is4() && c.IPv4Address == "" {
			c.IPv4Address = a.String()
		} else if a.Is6() && c.IPv6Address == "" {
			c.IPv6Address = a.String()
		}
	}
	return c
}

// lastAddr is the last address of a prefix that a host can have: the one before
// the broadcast address of IPv4, and in IPv6 the one before the last, which
// engines up to 20.10 have no bit for in a /64.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(slices.Clone(b))
	if a.Is4() && p.Bits() < 31 || a.Is6() && p.Bits() < 127 {
		return a.Prev()
	}
	return a
}
