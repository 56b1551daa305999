//lint:file-ignore SA1019 a second implementation is wanted here: net/http has its own copy of this client

package replay

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/http2"
	"github.com/wiretape/wiretape/httpstream/match"
)

// TestHTTP2StreamsBothWays has a real client speak over a TCP connection.
func TestHTTP2StreamsBothWays(t *testing.T) {
	s := bidi("application/grpc",
		client(5*ms, "\x00\x00\x00\x00\x01a"), server(6*ms, "one\n"),
		client(8*ms, "\x00\x00\x00\x00\x01b"), server(9*ms, "two\n"),
		end(9*ms, httpstream.EOF, httpstream.Field{Name: "grpc-status", Value: "0"}))
	s.x.Response.At = 0
	s.x.Response.Head = httpstream.ResponseHead{Proto: "HTTP/2.0", Status: 200, Header: httpstream.Fields{{Name: "content-type", Value: "application/grpc"}}}
	tp := record(t, s)
	scheduler, err := NewScheduler()
	if err != nil {
		t.Fatal(err)
	}
	defer scheduler.Close()
	events := make(chan Event, 1)
	h := &Handler{
		Index:   match.NewIndex(tp.Calls, match.Rules{}),
		Player:  &Player{Lines: FromTape(tp), Scheduler: scheduler, Speed: 1},
		OnEvent: func(e Event) { events <- e },
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = http2.Serve(t.Context(), conn, h.Conn(Conn{Scheme: "https", Authority: "h:443"}))
		}
		served <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cc, err := (&xhttp2.Transport{}).NewClientConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	body, messages := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "https://h/a", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	resp, err := cc.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(resp.Body)
	for _, want := range []string{"one\n", "two\n"} {
		io.WriteString(messages, "\x00\x00\x00\x00\x02xy")
		if got, err := lines.ReadString('\n'); got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	if _, err := lines.ReadByte(); err != io.EOF || resp.Trailer.Get("grpc-status") != "0" {
		t.Errorf("end %v, trailer %v", err, resp.Trailer)
	}
	messages.Close()
	resp.Body.Close()
	if e := <-events; e.How != httpstream.EOF || e.Chunks != 2 || e.Err != nil || !strings.HasSuffix(e.URL, "/a") {
		t.Errorf("event %+v", e)
	}
	cc.Close()
	<-served
}
