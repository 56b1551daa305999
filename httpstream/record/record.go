// Package record turns what passes on connections into the records of a tape:
// it copies, orders, times and redacts, and holds no file.
package record

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	defaultMaxPending    = 8 << 20
	defaultMaxInlineBody = 1 << 20
	// maxHeldBodies is how much of all bodies together waits in memory for the end of
	// its exchange, in bytes; what finds no room goes to the stream.
	maxHeldBodies = 32 << 20
)

// Options of a Recorder. The zero value of each is usable.
type Options struct {
	// Start is the zero of Exchange.Started; the time of New if it is zero.
	Start time.Time
	// Redact takes the secrets out of every head before emit sees it. Nil stands
	// for the default rules.
	Redact *tape.Redactor
	// MaxPending is how many bytes may wait for emit, 8 MiB by default. When they
	// are reached, the relays wait.
	MaxPending int64
	// MaxInlineBody is how large a request body may be to stand in the exchange
	// file, 1 MiB by default; a larger one goes to the stream. Negative: none may.
	MaxInlineBody int64
	// OnExchange is told of every exchange that ended, once its records are out.
	OnExchange func(event.Exchange)
	// OnError is told of the first error of emit. The exchange that it struck
	// is recorded no further; the bytes are relayed all the same.
	OnError func(error)
	// Flush is called whenever emit has been called for all that there is, so that
	// emit may gather what it writes. May be nil.
	Flush func() error
	// CasesFrom is the number of the first case, 1 by default.
	CasesFrom int
}

// A Conn is what is known of a connection before anything is read from it.
type Conn struct {
	Kind    tape.Kind
	Service string
	Port    int    // as in tape.Exchange
	Scheme  string // "http" or "https"; empty if not known yet
	// Authority is the host:port that the connection went to. It stands in the URL
	// where a head names no host, and gives the port where a head names none.
	Authority string
	TLS       string // as in tape.Request
	// Cases are those that a call with this head may belong to; the head is nil
	// where a connection could not be made. May be nil.
	Cases func(*httpstream.RequestHead) []int
}

// A Recorder gives the exchanges of many connections to one emit function. Emit is
// called from one goroutine, with the records of each exchange in order. A record's
// data is valid until it returns.
//
// What is known of an exchange is withheld for a moment, because most are over then
// and need but one record; see withhold.
type Recorder struct {
	opt   Options
	emit  func(tape.Record) error
	queue *queue
	done  chan struct{} // closed when everything is emitted
	err   error         // the first error of emit; valid once done is closed

	mu     sync.Mutex
	last   int64 // exchange ID
	calls  int
	cases  int
	open   map[*exchange]struct{}
	closed bool

	bodies atomic.Int64 // bytes of bodies that exchanges hold

	encoder tape.Encoder // the writer goroutine's
}

// holdBody takes room for n more bytes of a body, if there is some.
func (r *Recorder) holdBody(n int) bool {
	if r.bodies.Add(int64(n)) <= maxHeldBodies {
		return true
	}
	r.bodies.Add(-int64(n))
	return false
}

// New returns a Recorder, which runs one goroutine until Close.
func New(opt Options, emit func(tape.Record) error) *Recorder {
	if opt.Start.IsZero() {
		opt.Start = time.Now()
	}
	if opt.Redact == nil {
		opt.Redact = tape.NewRedactor(tape.RedactRules{})
	}
	if opt.MaxPending <= 0 {
		opt.MaxPending = defaultMaxPending
	}
	if opt.MaxInlineBody == 0 {
		opt.MaxInlineBody = defaultMaxInlineBody
	}
	r := &Recorder{
		opt:   opt,
		emit:  emit,
		cases: max(0, opt.CasesFrom-1),
		queue: newQueue(opt.MaxPending),
		done:  make(chan struct{}),
		open:  map[*exchange]struct{}{},
	}
	go r.write()
	return r
}

// Conn returns the sink for the exchanges of one connection.
func (r *Recorder) Conn(c Conn) httpstream.Sink { return &conn{r, c} }

type conn struct {
	r *Recorder
	c Conn
}

// Request begins an exchange and numbers it.
func (c *conn) Request(at time.Time, head *httpstream.RequestHead) httpstream.Exchange {
	x := c.r.begin(&c.c, at, head, "", tape.Request{
		Proto:    head.Proto,
		Method:   head.Method,
		URL:      head.URL(c.c.Scheme, c.c.Authority),
		Header:   cloneFields(head.Header),
		TLS:      c.c.TLS,
		Protocol: head.Protocol,
	})
	if x == nil {
		return httpstream.Discard{}
	}
	return x
}

// begin numbers a new exchange; nil when the recording is over.
func (r *Recorder) begin(c *Conn, at time.Time, head *httpstream.RequestHead, failed string, request tape.Request) *exchange {
	x := &exchange{r: r, start: at}
	x.base = tape.Exchange{
		Kind: c.Kind, Service: c.Service, Port: c.Port, Request: request, Failed: failed,
		Started: max(0, micros(at.Sub(r.opt.Start))),
	}
	if c.Kind == tape.Call && c.Cases != nil {
		x.base.Belong(c.Cases(head)...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.last++
	x.id = r.last
	number := &r.calls
	if c.Kind == tape.Case {
		number = &r.cases
	}
	*number++
	x.base.Number = *number
	r.open[x] = struct{}{}
	return x
}

// Failed records a connection that could not be made: an exchange with no request,
// with the address as its URL.
func (r *Recorder) Failed(c Conn, at time.Time, why string) {
	if why == "" {
		why = "the connection failed"
	}
	x := r.begin(&c, at, nil, why, tape.Request{URL: connURL(&c), TLS: c.TLS})
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final { // by a Close at the same time
		return
	}
	x.decided = true
	x.origin = at
	x.finish()
}

// Add queues a name, an opaque destination or a problem.
func (r *Recorder) Add(n tape.Note) { r.queue.push(&item{note: &n, cost: itemCost}) }

// NotUnderstood queues what a tape keeps of an event.Opaque notice.
func (r *Recorder) NotUnderstood(n event.Notice) {
	r.Add(tape.Note{Opaque: &tape.Opaque{Service: n.Service, Address: n.About, Reason: n.Detail, Count: 1, Bytes: n.Bytes, HTTP: n.HTTP}})
}

// Close ends the recording: exchanges that are still going end as Open, and
// everything is emitted. It returns the first error of emit, or ctx's error if
// that is done earlier; what is left then is dropped.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	again := r.closed
	r.closed = true
	open := make([]*exchange, 0, len(r.open))
	for x := range r.open {
		open = append(open, x)
	}
	r.mu.Unlock()
	if again {
		return errors.New("the recorder is closed")
	}
	defer context.AfterFunc(ctx, r.queue.abort)()
	now := time.Now()
	for _, x := range open {
		x.cutOff(now)
	}
	r.queue.close()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Recorder) forget(x *exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, x)
}

func cloneFields(fs httpstream.Fields) httpstream.Fields {
	return append(httpstream.Fields(nil), fs...)
}

// micros rounds a duration down to what a tape keeps.
func micros(d time.Duration) time.Duration {
	m := d.Truncate(time.Microsecond)
	if m > d {
		m -= time.Microsecond
	}
	return m
}

// connURL is the URL of a connection on which no request came.
func connURL(c *Conn) string {
	scheme := c.Scheme
	if scheme == "" {
		scheme = "tcp"
	}
	return httpstream.OriginURL(scheme, c.Authority)
}
