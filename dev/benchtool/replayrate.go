//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

const (
	// few is how many calls the small tape has, that are asked for in turns.
	few = 100
	// peerRounds is how many rounds of a replay peers take part in, which take long
	// to start.
	peerRounds = 2
)

// smallTape records so many small calls, once.
func (b *bench) smallTape(ctx context.Context, calls int) (string, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("small-%d", calls))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	o, err := b.startSelf(ctx, roleSmall)
	if err != nil {
		return "", err
	}
	defer o.stop()
	w, err := b.recorder(ctx, dir, "--upstream", "http://"+o.addr)
	if err != nil {
		return "", err
	}
	defer w.stop()
	got, err := b.load(ctx, load{Addr: w.addr, Conns: loadConns, Prefix: smallPath, Distinct: calls, Count: calls, For: recordPatience})
	if err != nil {
		return "", err
	}
	if got.Requests != calls {
		return "", fmt.Errorf("%d of %d calls were recorded within %s", got.Requests, calls, recordPatience)
	}
	return dir, errors.Join(w.stop(), o.stop())
}

// A smallPlayer plays small answers.
type smallPlayer struct {
	label string
	role  results.Role
	open  func() (*child, error)

	rate, latency, cpu *results.Series
}

// smallPlayers are wiretape and the limit, with so many answers.
func (b *bench) smallPlayers(ctx context.Context, dir string, calls int) []*smallPlayer {
	return []*smallPlayer{
		{label: player + " --speed 0", role: results.Ours, open: func() (*child, error) { return b.player(ctx, dir, "--speed", "0") }},
		{label: "net/http with the answers in a map", role: results.Limit, open: func() (*child, error) { return b.startSelf(ctx, roleLimit, "-distinct", fmt.Sprint(calls)) }},
	}
}

// playSmall has players answer a load in turns. The goal is a share of the limit.
func (b *bench) playSmall(ctx context.Context, f *results.Figure, players []*smallPlayer, l load, goal float64) error {
	rate := plotted(f, "requests a second", results.PerSecond)
	latency := table(f, "an answer's latency", results.Nanoseconds)
	cpu := table(f, "CPU for a request", results.Nanoseconds)
	for _, p := range players {
		p.rate, p.latency, p.cpu = series(rate, p.label, p.role), series(latency, p.label, p.role), series(cpu, p.label, p.role)
	}
	for i := range b.rounds {
		for _, p := range players {
			if p.rate.Cannot != "" || p.role == results.Peer && i >= peerRounds {
				continue
			}
			if err := b.playSmallOnce(ctx, p, l); err != nil {
				if p.role != results.Peer || ctx.Err() != nil {
					return fmt.Errorf("%s: %w", p.label, err)
				}
				p.rate.Cannot = firstLine(err)
			}
		}
	}
	f.Goals = append(f.Goals, results.Goal{What: "requests/s, share of net/http", Unit: results.Share, AtLeast: true, Bound: goal,
		Got: results.Ratio(players[0].rate, players[1].rate)})
	return nil
}

func (b *bench) playSmallOnce(ctx context.Context, p *smallPlayer, l load) error {
	return b.round(ctx, func() (func(), error) {
		server, err := p.open()
		if err != nil {
			return nil, err
		}
		defer server.stop()
		l.Addr = server.addr
		before := server.cpuTime()
		got, err := b.load(ctx, l)
		if err != nil {
			return nil, err
		}
		used := server.cpuTime() - before
		return func() {
			p.rate.Add(got.rate())
			p.latency.Add(sample(got.Latencies).ns()...)
			p.cpu.Add(float64(used) / float64(got.Requests))
		}, server.stop()
	})
}

// measureReplayRate asks for a few calls in turns, as fast as they are answered.
func measureReplayRate(ctx context.Context, b *bench, f *results.Figure) error {
	dir, err := b.smallTape(ctx, few)
	if err != nil {
		return err
	}
	f.Method = fmt.Sprintf("A tape of %d calls with 175 bytes of JSON, asked for in turns over %d connections, each with one request at a time, for %s; %d rounds, of which peers take part in %d.", few, loadConns, b.brief, b.rounds, min(b.rounds, peerRounds))
	players := append(b.smallPlayers(ctx, dir, few), b.smallPeers(ctx, few)...)
	if err := b.playSmall(ctx, f, players, load{Conns: loadConns, Prefix: smallPath, Distinct: few, For: b.brief}, 0.6); err != nil {
		return err
	}
	series(f.Tables[0], aimock, results.Peer).Cannot = b.aimockCannot(ctx, smallPath+"00000000", "")
	return nil
}

// measureReplayDistinct asks once for each call of a larger tape.
func measureReplayDistinct(ctx context.Context, b *bench, f *results.Figure) error {
	dir, err := b.smallTape(ctx, b.distinct)
	if err != nil {
		return err
	}
	f.Method = fmt.Sprintf("A tape of %d calls with 175 bytes of JSON, each asked for once over %d connections; %d rounds.", b.distinct, loadConns, b.rounds)
	l := load{Conns: loadConns, Prefix: smallPath, Distinct: b.distinct, Count: b.distinct, For: recordPatience}
	return b.playSmall(ctx, f, b.smallPlayers(ctx, dir, b.distinct), l, 0.4)
}

// measureReplayAgain asks for one call of a tape again and again.
func measureReplayAgain(ctx context.Context, b *bench, f *results.Figure) error {
	dir, err := b.smallTape(ctx, b.again)
	if err != nil {
		return err
	}
	f.Method = fmt.Sprintf("One call of a tape of %d, again and again over %d connections, for %s; %d rounds. The tape has it once: its answer is used again.", b.again, loadConns, b.brief, b.rounds)
	l := load{Conns: loadConns, Prefix: smallPath, Distinct: 1, For: b.brief}
	return b.playSmall(ctx, f, b.smallPlayers(ctx, dir, b.again), l, 0.4)
}

// smallPeers are the peers that replay, with so many answers.
func (b *bench) smallPeers(ctx context.Context, calls int) []*smallPlayer {
	answers := make(map[string]string, calls)
	for n := range calls {
		number := fmt.Sprintf("%0*d", digits, n)
		answers[smallPath+number] = smallBody(number)
	}
	return []*smallPlayer{
		{label: "hoverfly, simulating", role: results.Peer, open: func() (*child, error) { return b.simulate(ctx, answers, "application/json") }},
		{label: "wiremock, stubbing", role: results.Peer, open: func() (*child, error) { return b.stub(ctx, answers, "application/json") }},
		{label: "mitmproxy, --server-replay", role: results.Peer, open: func() (*child, error) {
			return b.replayFlows(ctx, func(via *child) error {
				_, err := b.load(ctx, load{Addr: via.addr, Conns: loadConns, Prefix: smallPath, Distinct: calls, Count: calls, For: recordPatience})
				return err
			}, roleSmall)
		}},
	}
}

// simulate starts Hoverfly as a server of answers, by path and query.
func (b *bench) simulate(ctx context.Context, answers map[string]string, contentType string) (*child, error) {
	type object = map[string]any
	exact := func(s string) []object { return []object{{"matcher": "exact", "value": s}} }
	var pairs []object
	for target, body := range answers {
		path, query := splitTarget(target)
		request := object{"path": exact(path)}
		if query != nil {
			request["query"] = object{query[0]: exact(query[1])}
		}
		pairs = append(pairs, object{"request": request,
			"response": object{"status": 200, "body": body, "encodedBody": false, "templated": false, "headers": object{"Content-Type": []string{contentType}}}})
	}
	simulation, err := json.Marshal(object{"data": object{"pairs": pairs, "globalActions": object{"delays": []any{}}}, "meta": object{"schemaVersion": "v5.2"}})
	if err != nil {
		return nil, err
	}
	dir, err := b.scratch("simulation")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "simulation.json")
	if err := os.WriteFile(path, simulation, 0o600); err != nil {
		return nil, err
	}
	return b.startHoverfly(ctx, "-webserver", "-import", path)
}

// stub starts WireMock with answers, by path and query.
func (b *bench) stub(ctx context.Context, answers map[string]string, contentType string) (*child, error) {
	type object = map[string]any
	var mappings []object
	for target, body := range answers {
		mappings = append(mappings, object{"request": object{"method": "GET", "url": target},
			"response": object{"status": 200, "body": body, "headers": object{"Content-Type": contentType}}})
	}
	data, err := json.Marshal(object{"mappings": mappings})
	if err != nil {
		return nil, err
	}
	dir, err := b.scratch(wiremock)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "mappings"), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "mappings", "bench.json"), data, 0o600); err != nil {
		return nil, err
	}
	return b.startWireMock(ctx, dir, "--no-request-journal")
}
