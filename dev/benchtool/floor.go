//go:build linux

package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const roleFloor = "floor"

// A send is what leaves a bare server at one time.
type send struct {
	at     time.Duration // since the request
	chunks [][]byte      // of the body
	wire   []byte        // for HTTP/1.1: head, chunks and end, as they are sent
}

// runFloor is a bare server: it sends what a tape has, at the recorded times,
// and does nothing else. It either sleeps to absolute deadlines, or spins.
func runFloor(args []string) error {
	flags := flag.NewFlagSet(roleFloor, flag.ContinueOnError)
	var s serverFlags
	s.add(flags)
	dir := flags.String("tape", "", "the tape's `folder`")
	spins := flags.Bool("spin", false, "spin instead of sleeping")
	if err := flags.Parse(args); err != nil {
		return err
	}
	clk, err := newClock()
	if err != nil {
		return err
	}
	sends, err := loadSends(*dir)
	if err != nil {
		return err
	}
	f := &floor{clock: clk, sends: sends}
	if s.cert != "" {
		return s.serve(http.HandlerFunc(f.serveHTTP))
	}
	if *spins {
		f.spinner = newSpinner(clk)
	}
	l, err := listen(s.listen)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go f.serve(conn)
	}
}

// loadSends reads a tape's streams, by path and query.
func loadSends(dir string) (map[string][]send, error) {
	t, err := tape.Open(dir)
	if err != nil {
		return nil, err
	}
	all := make(map[string][]send, len(t.Calls))
	for _, x := range t.Calls {
		u, err := url.Parse(x.Request.URL)
		if err != nil {
			return nil, err
		}
		if all[u.RequestURI()], err = sendsOf(t, x); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func sendsOf(t *tape.Tape, x *tape.Exchange) ([]send, error) {
	if x.Response == nil {
		return nil, fmt.Errorf("%s has no answer", x.File)
	}
	sends := []send{{at: x.Response.At, wire: []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")}}
	r, err := t.Stream(x)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for l, err := range r.Lines() {
		if err != nil {
			return nil, err
		}
		if l.FromClient {
			continue
		}
		last := &sends[len(sends)-1]
		if l.At != last.at {
			sends = append(sends, send{at: l.At})
			last = &sends[len(sends)-1]
		}
		switch {
		case l.End == nil:
			last.chunks = append(last.chunks, append([]byte(nil), l.Data...))
			last.wire = fmt.Appendf(last.wire, "%x\r\n%s\r\n", len(l.Data), l.Data)
		case l.End.How == httpstream.EOF:
			last.wire = append(last.wire, "0\r\n\r\n"...)
		default:
			return nil, fmt.Errorf("%s ended with %s", x.File, l.End.How)
		}
	}
	return sends, nil
}

type floor struct {
	clock   clock
	sends   map[string][]send
	spinner *spinner // nil where it sleeps
}

// serve answers the requests of a connection, one after the other.
func (f *floor) serve(conn net.Conn) {
	defer conn.Close()
	timed := &timedConn{Conn: conn, clock: f.clock}
	in := bufio.NewReader(timed)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		sends, ok := f.sends[req.URL.RequestURI()]
		if !ok {
			fmt.Fprint(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			continue
		}
		if f.spinner != nil {
			err = f.spinner.play(conn, timed.at, sends)
		} else {
			err = f.sleep(conn, timed.at, sends)
		}
		if err != nil {
			return
		}
	}
}

func (f *floor) sleep(conn net.Conn, arrived int64, sends []send) error {
	for _, s := range sends {
		time.Sleep(f.clock.until(arrived + int64(s.at)))
		if _, err := conn.Write(s.wire); err != nil {
			return err
		}
	}
	return nil
}

// serveHTTP is sleep with net/http, for HTTP/2.
func (f *floor) serveHTTP(w http.ResponseWriter, r *http.Request) {
	arrived := f.clock.now()
	sends, ok := f.sends[r.URL.RequestURI()]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, s := range sends {
		if sleep(r.Context(), f.clock.until(arrived+int64(s.at))) != nil {
			return
		}
		for _, c := range s.chunks {
			if _, err := w.Write(c); err != nil {
				return
			}
		}
		w.(http.Flusher).Flush()
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	time.Sleep(d)
	return ctx.Err()
}

// A timedConn remembers when its last Read returned.
type timedConn struct {
	net.Conn
	clock clock
	at    int64
}

// Read implements net.Conn.
func (c *timedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.at = c.clock.now()
	return n, err
}
