//lint:file-ignore SA1019 a second implementation is wanted here: net/http has its own copy of this client

package http2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// A heardSink is a Sink that keeps what it hears.
type heardSink struct {
	mu        sync.Mutex
	exchanges []*heardExchange
}

type heardExchange struct {
	all *heardSink
	end chan struct{} // closed by End

	// Guarded by all.mu.
	head           *httpstream.RequestHead
	response       *httpstream.ResponseHead
	interim        []*httpstream.ResponseHead
	reqBody, body  bytes.Buffer
	chunks         []int // lengths, of the response
	events         []string
	requestTrailer httpstream.Fields
	requestEnded   bool
	last           *httpstream.EndInfo
	up, down       time.Time // of the last event of each direction
}

func (h *heardSink) Request(at time.Time, head *httpstream.RequestHead) httpstream.Exchange {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := &heardExchange{all: h, head: head, end: make(chan struct{})}
	x.event(at, "request %s %s", head.Method, head.Target)
	h.exchanges = append(h.exchanges, x)
	return x
}

func (x *heardExchange) event(at time.Time, format string, args ...any) {
	x.events = append(x.events, fmt.Sprintf(format, args...))
	last := &x.down
	if strings.HasPrefix(format, "request") || strings.HasPrefix(format, "up") {
		last = &x.up
	}
	if at.Before(*last) {
		panic("time goes back")
	}
	*last = at
}

func (x *heardExchange) RequestChunk(at time.Time, c httpstream.Chunk) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	x.reqBody.Write(c.Data)
	x.event(at, "up %d of %d rest %v", len(c.Data), c.Of, c.Rest)
}

func (x *heardExchange) RequestEnd(at time.Time, trailer httpstream.Fields) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	if x.requestEnded {
		panic("RequestEnd twice")
	}
	x.requestEnded, x.requestTrailer = true, trailer
	x.event(at, "request end %v", trailer)
}

func (x *heardExchange) Interim(at time.Time, head *httpstream.ResponseHead) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	x.interim = append(x.interim, head)
	x.event(at, "interim %d", head.Status)
}

func (x *heardExchange) Response(at time.Time, head *httpstream.ResponseHead) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	x.response = head
	x.event(at, "response %d", head.Status)
}

func (x *heardExchange) ResponseChunk(at time.Time, c httpstream.Chunk) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	if x.last != nil {
		panic("chunk after the end")
	}
	x.body.Write(c.Data)
	x.chunks = append(x.chunks, len(c.Data))
	x.event(at, "down %d of %d rest %v", len(c.Data), c.Of, c.Rest)
}

func (x *heardExchange) End(at time.Time, end httpstream.EndInfo) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	if x.last != nil {
		panic("End twice")
	}
	x.last = &end
	x.event(at, "end %s %v %d", end.How, end.Trailer, end.Code)
	close(x.end)
}

// wait returns the n-th exchange once it has ended.
func (h *heardSink) wait(t testing.TB, n int) *heardExchange {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		h.mu.Lock()
		var x *heardExchange
		if len(h.exchanges) > n {
			x = h.exchanges[n]
		}
		h.mu.Unlock()
		if x != nil {
			select {
			case <-x.end:
				h.mu.Lock() // so that what End wrote is seen
				defer h.mu.Unlock()
				return x
			case <-deadline:
				t.Fatal("the exchange does not end")
			}
		}
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("there is no exchange %d", n)
		}
	}
}

// A testLink is a listener whose connections go through Relay to an origin.
type testLink struct {
	net.Listener
	heard heardSink
	opt   relay.Options
	dial  func() (net.Conn, error)
	stop  context.CancelFunc
	errs  chan error
	wg    sync.WaitGroup
}

func newTestLink(t testing.TB, tlsConf *tls.Config, dial func() (net.Conn, error), opt relay.Options) *testLink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if tlsConf != nil {
		ln = tls.NewListener(ln, tlsConf)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &testLink{Listener: ln, dial: dial, opt: opt, stop: cancel, errs: make(chan error, 100)}
	l.wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			upstream, err := dial()
			if err != nil {
				client.Close()
				continue
			}
			l.wg.Go(func() { l.errs <- Relay(ctx, client, upstream, l.opt, &l.heard) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		l.wg.Wait()
	})
	return l
}

// withPeers runs a test with net/http's server and client and a relay between
// them, once over TLS and once without.
func withPeers(t *testing.T, h http.Handler, opt relay.Options, test func(t *testing.T, c *http.Client, url string, l *testLink)) {
	t.Run("over TLS", func(t *testing.T) {
		origin := httptest.NewUnstartedServer(h)
		origin.EnableHTTP2 = true
		origin.Config.ErrorLog = quietLog()
		origin.StartTLS()
		t.Cleanup(origin.Close)
		conf := origin.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		conf.NextProtos = []string{"h2"}
		conf.ServerName = "example.com"
		l := newTestLink(t, &tls.Config{Certificates: origin.TLS.Certificates, NextProtos: []string{"h2"}}, func() (net.Conn, error) {
			return tls.Dial("tcp", origin.Listener.Addr().String(), conf)
		}, opt)
		tr := &http2.Transport{
			TLSClientConfig: conf,
			DialTLSContext: func(ctx context.Context, network, _ string, conf *tls.Config) (net.Conn, error) {
				return (&tls.Dialer{Config: conf}).DialContext(ctx, network, l.Addr().String())
			},
		}
		t.Cleanup(tr.CloseIdleConnections)
		test(t, &http.Client{Transport: tr}, "https://example.com", l)
	})
	t.Run("over TCP", func(t *testing.T) {
		origin := originServer(t, h)
		l := newTestLink(t, nil, func() (net.Conn, error) { return net.Dial("tcp", origin) }, opt)
		test(t, httpClient(t, l.Addr().String()), "http://example.com", l)
	})
}

// originServer serves h as HTTP/2 without TLS.
func originServer(t testing.TB, h http.Handler) string {
	t.Helper()
	origin := httptest.NewUnstartedServer(h)
	origin.Config.Protocols = new(http.Protocols)
	origin.Config.Protocols.SetUnencryptedHTTP2(true)
	origin.Config.ErrorLog = quietLog()
	origin.Start()
	t.Cleanup(origin.Close)
	return origin.Listener.Addr().String()
}

// httpClient speaks HTTP/2 without TLS to addr, whatever the URL.
func httpClient(t testing.TB, addr string) *http.Client {
	tr := &http2.Transport{
		AllowHTTP: true,
		DialTLSContext: func(ctx context.Context, network, _ string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// A rawPeer is one side of a connection, frame by frame.
type rawPeer struct {
	t    testing.TB
	conn net.Conn
	*http2.Framer
	enc *hpack.Encoder
	buf bytes.Buffer
	in  chan rawFrame
}

// A rawFrame is a frame as read, with its payload.
type rawFrame struct {
	http2.FrameHeader
	payload []byte
	fields  []hpack.HeaderField
}

func (f rawFrame) String() string {
	s := fmt.Sprintf("%v %d", f.Type, f.StreamID)
	switch f.Type {
	case http2.FrameHeaders:
		s += " " + fieldsText(f.fields)
	case http2.FrameData:
		s += fmt.Sprintf(" %.40q", f.payload)
	case http2.FrameRSTStream:
		s += " " + http2.ErrCode(uint32Of(f.payload)).String()
	case http2.FrameGoAway:
		s += " " + http2.ErrCode(uint32Of(f.payload[4:])).String()
	}
	if (f.Type == http2.FrameHeaders || f.Type == http2.FrameData) && f.Flags.Has(http2.FlagDataEndStream) {
		s += " end"
	}
	return s
}

func uint32Of(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func fieldsText(fields []hpack.HeaderField) string {
	var parts []string
	for _, f := range fields {
		parts = append(parts, f.Name+"="+f.Value)
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// newRawPeer reads frames in the background, so that the peer never waits for us.
func newRawPeer(t testing.TB, conn net.Conn) *rawPeer {
	r := &rawPeer{t: t, conn: conn, Framer: http2.NewFramer(conn, conn), in: make(chan rawFrame, 10000)}
	r.enc = hpack.NewEncoder(&r.buf)
	r.SetMaxReadFrameSize(1<<24 - 1)
	t.Cleanup(func() { conn.Close() })
	return r
}

func (r *rawPeer) start() {
	go func() {
		defer close(r.in)
		dec := hpack.NewDecoder(4096, nil)
		var block []byte
		var begin rawFrame
		var header [headerLen]byte
		for {
			if _, err := io.ReadFull(r.conn, header[:]); err != nil {
				return
			}
			f := rawFrame{FrameHeader: parseHeader(header[:])}
			f.payload = make([]byte, f.Length)
			if _, err := io.ReadFull(r.conn, f.payload); err != nil {
				return
			}
			switch f.Type {
			case http2.FrameHeaders:
				begin = f
				block, _ = unpad(f.FrameHeader, f.payload)
				if f.Flags.Has(http2.FlagHeadersPriority) {
					block = block[5:]
				}
			case http2.FrameContinuation:
				block = append(block, f.payload...)
			default:
				r.in <- f
				continue
			}
			if f.Flags.Has(http2.FlagHeadersEndHeaders) {
				var err error
				if begin.fields, err = dec.DecodeFull(block); err != nil {
					return
				}
				r.in <- begin
			}
		}
	}()
}

// clientPreface begins a connection as a client does.
func (r *rawPeer) clientPreface(settings ...http2.Setting) *rawPeer {
	r.start()
	if _, err := io.WriteString(r.conn, http2.ClientPreface); err != nil {
		r.t.Fatal(err)
	}
	r.WriteSettings(settings...)
	return r
}

// headers writes a field block of names and values.
func (r *rawPeer) headers(id uint32, end bool, pairs ...string) {
	r.t.Helper()
	if err := r.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: r.encode(pairs...), EndHeaders: true, EndStream: end,
	}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rawPeer) encode(pairs ...string) []byte {
	r.buf.Reset()
	for i := 0; i < len(pairs); i += 2 {
		r.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(r.buf.Bytes())
}

func (r *rawPeer) get(id uint32, end bool) {
	r.t.Helper()
	r.headers(id, end, ":method", "GET", ":scheme", "http", ":authority", "example.com", ":path", "/")
}

// next returns the next frame that is about an exchange or ends the connection.
func (r *rawPeer) next() rawFrame {
	r.t.Helper()
	for {
		select {
		case f, ok := <-r.in:
			switch {
			case !ok:
				r.t.Fatal("the connection is over")
			case f.Type != http2.FrameSettings && f.Type != http2.FrameWindowUpdate && f.Type != http2.FramePing:
				return f
			}
		case <-time.After(10 * time.Second):
			r.t.Fatal("no frame comes")
		}
	}
}

// expect compares the next frames.
func (r *rawPeer) expect(want ...string) {
	r.t.Helper()
	for _, w := range want {
		if f := r.next(); f.String() != w {
			r.t.Fatalf("got  %v\nwant %v", f, w)
		}
	}
}

// sumOf reads a body to its end and returns its length and hash.
func sumOf(r io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d %x", n, h.Sum(nil)[:8]), err
}

// pattern is a body of n bytes that differs with seed.
func pattern(n, seed int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// quietLog swallows what net/http logs about handlers that abort.
func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
