package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/replay"
	"github.com/wiretape/wiretape/httpstream/tape"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// http2Preface is what a client of HTTP/2 begins with (RFC 9113 section 3.4).
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// patience is how long anything here may take; nothing waits for it to pass.
const patience = 20 * time.Second

// An authority is a root with its pool and its issuer.
type authority struct {
	issuer *mitmtls.Issuer
	pool   *x509.CertPool
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	root, err := mitmtls.LoadOrCreateRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root.AnchorPEM()) {
		t.Fatal("the root is no certificate")
	}
	return authority{root.Issuer(), pool}
}

// A world is the outside: origins by host:port, and the two authorities.
type world struct {
	t    *testing.T
	ours authority // wiretape's, which clients trust
	real authority // of the origins

	mu    sync.Mutex
	hosts map[string]string // host:port → the loopback address that stands for it
}

func newWorld(t *testing.T) *world {
	return &world{t: t, ours: newAuthority(t), real: newAuthority(t), hosts: map[string]string{}}
}

func (w *world) put(hostPort, addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[hostPort] = addr
}

// dial is Config.Dial. A host that is not there refuses.
func (w *world) dial(ctx context.Context, d Dest) (net.Conn, error) {
	w.mu.Lock()
	addr, ok := w.hosts[d.Authority()]
	w.mu.Unlock()
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", addr)
}

// serverTLS is what origins use; they have a certificate for every name.
func (w *world) serverTLS(protos ...string) *tls.Config {
	return &tls.Config{
		NextProtos: protos,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			name := hello.ServerName
			if name == "" {
				name = "127.0.0.1"
			}
			return w.real.issuer.Leaf(hello.Context(), name)
		},
	}
}

// https puts an HTTPS origin at hostPort.
func (w *world) https(hostPort string, h http.Handler, protos ...string) {
	w.t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = slices.Contains(protos, "h2")
	// httptest has a certificate of its own, and adds to the protocols.
	own := w.serverTLS(protos...)
	s.TLS = &tls.Config{NextProtos: protos, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }}
	s.Config.ErrorLog = quiet
	s.StartTLS()
	w.t.Cleanup(s.Close)
	w.put(hostPort, s.Listener.Addr().String())
}

// http puts a plain origin at hostPort, with HTTP/2 by prior knowledge as well.
func (w *world) http(hostPort string, h http.Handler) {
	w.t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ErrorLog = quiet
	s.Start()
	w.t.Cleanup(s.Close)
	w.put(hostPort, s.Listener.Addr().String())
}

// raw puts a TCP server at hostPort that serves each connection with handle.
func (w *world) raw(hostPort string, handle func(net.Conn)) {
	w.t.Helper()
	l := listen(w.t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				handle(c)
			})
		}
	})
	w.t.Cleanup(func() { l.Close(); wg.Wait() })
	w.put(hostPort, l.Addr().String())
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// A lab is a proxy that serves, with what it noticed.
type lab struct {
	t    *testing.T
	w    *world
	addr string
	l    net.Listener
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	led     map[string]Dest // what Original answers, by the client's address
	changed chan struct{}   // closed when led or notices changed
	notices []event.Notice

	recorder *record.Recorder
	writer   *tape.Writer
	dir      string
}

// serveWith starts a proxy; how is one of its Serve methods.
func (w *world) serveWith(cfg Config, how func(*Proxy, context.Context, net.Listener) error) *lab {
	w.t.Helper()
	l := listen(w.t)
	ctx, cancel := context.WithCancel(w.t.Context())
	b := &lab{
		t: w.t, w: w, addr: l.Addr().String(), l: l, stop: cancel, done: make(chan struct{}),
		led: map[string]Dest{}, changed: make(chan struct{}),
	}
	cfg.Original, cfg.Leaf, cfg.Notify = b.original, b.w.ours.issuer.Leaf, b.notice
	if cfg.Roots == nil {
		cfg.Roots = func(string) *x509.CertPool { return w.real.pool }
	}
	p := New(cfg)
	go func() {
		defer close(b.done)
		if err := how(p, ctx, l); err != nil {
			b.t.Errorf("serve: %v", err)
		}
	}()
	b.t.Cleanup(b.close)
	return b
}

func transparent(p *Proxy, ctx context.Context, l net.Listener) error { return p.Serve(ctx, l) }

func explicit(upstream string) func(*Proxy, context.Context, net.Listener) error {
	return func(p *Proxy, ctx context.Context, l net.Listener) error {
		if upstream == "" {
			return p.ServeExplicit(ctx, l, nil)
		}
		u, err := url.Parse(upstream)
		if err != nil {
			return err
		}
		return p.ServeExplicit(ctx, l, u)
	}
}

// recordWith starts a proxy that records to a tape; change may be nil.
func (w *world) recordWith(change func(*Config), how func(*Proxy, context.Context, net.Listener) error) *lab {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "tape")
	writer, err := tape.Create(dir, tape.Manifest{Created: time.Now(), By: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	rec := record.New(record.Options{OnError: func(err error) { w.t.Error(err) }}, writer.Apply)
	conn := func(s Stream) record.Conn {
		return record.Conn{Kind: tape.Call, Service: s.Service, Scheme: s.Scheme, Authority: s.Authority, TLS: s.TLS}
	}
	cfg := Config{
		Dial:   w.dial,
		Record: func(s Stream) httpstream.Sink { return rec.Conn(conn(s)) },
		Failed: func(s Stream, at time.Time, why string) { rec.Failed(conn(s), at, why) },
	}
	if change != nil {
		change(&cfg)
	}
	b := w.serveWith(cfg, how)
	b.recorder, b.writer, b.dir = rec, writer, dir
	w.t.Cleanup(b.endRecording)
	return b
}

// tape ends a recording and opens it.
func (b *lab) tape() *tape.Tape {
	b.t.Helper()
	b.close()
	for _, n := range b.all() {
		if n.Kind == event.Opaque {
			b.recorder.NotUnderstood(n)
			b.recorder.Add(tape.Note{Problem: n.Missing()})
		}
	}
	b.endRecording()
	return b.open()
}

// open opens the tape of a recording that has ended.
func (b *lab) open() *tape.Tape {
	b.t.Helper()
	t, err := tape.Open(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range t.Verify() {
		if t.Manifest.Complete {
			b.t.Error(p)
		}
	}
	return t
}

// endRecording closes what writes the tape, once.
func (b *lab) endRecording() {
	b.t.Helper()
	if b.writer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := errors.Join(b.recorder.Close(ctx), b.writer.Close(nil))
	if b.writer = nil; err != nil {
		b.t.Fatal(err)
	}
}

// events collects what a playback answered.
type events struct {
	mu   sync.Mutex
	list []replay.Event
}

func (e *events) add(ev replay.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func (e *events) misses() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.list {
		if ev.Miss != nil {
			n++
		}
	}
	return n
}

// replayWith starts a proxy that answers from a tape. It has no Dial: nothing
// can reach the origins.
func (w *world) replayWith(t *tape.Tape, how func(*Proxy, context.Context, net.Listener) error) (*lab, *events) {
	w.t.Helper()
	heard := &events{}
	pb, err := NewPlayback(t, PlaybackOptions{OnEvent: heard.add})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { pb.Close() })
	var cfg Config
	pb.Configure(&cfg)
	return w.serveWith(cfg, how), heard
}

func (b *lab) close() {
	b.stop()
	select {
	case <-b.done:
	case <-time.After(patience):
		b.t.Fatal("the proxy goes on though its context ended")
	}
}

func (b *lab) notice(n event.Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notices = append(b.notices, n)
	b.change()
}

// change tells of a change; the caller holds mu.
func (b *lab) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *lab) all() []event.Notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.notices)
}

// waitNotice waits for a notice of that kind.
func (b *lab) waitNotice(kind event.NoticeKind) event.Notice {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		i := slices.IndexFunc(b.notices, func(n event.Notice) bool { return n.Kind == kind })
		changed := b.changed
		if i >= 0 {
			defer b.mu.Unlock()
			return b.notices[i]
		}
		b.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			b.t.Fatalf("no notice of kind %q came, but %v", kind, b.all())
		}
	}
}

// original is Config.Original: it waits until dialTo said where the client goes.
func (b *lab) original(c net.Conn) (Dest, bool) {
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		d, ok := b.led[c.RemoteAddr().String()]
		changed := b.changed
		b.mu.Unlock()
		if ok {
			return d, d.Service != "nobody"
		}
		select {
		case <-changed:
		case <-deadline:
			return Dest{}, false
		}
	}
}

// dialTo connects to the proxy as a client that wanted to go to d.
func (b *lab) dialTo(d Dest) net.Conn {
	b.t.Helper()
	c, err := b.tryDial(d)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

func (b *lab) tryDial(d Dest) (net.Conn, error) {
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	b.mu.Lock()
	b.led[c.LocalAddr().String()] = d
	b.change()
	b.mu.Unlock()
	return c, nil
}

// named is a destination that the client looked up by name.
func named(hostPort string) Dest {
	d, err := parseAuthority(hostPort, "")
	if err != nil {
		panic(err)
	}
	if d.Addr.Addr().IsUnspecified() {
		d.Addr = netip.AddrPortFrom(netip.MustParseAddr("203.0.113.7"), d.Addr.Port())
	}
	d.Service = "app"
	return d
}

// client is an HTTP client whose connections are led to the proxy; protos are
// its ALPN names.
func (b *lab) client(protos ...string) *http.Client {
	tr := &http.Transport{
		DialContext: func(_ context.Context, _, addr string) (net.Conn, error) { return b.tryDial(named(addr)) },
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			raw, err := b.tryDial(named(addr))
			if err != nil {
				return nil, err
			}
			host, _, _ := net.SplitHostPort(addr)
			c := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: b.w.ours.pool, NextProtos: protos})
			return c, c.HandshakeContext(ctx)
		},
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(true)
	tr.Protocols.SetHTTP2(slices.Contains(protos, "h2"))
	return b.httpClient(tr)
}

// through is an HTTP client that knows of the proxy.
func (b *lab) through(protos ...string) *http.Client {
	u := &url.URL{Scheme: "http", Host: b.addr}
	tr := &http.Transport{
		Proxy:              http.ProxyURL(u),
		TLSClientConfig:    &tls.Config{RootCAs: b.w.ours.pool},
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(slices.Contains(protos, "http/1.1"))
	tr.Protocols.SetHTTP2(slices.Contains(protos, "h2"))
	return b.httpClient(tr)
}

func (b *lab) httpClient(tr *http.Transport) *http.Client {
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// An answer is a response with its body read.
type answer struct {
	status  int
	proto   string
	header  http.Header
	body    string
	trailer http.Header
}

func (a answer) String() string {
	return fmt.Sprintf("%s %d %v %q %v", a.proto, a.status, a.header, a.body, a.trailer)
}

func ask(t *testing.T, c *http.Client, method, target, body string) answer {
	t.Helper()
	a, err := tryAsk(c, method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tryAsk(c *http.Client, method, target, body string) (answer, error) {
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept-Encoding", "gzip, br")
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Proto, resp.Header, string(b), resp.Trailer}, err
}

// wantReset reports a connection that does not end in a reset.
func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	b, err := io.ReadAll(c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %q and %v, want a reset", b, err)
	}
}

// exchange sends text and returns the line that comes back.
func exchange(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatalf("%q and %v", line, err)
	}
	return line
}

func urls(list []*tape.Exchange) (out []string) {
	for _, x := range list {
		out = append(out, x.Request.Method+" "+x.Request.URL)
	}
	return out
}
