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
	role        results.Role

	rate, latency, empty, full *results.Series
}

// measureMount compares a tape in a folder of this host, to which the agent sends its
// records, with one in a volume that the agent has mounted.
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
		"from start to end: wiretape compose record -- true, test -- true. Wall-clock, in turns, %d rounds. A folder's records go through the engine to wiretape, which writes them, and the agent has the folder mounted to play it; a volume's are written and read by the agent, and copied to wiretape to be looked at.",
		loadConns, b.brief, b.sessions)
	places := []*place{
		{label: "a folder, over attach", tape: "tape", role: results.Ours},
		{label: "a volume, mounted", tape: "volume:" + p.name, role: results.Ours},
	}
	defer p.b.command(context.Background(), "", "docker", "volume", "rm", "--force", p.name)
	rate, latency := plotted(f, "recorded requests a second", results.PerSecond), table(f, "an answer's latency then", results.Nanoseconds)
	empty, full := plotted(f, "a session that records nothing", results.Nanoseconds), plotted(f, "a session against the tape", results.Nanoseconds)
	for _, at := range places {
		at.rate, at.latency = series(rate, at.label, at.role), series(latency, at.label, at.role)
		at.empty, at.full = series(empty, at.label, at.role), series(full, at.label, at.role)
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
	timed := func(s *results.Series, args ...string) error {
		began := time.Now()
		_, err := p.wiretape(ctx, args[0], append([]string{"--tape", at.tape}, args[1:]...)...)
		if counts {
			s.Add(float64(time.Since(began)))
		}
		return err
	}
	if err := timed(at.empty, "record", "--", "true"); err != nil {
		return err
	}
	out := filepath.Join(p.dir, "loaded.json")
	script := "docker compose exec -T app /app " + roleLoad + " <load.json >" + filepath.Base(out)
	if _, err := p.wiretape(ctx, "record", "--tape", at.tape, "--", "sh", "-ec", script); err != nil {
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
	return timed(at.full, "test", "--", "true")
}

func (p *project) removeTape(ctx context.Context, tape string) error {
	name, is := strings.CutPrefix(tape, "volume:")
	if !is {
		return os.RemoveAll(filepath.Join(p.dir, tape))
	}
	_, err := p.b.command(ctx, "", "docker", "volume", "rm", "--force", name)
	return err
}
