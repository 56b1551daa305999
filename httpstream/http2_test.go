//lint:file-ignore SA1019 a second implementation is wanted here: net/http has its own copy of this client

package httpstream

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
)

// An h2Heard is a Sink that keeps what it hears.
type h2Heard struct {
	mu        sync.Mutex
	exchanges []*h2HeardExchange
}

type h2HeardExchange struct {
	all *h2Heard
	end chan struct{} // closed by End

	// Guarded by all.mu.
	head           *RequestHead
	response       *ResponseHead
	interim        []*ResponseHead
	reqBody, body  bytes.Buffer
	chunks         []int // lengths, of the response
	events         []string
	requestTrailer Fields
	requestEnded   bool
	last           *EndInfo
	up, down       time.Time // of the last event of each direction
}

func (h *h2Heard) Request(at time.Time, head *RequestHead) Exchange {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := &h2HeardExchange{all: h, head: head, end: make(chan struct{})}
	x.event(at, "request %s %s", head.Method, head.Target)
	h.exchanges = append(h.exchanges, x)
	return x
}

func (x *h2HeardExchange) event(at time.Time, format string, args ...any) {
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

func (x *h2HeardExchange) RequestChunk(at time.Time, c Chunk) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	x.reqBody.Write(c.Data)
	x.event(at, "up %d of %d rest %v", len(c.Data), c.Of, c.Rest)
}

func (x *h2HeardExchange) RequestEnd(at time.Time, trailer Fields) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	if x.requestEnded {
		panic("RequestEnd twice")
	}
	x.requestEnded, x.requestTrailer = true, trailer
	x.event(at, "request end %v", trailer)
}

func (x *h2HeardExchange) Interim(at time.Time, head *ResponseHead) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	x.interim = append(x.interim, head)
	x.event(at, "interim %d", head.Status)
}

func (x *h2HeardExchange) Response(at time.Time, head *ResponseHead) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	x.response = head
	x.event(at, "response %d", head.Status)
}

func (x *h2HeardExchange) ResponseChunk(at time.Time, c Chunk) {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	if x.last != nil {
		panic("chunk after the end")
	}
	x.body.Write(c.Data)
	x.chunks = append(x.chunks, len(c.Data))
	x.event(at, "down %d of %d rest %v", len(c.Data), c.Of, c.Rest)
}

func (x *h2HeardExchange) End(at time.Time, end EndInfo) {
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
func (h *h2Heard) wait(t testing.TB, n int) *h2HeardExchange {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		h.mu.Lock()
		var x *h2HeardExchange
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

// An h2Link is a listener whose connections go through RelayHTTP2 to an origin.
type h2Link struct {
	net.Listener
	heard h2Heard
	opt   RelayOptions
	dial  func() (net.Conn, error)
	stop  context.CancelFunc
	errs  chan error
	wg    sync.WaitGroup
}

func newH2Link(t testing.TB, tlsConf *tls.Config, dial func() (net.Conn, error), opt RelayOptions) *h2Link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if tlsConf != nil {
		ln = tls.NewListener(ln, tlsConf)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &h2Link{Listener: ln, dial: dial, opt: opt, stop: cancel, errs: make(chan error, 100)}
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
			l.wg.Go(func() { l.errs <- RelayHTTP2(ctx, client, upstream, l.opt, &l.heard) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		l.wg.Wait()
	})
	return l
}

// h2Peers runs a test with net/http's server and client and a relay between
// them, once over TLS and once without.
func h2Peers(t *testing.T, h http.Handler, opt RelayOptions, test func(t *testing.T, c *http.Client, url string, l *h2Link)) {
	t.Run("over TLS", func(t *testing.T) {
		origin := httptest.NewUnstartedServer(h)
		origin.EnableHTTP2 = true
		origin.Config.ErrorLog = h2Quiet()
		origin.StartTLS()
		t.Cleanup(origin.Close)
		conf := origin.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		conf.NextProtos = []string{"h2"}
		conf.ServerName = "example.com"
		l := newH2Link(t, &tls.Config{Certificates: origin.TLS.Certificates, NextProtos: []string{"h2"}}, func() (net.Conn, error) {
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
		origin := h2Origin(t, h)
		l := newH2Link(t, nil, func() (net.Conn, error) { return net.Dial("tcp", origin) }, opt)
		test(t, h2Client(t, l.Addr().String()), "http://example.com", l)
	})
}

// h2Origin serves h as HTTP/2 without TLS.
func h2Origin(t testing.TB, h http.Handler) string {
	t.Helper()
	origin := httptest.NewUnstartedServer(h)
	origin.Config.Protocols = new(http.Protocols)
	origin.Config.Protocols.SetUnencryptedHTTP2(true)
	origin.Config.ErrorLog = h2Quiet()
	origin.Start()
	t.Cleanup(origin.Close)
	return origin.Listener.Addr().String()
}

// h2Client speaks HTTP/2 without TLS to addr, whatever the URL.
func h2Client(t testing.TB, addr string) *http.Client {
	tr := &http2.Transport{
		AllowHTTP: true,
		DialTLSContext: func(ctx context.Context, network, _ string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// An h2Raw is one side of a connection, frame by frame.
type h2Raw struct {
	t    testing.TB
	conn net.Conn
	*http2.Framer
	enc *hpack.Encoder
	buf bytes.Buffer
	in  chan h2RawFrame
}

// An h2RawFrame is a frame as read, with its payload.
type h2RawFrame struct {
	http2.FrameHeader
	payload []byte
	fields  []hpack.HeaderField
}

func (f h2RawFrame) String() string {
	s := fmt.Sprintf("%v %d", f.Type, f.StreamID)
	switch f.Type {
	case http2.FrameHeaders:
		s += " " + h2Fields(f.fields)
	case http2.FrameData:
		s += fmt.Sprintf(" %.40q", f.payload)
	case http2.FrameRSTStream:
		s += " " + http2.ErrCode(h2Uint32(f.payload)).String()
	case http2.FrameGoAway:
		s += " " + http2.ErrCode(h2Uint32(f.payload[4:])).String()
	}
	if (f.Type == http2.FrameHeaders || f.Type == http2.FrameData) && f.Flags.Has(http2.FlagDataEndStream) {
		s += " end"
	}
	return s
}

func h2Uint32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func h2Fields(fields []hpack.HeaderField) string {
	var parts []string
	for _, f := range fields {
		parts = append(parts, f.Name+"="+f.Value)
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// newH2Raw reads frames in the background, so that the peer never waits for us.
func newH2Raw(t testing.TB, conn net.Conn) *h2Raw {
	r := &h2Raw{t: t, conn: conn, Framer: http2.NewFramer(conn, conn), in: make(chan h2RawFrame, 10000)}
	r.enc = hpack.NewEncoder(&r.buf)
	r.SetMaxReadFrameSize(1<<24 - 1)
	t.Cleanup(func() { conn.Close() })
	return r
}

func (r *h2Raw) start() {
	go func() {
		defer close(r.in)
		dec := hpack.NewDecoder(4096, nil)
		var block []byte
		var begin h2RawFrame
		var header [h2HeaderLen]byte
		for {
			if _, err := io.ReadFull(r.conn, header[:]); err != nil {
				return
			}
			f := h2RawFrame{FrameHeader: h2ParseHeader(header[:])}
			f.payload = make([]byte, f.Length)
			if _, err := io.ReadFull(r.conn, f.payload); err != nil {
				return
			}
			switch f.Type {
			case http2.FrameHeaders:
				begin = f
				block, _ = h2Unpad(f.FrameHeader, f.payload)
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
func (r *h2Raw) clientPreface(settings ...http2.Setting) *h2Raw {
	r.start()
	if _, err := io.WriteString(r.conn, http2.ClientPreface); err != nil {
		r.t.Fatal(err)
	}
	r.WriteSettings(settings...)
	return r
}

// headers writes a field block of names and values.
func (r *h2Raw) headers(id uint32, end bool, pairs ...string) {
	r.t.Helper()
	if err := r.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: r.encode(pairs...), EndHeaders: true, EndStream: end,
	}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *h2Raw) encode(pairs ...string) []byte {
	r.buf.Reset()
	for i := 0; i < len(pairs); i += 2 {
		r.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(r.buf.Bytes())
}

func (r *h2Raw) get(id uint32, end bool) {
	r.t.Helper()
	r.headers(id, end, ":method", "GET", ":scheme", "http", ":authority", "example.com", ":path", "/")
}

// next returns the next frame that is about an exchange or ends the connection.
func (r *h2Raw) next() h2RawFrame {
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
func (r *h2Raw) expect(want ...string) {
	r.t.Helper()
	for _, w := range want {
		if f := r.next(); f.String() != w {
			r.t.Fatalf("got  %v\nwant %v", f, w)
		}
	}
}

// h2Sum reads a body to its end and returns its length and hash.
func h2Sum(r io.Reader) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d %x", n, h.Sum(nil)[:8]), err
}

// h2Pattern is a body of n bytes that differs with seed.
func h2Pattern(n, seed int) []byte {
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

func h2Must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// h2Quiet swallows what net/http logs about handlers that abort.
func h2Quiet() *log.Logger { return log.New(io.Discard, "", 0) }
