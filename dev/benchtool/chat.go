//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

// chatPath is of the one API that aimock has in common with the others.
const chatPath = "/v1/chat/completions"

// chatBody asks for a schedule. All seeds have one length, since aimock takes
// a message that begins with another for the same.
func chatBody(seed int, length time.Duration) string {
	return fmt.Sprintf(`{"model":"bench","stream":true,"messages":[{"role":"user","content":"stream %06d for %s"}]}`, seed, length)
}

// chat streams a schedule as a chat completion. A chunk's text is 20 characters,
// which is how aimock cuts what it plays, and says what an event does.
func (o origin) chat(w http.ResponseWriter, r *http.Request) {
	arrived := o.clock.now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	_, asked, _ := bytes.Cut(body, []byte("stream "))
	var seed uint64
	var text string
	if _, err := fmt.Sscanf(string(asked), "%d for %s", &seed, &text); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	text, _, _ = strings.Cut(text, `"`)
	length, err := time.ParseDuration(text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s := newSchedule(seed, length)
	time.Sleep(o.clock.until(arrived + int64(s.head)))
	o.begin(w)
	const event = `data: {"id":"chat-1","object":"chat.completion.chunk","created":1764000000,"model":"bench","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}` + "\n\n"
	for n, at := range s.chunks {
		time.Sleep(o.clock.until(arrived + int64(at)))
		fmt.Fprintf(w, event, fmt.Sprintf(`{"content":"%03d %015d "}`, n, o.clock.now()), "null")
		w.(http.Flusher).Flush()
	}
	fmt.Fprintf(w, event, "{}", `"stop"`)
	io.WriteString(w, "data: [DONE]\n\n")
}

// parseChat reads the line of a chunk of a chat completion.
func parseChat(line []byte) (n int, sent int64, ok bool) {
	_, rest, ok := bytes.Cut(line, []byte(`"content":"`))
	if !ok || len(rest) < 20 {
		return 0, 0, false
	}
	n, err := strconv.Atoi(string(rest[:3]))
	if err != nil {
		return 0, 0, false
	}
	sent, err = strconv.ParseInt(string(rest[4:19]), 10, 64)
	return n, sent, err == nil
}

// A chatServer stands between an origin and a client, or plays what it has recorded.
type chatServer struct {
	label         string
	role          results.Role
	record, play  func() (*child, error)
	passed, drift *results.Series
}

// measureChat compares what records and replays the stream of an LLM.
func measureChat(ctx context.Context, b *bench, f *results.Figure) error {
	o, err := b.origin(ctx)
	if err != nil {
		return err
	}
	defer o.stop()
	f.Method = fmt.Sprintf("A chat completion of %s, 50 chunks/s of 20 characters (which is how aimock cuts), HTTP/1.1; %d rounds in turns. "+
		"Recording: from the origin's write to the client's read. Replaying: how far a chunk is from its time, both counted from the first chunk, since the chunks themselves say when the origin sent them.", b.one/2, b.rounds)
	dir := filepath.Join(b.dir, f.Name)
	fixtures, err := b.scratch(aimock)
	if err != nil {
		return err
	}
	servers := []*chatServer{
		{label: "direct", role: results.Limit, record: func() (*child, error) { return o, nil }},
		{label: recorder, role: results.Ours,
			record: func() (*child, error) { return b.recorder(ctx, dir, "--upstream", "http://"+o.addr) },
			play:   func() (*child, error) { return b.player(ctx, dir) }},
		{label: aimock, role: results.Peer,
			record: func() (*child, error) {
				return b.startAimock(ctx, fixtures, "--record", "--provider-openai", "http://"+o.addr)
			},
			play: func() (*child, error) { return b.startAimock(ctx, fixtures) }},
		{label: "bare server, time.Sleep", role: results.Limit, play: func() (*child, error) { return b.floor(ctx, dir) }},
	}
	passed := plotted(f, "recording: chunk, origin's write to client's read", results.Nanoseconds)
	drift := plotted(f, "replaying: distance from the chunk's time", results.Nanoseconds)
	for _, s := range servers {
		if s.record != nil {
			s.passed = series(passed, s.label, s.role)
		}
		if s.play != nil {
			s.drift = series(drift, strings.Replace(s.label, recorder, player, 1), s.role)
		}
	}
	if err := b.recordChats(ctx, servers); err != nil {
		return err
	}
	return b.playChats(ctx, servers)
}

// recordChats has each server record all rounds' streams.
func (b *bench) recordChats(ctx context.Context, servers []*chatServer) error {
	open := make(map[*chatServer]*child)
	for _, s := range servers {
		if s.record == nil {
			continue
		}
		c, err := s.record()
		if err != nil {
			if s.role != results.Peer {
				return err
			}
			s.passed.Cannot = firstLine(err)
			s.drift.Cannot = s.passed.Cannot
			continue
		}
		open[s] = c
		if s.role != results.Limit {
			defer c.stop()
		}
	}
	for seed := range b.rounds {
		for _, s := range servers {
			if open[s] == nil {
				continue
			}
			// What one asks twice would be played by aimock, so no round is repeated.
			w := b.watch()
			got, err := b.chatOnce(ctx, open[s].addr, seed)
			if err != nil {
				return fmt.Errorf("%s: %w", s.label, err)
			}
			b.worst = max(b.worst, w.others())
			var latency sample
			for _, e := range got.Events {
				latency = append(latency, time.Duration(e.At-e.Sent))
			}
			s.passed.Add(latency.ns()...)
		}
	}
	for s, c := range open {
		if s.role != results.Limit {
			if err := c.stop(); err != nil {
				return err
			}
		}
	}
	return nil
}

// playChats has each server play all rounds' streams.
func (b *bench) playChats(ctx context.Context, servers []*chatServer) error {
	for seed := range b.rounds {
		for _, s := range servers {
			if s.play == nil || s.drift.Cannot != "" {
				continue
			}
			err := b.round(ctx, func() (func(), error) {
				c, err := s.play()
				if err != nil {
					return nil, err
				}
				defer c.stop()
				got, err := b.chatOnce(ctx, c.addr, seed)
				if err != nil {
					return nil, err
				}
				first := got.Events[0]
				var off sample
				for _, e := range got.Events[1:] {
					off = append(off, time.Duration((e.At-first.At)-(e.Sent-first.Sent)))
				}
				return func() { s.drift.Add(off.abs().ns()...) }, nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", s.label, err)
			}
		}
	}
	return nil
}

func (b *bench) chatOnce(ctx context.Context, addr string, seed int) (stream, error) {
	got, err := b.request(ctx, job{Addr: addr, InTurn: true, Paths: []string{chatPath}, Body: chatBody(seed, b.one/2)})
	if err != nil {
		return stream{}, err
	}
	if len(got[0].Events) < 2 {
		return stream{}, errors.New("no chunks came")
	}
	return got[0], nil
}

// startAimock starts it with a folder of fixtures.
func (b *bench) startAimock(ctx context.Context, fixtures string, args ...string) (*child, error) {
	p, err := b.peer(ctx, aimock)
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args = append([]string{p.program, "--port", port, "--host", "127.0.0.1", "--fixtures", fixtures, "--log-level", "silent"}, args...)
	return b.startAt(ctx, "127.0.0.1:"+port, fixtures, "node", args...)
}
