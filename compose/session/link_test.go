package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/pkg/stdcopy"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A peer is the agent's end of a link.
type peer struct {
	net.Conn
	in             *json.Decoder
	stdout, stderr io.Writer
}

func newPeer(t *testing.T, message func(agent.FromAgent)) (*Link, *peer) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { theirs.Close() })
	p := &peer{
		Conn: theirs, in: json.NewDecoder(theirs),
		stdout: stdcopy.NewStdWriter(theirs, stdcopy.Stdout), stderr: stdcopy.NewStdWriter(theirs, stdcopy.Stderr),
	}
	return NewLink(ours, ours, message, func() string { return "" }, FatalNext(EngineInfo{}, false)), p
}

func (p *peer) say(m agent.FromAgent) {
	line, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	p.stdout.Write(append(line, '\n'))
}

func TestLinkMatchesRepliesToRequests(t *testing.T) {
	l, p := newPeer(t, nil)
	go func() {
		var first, second agent.ToAgent
		p.in.Decode(&first)
		p.in.Decode(&second)
		p.say(agent.FromAgent{ID: second.ID, Reply: &agent.Reply{Error: "no " + second.Listening.Service}})
		p.say(agent.FromAgent{ID: first.ID, Reply: &agent.Reply{Ports: [][]int{{80}}}})
	}()
	type answer struct {
		agent.Reply
		err error
	}
	first := make(chan answer)
	go func() {
		r, err := l.Request(t.Context(), agent.ToAgent{Listening: &agent.Listening{Service: "web"}})
		first <- answer{r, err}
	}()
	time.Sleep(10 * time.Millisecond) // the order of the requests does not matter, only that both wait
	_, err := l.Request(t.Context(), agent.ToAgent{Listening: &agent.Listening{Service: "db"}})
	if got := <-first; (got.err == nil) == (err == nil) {
		t.Errorf("one request fails: %v, %v", got.err, err)
	}
}

func TestLinkTakesLongLinesAndKeepsTheirOrder(t *testing.T) {
	got := make(chan string, 3)
	_, p := newPeer(t, func(m agent.FromAgent) { got <- m.Log.Message })
	long := strings.Repeat("x", 3<<20)
	go func() {
		for _, text := range []string{"a", long, "b"} {
			p.say(agent.FromAgent{Log: &agent.Log{Message: text}})
		}
	}()
	for _, want := range []string{"a", long, "b"} {
		if text := <-got; text != want {
			t.Fatalf("a line of %d bytes came instead of one of %d", len(text), len(want))
		}
	}
}

func TestLinkTellsWhyTheAgentIsGone(t *testing.T) {
	tests := []struct {
		name string
		end  func(*peer)
		want string
		hint string
	}{
		{"it ends", func(p *peer) { p.Close() }, "the agent ended unexpectedly", "--debug"},
		{"it panics", func(p *peer) { p.stderr.Write([]byte("panic: oh\n")); p.Close() }, "ended unexpectedly: panic: oh", "--debug"},
		{"it says what is wrong", func(p *peer) {
			p.say(agent.FromAgent{Fatal: event.Problemf(event.Environment, "5.15", "the kernel is too old")})
		}, "the kernel is too old", "5.15"},
		{"it talks nonsense", func(p *peer) { p.stdout.Write([]byte("hello\n")) }, `is not understood`, "--debug"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l, p := newPeer(t, func(agent.FromAgent) {})
			go test.end(p)
			_, err := await(t.Context(), l, l.ready, time.Minute, "get ready")
			var e *event.Problem
			if !errors.As(err, &e) || e.Kind != event.Environment || !strings.Contains(err.Error(), test.want) || !strings.Contains(e.Next, test.hint) {
				t.Errorf("the error is %v", err)
			}
			if _, err := l.Request(t.Context(), agent.ToAgent{Cleanup: true}); err == nil {
				t.Error("a request to an agent that is gone succeeds")
			}
		})
	}
}

func TestLinkStopsOnceTheAgentHasSentEverything(t *testing.T) {
	records := 0
	l, p := newPeer(t, func(m agent.FromAgent) { records++ })
	go func() {
		var m agent.ToAgent
		p.in.Decode(&m)
		for range 10 {
			p.stdout.Write((&tape.Record{Kind: tape.NoteRecord, Data: []byte(`{"problem":"\n"}`)}).Append(nil))
		}
		p.say(agent.FromAgent{Stopped: true})
	}()
	if err := l.Stop(t.Context(), time.Minute); err != nil || records != 10 {
		t.Errorf("%d records came: %v", records, err)
	}
}

func TestLinkDoesNotWaitForASilentAgent(t *testing.T) {
	l, p := newPeer(t, nil)
	go io.Copy(io.Discard, p)
	if err := l.Stop(t.Context(), 50*time.Millisecond); err == nil {
		t.Error("a silent agent is said to have stopped")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := l.Stop(ctx, time.Minute); err == nil {
		t.Error("the context's end does not end the wait")
	}
}

// Whatever comes from the agent's container, the reading ends with its end.
func FuzzLink(f *testing.F) {
	f.Add([]byte(`{"ready":true}` + "\n" + `{"stopped":true}` + "\n"))
	f.Add([]byte(`{"id":7,"reply":{}}` + "\n{"))
	f.Add([]byte("@l 1 1 0 3 \n{}\n@f 1 0 1 9 calls/0001-get-a.yaml\ncall: 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var stream bytes.Buffer
		stdcopy.NewStdWriter(&stream, stdcopy.Stdout).Write(data)
		l := NewLink(silent{}, &stream, func(agent.FromAgent) {}, func() string { return "" }, FatalNext(EngineInfo{}, false))
		<-l.done
		if l.Err() == nil {
			t.Error("the link ended without saying why")
		}
	})
}

// silent is a connection that nobody reads: what is saved is told to it.
type silent struct{ net.Conn }

func (silent) Close() error                     { return nil }
func (silent) SetWriteDeadline(time.Time) error { return nil }
func (silent) Write(p []byte) (int, error)      { return len(p), nil }

func TestAClosedLinkPassesNothingOnAnyMore(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	var results []int // read without a lock once the link is closed
	l, p := newPeer(t, func(m agent.FromAgent) {
		close(began)
		<-goOn
		results = append(results, m.Event.Exchange.Number)
	})
	go p.say(agent.FromAgent{Event: &event.Event{Exchange: &event.Exchange{Kind: event.CallEnded, Number: 7}}})
	<-began
	closed := make(chan struct{})
	go func() {
		l.Close()
		close(closed)
	}()
	close(goOn)
	<-closed
	if len(results) != 1 || results[0] != 7 {
		t.Errorf("the results are %v", results)
	}
}
