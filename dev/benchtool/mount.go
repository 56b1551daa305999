//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

// A place is where a session's tape is.
type place struct {
	label, tape string
	// hidden is set where the tape is in a folder that the engine does not see.
	hidden bool

	rate, latency, empty, full *results.Series
}

// hide runs a command in a mount namespace of its own, in which another folder stands
// in the place of one that the engine sees.
const hide = `mount --bind seen hidden; exec "$@"`

// measureMount compares a tape that the agent has mounted, in a folder or in a volume,
// with one in a folder to which it sends its records.
func measureMount(ctx context.Context, b *bench, f *results.Figure) error {
	if err := b.engine(ctx, f); err != nil {
		return err
	}
	p, err := b.newProject(ctx, []string{roleSmall, "-listen", ":8080"}, "", roleIdle)
	if err != nil {
		return err
	}
	defer p.remove()
	f.Method = fmt.Sprintf("In a container, answers of 175 bytes of JSON, no path twice, %d connections, as many as are answered for %s, recorded; then a session that records nothing, and one against a tape of what was recorded, "+
		"from start to end: wiretape compose record -- true, test -- true. Wall-clock, in turns, %d rounds. A folder that the engine sees the agent has mounted to write and to play it; of one that is in a mount namespace of wiretape's own records go through the engine to wiretape, and a copy of the tape to the agent. A volume is mounted, too, and its tape copied to wiretape to be looked at.",
		loadConns, b.brief, b.sessions)
	places := []*place{
		{label: "a folder, mounted", tape: "tape"},
		{label: "a folder, over attach", tape: "hidden/tape", hidden: true},
		{label: "a volume, mounted", tape: "volume:" + p.name},
	}
	for _, dir := range []string{"seen", "hidden"} {
		if err := os.Mkdir(filepath.Join(p.dir, dir), 0o755); err != nil {
			return err
		}
	}
	defer p.b.command(context.Background(), "", "docker", "volume", "rm", "--force", p.name)
	rate, latency := plotted(f, "recorded requests a second", results.PerSecond), table(f, "an answer's latency then", results.Nanoseconds)
	empty, full := plotted(f, "a session that records nothing", results.Nanoseconds), plotted(f, "a session against the tape", results.Nanoseconds)
	for _, at := range places {
		at.rate, at.latency = series(rate, at.label, results.Ours), series(latency, at.label, results.Ours)
		at.empty, at.full = series(empty, at.label, results.Ours), series(full, at.label, results.Ours)
	}
	if err := p.loadFile(ctx, b); err != nil {
		return err
	}
	for round := range b.sessions + 1 { // the first loads the agent's image
		for _, at := range places {
			if err := p.place(ctx, at, round > 0); err != nil {
				return fmt.Errorf("%s: %w", at.label, err)
			}
		}
	}
	return nil
}

// loadFile writes what the app's container is to ask its origin for.
func (p *project) loadFile(ctx context.Context, b *bench) error {
	ip, err := b.command(ctx, "", "docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", p.origin)
	if err != nil {
		return err
	}
	l, err := json.Marshal(load{Addr: ip + ":8080", Conns: loadConns, Prefix: smallPath, Distinct: b.large, Count: b.large, For: b.brief})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dir, "load.json"), l, 0o600)
}

// place measures a tape at a place once, and removes it.
func (p *project) place(ctx context.Context, at *place, counts bool) (err error) {
	defer func() { err = errors.Join(err, p.removeTape(ctx, at.tape)) }()
	wiretape := func(verb string, command ...string) error {
		args := append([]string{p.b.wiretape, "compose", verb, "-p", p.name, "--tape", at.tape, "--"}, command...)
		if at.hidden {
			args = append([]string{"unshare", "--mount", "sh", "-ec", hide, "sh"}, args...)
		}
		_, err := p.b.command(ctx, p.dir, args[0], args[1:]...)
		return err
	}
	timed := func(s *results.Series, verb string) error {
		began := time.Now()
		err := wiretape(verb, "true")
		if counts {
			s.Add(float64(time.Since(began)))
		}
		return err
	}
	if err := timed(at.empty, "record"); err != nil {
		return err
	}
	out := filepath.Join(p.dir, "loaded.json")
	script := "docker compose exec -T app /app " + roleLoad + " <load.json >" + filepath.Base(out)
	if err := wiretape("record", "sh", "-ec", script); err != nil {
		return err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	var l loaded
	if err := json.Unmarshal(data, &l); err != nil {
		return err
	}
	if counts {
		at.rate.Add(l.rate())
		at.latency.Add(sample(l.Latencies).ns()...)
	}
	return timed(at.full, "test")
}

func (p *project) removeTape(ctx context.Context, tape string) error {
	name, is := strings.CutPrefix(tape, "volume:")
	if !is {
		return os.RemoveAll(filepath.Join(p.dir, strings.Replace(tape, "hidden", "seen", 1)))
	}
	_, err := p.b.command(ctx, "", "docker", "volume", "rm", "--force", name)
	return err
}
