package replay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// DefaultMaxBody is how much of a request body is held in memory for matching.
const DefaultMaxBody = 4 << 20

// maxHeld is how much of all request bodies together is held in memory for
// matching, in bytes. One for which there is no room is matched by its hash.
const maxHeld = 64 << 20

// MissField is the header field that marks the answer to a miss. Its value is
// the number of the closest recorded call, or "none".
const MissField = "Wiretape-Miss"

// A Handler answers requests from a tape. Its fields must not change while it
// is in use. Its functions may be called from several goroutines at once.
type Handler struct {
	Index  *match.Index
	Player *Player
	// MaxBody is how many bytes of a request body are held in memory; a longer
	// one is matched by its hash. 0 means DefaultMaxBody.
	MaxBody int64
	// OnMiss is told of each request that no recorded call answers. May be nil.
	OnMiss func(*event.Miss)
	// OnEvent is told of each request once it is answered. May be nil.
	OnEvent func(Event)
	// Watch is told of each request before it is answered, by a recorded call or
	// with a miss, and says who follows the answer; it may return nil. May be nil.
	Watch func(Event) Watcher
	// Forward, if set, answers requests that the tape does not.
	Forward Forward

	held atomic.Int64 // bytes of request bodies in memory
}

// hold takes room for n more bytes of a body, if there is some.
func (h *Handler) hold(n int64) bool {
	if h.held.Add(n) <= maxHeld {
		return true
	}
	h.held.Add(-n)
	return false
}

// A Forward answers a request that the tape does not. It is given the request as
// if nothing had been read of it. An error that wraps ErrUnreachable means that
// it wrote nothing; the request is then answered as a miss. Any other error cuts
// the answer short. It is never given a request for another protocol, nor one
// with a body above Handler.MaxBody, unless no call with that method and URL was
// recorded at all.
type Forward func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) error

// ErrUnreachable means that a request could not be passed on.
var ErrUnreachable = errors.New("upstream can't be reached")

// A Watcher follows one answer. Its methods are called in order.
type Watcher interface {
	// Flushed tells that heads, or so many bytes of a body, left together.
	Flushed(at time.Time, bytes int64)
	// Ended tells that the answer is over.
	Ended(Event)
}

// An Event is a request that was answered.
type Event struct {
	Service     string
	Case        int
	Method, URL string
	Started     time.Time // when the request's head had arrived
	// Complete is when its last byte had; the same as Started where it was
	// answered before.
	Complete time.Time
	// Exchange is the call that answered; nil after a miss.
	Exchange *tape.Exchange
	Miss     *event.Miss
	// Forwarded is set where Forward answers; Result has no more than Took then.
	Forwarded bool
	Result
	// Err says what was wrong with the recording or with the forwarding. A client
	// that went away is no error.
	Err error
}

// A Conn is what is known of a connection beside the bytes on it.
type Conn struct {
	Service string
	Scheme  string // "http" or "https"
	// Authority (host:port) is used where a head has none, and gives the port
	// where a head's lacks it.
	Authority string
	// OtherOrigins (scheme://host:port) are what requests may be for as well, where
	// none can tell which: the first recorded call that is identical answers.
	OtherOrigins []string
	// Case is the number of the case that a request with this head belongs to; nil for none.
	Case    func(*httpstream.RequestHead) int
	Forward Forward // in the place of the Handler's, unless it is nil
}

// Conn returns a handler for the requests of one connection.
func (h *Handler) Conn(c Conn) httpstream.Handler { return &connHandler{h, c} }

// ServeStream answers a request on a connection of which nothing is known.
func (h *Handler) ServeStream(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
	h.Conn(Conn{}).ServeStream(ctx, req, w)
}

type connHandler struct {
	*Handler
	conn Conn
}

// ServeStream implements httpstream.Handler.
func (h *connHandler) ServeStream(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
	a := &answer{h: h, ctx: ctx, req: req, w: w}
	a.event = Event{
		Service: h.conn.Service,
		Method:  req.Head.Method,
		Started: req.Arrived, Complete: req.Arrived,
	}
	if h.conn.Case != nil {
		a.event.Case = h.conn.Case(req.Head)
	}
	defer a.release()
	if !a.serve() {
		return
	}
	var call *event.Problem
	if ctx.Err() != nil && !errors.Is(a.event.Err, tape.ErrTruncated) && !errors.As(a.event.Err, &call) {
		a.event.Err = nil
	}
	if h.OnEvent != nil {
		h.OnEvent(a.event)
	}
}

// An answer is one request being served.
type answer struct {
	h     *connHandler
	ctx   context.Context
	req   *httpstream.Request
	w     httpstream.ResponseWriter
	event Event

	body      []byte // nil if it was not read or is too large
	room      [512]byte
	bodyRead  bool
	held      int64 // of the Handler's
	continued bool  // 100 (Continue) was sent
}

// serve reports whether there is an event to tell: not if the client went away
// before its request was complete.
func (a *answer) serve() bool {
	head := a.req.Head
	q := match.Query{
		Method: head.Method, URL: head.URL(a.h.conn.Scheme, a.h.conn.Authority), Header: head.Header, Protocol: head.Protocol,
		Scope: match.Scope{Service: a.event.Service, Case: a.event.Case},
	}
	for _, origin := range a.h.conn.OtherOrigins {
		q.OtherURLs = append(q.OtherURLs, head.URLAt(origin))
	}
	a.event.URL = a.h.Index.RedactURL(q.URL) // the event goes to terminals and reports
	asked := a.h.Index.Ask(&q)
	var likely *tape.Exchange
	if a.forwarding() != nil || expectsContinue(head.Header) {
		likely = asked.Peek()
	}
	q.HeadOnly = likely == nil && a.forwarding() != nil || a.headOnly(asked) || expectationRefused(likely)
	if !q.HeadOnly {
		if err := a.readBody(&q, likely); err != nil {
			_ = a.w.End(httpstream.EndInfo{How: httpstream.Reset, Detail: "the request is incomplete: " + err.Error()})
			return false
		}
	}
	x, miss := asked.Match()
	if miss != nil {
		a.miss(miss)
		return true
	}
	a.event.Exchange = x
	if len(q.OtherURLs) > 0 {
		a.event.URL = x.Request.URL
	}
	var watcher Watcher
	if a.h.Watch != nil {
		watcher = a.h.Watch(a.event)
	}
	a.event.Result, a.event.Err = a.h.Player.play(a.ctx, x, a.interim(x), a.req, a.w, watcher)
	if watcher != nil {
		watcher.Ended(a.event)
	}
	return true
}

// headOnly reports whether the request must be answered before it ends: where
// its body has no length given and a recorded call was.
func (a *answer) headOnly(asked *match.Inquiry) bool {
	head := a.req.Head
	if head.Method == "CONNECT" || head.Protocol != "" {
		return true
	}
	// The body of a request that offers another protocol comes before that (RFC 9110
	// section 7.8); without one, what follows is the other protocol's.
	length := head.Header.Get("Content-Length")
	if head.OffersUpgrade() && (length == "" || length == "0") && !head.Header.Has("Transfer-Encoding") {
		return true
	}
	return !head.Header.Has("Content-Length") && asked.TwoWay()
}

// expectationRefused reports whether a call was answered without its body, which
// its client kept back for a 100 (Continue) that never came (RFC 9110 section
// 10.1.1): the same request must be answered before its body, too.
func expectationRefused(x *tape.Exchange) bool {
	if x == nil || x.Response == nil || !expectsContinue(x.Request.Header) || x.Request.Body.Size > 0 || len(x.Request.Body.Data) > 0 {
		return false
	}
	continued := slices.ContainsFunc(x.Interim, func(h tape.Response) bool { return h.Head.Status == 100 })
	length := x.Request.Header.Get("Content-Length")
	return !continued && (length != "" && length != "0" || x.Request.Header.Has("Transfer-Encoding"))
}

func expectsContinue(fs httpstream.Fields) bool {
	return strings.EqualFold(fs.Get("Expect"), "100-continue")
}

// readBody reads the request to its end. A client that waits for 100 (Continue)
// gets it if it did when the call was recorded.
func (a *answer) readBody(q *match.Query, likely *tape.Exchange) error {
	if err := a.sendContinue(likely); err != nil {
		return err
	}
	limit := a.h.MaxBody
	if limit <= 0 {
		limit = DefaultMaxBody
	}
	body, whole, err := a.holdBody(limit)
	if err != nil {
		return err
	}
	a.bodyRead = true
	if whole {
		a.event.Complete, _ = a.req.Complete()
		a.body = body
		q.Body, q.BodySize = a.body, int64(len(body))
		return nil
	}
	sum := sha256.New()
	sum.Write(body)
	n := int64(len(body))
	a.release()
	rest, err := io.Copy(sum, a.req.Body)
	if err == nil {
		a.event.Complete, _ = a.req.Complete()
	}
	q.BodySHA256, q.BodySize = hex.EncodeToString(sum.Sum(nil)), n+rest
	return err
}

// holdBody reads the body into memory, as far as there is room for it, and reports
// whether that is all of it.
func (a *answer) holdBody(limit int64) (body []byte, whole bool, err error) {
	body = a.room[:0]
	for {
		if len(body) == cap(body) {
			body = slices.Grow(body, 512)
		}
		n, err := a.req.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		room := int64(len(body)) <= limit && a.h.hold(int64(n))
		if room {
			a.held += int64(n)
		}
		switch {
		case err == io.EOF && room:
			return body, true, nil
		case err != nil && err != io.EOF:
			return nil, false, err
		case !room:
			return body, false, nil
		}
	}
}

// release gives back the room that the body took.
func (a *answer) release() {
	a.h.held.Add(-a.held)
	a.held = 0
}

// sendContinue sends the recorded 100 at its time, which for a call that is not
// two-way counts backwards from the end of the request.
func (a *answer) sendContinue(x *tape.Exchange) error {
	if x == nil || !expectsContinue(a.req.Head.Header) {
		return nil
	}
	for i := range x.Interim {
		h := &x.Interim[i]
		if h.Head.Status != 100 {
			continue
		}
		after := h.At
		if !x.TwoWay {
			after += x.Request.Took
		}
		if speed := a.h.Player.Speed; speed > 0 {
			deadline := a.req.Arrived.Add(time.Duration(float64(after) / speed))
			if err := a.h.Player.Scheduler.Wait(a.ctx, deadline); err != nil {
				return err
			}
		}
		a.continued = true
		if err := a.w.Interim(&h.Head); err != nil {
			return err
		}
		return a.w.Flush()
	}
	return nil
}

// interim returns the interim heads that are still to be sent.
func (a *answer) interim(x *tape.Exchange) []tape.Response {
	if !a.continued {
		return x.Interim
	}
	var left []tape.Response
	for _, h := range x.Interim {
		if h.Head.Status != 100 {
			left = append(left, h)
		}
	}
	return left
}

// miss answers where the tape does not.
func (a *answer) miss(m *event.Miss) {
	a.event.Miss = m
	a.event.URL = m.URL
	if a.h.OnMiss != nil {
		a.h.OnMiss(m)
	}
	forward := a.forwarding()
	if a.bodyRead && a.body == nil {
		forward = nil
	}
	a.event.Forwarded = forward != nil
	if a.h.Watch != nil {
		if w := a.h.Watch(a.event); w != nil {
			defer func() { w.Ended(a.event) }()
		}
	}
	if forward != nil && a.forward(forward) {
		return
	}
	a.event.Forwarded = false
	body := m.Body()
	closest := "none"
	if m.Closest != nil {
		closest = strconv.Itoa(m.Closest.Number)
	}
	head := &httpstream.ResponseHead{
		Proto: "HTTP/1.1", Status: 502, Line: "HTTP/1.1 502 Bad Gateway",
		Header: httpstream.Fields{
			{Name: "Content-Type", Value: "application/json"},
			{Name: "Content-Length", Value: strconv.Itoa(len(body))},
			{Name: MissField, Value: closest},
		},
	}
	a.event.Status, a.event.How = head.Status, httpstream.EOF
	err := a.w.Head(head)
	if err == nil && a.req.Head.Method != "HEAD" {
		err = a.w.Chunk(httpstream.Chunk{Data: body})
		a.event.Chunks, a.event.Bytes = 1, int64(len(body))
	}
	if err == nil {
		err = a.w.End(httpstream.EndInfo{How: httpstream.EOF})
	}
	a.event.Took = time.Since(a.req.Arrived)
	a.event.First = a.event.Took
	a.event.Err = err
}

// forwarding is what answers the request if the tape does not; nil if nothing may.
func (a *answer) forwarding() Forward {
	head := a.req.Head
	if head.Method == "CONNECT" || head.Protocol != "" || head.OffersUpgrade() {
		return nil
	}
	if a.h.conn.Forward != nil {
		return a.h.conn.Forward
	}
	return a.h.Forward
}

// forward reports whether the request was answered.
func (a *answer) forward(forward Forward) bool {
	req := *a.req
	if a.bodyRead {
		req.Body = bytes.NewReader(a.body)
	}
	err := forward(a.ctx, &req, a.w)
	if errors.Is(err, ErrUnreachable) {
		return false
	}
	if err != nil {
		a.event.Err = err
		_ = a.w.End(httpstream.EndInfo{How: httpstream.Reset, Detail: err.Error()})
	}
	a.event.Took = time.Since(a.req.Arrived)
	return true
}
