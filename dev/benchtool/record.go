//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

const recorder = "wiretape proxy record"

// A way leads from an origin to a client.
type way struct {
	label  string
	server *child // that the client asks; its CPU time is counted unless it is the origin
	// before stands before a path in the request line, for a forward proxy.
	before string
	// latency is of events, from before the origin's write to after the client's
	// read; fresh and kept are from a request to its head, on new and on kept connections.
	latency, fresh, kept *results.Series
	streams              []stream
	cpu                  time.Duration // that the server used for them
	// tried is how many rounds there were, repeated ones included: paths differ in
	// all of them, and are the same on all ways.
	tried int
}

// A passage is what a round sent one way.
type passage struct {
	streams              []stream
	latency, fresh, kept sample
	cpu                  time.Duration
}

func (w *way) keep(p passage) {
	w.latency.Add(p.latency.ns()...)
	w.fresh.Add(p.fresh.ns()...)
	w.kept.Add(p.kept.ns()...)
	w.streams = append(w.streams, p.streams...)
	w.cpu += p.cpu
}

// measureRecord compares a stream through wiretape with a direct one, and one
// through nginx.
func measureRecord(ctx context.Context, b *bench, f *results.Figure) error {
	direct, ours, nginx, err := b.recordWays(ctx, f, 1, b.one, b.rounds)
	if err != nil {
		return err
	}
	added := func(w *way, q float64) float64 { return w.latency.At(q) - direct.latency.At(q) }
	f.Goals = append(f.Goals,
		atMost("added to an event, p50", added(ours, 0.5), 150*time.Microsecond),
		atMost("added to an event, p99", added(ours, 0.99), time.Millisecond))
	if nginx != nil {
		f.Goals = append(f.Goals,
			atMost("added to an event, p50, beside what nginx adds", added(ours, 0.5), time.Duration(max(0, added(nginx, 0.5)))),
			atMost("added to an event, p99, beside what nginx adds", added(ours, 0.99), time.Duration(max(0, added(nginx, 0.99)))))
	}
	return b.peersRecord(ctx, f)
}

// measureRecordParallel is measureRecord with many streams at once.
func measureRecordParallel(ctx context.Context, b *bench, f *results.Figure) error {
	_, _, _, err := b.recordWays(ctx, f, b.parallel, b.many, 1)
	return err
}

// recordWays measures the direct way, the one through wiretape, and the one
// through nginx, which is nil where there is none.
func (b *bench) recordWays(ctx context.Context, f *results.Figure, parallel int, length time.Duration, rounds int) (direct, ours, beside *way, err error) {
	f.Method = fmt.Sprintf("Streams: %d at once, %s long, 50 events/s each, HTTP/1.1 chunked; then %d requests for a head on new and on kept connections; %d rounds.",
		parallel, length, b.heads, rounds)
	o, err := b.origin(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	defer o.stop()
	dir := filepath.Join(b.dir, f.Name)
	rec, err := b.recorder(ctx, dir, "--upstream", "http://"+o.addr)
	if err != nil {
		return nil, nil, nil, err
	}
	defer rec.stop()
	latency := plotted(f, "event, origin's write to client's read", results.Nanoseconds)
	fresh := table(f, "request to head, new connection", results.Nanoseconds)
	kept := table(f, "request to head, kept connection", results.Nanoseconds)
	add := func(label string, role results.Role, server *child) *way {
		return &way{label: label, server: server, latency: series(latency, label, role), fresh: series(fresh, label, role), kept: series(kept, label, role)}
	}
	direct, ours = add("direct", results.Limit, o), add(recorder, results.Ours, rec)
	ways := []*way{direct, ours}
	if n, err := b.startNginx(ctx, o.addr, true, tlsFiles{}); err == nil {
		defer n.stop()
		beside = add("nginx, proxy_buffering off", results.Peer, n)
		ways = append(ways, beside)
	} else {
		series(latency, nginx, results.Peer).Cannot = firstLine(err)
	}
	for range rounds {
		for _, w := range ways {
			err := b.round(ctx, func() (func(), error) {
				p, err := b.send(ctx, w, w.tried*parallel, parallel, length)
				w.tried++
				return func() { w.keep(p) }, err
			})
			if err != nil {
				return nil, nil, nil, fmt.Errorf("%s: %w", w.label, err)
			}
		}
	}
	if err := errors.Join(rec.stop(), o.stop()); err != nil {
		return nil, nil, nil, err
	}
	for _, w := range ways[1:] {
		note(f, "CPU used by %s: %.0f%% of one; added to an event: p50 %s, p99 %s", w.label, 100*w.cpu.Seconds()/(length.Seconds()*float64(rounds)),
			results.Nanoseconds.Format(w.latency.At(0.5)-direct.latency.At(0.5)), results.Nanoseconds.Format(w.latency.At(0.99)-direct.latency.At(0.99)))
	}
	off, err := tapeErrors(dir, ours.streams)
	if err != nil {
		return nil, nil, nil, err
	}
	series(table(f, "distance of the tape's time from the origin's own", results.Nanoseconds), recorder, results.Ours).Add(off.abs().ns()...)
	return direct, ours, beside, nil
}

// send has parallel streams go one way, and then heads.
func (b *bench) send(ctx context.Context, w *way, seed, parallel int, length time.Duration) (p passage, err error) {
	j := job{Addr: w.server.addr, Stagger: stagger}
	for i := range parallel {
		j.Paths = append(j.Paths, w.before+streamPath(seed+i, length))
	}
	before := w.server.cpuTime()
	if p.streams, err = b.request(ctx, j); err != nil {
		return p, err
	}
	p.cpu = w.server.cpuTime() - before
	for _, s := range p.streams {
		for _, e := range s.Events {
			p.latency = append(p.latency, time.Duration(e.At-e.Sent))
		}
	}
	for _, keep := range []bool{false, true} {
		took, err := b.sendHeads(ctx, w, keep)
		if err != nil {
			return p, err
		}
		if keep {
			p.kept = took
		} else {
			p.fresh = took
		}
	}
	return p, nil
}

// sendHeads has answers to /head go one way, one after the other.
func (b *bench) sendHeads(ctx context.Context, w *way, keep bool) (sample, error) {
	j := job{Addr: w.server.addr, InTurn: true, KeepAlive: keep}
	for range b.heads {
		j.Paths = append(j.Paths, w.before+"/head")
	}
	got, err := b.request(ctx, j)
	var took sample
	for _, s := range got {
		took = append(took, time.Duration(s.Head-s.Began))
	}
	return took, err
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
