//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	// loadConns is over how many connections small answers are asked for.
	loadConns = 32
	// anyNumber is how many requests differ where none comes twice.
	anyNumber = 100_000_000
	// evenRate is the requests a second at which added latency is measured.
	evenRate = 1000
)

// A route is a way of small answers from their origin to a load.
type route struct {
	label string
	role  results.Role
	open  func() (*child, error) // starts what is between, for a round
	// before stands before a path in the request line, for a forward proxy.
	before string
	long   bool // the load goes on for long

	rate, latency, even, cpu *results.Series
}

// measureRecordRate compares how many small answers a second are recorded with how
// many pass nginx, and what is added at a rate that all can keep up.
func measureRecordRate(ctx context.Context, b *bench, f *results.Figure) error {
	o, err := b.startSelf(ctx, roleSmall)
	if err != nil {
		return err
	}
	defer o.stop()
	r := &recordRate{b: b, origin: o}
	f.Method = fmt.Sprintf("Answers of 175 bytes of JSON, no path twice, %d connections, each with one request at a time: %d requests/s, evenly, for %s; then as many as are answered, for %s through wiretape, for %s else. %d rounds, in turns. "+
		"The origin is one thread of ours that finds a number in the request and writes an answer made before; the load is another. CPU is that of all processes of what is between.",
		loadConns, evenRate, b.brief, b.steady, b.brief, b.rateRounds)
	routes := []*route{
		{label: "direct", role: results.Limit, open: func() (*child, error) { return o, nil }},
		{label: "nginx", role: results.Peer, open: func() (*child, error) { return b.startNginx(ctx, o.addr, false, tlsFiles{}) }},
		{label: recorder, role: results.Ours, long: true, open: func() (*child, error) { return r.record(ctx) }},
	}
	r.tables(f, routes)
	for range b.rateRounds {
		for _, w := range routes {
			if w.rate.Cannot != "" {
				continue
			}
			if err := r.round(ctx, w); err != nil {
				return fmt.Errorf("%s: %w", w.label, err)
			}
		}
	}
	direct, nginx, ours := routes[0], routes[1], routes[2]
	if nginx.rate.Cannot == "" {
		f.Goals = append(f.Goals, results.Goal{What: "requests/s, share of nginx", Unit: results.Share, AtLeast: true, Bound: 0.5,
			Got: results.Ratio(ours.rate, nginx.rate)})
	}
	f.Goals = append(f.Goals, atMost(fmt.Sprintf("p99 added at %d requests/s", evenRate), ours.even.At(0.99)-direct.even.At(0.99), 2*time.Millisecond))
	f.Notes = append(f.Notes, r.notes...)
	return r.others(ctx, f)
}

// A recordRate measures routes to one origin.
type recordRate struct {
	b      *bench
	origin *child
	dir    string // of the tape under way
	notes  []string
	at     [4]*results.Table
}

func (r *recordRate) tables(f *results.Figure, routes []*route) {
	r.at = [...]*results.Table{
		plotted(f, "requests a second", results.PerSecond),
		table(f, "an answer's latency then", results.Nanoseconds),
		table(f, "CPU for a request", results.Nanoseconds),
		plotted(f, fmt.Sprintf("an answer's latency at %d requests/s", evenRate), results.Nanoseconds),
	}
	for _, w := range routes {
		r.add(w)
	}
}

func (r *recordRate) add(w *route) {
	w.rate, w.latency = series(r.at[0], w.label, w.role), series(r.at[1], w.label, w.role)
	if w.label != "direct" {
		w.cpu = series(r.at[2], w.label, w.role)
	}
	w.even = series(r.at[3], w.label, w.role)
}

// record starts a recorder with a tape of its own.
func (r *recordRate) record(ctx context.Context) (*child, error) {
	dir, err := r.b.scratch("tape")
	if err != nil {
		return nil, err
	}
	r.dir = dir + "/tape"
	return r.b.recorder(ctx, r.dir, "--upstream", "http://"+r.origin.addr)
}

// round measures one route; a peer that can't do it gets the reason.
func (r *recordRate) round(ctx context.Context, w *route) error {
	err := r.b.round(ctx, func() (func(), error) { return r.once(ctx, w) })
	if err != nil && w.role == results.Peer && ctx.Err() == nil {
		w.rate.Cannot = firstLine(err)
		return nil
	}
	return err
}

func (r *recordRate) once(ctx context.Context, w *route) (keep func(), err error) {
	server, err := w.open()
	if err != nil {
		return nil, err
	}
	if server != r.origin {
		defer server.stop()
	}
	// What is behind after the full load would be in the way of the even one.
	l := load{Addr: server.addr, Conns: loadConns, Prefix: w.before + smallPath, First: anyNumber / 2, Distinct: anyNumber / 2, For: r.b.brief, Rate: evenRate}
	even, err := r.b.load(ctx, l)
	if err != nil {
		return nil, err
	}
	l.First, l.Rate = 0, 0
	if w.long {
		l.For = r.b.steady
	}
	before := server.cpuTime()
	full, err := r.b.load(ctx, l)
	if err != nil {
		return nil, err
	}
	used := server.cpuTime() - before
	if w.role == results.Ours {
		if err := r.end(server, full, even); err != nil {
			return nil, err
		}
	}
	return func() {
		w.rate.Add(full.rate())
		w.latency.Add(sample(full.Latencies).ns()...)
		w.even.Add(sample(even.Latencies).ns()...)
		if w.cpu != nil {
			w.cpu.Add(float64(used) / float64(full.Requests))
		}
	}, nil
}

// end ends a recording, and looks whether everything is on its tape.
func (r *recordRate) end(server *child, full, even loaded) error {
	began := time.Now()
	if err := server.stop(); err != nil {
		return err
	}
	took := time.Since(began)
	t, err := tape.Open(r.dir)
	if err != nil {
		return err
	}
	if want := full.Requests + even.Requests; len(t.Calls) != want || !t.Manifest.Complete {
		return fmt.Errorf("%d of %d calls are on the tape, problems: %v", len(t.Calls), want, t.Manifest.Problems)
	}
	first, last := quarters(full.Seconds)
	r.notes = append(r.notes, fmt.Sprintf("wiretape: %s in the first quarter, %s in the last; all %d calls are on the tape, %s after the interrupt",
		results.PerSecond.Format(first), results.PerSecond.Format(last), len(t.Calls), short(took)))
	// The tape stays until all is measured: a file system that has just removed many
	// files makes new ones several times more slowly for a minute (ext4 without a
	// journal passes over their inodes).
	return nil
}

// quarters are the requests a second in the first and last quarter of whole seconds.
func quarters(seconds []int) (first, last float64) {
	if len(seconds) > 1 {
		seconds = seconds[:len(seconds)-1] // which is not a whole one
	}
	n := max(1, len(seconds)/4)
	mean := func(part []int) float64 {
		sum := 0
		for _, c := range part {
			sum += c
		}
		return float64(sum) / float64(max(1, len(part)))
	}
	return mean(seconds[:min(n, len(seconds))]), mean(seconds[max(0, len(seconds)-n):])
}

// others measures the peers that record, once each.
func (r *recordRate) others(ctx context.Context, f *results.Figure) error {
	for _, w := range []*route{
		{label: "hoverfly, capturing", before: "http://" + r.origin.addr, open: func() (*child, error) { return r.b.startHoverfly(ctx, "-capture") }},
		{label: "mitmproxy, writing flows", open: func() (*child, error) { return r.b.startMitmproxy(ctx, r.origin.addr) }},
		{label: "wiremock, recording", open: func() (*child, error) {
			dir, err := r.b.scratch(wiremock)
			if err != nil {
				return nil, err
			}
			return r.b.startWireMock(ctx, dir, "--proxy-all", "http://"+r.origin.addr, "--record-mappings")
		}},
	} {
		w.role = results.Peer
		r.add(w)
		if err := r.round(ctx, w); err != nil {
			return err
		}
	}
	series(r.at[0], aimock, results.Peer).Cannot = r.b.aimockCannot(ctx, smallPath+"00000000", "http://"+r.origin.addr)
	return nil
}
