package record

import (
	"strings"
	"sync"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// linger is how long a client may be silent after the end of an answer that
// came before the end of its request, until the exchange is over.
const linger = time.Second

// withhold is how long what is new of an exchange waits for more of it, so that one
// that is over by then takes one record, and one file.
const withhold = 50 * time.Millisecond

// maxWithheld is the longest chunk that is withheld, in bytes: what fits into an
// exchange file.
const maxWithheld = 16 << 10

// An exchange passes through these states:
//
//	asked      the request comes in; its body is held, up to MaxInlineBody
//	decided    the request ended or the answer began, whichever was told first: it
//	           is known from when times count, and lines go out as they come
//	ended      the answer ended; the client may still send (two-way only)
//	final      everything is queued, and later events are ignored
//
// From decided on, what is new is withheld until the exchange is final, a second
// chunk of the answer comes, the client sends something in a stream, or withhold has
// passed. With the first line that is queued, the exchange streams: what comes is
// queued at once.
type exchange struct {
	r    *Recorder
	id   int64
	w    written
	base tape.Exchange // what does not change after Request

	mu      sync.Mutex
	start   time.Time // the request's head
	origin  time.Time // from when the answer's times count; valid if decided
	decided bool
	twoWay  bool
	final   bool
	timer   *time.Timer // of the linger
	armed   int         // counts the timers, so that a late one is known

	streams bool
	waits   *time.Timer // until what is withheld is queued; nil if nothing is
	chunk   *tape.Line  // the answer's first, withheld
	pooled  *[]byte     // holds its data

	reqEnded bool
	reqTime  time.Time // of the request's end
	trailer  httpstream.Fields
	body     []byte  // held; inline for good once the request ended first
	bodyAt   []piece // how body came
	spilled  bool    // the body goes to the stream

	interim  []timedHead
	response *timedHead
	ended    bool
	endAt    time.Duration
	end      httpstream.EndInfo

	last   time.Duration // of the last line, so that times never decrease
	chunks int
	bytes  int64
}

type piece struct {
	at    time.Time
	size  int
	chunk httpstream.Chunk // without its data
}

type timedHead struct {
	at   time.Time
	head httpstream.ResponseHead
}

// RequestChunk holds body bytes, or queues them as a client line.
func (x *exchange) RequestChunk(at time.Time, c httpstream.Chunk) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final || x.reqEnded {
		return
	}
	if !x.decided && !x.spilled {
		if int64(len(x.body)+len(c.Data)) <= x.r.opt.MaxInlineBody && x.r.holdBody(len(c.Data)) {
			x.body = append(x.body, c.Data...)
			size := len(c.Data)
			c.Data = nil
			x.bodyAt = append(x.bodyAt, piece{at, size, c})
			return
		}
		x.spill()
	}
	x.pushChunk(x.lineTime(at, x.start), c, true)
	if x.ended && x.decided {
		x.arm(linger)
	}
}

// RequestEnd ends the request.
func (x *exchange) RequestEnd(at time.Time, trailer httpstream.Fields) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final || x.reqEnded {
		return
	}
	x.reqEnded = true
	x.reqTime = at
	x.trailer = cloneFields(trailer)
	if !x.decided {
		x.decide(false)
	} else if x.ended {
		x.finish()
	}
}

// Interim notes a 1xx answer, which may come before the request's end without
// making the exchange a two-way one.
func (x *exchange) Interim(at time.Time, head *httpstream.ResponseHead) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final || x.ended || x.response != nil {
		return
	}
	x.interim = append(x.interim, timed(at, head))
}

// Response begins the answer.
func (x *exchange) Response(at time.Time, head *httpstream.ResponseHead) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final || x.ended || x.response != nil {
		return
	}
	h := timed(at, head)
	x.response = &h
	if x.isTunnel(head.Status) {
		// The request goes on for as long as the connection, even if its head was
		// reported as all of it.
		x.reqEnded, x.decided = false, false
	}
	if !x.decided {
		x.decide(true)
		return
	}
	x.last = max(x.last, x.since(at))
	x.changed()
}

// isTunnel reports whether an answer turns the connection into a two-way stream:
// 101 (RFC 9110 section 15.2.2), or any success for CONNECT (section 9.3.6).
func (x *exchange) isTunnel(status int) bool {
	return status == 101 || status/100 == 2 && strings.EqualFold(x.base.Request.Method, "CONNECT")
}

// ResponseChunk queues a chunk of the answer.
func (x *exchange) ResponseChunk(at time.Time, c httpstream.Chunk) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final || x.ended {
		return
	}
	if !c.Rest {
		x.chunks++
	}
	x.bytes += int64(len(c.Data))
	if !x.decided {
		x.decide(true)
	}
	x.pushChunk(x.lineTime(at, x.origin), c, false)
}

// End ends the answer.
func (x *exchange) End(at time.Time, end httpstream.EndInfo) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final || x.ended {
		return
	}
	end.Trailer = cloneFields(end.Trailer)
	if end.ClientDone && x.base.Kind == tape.Case {
		// What the app would have sent to a client that stays is not known. A call is
		// another matter: the app may close its side and read on.
		end.How, end.Detail = httpstream.Cancelled, "the client closed the connection"
	}
	end.ClientDone = false
	x.ended = true
	x.end = end
	if !x.decided {
		x.decide(true)
	}
	x.endAt = x.lineTime(at, x.origin)
	x.afterEnd()
}

// afterEnd finishes the exchange, unless the client may still be sending.
func (x *exchange) afterEnd() {
	if x.reqEnded || x.end.How != httpstream.EOF {
		x.finish()
		return
	}
	x.arm(linger)
}

// decide fixes the origin of all times, and queues what is known by then.
func (x *exchange) decide(twoWay bool) {
	x.disarm()
	x.decided = true
	x.twoWay = twoWay
	x.origin = x.start
	if twoWay {
		x.spill()
	} else {
		x.origin = x.reqTime
		x.last = 0
		x.changed()
	}
	if x.response != nil {
		x.last = max(x.last, x.since(x.response.at))
	}
}

// spill sends the held body to the stream, as the pieces that it came in, behind
// the exchange that says so.
func (x *exchange) spill() {
	x.spilled = true
	if x.streams {
		x.changed()
	}
	rest := x.body
	for _, p := range x.bodyAt {
		c := p.chunk
		c.Data, rest = rest[:p.size:p.size], rest[p.size:]
		x.stream()
		x.pushLine(&tape.Line{At: x.lineTime(p.at, x.start), FromClient: true, Chunk: c}, nil)
	}
	if !x.streams {
		x.changed()
	}
	x.dropBody()
}

// dropBody forgets the held body, and gives its room back.
func (x *exchange) dropBody() {
	x.r.bodies.Add(-int64(len(x.body)))
	x.body, x.bodyAt = nil, nil
}

// finish queues the last records and forgets the exchange.
func (x *exchange) finish() {
	x.disarm()
	x.final = true
	changed := x.twoWay // in what the client sent
	if x.response == nil && x.base.Failed == "" {
		x.base.Failed = failure(&x.end)
		changed = changed || x.base.Failed != ""
	}
	event := &event.Exchange{
		Kind: event.ExchangeKind(x.base.Kind), Number: x.base.Number, Case: x.base.Case, Service: x.base.Service,
		Method: x.base.Request.Method, Chunks: x.chunks, Bytes: x.bytes, TwoWay: x.twoWay,
		Took: x.endAt, How: x.end.How, Failed: x.base.Failed,
	}
	if x.response != nil {
		event.Status = x.response.head.Status
		event.First = x.since(x.response.at)
	}
	it := &item{x: x, streams: x.streams, event: event, cost: itemCost}
	if x.end.How != "" {
		end := x.end
		it.end = &tape.Line{At: x.endAt, End: &end}
	}
	if !x.streams || changed {
		it.exchange = x.snapshot()
		it.cost = exchangeCost
	}
	it.line, it.pooled = x.takeChunk()
	x.r.queue.push(it)
	x.dropBody()
	x.r.forget(x)
}

// failure says why there is no answer, if that is anybody's fault but the client's.
func failure(end *httpstream.EndInfo) string {
	switch {
	case end.How == httpstream.Cancelled || end.How == httpstream.Open:
		return ""
	case end.Detail != "":
		return end.Detail
	case end.How == httpstream.Malformed:
		return "the answer is not HTTP"
	default:
		return "the connection ended before an answer"
	}
}

// cutOff ends the exchange because the recording ends.
func (x *exchange) cutOff(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final {
		return
	}
	if !x.ended {
		x.ended = true
		x.end = httpstream.EndInfo{How: httpstream.Open}
		if !x.decided {
			x.decide(true)
		}
		x.endAt = x.lineTime(now, x.origin)
	}
	if !x.final {
		x.finish()
	}
}

// arm starts the timer of the linger anew; it calls timeout.
func (x *exchange) arm(d time.Duration) {
	x.disarm()
	x.armed++
	nth := x.armed
	x.timer = time.AfterFunc(d, func() { x.timeout(nth) })
}

func (x *exchange) disarm() {
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
}

// timeout ends the linger that the nth timer was for.
func (x *exchange) timeout(nth int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer != nil && x.armed == nth && !x.final {
		x.finish()
	}
}

// lineTime is the time of a line that arrived at at, never less than the one before.
func (x *exchange) lineTime(at, origin time.Time) time.Duration {
	x.last = max(x.last, micros(at.Sub(origin)))
	return x.last
}

// since is the time of the answer's head.
func (x *exchange) since(at time.Time) time.Duration { return max(0, micros(at.Sub(x.origin))) }

// changed has the exchange file written anew: at once if the exchange streams, else
// together with what follows.
func (x *exchange) changed() {
	if x.streams {
		x.pushExchange()
		return
	}
	if x.waits == nil {
		x.waits = time.AfterFunc(withhold, x.waited)
	}
}

// waited ends the waiting for more of what is withheld.
func (x *exchange) waited() {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.final || x.streams || x.waits == nil:
	case x.chunk != nil:
		x.stream()
	default:
		x.waits = nil
		x.pushExchange()
	}
}

// stream makes the exchange one that streams, and queues what is withheld of it.
func (x *exchange) stream() {
	if x.streams {
		return
	}
	x.streams = true
	l, pooled := x.takeChunk()
	x.pushExchange()
	if l != nil {
		x.pushLine(l, pooled)
	}
}

// takeChunk takes what is withheld, and ends the waiting for more.
func (x *exchange) takeChunk() (l *tape.Line, pooled *[]byte) {
	if x.waits != nil {
		x.waits.Stop()
		x.waits = nil
	}
	l, pooled = x.chunk, x.pooled
	x.chunk, x.pooled = nil, nil
	if l != nil {
		x.r.bodies.Add(-int64(len(l.Data)))
	}
	return l, pooled
}

// pushChunk copies a chunk, and withholds it if it may be the only one.
func (x *exchange) pushChunk(at time.Duration, c httpstream.Chunk, fromClient bool) {
	data, pooled := x.r.queue.copy(c.Data)
	c.Data = data
	l := &tape.Line{At: at, FromClient: fromClient, Chunk: c}
	first := !x.streams && !fromClient && x.chunk == nil && !x.spilled
	if first && len(data) <= maxWithheld && x.r.holdBody(len(data)) {
		x.chunk, x.pooled = l, pooled
		x.changed()
		return
	}
	x.stream()
	x.pushLine(l, pooled)
}

// pushLine queues a line whose data is nobody else's any more.
func (x *exchange) pushLine(l *tape.Line, pooled *[]byte) {
	cost := int64(itemCost + cap(l.Data))
	x.r.queue.push(&item{x: x, line: l, pooled: pooled, streams: true, cost: cost})
}

// pushExchange queues the exchange file as it is now.
func (x *exchange) pushExchange() {
	e := x.snapshot()
	x.r.queue.push(&item{x: x, exchange: e, asked: x.reqEnded, streams: x.streams, cost: exchangeCost})
}

// snapshot is the exchange as it is now.
func (x *exchange) snapshot() *tape.Exchange {
	e := x.base
	q := &e.Request
	q.Trailer = x.trailer
	q.Body.InStream = x.spilled
	if x.reqEnded {
		q.Body.Data = x.body
		q.Took = max(0, micros(x.reqTime.Sub(x.start)))
	}
	e.TwoWay = x.twoWay
	origin := x.start
	if x.decided {
		origin = x.origin
	}
	for _, h := range x.interim {
		e.Interim = append(e.Interim, tape.Response{At: micros(h.at.Sub(origin)), Head: h.head})
	}
	if x.response != nil && x.decided {
		e.Response = &tape.Response{At: x.since(x.response.at), Head: x.response.head}
	}
	return &e
}

func timed(at time.Time, head *httpstream.ResponseHead) timedHead {
	h := timedHead{at, *head}
	h.head.Header = cloneFields(head.Header)
	return h
}
