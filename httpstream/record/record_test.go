package record

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A log keeps the records of a recording, as a pipe would carry them.
type log struct {
	mu      sync.Mutex
	records []tape.Record
}

func (l *log) emit(r tape.Record) error {
	copied, err := travelled(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, copied)
	return nil
}

// travelled is a record on the other end of a pipe.
func travelled(r tape.Record) (tape.Record, error) {
	return tape.ParseRecord(r.Append(nil))
}

// exchange returns the last state of an exchange, and its lines.
func (l *log) exchange(id int64) (x *tape.Exchange, lines []string, done bool) {
	for _, r := range l.records {
		if r.ID != id {
			continue
		}
		text := string(r.Data)
		if r.Kind != tape.LinesRecord {
			var err error
			if x, err = r.Exchange(); err != nil {
				panic(err)
			}
			text, x.Stream = string(x.Lines), ""
			x.Lines = nil
		}
		for line := range strings.Lines(text) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
		done = done || r.Last
	}
	return x, lines, done
}

// kinds are those of the records of an exchange, in order.
func (l *log) kinds(id int64) string {
	var b strings.Builder
	for _, r := range l.records {
		if r.ID == id {
			b.WriteByte(byte(r.Kind))
		}
	}
	return b.String()
}

// zero is a time with a fraction that tapes do not keep.
var zero = time.Date(2026, 1, 1, 0, 0, 0, 789, time.UTC)

func at(us int) time.Time { return zero.Add(time.Duration(us) * time.Microsecond) }

func data(s string) httpstream.Chunk { return httpstream.Chunk{Data: []byte(s)} }

func requestHead(method, target string) *httpstream.RequestHead {
	return &httpstream.RequestHead{Proto: "HTTP/1.1", Method: method, Target: target, Authority: "api.example",
		Header: httpstream.Fields{{Name: "Host", Value: "api.example"}, {Name: "Authorization", Value: "Bearer sk-1"}}}
}

func ok(status int) *httpstream.ResponseHead {
	return &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: status, Line: fmt.Sprintf("HTTP/1.1 %d OK", status),
		Header: httpstream.Fields{{Name: "Set-Cookie", Value: "sid=secret; Path=/"}}}
}

var eof = httpstream.EndInfo{How: httpstream.EOF}

// run records what play does on one connection, in a bubble of its own time.
func run(t *testing.T, opt Options, play func(*Recorder, httpstream.Sink)) (*log, []event.Exchange) {
	t.Helper()
	var l log
	var events []event.Exchange
	synctest.Test(t, func(t *testing.T) {
		opt.Start = at(-1000)
		opt.OnExchange = func(e event.Exchange) { events = append(events, e) }
		r := New(opt, l.emit)
		play(r, r.Conn(Conn{Kind: tape.Call, Service: "app", Scheme: "https", Authority: "api.example:443", TLS: "1.3", Cases: func(*httpstream.RequestHead) []int { return []int{4} }}))
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &l, events
}

func sha(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func expectLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAnOrdinaryExchange(t *testing.T) {
	l, events := run(t, Options{}, func(_ *Recorder, s httpstream.Sink) {
		x := s.Request(at(0), requestHead("POST", "/v1/chat?key=k"))
		x.Interim(at(5), &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 100, Line: "HTTP/1.1 100 Continue"})
		x.RequestChunk(at(10), data("he"))
		x.RequestChunk(at(20), data("llo"))
		x.RequestEnd(at(20), httpstream.Fields{{Name: "X-Token", Value: "t"}})
		x.Response(at(120), ok(200))
		x.ResponseChunk(at(150), httpstream.Chunk{Data: []byte("wo"), Of: 5})
		x.ResponseChunk(at(151), httpstream.Chunk{Data: []byte("rld"), Rest: true})
		x.End(at(160), httpstream.EndInfo{How: httpstream.EOF, Trailer: httpstream.Fields{{Name: "X-Secret", Value: "s"}}})
	})
	x, lines, done := l.exchange(1)
	if !done {
		t.Error("the exchange is not done")
	}
	expectLines(t, lines,
		`{"t":130,"of":5,"text":"wo"}`, `{"t":131,"rest":true,"text":"rld"}`,
		`{"t":140,"end":"eof","trailers":[{"X-Secret":"REDACTED"}]}`)
	want := &tape.Exchange{
		Kind: tape.Call, Number: 1, Service: "app", Case: 4, Started: time.Millisecond,
		Request: tape.Request{
			Proto: "HTTP/1.1", Method: "POST", URL: "https://api.example/v1/chat?key=REDACTED",
			Header:  httpstream.Fields{{Name: "Host", Value: "api.example"}, {Name: "Authorization", Value: "Bearer REDACTED"}},
			Trailer: httpstream.Fields{{Name: "X-Token", Value: "REDACTED"}},
			Body:    tape.Body{Data: []byte("hello"), Size: 5, SHA256: sha("hello")},
			Took:    20 * time.Microsecond, TLS: "1.3",
		},
		Interim: []tape.Response{{At: -15 * time.Microsecond, Head: httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 100, Line: "HTTP/1.1 100 Continue"}}},
		Response: &tape.Response{At: 100 * time.Microsecond, Head: httpstream.ResponseHead{
			Proto: "HTTP/1.1", Status: 200, Line: "HTTP/1.1 200 OK",
			Header: httpstream.Fields{{Name: "Set-Cookie", Value: "sid=REDACTED; Path=/"}},
		}},
	}
	if d := cmp.Diff(want, x); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]event.Exchange{{
		Kind: event.CallEnded, Number: 1, Case: 4, Service: "app", Method: "POST", URL: "https://api.example/v1/chat?key=REDACTED",
		Status: 200, Chunks: 1, Bytes: 5, First: 100 * time.Microsecond, Took: 140 * time.Microsecond, How: httpstream.EOF,
	}}, events); d != "" {
		t.Error(d)
	}
}

func TestAnAnswerThatIsToldBeforeTheEndOfItsRequestIsTwoWay(t *testing.T) {
	l, _ := run(t, Options{}, func(_ *Recorder, s httpstream.Sink) {
		x := s.Request(at(0), requestHead("POST", "/"))
		x.RequestChunk(at(10), data("a"))
		x.Response(at(50), ok(200))
		x.ResponseChunk(at(50), data("b"))
		x.RequestChunk(at(50), data("c")) // in the same microsecond, and told later: its effect
		x.RequestEnd(at(50), nil)
		x.End(at(70), eof)
	})
	x, lines, _ := l.exchange(1)
	if !x.TwoWay || x.Response.At != 50*time.Microsecond {
		t.Errorf("%+v", x)
	}
	expectLines(t, lines, `{"t":10,"from":"client","text":"a"}`, `{"t":50,"text":"b"}`,
		`{"t":50,"from":"client","text":"c"}`, `{"t":70,"end":"eof"}`)
}

func TestATwoWayExchangeHasTheClientsBytesAsLines(t *testing.T) {
	l, events := run(t, Options{}, func(_ *Recorder, s httpstream.Sink) {
		x := s.Request(at(0), requestHead("POST", "/"))
		x.RequestChunk(at(10), data("a"))
		x.Response(at(20), ok(200))
		x.ResponseChunk(at(30), data("A"))
		x.RequestChunk(at(40), data("b"))
		x.ResponseChunk(at(50), data("B"))
		x.RequestChunk(at(45), data("late by a hair")) // told late: times never go back
		x.RequestEnd(at(60), nil)
		x.End(at(70), eof)
	})
	x, lines, done := l.exchange(1)
	body := tape.Body{InStream: true, Size: 16, SHA256: sha("ablate by a hair")}
	if d := cmp.Diff(body, x.Request.Body); d != "" || !x.TwoWay || !done || !events[0].TwoWay || x.Request.Took != 60*time.Microsecond {
		t.Errorf("%s %+v", d, x)
	}
	expectLines(t, lines,
		`{"t":10,"from":"client","text":"a"}`, `{"t":30,"text":"A"}`, `{"t":40,"from":"client","text":"b"}`,
		`{"t":50,"text":"B"}`, `{"t":50,"from":"client","text":"late by a hair"}`, `{"t":70,"end":"eof"}`)
}

func TestAnUpgradeIsTwoWayEvenIfItsHeadWasTheWholeRequest(t *testing.T) {
	l, _ := run(t, Options{}, func(_ *Recorder, s httpstream.Sink) {
		x := s.Request(at(0), requestHead("GET", "/ws"))
		x.RequestEnd(at(0), nil)
		x.Response(at(20), ok(101))
		x.RequestChunk(at(40), data("ping"))
		x.ResponseChunk(at(50), data("pong"))
		x.RequestEnd(at(60), nil)
		x.End(at(60), eof)
	})
	x, lines, _ := l.exchange(1)
	if !x.TwoWay || !x.Request.Body.InStream || x.Response.At != 20*time.Microsecond {
		t.Errorf("%+v", x)
	}
	expectLines(t, lines, `{"t":40,"from":"client","text":"ping"}`, `{"t":50,"text":"pong"}`, `{"t":60,"end":"eof"}`)
}

func TestWhatTheClientSendsAfterTheAnswerIsKept(t *testing.T) {
	l, _ := run(t, Options{}, func(_ *Recorder, s httpstream.Sink) {
		x := s.Request(at(0), requestHead("POST", "/"))
		x.Response(at(20), ok(413))
		x.End(at(20), eof)
		time.Sleep(linger / 2)
		x.RequestChunk(at(40), data("more"))
		time.Sleep(2 * linger)
		x.RequestChunk(at(50), data("too late"))
		x.RequestEnd(at(50), nil)
	})
	_, lines, done := l.exchange(1)
	if !done {
		t.Error("the exchange is not done")
	}
	expectLines(t, lines, `{"t":40,"from":"client","text":"more"}`, `{"t":20,"end":"eof"}`)
}

func TestALargeBodyGoesToTheStream(t *testing.T) {
	l, _ := run(t, Options{MaxInlineBody: 3}, func(_ *Recorder, s httpstream.Sink) {
		x := s.Request(at(0), requestHead("PUT", "/"))
		x.RequestChunk(at(10), data("ab"))
		x.RequestChunk(at(20), data("cd"))
		x.RequestEnd(at(30), nil)
		x.Response(at(35), ok(200))
		x.ResponseChunk(at(40), data("A"))
		x.End(at(40), eof)
	})
	x, lines, _ := l.exchange(1)
	if d := cmp.Diff(tape.Body{InStream: true, Size: 4, SHA256: sha("abcd")}, x.Request.Body); d != "" || x.TwoWay {
		t.Errorf("%s %+v", d, x)
	}
	expectLines(t, lines, `{"t":10,"from":"client","text":"ab"}`, `{"t":20,"from":"client","text":"cd"}`,
		`{"t":10,"text":"A"}`, `{"t":10,"end":"eof"}`)
}

func TestExchangesWithoutAnAnswer(t *testing.T) {
	for _, c := range []struct {
		name         string
		requestEnds  bool
		end          httpstream.EndInfo
		failed, line string
	}{
		{"reset by the server", true, httpstream.EndInfo{How: httpstream.Reset, Detail: "connection reset by peer"}, "connection reset by peer", `{"t":40,"end":"reset","detail":"connection reset by peer"}`},
		{"closed by the server", true, eof, "the connection ended before an answer", `{"t":40,"end":"eof"}`},
		{"cancelled by the client", true, httpstream.EndInfo{How: httpstream.Cancelled}, "", `{"t":40,"end":"cancelled"}`},
		{"cancelled within the request", false, httpstream.EndInfo{How: httpstream.Cancelled}, "", `{"t":50,"end":"cancelled"}`},
		{"not HTTP", true, httpstream.EndInfo{How: httpstream.Malformed}, "the answer is not HTTP", `{"t":40,"end":"malformed"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, events := run(t, Options{}, func(_ *Recorder, s httpstream.Sink) {
				x := s.Request(at(0), requestHead("GET", "/"))
				if c.requestEnds {
					x.RequestEnd(at(10), nil)
				}
				x.End(at(50), c.end)
			})
			x, lines, done := l.exchange(1)
			if x == nil || !done || x.Failed != c.failed || x.Response != nil || len(events) != 1 {
				t.Errorf("%+v, done %v, %v", x, done, events)
			}
			expectLines(t, lines, c.line)
		})
	}
}

func TestCloseEndsWhatIsStillGoing(t *testing.T) {
	l, events := run(t, Options{}, func(r *Recorder, s httpstream.Sink) {
		a := s.Request(at(0), requestHead("GET", "/streaming"))
		a.RequestEnd(at(0), nil)
		a.Response(at(1), ok(200))
		a.ResponseChunk(at(2), data("x"))
		s.Request(at(0), requestHead("POST", "/uploading")).RequestChunk(at(1), data("y"))
	})
	for id := range int64(2) {
		_, lines, done := l.exchange(id + 1)
		if !done || len(lines) != 2 || !strings.Contains(lines[1], `"end":"open"`) {
			t.Errorf("%d: %v, done %v", id+1, lines, done)
		}
	}
	if len(events) != 2 || events[0].How != httpstream.Open {
		t.Errorf("%+v", events)
	}
}

func TestARefusedConnectionIsRecorded(t *testing.T) {
	l, events := run(t, Options{}, func(r *Recorder, _ httpstream.Sink) {
		r.Failed(Conn{Kind: tape.Call, Service: "app", Authority: "db:5432"}, at(3), "connection refused")
		r.Add(tape.Note{Opaque: &tape.Opaque{Address: "x:1", Reason: "r"}})
	})
	x, lines, done := l.exchange(1)
	want := &tape.Exchange{Kind: tape.Call, Number: 1, Service: "app", Started: 1003 * time.Microsecond,
		Request: tape.Request{URL: "tcp://db:5432"}, Failed: "connection refused"}
	if d := cmp.Diff(want, x); d != "" || lines != nil || !done || events[0].Failed != "connection refused" {
		t.Error(d, lines, done, events)
	}
	if last := l.records[len(l.records)-1]; string(last.Data) != `{"opaque":{"Service":"","Address":"x:1","Reason":"r","Count":0,"Bytes":0,"HTTP":false}}` {
		t.Errorf("%+v", last)
	}
}

func TestNumbersCountPerKind(t *testing.T) {
	_, events := run(t, Options{}, func(r *Recorder, s httpstream.Sink) {
		in := r.Conn(Conn{Kind: tape.Case, Service: "app", Scheme: "http", Authority: "app:8080", Cases: func(*httpstream.RequestHead) []int { return []int{9} }})
		for _, s := range []httpstream.Sink{s, in, s, in} {
			x := s.Request(at(0), requestHead("GET", "/"))
			x.RequestEnd(at(0), nil)
			x.End(at(0), eof)
		}
	})
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprint(e.Kind, e.Number, e.Case))
	}
	expectLines(t, got, "call1 4", "case1 0", "call2 4", "case2 0")
}

func TestAFailingEmitStopsNothingButItsExchange(t *testing.T) {
	var problems []string
	var failures int
	var l log
	r := New(Options{OnError: func(error) { failures++ }}, func(rec tape.Record) error {
		if rec.Kind == tape.NoteRecord {
			problems = append(problems, string(rec.Data))
		}
		if rec.ID == 1 && rec.Kind == tape.LinesRecord {
			return errors.New("disk full")
		}
		return l.emit(rec)
	})
	s := r.Conn(Conn{Kind: tape.Call})
	for range 2 {
		x := s.Request(at(0), requestHead("GET", "/"))
		x.RequestEnd(at(0), nil)
		x.Response(at(1), ok(200))
		x.ResponseChunk(at(2), data("a"))
		x.ResponseChunk(at(2), data("b"))
		x.End(at(3), eof)
	}
	if err := r.Close(context.Background()); err == nil || failures != 1 {
		t.Errorf("got %v, %d failures", err, failures)
	}
	expectLines(t, problems, `{"problem":"not everything could be written: disk full"}`)
	if _, lines, done := l.exchange(1); len(lines) != 0 || done {
		t.Errorf("the struck exchange goes on: %v, done %v", lines, done)
	}
	if _, lines, done := l.exchange(2); len(lines) != 3 || !done {
		t.Errorf("the other one does not: %v, done %v", lines, done)
	}
}

func TestAFullQueueMakesTheRelayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		r := New(Options{MaxPending: 64 << 10}, func(tape.Record) error { <-gate; return nil })
		x := r.Conn(Conn{Kind: tape.Call}).Request(at(0), requestHead("GET", "/"))
		x.RequestEnd(at(0), nil)
		x.Response(at(0), ok(200))
		sent := 0
		go func() {
			for range 10 {
				x.ResponseChunk(at(1), httpstream.Chunk{Data: make([]byte, 16<<10)})
				sent++
			}
		}()
		synctest.Wait()
		if sent < 2 || sent > 4 {
			t.Errorf("%d chunks of 16 KiB were taken", sent)
		}
		close(gate)
		synctest.Wait()
		if sent != 10 {
			t.Errorf("only %d chunks went through", sent)
		}
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	gate := make(chan struct{})
	r := New(Options{MaxPending: 1}, func(tape.Record) error { <-gate; return nil })
	s := r.Conn(Conn{Kind: tape.Call})
	var wait sync.WaitGroup
	for range 3 {
		x := s.Request(at(0), requestHead("GET", "/"))
		wait.Go(func() { x.RequestEnd(at(0), nil) }) // waits for room, with its exchange locked
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	wait.Wait() // nobody waits for room any more
	close(gate)
	if x := s.Request(at(0), requestHead("GET", "/")); x != (httpstream.Discard{}) {
		t.Error("an exchange was begun after Close")
	}
}

// What is known of an exchange is told once, unless it takes long.
func TestAnExchangeTakesAsFewRecordsAsItCan(t *testing.T) {
	begin := func(s httpstream.Sink) httpstream.Exchange {
		x := s.Request(at(0), requestHead("GET", "/"))
		x.RequestEnd(at(0), nil)
		return x
	}
	for _, c := range []struct {
		name, kinds string
		play        func(x httpstream.Exchange)
	}{
		{"a small answer", "f", func(x httpstream.Exchange) {
			x.Response(at(1), ok(200))
			x.ResponseChunk(at(2), data("a"))
			x.End(at(3), eof)
		}},
		{"an answer without a body", "f", func(x httpstream.Exchange) {
			x.Response(at(1), ok(204))
			x.End(at(1), eof)
		}},
		{"no answer", "f", func(x httpstream.Exchange) { x.End(at(1), httpstream.EndInfo{How: httpstream.Reset}) }},
		{"a slow small answer", "ff", func(x httpstream.Exchange) {
			time.Sleep(300 * time.Millisecond)
			x.Response(at(1), ok(200))
			x.ResponseChunk(at(2), data("a"))
			x.End(at(3), eof)
		}},
		{"two chunks", "slll", func(x httpstream.Exchange) {
			x.Response(at(1), ok(200))
			x.ResponseChunk(at(2), data("a"))
			x.ResponseChunk(at(3), data("b"))
			x.End(at(4), eof)
		}},
		{"a chunk and a long wait", "sll", func(x httpstream.Exchange) {
			x.Response(at(1), ok(200))
			x.ResponseChunk(at(2), data("a"))
			time.Sleep(300 * time.Millisecond)
			x.End(at(4), eof)
		}},
		{"a long chunk", "sll", func(x httpstream.Exchange) {
			x.Response(at(1), ok(200))
			x.ResponseChunk(at(2), data(strings.Repeat("a", maxWithheld+1)))
			x.End(at(4), eof)
		}},
		{"a chunk that is long on the tape", "sl", func(x httpstream.Exchange) {
			x.Response(at(1), ok(200))
			x.ResponseChunk(at(2), data(strings.Repeat("\n", maxWithheld)))
			x.End(at(4), eof)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, events := run(t, Options{}, func(_ *Recorder, s httpstream.Sink) { c.play(begin(s)) })
			if got := l.kinds(1); got != c.kinds {
				t.Errorf("records %s, expected %s", got, c.kinds)
			}
			if x, lines, done := l.exchange(1); x == nil || len(lines) == 0 || !done || len(events) != 1 {
				t.Errorf("%+v %v, done %v, %v", x, lines, done, events)
			}
			for i, r := range l.records {
				if r.Last != (i == len(l.records)-1) {
					t.Errorf("record %d of %d: last %v", i, len(l.records), r.Last)
				}
			}
		})
	}
}

func TestWhatIsNewIsToldWithinTheTimeOfWithholding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		r := New(Options{Start: zero}, l.emit)
		x := r.Conn(Conn{Kind: tape.Call}).Request(at(0), requestHead("GET", "/"))
		x.RequestEnd(at(0), nil)
		time.Sleep(withhold)
		synctest.Wait()
		if got := l.kinds(1); got != "f" {
			t.Errorf("the request was told as %q", got)
		}
		x.Response(at(1), ok(200))
		time.Sleep(withhold)
		synctest.Wait()
		if got := l.kinds(1); got != "ff" {
			t.Errorf("the head was told as %q", got)
		}
		x.ResponseChunk(at(2), data("a"))
		time.Sleep(withhold)
		synctest.Wait()
		if got := l.kinds(1); got != "ffsl" {
			t.Errorf("the first chunk was told as %q", got)
		}
		x.ResponseChunk(at(3), data("b"))
		synctest.Wait()
		if got := l.kinds(1); got != "ffsll" {
			t.Errorf("a chunk of a stream was told as %q", got)
		}
		if held := r.bodies.Load(); held != 0 {
			t.Errorf("%d bytes are held", held)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The whole way: two goroutines per exchange, through a recorder, a pipe's
// encoding and a writer, onto disk and back.
func TestRandomExchangesArriveOnTheTape(t *testing.T) {
	needs.Time(t)
	for seed := range uint64(6) {
		dir := filepath.Join(t.TempDir(), "tape")
		w, err := tape.Create(dir, tape.Manifest{Created: zero})
		if err != nil {
			t.Fatal(err)
		}
		r := New(Options{Start: zero, MaxInlineBody: 4 << 10, MaxPending: 32 << 10}, func(rec tape.Record) error {
			copied, err := travelled(rec)
			if err != nil {
				return err
			}
			return w.Apply(copied)
		})
		const exchanges = 30
		sent := make([]string, exchanges)
		received := make([]string, exchanges)
		s := r.Conn(Conn{Kind: tape.Call, Scheme: "http"})
		var wait sync.WaitGroup
		for i := range exchanges {
			x := s.Request(time.Now(), requestHead("POST", fmt.Sprintf("/%d", i)))
			g := rand.New(rand.NewPCG(seed, uint64(i)))
			up, down := pieces(g), pieces(g)
			wait.Go(func() {
				for _, p := range up {
					x.RequestChunk(time.Now(), httpstream.Chunk{Data: p})
				}
				sent[i] = string(bytes.Join(up, nil))
				x.RequestEnd(time.Now(), nil)
			})
			wait.Go(func() {
				x.Response(time.Now(), ok(200))
				for _, p := range down {
					x.ResponseChunk(time.Now(), httpstream.Chunk{Data: p})
				}
				received[i] = string(bytes.Join(down, nil))
				x.End(time.Now(), eof)
			})
		}
		wait.Wait()
		if err := errors.Join(r.Close(context.Background()), w.Close(nil)); err != nil {
			t.Fatal(err)
		}
		check(t, dir, sent, received)
	}
}

func pieces(g *rand.Rand) (list [][]byte) {
	for range g.IntN(8) {
		p := make([]byte, g.IntN(3<<10))
		for i := range p {
			p[i] = byte(g.IntN(300)) // some of it text, most of it not
		}
		list = append(list, p)
	}
	return list
}

func check(t *testing.T, dir string, sent, received []string) {
	t.Helper()
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if problems := tp.Verify(); problems != nil || len(tp.Calls) != len(sent) {
		t.Fatalf("%d calls, %v", len(tp.Calls), problems)
	}
	for i, x := range tp.Calls {
		body, err := x.RequestBody()
		if err != nil {
			t.Fatal(err)
		}
		up, down := string(body), ""
		s, err := tp.Stream(x)
		if err != nil {
			t.Fatal(err)
		}
		for l, err := range s.Lines() {
			switch {
			case err != nil:
				t.Fatal(err)
			case l.FromClient:
				up += string(l.Data)
			default:
				down += string(l.Data)
			}
		}
		s.Close()
		if up != sent[i] || down != received[i] {
			t.Errorf("exchange %d: %d bytes up and %d down, expected %d and %d", i, len(up), len(down), len(sent[i]), len(received[i]))
		}
	}
}
