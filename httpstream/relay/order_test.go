package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/http1"
	"github.com/wiretape/wiretape/httpstream/http2"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// A lingeringConn delivers bytes at once, but its Write returns only when the
// other direction's effect of them has been reported, or after a while: as if
// the goroutine had lost its processor in between.
type lingeringConn struct {
	net.Conn
	heard *orderLog // nil: its writes return at once
}

func (c lingeringConn) Write(b []byte) (int, error) {
	if c.heard == nil {
		return c.Conn.Write(b)
	}
	before := c.heard.count()
	n, err := c.Conn.Write(b)
	select {
	case <-c.heard.more(before):
	case <-time.After(100 * time.Millisecond):
	}
	return n, err
}

// CloseWrite ends the relayed connection: a net.Pipe has no half-close.
func (c lingeringConn) CloseWrite() error { return c.Close() }

// An orderLog notes chunks in the order in which they are told.
type orderLog struct {
	mu      sync.Mutex
	chunks  []string
	changed chan struct{}
}

func (l *orderLog) add(who string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chunks = append(l.chunks, who+string(data))
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *orderLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.chunks)
}

// more is closed once there are more than n chunks.
func (l *orderLog) more(n int) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.chunks) > n {
		c := make(chan struct{})
		close(c)
		return c
	}
	return l.changed
}

func (l *orderLog) Request(time.Time, *httpstream.RequestHead) httpstream.Exchange { return l }
func (l *orderLog) RequestChunk(_ time.Time, c httpstream.Chunk)                   { l.add("client: ", c.Data) }
func (l *orderLog) ResponseChunk(_ time.Time, c httpstream.Chunk)                  { l.add("server: ", c.Data) }
func (l *orderLog) RequestEnd(time.Time, httpstream.Fields)                        {}
func (l *orderLog) Interim(time.Time, *httpstream.ResponseHead)                    {}
func (l *orderLog) Response(time.Time, *httpstream.ResponseHead)                   {}
func (l *orderLog) End(time.Time, httpstream.EndInfo)                              {}

// converse has the server and the client speak in turns over a relay whose
// writes to one of them return late.
func converse(t *testing.T, late string, relay func(ctx context.Context, client, upstream net.Conn, sink httpstream.Sink), open func(client, server net.Conn), frame func(string) []byte) {
	t.Helper()
	heard := &orderLog{changed: make(chan struct{})}
	client, relayClient := net.Pipe()
	server, relayServer := net.Pipe()
	toClient, toServer := lingeringConn{relayClient, nil}, lingeringConn{relayServer, nil}
	if late == "client" {
		toClient.heard = heard
	} else {
		toServer.heard = heard
	}
	var wg sync.WaitGroup
	wg.Go(func() { relay(t.Context(), toClient, toServer, heard) })
	defer wg.Wait()
	defer client.Close()
	defer server.Close()
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	open(client, server)
	var want []string
	for i := range 4 {
		for _, side := range []struct {
			name     string
			from, to net.Conn
		}{{"server: ", server, client}, {"client: ", client, server}} {
			text := fmt.Sprint("turn ", i)
			want = append(want, side.name+text)
			b := frame(text)
			if _, err := side.from.Write(b); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(side.to, make([]byte, len(b))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := heard.count(); n < len(want); n = heard.count() {
		<-heard.more(n)
	}
	heard.mu.Lock()
	defer heard.mu.Unlock()
	if !slices.Equal(heard.chunks, want) {
		t.Errorf("told %q\nwant %q", heard.chunks, want)
	}
}

func TestAWriteThatReturnsLateReversesNothing(t *testing.T) {
	for _, late := range []string{"client", "server"} {
		t.Run("HTTP/1 tunnel, late to the "+late, func(t *testing.T) { converseHTTP1(t, late) })
		t.Run("HTTP/2 stream, late to the "+late, func(t *testing.T) { converseHTTP2(t, late) })
	}
}

func converseHTTP1(t *testing.T, late string) {
	converse(t, late, func(ctx context.Context, client, upstream net.Conn, sink httpstream.Sink) {
		http1.Relay(ctx, client, upstream, relay.Options{}, sink)
	}, func(client, server net.Conn) {
		io.WriteString(client, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		readUntil(t, server, "\r\n\r\n")
		io.WriteString(server, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		readUntil(t, client, "\r\n\r\n")
	}, func(s string) []byte { return []byte(s) })
}

func converseHTTP2(t *testing.T, late string) {
	head := func(preface string, pairs ...string) []byte {
		b, block := bytes.NewBufferString(preface), bytes.Buffer{}
		enc := hpack.NewEncoder(&block)
		for i := 0; i < len(pairs); i += 2 {
			enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
		}
		xhttp2.NewFramer(b, nil).WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: block.Bytes()})
		return b.Bytes()
	}
	up := head(xhttp2.ClientPreface, ":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/")
	down := head("", ":status", "200")
	converse(t, late, func(ctx context.Context, client, upstream net.Conn, sink httpstream.Sink) {
		http2.Relay(ctx, client, upstream, relay.Options{}, sink)
	}, func(client, server net.Conn) {
		client.Write(up)
		io.ReadFull(server, make([]byte, len(up)))
		server.Write(down)
		io.ReadFull(client, make([]byte, len(down)))
	}, func(s string) []byte {
		var b bytes.Buffer
		xhttp2.NewFramer(&b, nil).WriteData(1, false, []byte(s))
		return b.Bytes()
	})
}

func readUntil(t *testing.T, r io.Reader, end string) {
	t.Helper()
	var got []byte
	for b := make([]byte, 1); !bytes.HasSuffix(got, []byte(end)); got = append(got, b...) {
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatalf("%q: %v", got, err)
		}
	}
}

func TestReadsAreReportedInTheirOrderByWhoeverComesFirst(t *testing.T) {
	var o relay.Order
	var told []int
	read := func(n int) *relay.Read { return relay.NewRead(func() { told = append(told, n) }) }
	one, two, three := read(1), read(2), read(3)
	for _, r := range []*relay.Read{one, two, three} {
		o.Stamp(r)
	}
	o.Deliver(two) // that of one is stuck in a write
	o.Deliver(one)
	o.Drop(three)
	o.Drop(one)
	o.Report(func() { told = append(told, 4) })
	if !slices.Equal(told, []int{1, 2, 4}) {
		t.Errorf("told %v", told)
	}
}
