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

// An exchange passes through these states:
//
//	asked      the request comes in; its body is held, up to MaxInlineBody
//	decided    the request ended or the answer began, whichever was told first: it
//	           is known from when times count, and lines go out as they come
//	ended      the answer ended; the client may still send (two-way only)
//	final      everything is queued, and later events are ignored
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
	x.pushExchange(nil)
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
		x.pushExchange(nil)
	}
	if x.response != nil {
		x.last = max(x.last, x.since(x.response.at))
	}
}

// spill sends the held body to the stream, as the pieces that it came in, behind
// the exchange that says so.
func (x *exchange) spill() {
	x.spilled = true
	x.pushExchange(nil)
	rest := x.body
	for _, p := range x.bodyAt {
		c := p.chunk
		c.Data, rest = rest[:p.size:p.size], rest[p.size:]
		x.pushLine(&tape.Line{At: x.lineTime(p.at, x.start), FromClient: true, Chunk: c}, nil)
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
	if x.response == nil && x.base.Failed == "" {
		x.base.Failed = failure(&x.end)
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
	if x.end.How != "" {
		end := x.end
		x.pushLine(&tape.Line{At: x.endAt, End: &end}, nil)
	}
	x.pushExchange(event)
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

// pushExchange queues the exchange file as it is now. With an event it is the last.
func (x *exchange) pushExchange(event *event.Exchange) {
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
	x.r.queue.push(&item{x: x, exchange: &e, event: event, cost: itemCost + int64(len(q.URL))})
}

func timed(at time.Time, head *httpstream.ResponseHead) timedHead {
	h := timedHead{at, *head}
	h.head.Header = cloneFields(head.Header)
	return h
}
