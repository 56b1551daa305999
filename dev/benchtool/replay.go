//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	// stagger is the time between the beginnings of two parallel streams.
	stagger = 5 * time.Millisecond
)

func streamPath(seed int, length time.Duration) string {
	return fmt.Sprintf("/stream/%d?length=%s", seed, length)
}

// A recorded is when a tape says that the parts of an answer came, since the request.
type recorded struct {
	head   time.Duration
	events []time.Duration // by number
	sent   []int64         // by the origin
}

// loadRecorded reads the times of all streams of a tape, by path and query.
func loadRecorded(dir string) (map[string]recorded, error) {
	t, err := tape.Open(dir)
	if err != nil {
		return nil, err
	}
	if !t.Manifest.Complete {
		return nil, fmt.Errorf("the tape is incomplete: %v", t.Manifest.Problems)
	}
	all := make(map[string]recorded, len(t.Calls))
	for _, x := range t.Calls {
		u, err := url.Parse(x.Request.URL)
		if err != nil {
			return nil, err
		}
		if x.Response == nil {
			return nil, fmt.Errorf("%s has no answer", x.File)
		}
		r := recorded{head: x.Response.At}
		if err := r.readEvents(t, x); err != nil {
			return nil, err
		}
		all[u.RequestURI()] = r
	}
	return all, nil
}

func (r *recorded) readEvents(t *tape.Tape, x *tape.Exchange) error {
	lines, err := t.Stream(x)
	if err != nil {
		return err
	}
	defer lines.Close()
	for l, err := range lines.Lines() {
		if err != nil {
			return err
		}
		if l.FromClient || l.End != nil {
			continue
		}
		for line := range bytes.Lines(l.Data) {
			if n, sent, ok := parseEvent(bytes.TrimSuffix(line, []byte("\n"))); ok {
				if n != len(r.events) {
					return fmt.Errorf("%s: event %d follows %d events", x.Stream, n, len(r.events))
				}
				r.events = append(r.events, l.At)
				r.sent = append(r.sent, sent)
			}
		}
	}
	return nil
}

// A played is how late answers came, counted from the recorded times.
type played struct {
	events []point
	heads  sample
	cpu    time.Duration // that the server used
	took   time.Duration // wall-clock
}

func (p *played) join(q played) {
	p.events = append(p.events, q.events...)
	p.heads = append(p.heads, q.heads...)
	p.cpu += q.cpu
	p.took += q.took
}

func (p *played) add(streams []stream, times map[string]recorded) error {
	for _, s := range streams {
		r, ok := times[s.Path]
		if !ok || len(s.Events) != len(r.events) {
			return fmt.Errorf("%s: %d of %d events came", s.Path, len(s.Events), len(r.events))
		}
		p.heads = append(p.heads, time.Duration(s.Head-s.Asked)-r.head)
		for n, e := range s.Events {
			if e.Number != n {
				return fmt.Errorf("%s: event %d came as number %d", s.Path, e.Number, n)
			}
			p.events = append(p.events, point{r.events[n], time.Duration(e.At-s.Asked) - r.events[n]})
		}
	}
	return nil
}

// A contender is a server that plays a tape.
type contender struct {
	label string
	role  results.Role
	start func(ctx context.Context, tape string) (*child, error)
	roots string // for a server with TLS
	played
	late, first *results.Series
}

const player = "wiretape proxy replay"

func (b *bench) contenders() []*contender {
	return []*contender{
		{label: player, role: results.Ours, start: func(ctx context.Context, tape string) (*child, error) { return b.player(ctx, tape) }},
		{label: "bare server, time.Sleep", role: results.Limit, start: func(ctx context.Context, tape string) (*child, error) { return b.floor(ctx, tape) }},
		{label: "bare server, spinning", role: results.Limit, start: func(ctx context.Context, tape string) (*child, error) { return b.floor(ctx, tape, "-spin") }},
	}
}

// replayTables begins the tables of a figure with the contenders' series.
func replayTables(f *results.Figure, cs []*contender) {
	late := plotted(f, "distance from the recorded time, events", results.Nanoseconds)
	first := table(f, "distance from the recorded time, first byte", results.Nanoseconds)
	for _, c := range cs {
		c.late, c.first = series(late, c.label, c.role), series(first, c.label, c.role)
	}
}

// play has the contenders play a tape in turns.
func (b *bench) play(ctx context.Context, dir string, j job, rounds int, cs []*contender) error {
	times, err := loadRecorded(dir)
	if err != nil {
		return err
	}
	for range rounds {
		for _, c := range cs {
			err := b.round(ctx, func() (func(), error) {
				p, err := b.playOnce(ctx, dir, j, times, c)
				return func() {
					c.join(p)
					c.late.Add(lateness(p.events).abs().ns()...)
					c.first.Add(p.heads.abs().ns()...)
				}, err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", c.label, err)
			}
		}
	}
	return nil
}

func (b *bench) playOnce(ctx context.Context, dir string, j job, times map[string]recorded, c *contender) (p played, err error) {
	server, err := c.start(ctx, dir)
	if err != nil {
		return p, err
	}
	defer server.stop()
	switch {
	case c.roots != "": // directly, where the others go through a proxy
		j.Addr, j.Proxy, j.Roots = server.addr, "", c.roots
	case j.Proxy != "":
		j.Proxy = server.addr
	default:
		j.Addr = server.addr
	}
	before, start := server.cpuTime(), time.Now()
	streams, err := b.request(ctx, j)
	if err != nil {
		return p, err
	}
	p.cpu, p.took = server.cpuTime()-before, time.Since(start)
	return p, errors.Join(p.add(streams, times), server.stop())
}

// over is how much later a contender is than another at a quantile.
func over(c, floor *contender, q float64) float64 { return c.late.At(q) - floor.late.At(q) }

func notePlayed(f *results.Figure, ours *contender) {
	note(f, "CPU used by wiretape: %.0f%% of one; the earliest event came %s after its time",
		100*float64(ours.cpu)/float64(ours.took), short(lateness(ours.events).quantile(0)))
}

// replayGoals are those for one stream: beside a bare server that sleeps.
func replayGoals(f *results.Figure, cs []*contender) {
	f.Goals = append(f.Goals,
		atMost("p50 over the bare server's that sleeps", over(cs[0], cs[1], 0.5), 100*time.Microsecond),
		atMost("p99 over the bare server's that sleeps", over(cs[0], cs[1], 0.99), 500*time.Microsecond))
}

// measureReplay compares one stream at a time with the recorded times.
func measureReplay(ctx context.Context, b *bench, f *results.Figure) error {
	j := job{InTurn: true, Paths: []string{streamPath(1, b.one)}}
	for i := range b.firsts {
		j.Paths = append(j.Paths, streamPath(1000+i, 90*time.Millisecond))
	}
	dir, err := b.record(ctx, "replay", j)
	if err != nil {
		return err
	}
	f.Method = fmt.Sprintf("One stream of %s and %d short ones in turn, HTTP/1.1 chunked, %d rounds.", b.one, b.firsts, b.rounds)
	cs := b.contenders()
	replayTables(f, cs)
	if err := b.play(ctx, dir, j, b.rounds, cs); err != nil {
		return err
	}
	notePlayed(f, cs[0])
	replayGoals(f, cs)
	return b.peersReplay(ctx, f, dir, j)
}

// measureReplayParallel compares many streams at once with the recorded times.
func measureReplayParallel(ctx context.Context, b *bench, f *results.Figure) error {
	j := job{Stagger: stagger}
	for i := range b.parallel {
		j.Paths = append(j.Paths, streamPath(i, b.many))
	}
	dir, err := b.record(ctx, "replay-parallel", j)
	if err != nil {
		return err
	}
	rounds := (b.rounds + 1) / 2
	f.Method = fmt.Sprintf("%d parallel streams of %s at 50 events/s each, HTTP/1.1 chunked, %d rounds.", b.parallel, b.many, rounds)
	cs := b.contenders()
	replayTables(f, cs)
	if err := b.play(ctx, dir, j, rounds, cs); err != nil {
		return err
	}
	notePlayed(f, cs[0])
	f.Goals = append(f.Goals, atMost("p99 over the bare server's that sleeps", over(cs[0], cs[1], 0.99), 2*time.Millisecond))
	return nil
}

// measureReplayLong looks for drift.
func measureReplayLong(ctx context.Context, b *bench, f *results.Figure) error {
	j := job{InTurn: true, Paths: []string{streamPath(2, b.long)}}
	dir, err := b.record(ctx, "replay-long", j)
	if err != nil {
		return err
	}
	f.Method = fmt.Sprintf("One stream of %s, HTTP/1.1 chunked.", b.long)
	// Drift needs no floor: what arrives late by the same time at both ends has none.
	cs := b.contenders()[:1]
	replayTables(f, cs)
	f.Tables[0].Plot = false
	if err := b.play(ctx, dir, j, 1, cs); err != nil {
		return err
	}
	notePlayed(f, cs[0])
	note(f, "drift: %s a minute; the last tenth's median is %s later than the first's",
		short(slope(cs[0].events)), short(drift(cs[0].events)))
	return nil
}
