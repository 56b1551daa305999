//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// heads is how many requests are made for the time to the head, per round.
const heads = 100

// A way leads from an origin to a client.
type way struct {
	label, addr string
	latency     sample // of events, from before the origin's write to after the client's read
	fresh, kept sample // from the request to its head, on new and on kept connections
	streams     []stream
	cpu         time.Duration // that wiretape used for them
	// tried is how many rounds there were, repeated ones included: paths differ in
	// all of them, and are the same on both ways.
	tried int
}

func (w *way) join(v *way) {
	w.latency = append(w.latency, v.latency...)
	w.fresh = append(w.fresh, v.fresh...)
	w.kept = append(w.kept, v.kept...)
	w.streams = append(w.streams, v.streams...)
	w.cpu += v.cpu
}

// measureRecord compares a stream through wiretape with a direct one.
func measureRecord(ctx context.Context, b *bench) error {
	ways, err := b.recordWays(ctx, "record", 1, b.one, b.rounds)
	if err != nil {
		return err
	}
	added := func(q float64) time.Duration { return ways[1].latency.quantile(q) - ways[0].latency.quantile(q) }
	b.judge(
		target{"added to an event, p50", added(0.5), 150 * time.Microsecond},
		target{"added to an event, p99", added(0.99), time.Millisecond})
	return nil
}

// measureRecordParallel is measureRecord with many streams at once.
func measureRecordParallel(ctx context.Context, b *bench) error {
	_, err := b.recordWays(ctx, "record-parallel", b.parallel, b.many, 1)
	if err == nil {
		b.judge()
	}
	return err
}

// recordWays measures and prints the direct way and the one through wiretape, in
// that order.
func (b *bench) recordWays(ctx context.Context, name string, parallel int, length time.Duration, rounds int) ([]*way, error) {
	o, err := b.origin(ctx)
	if err != nil {
		return nil, err
	}
	defer o.stop()
	dir := filepath.Join(b.dir, name)
	rec, err := b.recorder(ctx, dir, "--upstream", "http://"+o.addr)
	if err != nil {
		return nil, err
	}
	defer rec.stop()
	ways := []*way{{label: "direct", addr: o.addr}, {label: "through wiretape proxy record", addr: rec.addr}}
	for range rounds {
		for _, w := range ways {
			err := b.round(ctx, func() (func(), error) {
				fresh := &way{addr: w.addr}
				err := b.send(ctx, fresh, rec, w.tried*parallel, parallel, length)
				w.tried++
				return func() { w.join(fresh) }, err
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.label, err)
			}
		}
	}
	if err := errors.Join(rec.stop(), o.stop()); err != nil {
		return nil, err
	}
	b.printf("record, %d streams of %s at 50 events/s each, HTTP/1.1 chunked, %d rounds", parallel, length, rounds)
	if err := b.printWays(ways, dir); err != nil {
		return nil, err
	}
	b.printf("  CPU used by wiretape: %.0f%% of one", 100*ways[1].cpu.Seconds()/(length.Seconds()*float64(rounds)))
	return ways, nil
}

// send has parallel streams go one way, and then heads.
func (b *bench) send(ctx context.Context, w *way, rec *child, seed, parallel int, length time.Duration) (err error) {
	j := job{Addr: w.addr, Stagger: stagger}
	for i := range parallel {
		j.Paths = append(j.Paths, streamPath(seed+i, length))
	}
	before := rec.cpuTime()
	if w.streams, err = b.request(ctx, j); err != nil {
		return err
	}
	w.cpu = rec.cpuTime() - before
	for _, s := range w.streams {
		for _, e := range s.Events {
			w.latency = append(w.latency, time.Duration(e.At-e.Sent))
		}
	}
	return b.sendHeads(ctx, w)
}

// sendHeads has answers to /head go one way, one after the other.
func (b *bench) sendHeads(ctx context.Context, w *way) error {
	for _, keep := range []bool{false, true} {
		j := job{Addr: w.addr, InTurn: true, KeepAlive: keep}
		for range heads {
			j.Paths = append(j.Paths, "/head")
		}
		got, err := b.request(ctx, j)
		if err != nil {
			return err
		}
		for _, s := range got {
			if d := time.Duration(s.Head - s.Began); keep {
				w.kept = append(w.kept, d)
			} else {
				w.fresh = append(w.fresh, d)
			}
		}
	}
	return nil
}

func (b *bench) printWays(ways []*way, dir string) error {
	tables := []struct {
		what string
		of   func(*way) sample
	}{
		{"event, origin's write to client's read", func(w *way) sample { return w.latency }},
		{"request to head, new connection", func(w *way) sample { return w.fresh }},
		{"request to head, kept connection", func(w *way) sample { return w.kept }},
	}
	for _, t := range tables {
		b.header(t.what)
		for _, w := range ways {
			b.row(w.label, t.of(w), false)
		}
		direct, ours := t.of(ways[0]), t.of(ways[1])
		added := func(q float64) string { return short(ours.quantile(q) - direct.quantile(q)) }
		b.printf(columns, "  added", added(0.5), added(0.99), added(1), "", "")
	}
	off, err := tapeErrors(dir, ways[1].streams)
	if err != nil {
		return err
	}
	b.header("|time in the tape - origin's own|")
	b.row("events", off, true)
	return nil
}

// tapeErrors is how far a tape's times are from those at which the origin sent,
// both counted from the head. Counted from the request they would differ by the
// time that it takes to reach the origin.
func tapeErrors(dir string, streams []stream) (sample, error) {
	times, err := loadRecorded(dir)
	if err != nil {
		return nil, err
	}
	var off sample
	for _, s := range streams {
		r, ok := times[s.Path]
		if !ok || len(r.events) != len(s.Events) {
			return nil, fmt.Errorf("%s: the tape has %d of %d events", s.Path, len(r.events), len(s.Events))
		}
		for n, at := range r.events {
			off = append(off, at-r.head-time.Duration(r.sent[n]-s.Sent))
		}
	}
	return off, nil
}
