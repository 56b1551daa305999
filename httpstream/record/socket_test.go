package record

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// openSocket tells a sink of a WebSocket that opens.
func openSocket(s httpstream.Sink) httpstream.Exchange {
	x := s.Request(at(0), requestHead("GET", "/ws"))
	head := ok(101)
	head.Header = httpstream.Fields{{Name: "Upgrade", Value: "websocket"}}
	x.Response(at(10), head)
	return x
}

func TestTheFramesOfAWebSocketAreLines(t *testing.T) {
	l, events := run(t, Options{}, func(_ *Recorder, s httpstream.Sink) {
		x := openSocket(s)
		x.ResponseChunk(at(20), data("\x81\x02hi\x01\x01a\x89"))
		x.RequestChunk(at(30), data("\x81\x82\x00\x00\x00\x00yo\x82\x83\x01\x01\x01\x01c"))
		x.ResponseChunk(at(40), data("\x00\x80\x05b"))
		x.RequestEnd(at(50), nil)
		x.End(at(60), eof)
	})
	x, lines, done := l.exchange(1)
	expectLines(t, lines,
		`{"t":20,"ws":"text","text":"hi"}`, `{"t":20,"ws":"text","fin":false,"text":"a"}`,
		`{"t":30,"from":"client","ws":"text","text":"yo"}`,
		`{"t":30,"from":"client","of":3,"ws":"binary","text":"b"}`, `{"t":40,"ws":"ping","text":""}`, `{"t":40,"of":5,"ws":"continuation","text":"b"}`,
		`{"t":60,"end":"eof"}`)
	if want := (tape.Body{InStream: true, Size: 3, SHA256: sha("yob")}); !cmp.Equal(x.Request.Body, want) || !done {
		t.Errorf("the client's lines are %+v, want %+v; done: %v", x.Request.Body, want, done)
	}
	if len(events) != 1 || events[0].Chunks != 4 || events[0].Bytes != 12 {
		t.Errorf("%+v", events)
	}
}

func TestHalfAFrameAtTheEndCountsInTheBody(t *testing.T) {
	for name, c := range map[string]struct{ sent, line, body string }{
		"a text":   {"\x81\x83\x01\x01\x01\x01`", `{"t":20,"from":"client","of":3,"ws":"text","text":"a"}`, "a"},
		"a header": {"\x81", `{"t":20,"from":"client","base64":"gQ=="}`, "\x81"},
	} {
		l, _ := run(t, Options{}, func(_ *Recorder, s httpstream.Sink) {
			x := openSocket(s)
			x.RequestChunk(at(20), data(c.sent))
			x.RequestEnd(at(30), nil)
			x.End(at(40), eof)
		})
		x, lines, _ := l.exchange(1)
		expectLines(t, lines, c.line, `{"t":40,"end":"eof"}`)
		if want := (tape.Body{InStream: true, Size: int64(len(c.body)), SHA256: sha(c.body)}); !cmp.Equal(x.Request.Body, want) {
			t.Errorf("%s: the client's lines are %+v, want %+v", name, x.Request.Body, want)
		}
	}
}

func TestAWebSocketThatBothSidesClosedIsOverThoughItsConnectionIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		server, client string
		want           httpstream.End
	}{
		"both":            {"\x88\x02\x03\xef", "\x88\x82\x00\x00\x00\x00\x03\xef", httpstream.EOF},
		"the server only": {"\x88\x02\x03\xef", "\x89\x80\x00\x00\x00\x00", httpstream.Open},
		"the client only": {"\x81\x00", "\x88\x80\x00\x00\x00\x00", httpstream.Open},
	} {
		l, events := run(t, Options{}, func(_ *Recorder, s httpstream.Sink) {
			x := openSocket(s)
			x.ResponseChunk(at(20), data(c.server))
			x.RequestChunk(at(30), data(c.client))
		})
		_, lines, _ := l.exchange(1)
		expectLines(t, lines[2:], `{"t":30,"end":"`+string(c.want)+`"}`)
		if len(events) != 1 || events[0].How != c.want {
			t.Errorf("%s: %+v", name, events)
		}
	}
}
