package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// The recording ends at the moment at which the app has its answer, as it does behind
// `compose record -- ./ask-once.sh`.
func TestAnAnswerThatTheAppHasIsWholeOnATapeThatEndsThen(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"with a length": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "answer") },
		"in chunks": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "ans")
			w.(http.Flusher).Flush()
			io.WriteString(w, "wer")
		},
		"until the connection ends": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			w.Header().Set("Transfer-Encoding", "identity")
			io.WriteString(w, "answer")
		},
	}
	for name, serve := range answers {
		for _, proto := range []string{"http/1.1", "h2"} {
			t.Run(name+", "+proto, func(t *testing.T) {
				recordOnce(t, serve, proto)
			})
		}
	}
}

// A lateListener has connections whose writes return only a while after the other side
// could read.
type lateListener struct{ net.Listener }

func (l lateListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return lateConn{c.(*net.TCPConn)}, nil
}

type lateConn struct{ *net.TCPConn }

func (c lateConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	time.Sleep(50 * time.Millisecond)
	return n, err
}

func recordOnce(t *testing.T, serve http.HandlerFunc, proto string) {
	t.Helper()
	w := newWorld(t)
	w.https("api.test:443", serve, proto)
	var p *Proxy
	b := w.recordWith(nil, func(q *Proxy, ctx context.Context, l net.Listener) error {
		p = q
		return q.Serve(ctx, lateListener{l})
	})
	if a := ask(t, b.client(proto), "GET", "https://api.test/", ""); a.body != "answer" {
		t.Fatalf("got %v", a)
	}
	p.CatchUp()
	b.endRecording()
	b.close()
	tp := b.open()
	for _, x := range tp.Calls {
		lines := linesOf(t, tp, x)
		if end := lines[len(lines)-1].End; end == nil || end.How != httpstream.EOF {
			t.Errorf("the app has its answer, and on the tape it ends %+v", end)
		}
	}
	if len(tp.Calls) != 1 {
		t.Errorf("%d calls", len(tp.Calls))
	}
}
