package runner

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/dev/leaktest"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/http1"
	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/relay"
	"github.com/wiretape/wiretape/httpstream/replay"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// outsideHost is where the apps of these tests call.
const outsideHost = "http://outside.test"

// An app makes a handler that may call the outside with client.
type app func(outside *http.Client) http.Handler

// plain is an app that makes no calls.
func plain(h http.HandlerFunc) app { return func(*http.Client) http.Handler { return h } }

// serve serves h, HTTP/1.1 and h2c, on loopback until the test ends.
func serve(t testing.TB, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String()
}

// clientTo returns a client whose every connection goes to addr.
func clientTo(t testing.TB, addr string) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// recordTape records what drive asks of the app, through the real ingress, and
// what the app asks of origin. begin says which case the next request is.
func recordTape(t testing.TB, make app, origin http.Handler, drive func(base string, begin func(int))) *tape.Tape {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := tape.Create(dir, tape.Manifest{Version: tape.Version, Created: time.Now(), By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	clock := NewClock(NewCorrelation(nil))
	var ended atomic.Int32
	rec := record.New(record.Options{OnExchange: func(e event.Exchange) {
		if e.Kind == event.CaseEnded {
			ended.Add(1)
		}
	}}, w.Apply)
	ctx, cancel := context.WithCancel(context.Background())
	outside := listenRelay(t, ctx, origin, func() httpstream.Sink {
		return rec.Conn(record.Conn{Kind: tape.Call, Service: "app", Scheme: "http", Authority: "outside.test:80", Cases: clock.Cases})
	})
	handler := make(clientTo(t, outside))
	appAddr := ""
	if raw, ok := handler.(rawTarget); ok {
		appAddr = string(raw)
	} else {
		appAddr = serve(t, handler)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := proxy.New(proxy.Config{})
	served := makeDone(func() {
		p.ServeIngress(ctx, l, proxy.Ingress{
			Service: "app", Published: l.Addr().String(),
			Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", appAddr) },
			Record: func(s proxy.Stream) httpstream.Sink {
				return clock.Sink(rec.Conn(record.Conn{Kind: tape.Case, Service: s.Service, Scheme: s.Scheme, Authority: s.Authority}))
			},
		})
	})
	begun := 0
	drive(l.Addr().String(), func(n int) {
		begun = max(begun, n)
		awaitEnded(&ended, n-1)
	})
	awaitEnded(&ended, begun)
	if err := rec.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-served
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if problems := tp.Verify(); problems != nil {
		t.Fatal(problems)
	}
	return tp
}

// awaitEnded waits for that many cases: bytes go to the client before they are looked at.
func awaitEnded(ended *atomic.Int32, n int) {
	for range 1000 {
		if int(ended.Load()) >= n {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func makeDone(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return done
}

// listenRelay relays to origin, heard by sinks.
func listenRelay(t testing.TB, ctx context.Context, origin http.Handler, sink func() httpstream.Sink) string {
	if origin == nil {
		origin = http.NotFoundHandler()
	}
	addr := serve(t, origin)
	return listen(t, ctx, func(conn net.Conn) {
		up, err := net.Dial("tcp", addr)
		if err != nil {
			conn.Close()
			return
		}
		http1.Relay(ctx, conn, up, relay.Options{}, sink())
	})
}

func listen(t testing.TB, ctx context.Context, handle func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
	return l.Addr().String()
}

// A rig is an app with a tape for its outside world, ready to run cases.
type rig struct {
	opt      Options
	playback *proxy.Playback
	results  []report.CaseResult

	mu      sync.Mutex
	outside []string // misses that were no case's
}

func newRig(t testing.TB, tp *tape.Tape, make app) *rig {
	t.Helper()
	return newRigAt(t, tp, make, 1)
}

// newRigAt is newRig at another speed.
func newRigAt(t testing.TB, tp *tape.Tape, make app, speed float64) *rig {
	t.Helper()
	known := NewCorrelation(nil)
	for _, x := range tp.Cases {
		known.Add(x.Number, x.Request.Header)
	}
	Attribute(tp, known)
	r := &rig{opt: Options{Tape: tp, Calls: NewLedger(), Limits: compare.DefaultLimits(), Linger: time.Millisecond}}
	r.opt.Limits.Speed = speed
	clock := NewClock(known)
	var err error
	r.playback, err = proxy.NewPlayback(tp, proxy.PlaybackOptions{
		Speed: speed, Case: clock.One,
		Watch: r.opt.Calls.Watch,
		OnEvent: func(e replay.Event) {
			if e.Miss != nil && r.opt.Calls.Owner(e.Miss) == 0 {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.outside = append(r.outside, e.URL)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { r.playback.Close() })
	t.Cleanup(cancel)
	var cfg proxy.Config
	r.playback.Configure(&cfg)
	outside := listen(t, ctx, func(conn net.Conn) {
		http1.Serve(ctx, conn, cfg.Replay(proxy.Stream{Service: "app", Scheme: "http", Authority: "outside.test:80"}))
	})
	addr := serve(t, make(clientTo(t, outside)))
	r.opt.Dial = func(ctx context.Context, _ *tape.Exchange) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	r.opt.Begin = func(n int, c Company) {
		r.playback.Release(n)
		if c != Alone {
			n = 0
		}
		clock.Set(n)
	}
	r.opt.Collisions = r.playback.Collisions()
	r.opt.Result = func(c report.CaseResult) error {
		c.Conclude(&report.Run{})
		r.results = append(r.results, c)
		return nil
	}
	return r
}

func (r *rig) missedOutside() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.outside)
}

// run runs all cases and returns their results.
func (r *rig) run(t testing.TB) []report.CaseResult {
	t.Helper()
	r.results = nil
	var numbers []int
	for _, x := range r.opt.Tape.Cases {
		numbers = append(numbers, x.Number)
	}
	if err := Run(t.Context(), r.opt, numbers); err != nil {
		t.Fatal(err)
	}
	if len(r.results) != len(numbers) {
		t.Fatalf("%d results for %d cases", len(r.results), len(numbers))
	}
	return r.results
}

// describe is a result's outcome and what is wrong with it.
func describe(c *report.CaseResult) string {
	s := fmt.Sprintf("case %d: %s", c.Number, c.Status)
	if c.Error != "" {
		s += " error=" + strconv.Quote(c.Error)
	}
	if c.Reason != "" {
		s += " reason=" + strconv.Quote(c.Reason)
	}
	if c.Verdict != nil {
		for _, d := range c.Verdict.Differences {
			s += fmt.Sprintf("\n  %s: %s", d.Kind, d.Message)
		}
	}
	for _, m := range c.Misses {
		s += fmt.Sprintf("\n  miss %s %s %v", m.Method, m.URL, m.Differences)
	}
	for _, m := range c.NotMade {
		s += fmt.Sprintf("\n  not made %s %s", m.Method, m.URL)
	}
	return s
}
