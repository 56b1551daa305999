package http1

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// A requestRelay is the direction from the client to upstream.
type requestRelay struct {
	*connection
	p          parser
	cur        *exchange      // the exchange whose request is being read, or was read last
	held       []byte         // of a head that is not complete
	out        []byte         // goes upstream with the next flush
	unreported []pendingEvent // is reported after it

	// The read that is passed on and reported now: its events, or what it has of another protocol.
	events, tunnelled *relay.Read
	at                time.Time
	data              []byte
}

// A pendingEvent is something to report once the bytes that it stands for are gone.
type pendingEvent struct {
	kind    eventKind
	x       *exchange
	chunk   httpstream.Chunk
	trailer httpstream.Fields
	// unanswered is how the exchange ends where no answer can come any more.
	unanswered *httpstream.EndInfo
}

func (q *requestRelay) run() {
	q.events, q.tunnelled = relay.NewRead(q.report), relay.NewRead(q.reportTunnelled)
	earlier := relay.NewRead(func() {})
	var space transport.Buffer
	defer space.Idle()
	in := transport.NewReader(q.client, &space)
	for {
		n, err := in.Read()
		at, buf := time.Now(), space.Space()
		if q.opt.Upstream != nil {
			// An answer that the client has already may be the one that is not
			// understood; then no further upstream is chosen.
			q.order.Stamp(earlier)
			q.order.Deliver(earlier)
		}
		going := n == 0 || q.take(at, buf[:n])
		if going && err != nil {
			q.ended(at, err)
		}
		if !going || err != nil {
			return
		}
	}
}

// take passes b on and reports it. It returns false when no more can be passed on.
func (q *requestRelay) take(at time.Time, b []byte) bool {
	for {
		switch {
		case q.isRaw() && q.opt.Upstream == nil:
			return q.flush(at) && q.passHeld(b)
		case q.isRaw() && q.p.inHead() && len(b) > 0:
			// What ends the answer to the request before is not known.
			q.flush(at)
			q.hangUp()
			return false
		case q.p.state == inTunnel:
			return q.flush(at) && q.pass(at, b)
		case q.p.state == undecided && len(b) > 0:
			if !q.flush(at) {
				return false
			}
			q.awaitDecision()
			continue
		case q.p.state == doubtful && len(b) > 0:
			// An answer says that upstream took the request to end here as well. It
			// should close the connection then (RFC 9112 section 6.1). Bytes that came
			// with the request's end were sent before any answer, however fast that is.
			early := len(q.unreported) > 0
			if !q.flush(at) {
				return false
			}
			if early || q.awaitsAnswer() {
				return q.misunderstood(at, b, true, malformed("bytes behind a request with both Content-Length and Transfer-Encoding"))
			}
			q.p.resume()
			continue
		}
		inHead := q.p.inHead()
		n, ev, err := q.p.next(b)
		if err != nil {
			return q.misunderstood(at, b, inHead, err)
		}
		if inHead {
			q.held = append(q.held, b[:n]...)
		} else {
			q.out = append(q.out, b[:n]...)
		}
		b = b[n:]
		switch ev.kind {
		case noEvent:
			if q.p.state != undecided || len(b) == 0 {
				return q.flush(at)
			}
		case headEvent:
			if !q.begin(at, ev.request) {
				return false
			}
		case chunkEvent:
			q.unreported = append(q.unreported, pendingEvent{kind: chunkEvent, x: q.cur, chunk: ev.chunk})
		case endEvent:
			q.unreported = append(q.unreported, pendingEvent{kind: endEvent, x: q.cur, trailer: ev.trailer})
		}
	}
}

// begin starts an exchange: it chooses the upstream and rewrites the head.
func (q *requestRelay) begin(at time.Time, head *httpstream.RequestHead) bool {
	reported := head
	if q.p.folded {
		unfolded := *head
		unfolded.Header = unfold(head.Header)
		reported = &unfolded
	}
	x := q.newRelayed(at, reported)
	if q.opt.Upstream != nil {
		if !q.flush(at) {
			return false
		}
		conn, err := q.opt.Upstream(q.ctx, head)
		if err != nil {
			q.refuse("502 Bad Gateway", err, x)
			return false
		}
		if !q.use(conn) {
			q.hangUp()
			return false
		}
	}
	sent, same := head, true
	if q.opt.RewriteRequest != nil {
		clone := *head
		clone.Header = slices.Clone(head.Header)
		sent = &clone
		q.opt.RewriteRequest(sent)
		same = sent.Method == head.Method && sent.Target == head.Target && slices.Equal(sent.Header, head.Header)
	}
	x.method = sent.Method
	x.upgrade = q.p.upgrade
	if same {
		q.out = append(q.out, q.held...)
	} else {
		q.out = AppendRequestHead(q.out, sent)
	}
	q.held = q.held[:0]
	q.cur = x
	q.unreported = append(q.unreported, pendingEvent{kind: headEvent, x: x})
	return true
}

// flush passes on what was gathered, in one write, and then reports the rest of it.
func (q *requestRelay) flush(at time.Time) bool {
	for i := range q.unreported {
		if t := &q.unreported[i]; t.kind == headEvent {
			t.unanswered = q.push(t.x)
			t.x.report()
		}
	}
	if len(q.unreported) == 0 {
		written := len(q.out) == 0 || q.write(q.out)
		q.out = q.out[:0]
		return written
	}
	q.at = at
	q.order.Stamp(q.events)
	written := len(q.out) == 0 || q.write(q.out)
	q.order.Deliver(q.events)
	for i := range q.unreported {
		if t := &q.unreported[i]; t.unanswered != nil {
			q.end(t.x, at, *t.unanswered)
		}
	}
	clear(q.unreported)
	q.out, q.unreported = q.out[:0], q.unreported[:0]
	return written
}

// report tells the sink of what flush has passed on.
func (q *requestRelay) report() {
	for i := range q.unreported {
		switch t := &q.unreported[i]; t.kind {
		case chunkEvent:
			t.x.report().RequestChunk(q.at, t.chunk)
		case endEvent:
			q.requestEnded(t.x, q.at, t.trailer)
		}
	}
}

// write sends b upstream. When that fails, the response direction hears what
// became of the connection; if it has ended already, the client is reset.
func (q *requestRelay) write(b []byte) bool {
	q.mu.Lock()
	up := q.upstream
	q.mu.Unlock()
	if up == nil {
		return false
	}
	if _, err := up.Write(b); err == nil {
		return true
	}
	q.mu.Lock()
	over := q.over
	q.mu.Unlock()
	if over {
		transport.Reset(q.client, true)
	}
	return false
}

// pass passes on and reports bytes of another protocol.
func (q *requestRelay) pass(at time.Time, b []byte) bool {
	if len(b) == 0 {
		return true
	}
	q.at, q.data = at, b
	q.order.Stamp(q.tunnelled)
	written := q.write(b)
	q.order.Deliver(q.tunnelled)
	return written
}

// reportTunnelled tells the sink of bytes of another protocol.
func (q *requestRelay) reportTunnelled() {
	for rest := q.data; ; {
		n, ev, _ := q.p.next(rest)
		if ev.kind == noEvent {
			return
		}
		q.cur.report().RequestChunk(q.at, ev.chunk)
		rest = rest[n:]
	}
}

// passHeld passes on bytes that nobody understands, a held head first.
func (q *requestRelay) passHeld(b []byte) bool {
	if len(q.held) > 0 {
		b = append(q.held, b...)
		q.held = nil
	}
	q.unread.Add(len(b))
	return len(b) == 0 || q.write(b)
}

// awaitDecision waits until it is known what follows a request that asked for
// another protocol.
func (q *requestRelay) awaitDecision() {
	<-q.cur.decided
	if q.cur.switched {
		q.p.change()
	} else {
		q.p.resume()
	}
}

// misunderstood makes requests raw, beginning with b. Where another upstream might
// be next, the connection ends instead.
func (q *requestRelay) misunderstood(at time.Time, b []byte, inHead bool, err error) bool {
	if !q.flush(at) {
		return false
	}
	q.passRaw(err)
	if inHead && q.opt.Upstream != nil {
		q.refuse("400 Bad Request", err, nil)
		return false
	}
	if !inHead {
		q.mu.Lock()
		q.cur.malformed = "in the request's body: " + err.Error()
		q.mu.Unlock()
	}
	if q.opt.Upstream != nil {
		q.hangUp()
		return false
	}
	return q.passHeld(b)
}

// awaitsAnswer reports whether the last request has no complete answer.
func (q *requestRelay) awaitsAnswer() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Contains(q.pending, q.cur)
}

// hangUp ends the connection to upstream, and with it the client's.
func (q *requestRelay) hangUp() {
	q.mu.Lock()
	up := q.upstream
	q.mu.Unlock()
	if up != nil {
		transport.Reset(up, true)
	}
}

// refuse answers the client in place of an upstream, once earlier requests are
// answered, ends x if there is one, and then the connection.
func (q *requestRelay) refuse(status string, why error, x *exchange) {
	q.mu.Lock()
	q.awaitAnswers()
	possible := !q.over && !q.stopped
	q.mu.Unlock()
	if possible {
		_, _ = q.client.Write(refusal(status, why))
	}
	if x != nil {
		q.end(x, time.Now(), q.cutEnd(why.Error()))
	}
	q.closeUpstream()
	if possible {
		transport.CloseWrite(q.client, false)
		q.client.SetReadDeadline(time.Now().Add(refusalLinger))
		_, _ = io.Copy(io.Discard, q.client)
	}
}

// ended passes the end of the client's bytes on.
func (q *requestRelay) ended(at time.Time, err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		q.closeUpstream()
		return
	}
	if transport.IsEOF(err) && !q.passHeld(nil) {
		return
	}
	if transport.IsEOF(err) {
		q.endTunnel(at)
	}
	q.mu.Lock()
	up, tunnel := q.upstream, q.tunnel
	if q.clientDoneAt.IsZero() {
		q.clientDoneAt = at
	}
	if transport.IsEOF(err) {
		q.clientDone = true
	} else {
		q.clientGone = true
	}
	idle := len(q.pending) == 0 && !tunnel && !q.raw
	q.mu.Unlock()
	switch {
	case up == nil:
	case !transport.IsEOF(err) && !transport.IsClosed(err):
		transport.Reset(up, true)
	case idle || transport.IsClosed(err):
		up.Close()
	default:
		transport.CloseWrite(up, errors.Is(err, io.ErrUnexpectedEOF))
	}
}

// endTunnel reports the end of what the client sends in another protocol.
func (q *requestRelay) endTunnel(at time.Time) {
	if q.p.state == undecided && q.cur.switchedNow() {
		q.awaitDecision()
	}
	if q.p.state == inTunnel {
		q.order.Report(func() { q.cur.report().RequestEnd(at, nil) })
	}
}

// switchedNow reports whether the protocol has changed, without waiting for the decision.
func (x *exchange) switchedNow() bool {
	select {
	case <-x.decided:
		return x.switched
	default:
		return false
	}
}

// refusal is an answer of this side's own.
func refusal(status string, why error) []byte {
	text := "wiretape: " + why.Error() + "\n"
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(text), text)
}
