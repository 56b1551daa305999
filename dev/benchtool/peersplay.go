//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

// firstLine is an error in a table.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line[:min(len(line), 200)]
}

// splitTarget is the path of a target and the one parameter of its query.
func splitTarget(target string) (path string, query []string) {
	path, q, ok := strings.Cut(target, "?")
	if !ok {
		return path, nil
	}
	key, value, _ := strings.Cut(q, "=")
	return path, []string{key, value}
}

// replayFlows has mitmproxy record what ask asks for from an origin of ours, and
// then starts it as a server of that.
func (b *bench) replayFlows(ctx context.Context, ask func(via *child) error, origin ...string) (*child, error) {
	p, err := b.peer(ctx, mitmproxy)
	if err != nil {
		return nil, err
	}
	o, err := b.startSelf(ctx, origin...)
	if err != nil {
		return nil, err
	}
	defer o.stop()
	via, err := b.startMitmproxy(ctx, o.addr)
	if err != nil {
		return nil, err
	}
	defer via.stop()
	if err := errors.Join(ask(via), via.stop()); err != nil {
		return nil, err
	}
	dir, port, err := b.place(mitmproxy)
	if err != nil {
		return nil, err
	}
	return b.startAt(ctx, "127.0.0.1:"+port, dir, p.program, "-q", "--mode", "reverse:http://"+o.addr,
		"--listen-host", "127.0.0.1", "--listen-port", port, "--set", "confdir="+dir, "--set", "connection_strategy=lazy",
		"--set", "server_replay_nopop=true", "--set", "server_replay_kill_extra=true", "--server-replay", filepath.Join(via.dir, flowFile))
}

// aimockCannot says how aimock answers a request that is not one of an LLM vendor's API.
func (b *bench) aimockCannot(ctx context.Context, path, upstream string) string {
	dir, err := b.scratch(aimock)
	if err != nil {
		return firstLine(err)
	}
	var args []string
	if upstream != "" {
		args = []string{"--record", "--provider-openai", upstream}
	}
	c, err := b.startAimock(ctx, dir, args...)
	if err != nil {
		return firstLine(err)
	}
	defer c.stop()
	said, err := whyNot(ctx, c.addr, path)
	if err != nil {
		return firstLine(err)
	}
	return "speaks only the APIs of LLM vendors (see chat): it " + said
}

// eventsBody is the whole body that a tape has for a path.
func eventsBody(dir, path string) (string, error) {
	sends, err := loadSends(dir)
	if err != nil {
		return "", err
	}
	var body strings.Builder
	for _, s := range sends[path] {
		for _, c := range s.chunks {
			body.Write(c)
		}
	}
	return body.String(), nil
}

// peersReplay asks the peers for the first stream of a job, and says when it came.
func (b *bench) peersReplay(ctx context.Context, f *results.Figure, dir string, j job) error {
	path := j.Paths[0]
	body, err := eventsBody(dir, path)
	if err != nil {
		return err
	}
	answers := map[string]string{path: body}
	one := func(via *child) error {
		_, err := b.request(ctx, job{Addr: via.addr, InTurn: true, Paths: []string{path}})
		return err
	}
	for _, p := range []struct {
		label string
		open  func() (*child, error)
	}{
		{hoverfly, func() (*child, error) { return b.simulate(ctx, answers, "text/event-stream") }},
		{wiremock, func() (*child, error) { return b.stub(ctx, answers, "text/event-stream") }},
		{mitmproxy, func() (*child, error) { return b.replayFlows(ctx, one, roleOrigin) }},
	} {
		said, err := b.whenItCame(ctx, p.open, path)
		if err != nil {
			said = firstLine(err)
		}
		series(f.Tables[0], p.label, results.Peer).Cannot = said
	}
	series(f.Tables[0], aimock, results.Peer).Cannot = b.aimockCannot(ctx, path, "")
	return ctx.Err()
}

// whenItCame asks a server for a stream, and says when its first and last byte came.
func (b *bench) whenItCame(ctx context.Context, open func() (*child, error), path string) (string, error) {
	c, err := open()
	if err != nil {
		return "", err
	}
	defer c.stop()
	got, err := b.request(ctx, job{Addr: c.addr, InTurn: true, Paths: []string{path}})
	if err != nil {
		return "", err
	}
	s := got[0]
	if len(s.Events) == 0 {
		return "", errors.New("no event came")
	}
	last := s.Events[len(s.Events)-1]
	return fmt.Sprintf("keeps no times: of a stream of %s the first event came after %s, the last after %s", b.one,
		short(time.Duration(s.Events[0].At-s.Asked)), short(time.Duration(last.At-s.Asked))), nil
}

// peersRecord has a stream go through the peers that record. What passes it on as
// it comes is measured; else it is said when the first event came.
func (b *bench) peersRecord(ctx context.Context, f *results.Figure) error {
	o, err := b.origin(ctx)
	if err != nil {
		return err
	}
	defer o.stop()
	for _, p := range []struct {
		label, before string
		open          func() (*child, error)
	}{
		{"hoverfly, capturing", "http://" + o.addr, func() (*child, error) { return b.startHoverfly(ctx, "-capture") }},
		{"mitmproxy, writing flows", "", func() (*child, error) { return b.startMitmproxy(ctx, o.addr) }},
		{"wiremock, recording", "", func() (*child, error) {
			dir, err := b.scratch(wiremock)
			if err != nil {
				return nil, err
			}
			return b.startWireMock(ctx, dir, "--proxy-all", "http://"+o.addr, "--record-mappings")
		}},
	} {
		if err := b.peerRecord(ctx, series(f.Tables[0], p.label, results.Peer), p.open, p.before); err != nil {
			return err
		}
	}
	series(f.Tables[0], aimock, results.Peer).Cannot = b.aimockCannot(ctx, streamPath(1, b.one), "http://"+o.addr)
	return ctx.Err()
}

func (b *bench) peerRecord(ctx context.Context, s *results.Series, open func() (*child, error), before string) error {
	c, err := open()
	if err != nil {
		s.Cannot = firstLine(err)
		return ctx.Err()
	}
	defer c.stop()
	got, err := b.request(ctx, job{Addr: c.addr, InTurn: true, Paths: []string{before + streamPath(1, b.one)}})
	if err != nil || len(got[0].Events) == 0 {
		s.Cannot = firstLine(errors.Join(errors.New("no event came"), err))
		return ctx.Err()
	}
	asked, events := got[0].Asked, got[0].Events
	first, last := time.Duration(events[0].At-asked), time.Duration(events[len(events)-1].At-asked)
	if first > b.one/2 {
		s.Cannot = fmt.Sprintf("buffers the whole answer: of a stream of %s the first event came after %s, the last after %s", b.one, short(first), short(last))
		return nil
	}
	var latency sample
	for _, e := range events {
		latency = append(latency, time.Duration(e.At-e.Sent))
	}
	s.Add(latency.ns()...)
	return nil
}
