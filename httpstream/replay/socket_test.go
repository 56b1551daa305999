package replay

import (
	"bufio"
	"bytes"
	"compress/flate"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

// packed are texts as one sender compresses them, each referring to those before.
func packed(texts ...string) (out [][]byte) {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, 6)
	for _, text := range texts {
		buf.Reset()
		w.Write([]byte(text))
		w.Flush()
		out = append(out, bytes.TrimSuffix(bytes.Clone(buf.Bytes()), []byte("\x00\x00\xff\xff")))
	}
	return out
}

func message(text string, deflated []byte) tape.Line {
	l := server(20*ms, text)
	l.Frame = &tape.Frame{Op: websocket.Text}
	l.Compressed, l.Deflated = deflated != nil, deflated
	return l
}

func TestACompressedMessageIsPlayedAsThisClientCanReadIt(t *testing.T) {
	one, two, three := "the key is sk-one", "the key is sk-two", "the key is sk-three"
	frames := packed(one, two, three)
	compressed := func(i int) string { return frame(0xc1, string(frames[i]), false) }
	for _, c := range []struct {
		name     string
		recorded string
		offer    string
		second   tape.Line
		want     string
		agreed   bool
	}{
		{"the same bytes", "permessage-deflate", "permessage-deflate; client_max_window_bits", message(two, frames[1]), compressed(0) + compressed(1) + compressed(2), true},
		{"a client that offers nothing", "permessage-deflate", "", message(two, frames[1]), text(one) + text(two) + text(three), false},
		{"a client that wants no context", "permessage-deflate", "permessage-deflate; server_no_context_takeover", message(two, frames[1]), text(one) + text(two) + text(three), false},
		{"a client that wants a smaller window", "permessage-deflate", "permessage-deflate; server_max_window_bits=10", message(two, frames[1]), text(one) + text(two) + text(three), false},
		{"an edited text, and what refers to it", "permessage-deflate", "permessage-deflate", message("the key is REDACTED", frames[1]), compressed(0) + text("the key is REDACTED") + text(three), true},
		{"a redacted text, and what refers to it", "permessage-deflate", "permessage-deflate", message("the key is REDACTED", nil), compressed(0) + text("the key is REDACTED") + text(three), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := webSocket()
			s.x.Response.Head.Header = append(s.x.Response.Head.Header, httpstream.Field{Name: "Sec-WebSocket-Extensions", Value: c.recorded})
			s.lines = []tape.Line{message(one, frames[0]), c.second, message(three, frames[2]), end(20*ms, httpstream.EOF)}
			bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
				ask := strings.TrimSuffix(upgrade, "\r\n")
				if c.offer != "" {
					ask += "Sec-WebSocket-Extensions: " + c.offer + "\r\n"
				}
				w.send(t, ask+"\r\n")
				r := bufio.NewReader(w)
				resp, err := http.ReadResponse(r, nil)
				if err != nil || resp.StatusCode != 101 || (resp.Header.Get("Sec-WebSocket-Extensions") != "") != c.agreed {
					t.Fatal(resp, err)
				}
				if got, err := io.ReadAll(r); string(got) != c.want || err != nil {
					t.Errorf("got  %q, %v\nwant %q", got, err, c.want)
				}
				if e := <-w.events; e.Err != nil {
					t.Error(e.Err)
				}
			})
		})
	}
}

func TestFramesOfFormat1AreRead(t *testing.T) {
	s := webSocket()
	r := &socketReader{LineReader: &listed{s.lines}, x: &s.x}
	var got []string
	for {
		l, err := r.Next()
		if err != nil {
			break
		}
		got = append(got, string(tape.AppendLine(nil, &l)))
	}
	want := []string{
		`{"t":20000,"ws":"text","text":"welcome"}`, `{"t":100000,"from":"client","ws":"text","text":"ask 1"}`,
		`{"t":110000,"from":"client","ws":"ping","text":"ping"}`, `{"t":130000,"ws":"text","text":"answer"}`,
		`{"t":130000,"ws":"text","text":"more"}`, `{"t":150000,"ws":"text","text":"last"}`,
		`{"t":200000,"from":"client","ws":"text","text":"bye"}`, `{"t":230000,"end":"eof"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// listed reads lines from memory.
type listed struct{ lines []tape.Line }

func (r *listed) Next() (tape.Line, error) {
	if len(r.lines) == 0 {
		return tape.Line{}, io.EOF
	}
	l := r.lines[0]
	r.lines = r.lines[1:]
	return l, nil
}

func (r *listed) Close() error { return nil }

func TestAMessageThatDiffersIsNamedAndAnswered(t *testing.T) {
	for _, c := range []struct {
		name, recorded, now, want string
	}{
		{"the same text", "ask 1", "ask 1", ""},
		{"another text", "ask 1", "ask 2", "call 1: the client's message 1 differs: message was "},
		{"the same JSON", `{"a":1,"b":2}`, `{ "b": 2, "a": 1.0 }`, ""},
		{"noise in JSON", `{"id":"x","a":1}`, `{"id":"y","a":1}`, ""},
		{"another member", `{"id":"x","a":1}`, `{"id":"y","a":2}`, "call 1: the client's message 1 differs: message $.a was 1, is 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := webSocket()
			s.lines[1] = client(100*ms, said(c.recorded))
			tp := record(t, s)
			rules := match.Rules{IgnoreBody: func(x any) any {
				delete(x.(map[string]any), "id")
				return x
			}}
			bubble(t, tp, 1, func(h *Handler) {
				h.Index = match.NewIndex(tp.Calls, rules)
				h.Player.Differ = h.Index.Message
			}, func(t *testing.T, w *wire) {
				w.send(t, upgrade)
				r := bufio.NewReader(w)
				if _, err := http.ReadResponse(r, nil); err != nil {
					t.Fatal(err)
				}
				go func() {
					io.WriteString(w, said(c.now))
					io.WriteString(w, said("bye"))
				}()
				io.Copy(io.Discard, r)
				e := <-w.events
				got := ""
				if e.Err != nil {
					got = e.Err.Error()
				}
				if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") || e.How != httpstream.EOF {
					t.Errorf("ended %v, %q, want %q", e.How, got, c.want)
				}
			})
		})
	}
}

func TestPingsOfThisClientAreAnswered(t *testing.T) {
	s := webSocket()
	s.lines = []tape.Line{
		server(20*ms, text("welcome")), client(30*ms, frame(0x89, "old", true)), server(31*ms, frame(0x8a, "old", false)),
		server(40*ms, frame(0x8a, "unasked", false)), client(100*ms, said("ask")), server(110*ms, text("answer")), end(110*ms, httpstream.EOF),
	}
	bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, upgrade)
		r := bufio.NewReader(w)
		if _, err := http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
		w.next(t, r, "20ms "+text("welcome"))
		w.next(t, r, "40ms "+frame(0x8a, "unasked", false))
		go io.WriteString(w, frame(0x89, "new", true)+said("ask"))
		w.next(t, r, "40ms "+frame(0x8a, "new", false))
		w.next(t, r, "50ms "+text("answer"))
		if _, err := r.ReadByte(); err != io.EOF {
			t.Error(err)
		}
	})
}

func TestAClientThatClosesWhereTheRecordedOneVanishedIsAnswered(t *testing.T) {
	s := webSocket()
	s.lines = []tape.Line{server(20*ms, text("welcome")), end(50*ms, httpstream.Cancelled)}
	bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, upgrade)
		r := bufio.NewReader(w)
		if _, err := http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
		w.next(t, r, "20ms "+text("welcome"))
		time.Sleep(80 * ms)
		w.send(t, frame(0x88, "\x03\xe8bye", true))
		w.next(t, r, "100ms "+frame(0x88, "\x03\xe8bye", false))
		if _, err := r.ReadByte(); err != io.EOF {
			t.Error(err)
		}
	})
}

func TestAWebSocketInHTTP2IsOpenedWithoutAKey(t *testing.T) {
	s := webSocket()
	s.x.Request.Method, s.x.Request.Protocol, s.x.Request.Proto = "CONNECT", "websocket", "HTTP/2.0"
	s.x.Response.Head = httpstream.ResponseHead{Proto: "HTTP/2.0", Status: 200, Header: httpstream.Fields{{Name: "sec-websocket-protocol", Value: "chat"}}}
	if !s.x.IsWebSocket() {
		t.Fatal("not a WebSocket")
	}
	w := &chunkWriter{}
	scheduler := newScheduler(newTimerAlarm(), 0)
	defer scheduler.Close()
	p := &Player{Lines: func(*tape.Exchange) (LineReader, error) { return &listed{s.lines}, nil }, Scheduler: scheduler}
	body := strings.NewReader(said("ask 1") + said("bye"))
	req := &httpstream.Request{Head: &httpstream.RequestHead{Method: "CONNECT", Protocol: "websocket"}, Body: body}
	if result, err := p.Play(t.Context(), &s.x, req, w); err != nil || result.Status != 200 || result.How != httpstream.EOF {
		t.Errorf("%+v, %v", result, err)
	}
	if want := text("welcome") + text("answer") + text("more") + text("last"); w.got.String() != want || w.head.Header.Has("Sec-WebSocket-Accept") {
		t.Errorf("got %q after %v", w.got.String(), w.head)
	}
}

// A chunkWriter keeps what is answered.
type chunkWriter struct {
	head *httpstream.ResponseHead
	got  strings.Builder
}

func (w *chunkWriter) Interim(*httpstream.ResponseHead) error { return nil }
func (w *chunkWriter) Head(h *httpstream.ResponseHead) error  { w.head = h; return nil }
func (w *chunkWriter) Chunk(c httpstream.Chunk) error         { w.got.Write(c.Data); return nil }
func (w *chunkWriter) Flush() error                           { return nil }
func (w *chunkWriter) End(httpstream.EndInfo) error           { return nil }

func TestAClientThatLeavesOrClosesElsewhereIsNamed(t *testing.T) {
	closes := func(code, why string) string { return frame(0x88, code+why, true) }
	for _, c := range []struct {
		name, recorded string
		now            []string
		want           string
	}{
		{"the same close", closes("\x03\xe8", "bye"), []string{said("ask 1"), closes("\x03\xe8", "bye")}, ""},
		{"another reason", closes("\x03\xe8", "bye"), []string{said("ask 1"), closes("\x03\xe8", "so long")}, ""},
		{"another code", closes("\x03\xe8", "bye"), []string{said("ask 1"), closes("\x03\xf3", "boo")},
			"call 1: the client's message 2 differs: it was close 1000 bye, is close 1011 boo"},
		{"a message in the place of a close", closes("\x03\xe8", "bye"), []string{said("ask 1"), said("more")},
			`call 1: the client's message 2 differs: it was close 1000 bye, is "more"`},
		{"a close in the place of a message", said("bye"), []string{said("ask 1"), closes("\x03\xe8", "bye")},
			`call 1: the client's message 2 differs: it was "bye", is close 1000 bye`},
		{"no more", said("bye"), []string{said("ask 1")}, "call 1: the client ended the stream after 1 messages; message 2 (\"bye\") has not come"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := webSocket()
			s.lines = []tape.Line{client(100*ms, said("ask 1")), server(130*ms, text("answer")), client(200*ms, c.recorded), server(210*ms, text("end")), end(230*ms, httpstream.EOF)}
			tp := record(t, s)
			bubble(t, tp, 1, func(h *Handler) {
				h.Index = match.NewIndex(tp.Calls, match.Rules{})
				h.Player.Differ = h.Index.Message
			}, func(t *testing.T, w *wire) {
				w.send(t, upgrade)
				r := bufio.NewReader(w)
				if _, err := http.ReadResponse(r, nil); err != nil {
					t.Fatal(err)
				}
				go func() {
					for _, m := range c.now {
						io.WriteString(w, m)
					}
					if len(c.now) == 1 {
						time.Sleep(time.Second)
						w.Close()
					}
				}()
				heard, _ := io.ReadAll(r)
				e := <-w.events
				got := ""
				if e.Err != nil {
					got = e.Err.Error()
				}
				if echo := frame(0x88, "\x03\xe8bye", false); strings.Contains(c.name, "close in the place") && (!strings.HasSuffix(string(heard), echo) || e.Took > 300*ms) {
					t.Errorf("the close was answered %q after %v, want %q at once", heard, e.Took, echo)
				}
				if got != c.want {
					t.Errorf("ended %v with %q, want %q", e.How, got, c.want)
				}
			})
		})
	}
}

func TestNothingIsSaidBehindACloseFrame(t *testing.T) {
	closes := frame(0x88, "\x03\xe8bye", false)
	half := tape.Line{At: 50 * ms, Chunk: httpstream.Chunk{Data: []byte("ha"), Of: 4}, Frame: &tape.Frame{Op: websocket.Text}}
	for _, c := range []struct {
		name  string
		lines []tape.Line
		says  []string // each 100 ms after the one before
		want  string
	}{
		{"to a ping", []tape.Line{server(50*ms, closes), end(400*ms, httpstream.EOF)}, []string{frame(0x89, "p", true)}, closes},
		{"to a ping, behind what is no frame", []tape.Line{server(50*ms, "\x83\x00"), end(400*ms, httpstream.EOF)}, []string{frame(0x89, "p", true)}, "\x83\x00"},
		{"to a close, where the recording was cut off behind both", []tape.Line{
			server(50*ms, closes), client(60*ms, frame(0x88, "\x03\xe8bye", true)), end(400*ms, httpstream.Open),
		}, []string{frame(0x88, "\x03\xe8bye", true)}, closes},
		{"to a close, where the client was gone behind both", []tape.Line{
			client(60*ms, frame(0x88, "\x03\xe8bye", true)), server(70*ms, closes), end(400*ms, httpstream.Cancelled),
		}, []string{frame(0x88, "\x03\xe8bye", true)}, closes},
		{"inside a frame", []tape.Line{half, end(400*ms, httpstream.Open)}, []string{frame(0x88, "\x03\xe8bye", true)}, "\x81\x04ha"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := webSocket()
			s.lines = c.lines
			bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
				w.send(t, upgrade)
				r := bufio.NewReader(w)
				if _, err := http.ReadResponse(r, nil); err != nil {
					t.Fatal(err)
				}
				go func() {
					for _, said := range c.says {
						time.Sleep(100 * ms)
						io.WriteString(w, said)
					}
				}()
				if got, err := io.ReadAll(r); string(got) != c.want || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, c.want)
				}
				if e := <-w.events; e.Err != nil || e.Took > 500*ms {
					t.Errorf("%v after %v", e.Err, e.Took)
				}
			})
		})
	}
}

func TestWhatIsNoFrameIsACause(t *testing.T) {
	refused := frame(0x88, "\x03\xeano mask", false)
	for name, c := range map[string]struct{ broken, want string }{
		"a frame without a mask": {text("unmasked"), "300ms " + refused},
		"a reserved opcode":      {"\x83\x80\x00\x00\x00\x00", "300ms " + refused},
		"half a ping":            {frame(0x89, "ping", true)[:7], "200ms " + refused}, // which no server can have answered
	} {
		t.Run(name, func(t *testing.T) {
			s := webSocket()
			s.lines = []tape.Line{client(100*ms, said("ask 1")), client(150*ms, c.broken), server(150*ms, refused), end(150*ms, httpstream.EOF)}
			bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
				w.send(t, upgrade)
				r := bufio.NewReader(w)
				if _, err := http.ReadResponse(r, nil); err != nil {
					t.Fatal(err)
				}
				said := make(chan bool)
				go func() {
					defer close(said)
					time.Sleep(140 * ms)
					io.WriteString(w, frame(0x81, "ask 1", true))
					time.Sleep(150 * ms)
					io.WriteString(w, c.broken)
				}()
				w.next(t, r, c.want)
				<-said
			})
		})
	}
}
