package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
)

// held answers a first event and then nothing, until its client is gone.
func held(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, "data: 1\n\n")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func TestWhatStillGoesOnAtTheEndOfARecordingIsOpenOnTheTape(t *testing.T) {
	const each = 8
	w := newWorld(t)
	w.https("h2.example.com:443", http.HandlerFunc(held), "h2")
	w.https("h1.example.com:443", http.HandlerFunc(held), "http/1.1")
	w.http("plain.example.com:80", http.HandlerFunc(held))
	asked := make(chan struct{}, each)
	w.raw("silent.example.com:80", func(c net.Conn) {
		r := bufio.NewReader(c)
		r.ReadString('f')
		asked <- struct{}{}
		io.Copy(io.Discard, r)
	})
	b := w.recordWith(nil, transparent)
	read := func(c *http.Client, target string) {
		resp, err := c.Get(target)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { resp.Body.Close() })
		if line, err := bufio.NewReader(resp.Body).ReadString('\n'); line != "data: 1\n" {
			t.Errorf("%s: %q and %v", target, line, err)
		}
	}
	one, two := b.client("http/1.1"), b.client("h2")
	one.Timeout, two.Timeout = 0, 0 // they would cut the answers off
	for i := range each {
		read(one, fmt.Sprintf("https://h1.example.com/%d", i))
		read(one, fmt.Sprintf("http://plain.example.com/%d", i))
		read(two, fmt.Sprintf("https://h2.example.com/%d", i))
	}
	for range each {
		conn := b.dialTo(named("silent.example.com:80"))
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: silent.example.com\r\nContent-Length: 10\r\n\r\nhalf")
	}
	for range each {
		<-asked
	}
	tp := b.tape()
	if len(tp.Calls) != 4*each {
		t.Fatalf("%d calls on the tape, want %d", len(tp.Calls), 4*each)
	}
	for _, x := range tp.Calls {
		s, err := tp.Stream(x)
		if err != nil {
			t.Fatal(err)
		}
		var how httpstream.End
		for l, err := range s.Lines() {
			if err != nil {
				t.Fatal(err)
			}
			if l.End != nil {
				how = l.End.How
			}
		}
		s.Close()
		if how != httpstream.Open {
			t.Errorf("%s ended %q, want %q", x.Request.URL, how, httpstream.Open)
		}
	}
}
