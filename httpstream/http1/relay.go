// Package http1 relays, serves and sends HTTP/1 (RFC 9112) with its chunk
// boundaries, head bytes and the way in which each body ended.
package http1

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

const (
	readSize = 32 << 10
	// linger is how long a client may keep its connection after the server
	// closed its side: as long as a Linux server's kernel would wait (tcp_fin_timeout).
	linger = 60 * time.Second
	// refusalLinger is how long a refused client may still send, so that a
	// reset does not take the answer from it.
	refusalLinger = time.Second
)

// Relay relays HTTP/1 (RFC 9112) both ways, until both directions are done
// or ctx ends, and closes the connections. Bytes from upstream are written to
// the client before they are looked at. A request's head is held until it is
// complete, rewritten and passed on; its body passes as it comes. What is not
// HTTP passes as it is from there on, and the error then has an UnreadError;
// where opt.Upstream is set, a malformed request is not passed on, nor is any
// behind an answer that is: its bytes would go to an upstream that was not chosen
// for them. upstream may be nil if opt.Upstream is set. The error has ctx's if
// that ended, and is nil however else the connections ended.
func Relay(ctx context.Context, client, upstream net.Conn, opt relay.Options, sink httpstream.Sink) error {
	r := &connection{ctx: ctx, opt: opt, sink: sink, client: client}
	r.changed.L = &r.mu
	r.unread.Notify = opt.Unread
	defer opt.Start(&r.order)()
	defer client.Close()
	defer r.closeUpstream()
	defer context.AfterFunc(ctx, r.stop)()
	if upstream != nil {
		r.use(upstream)
	}
	q := requestRelay{connection: r, p: parser{passing: opt.Upstream == nil, oneHost: opt.Upstream != nil}}
	q.run()
	r.responses.Wait()
	return errors.Join(ctx.Err(), r.unread.Err())
}

// A connection is the state that the two directions of a relayed connection share.
// Each direction has a goroutine; the one for responses is replaced when
// opt.Upstream changes the connection.
type connection struct {
	ctx       context.Context
	opt       relay.Options
	sink      httpstream.Sink
	client    net.Conn
	order     relay.Order
	responses sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond // pending got shorter, or over was set
	upstream net.Conn
	pending  []*exchange // requests without a complete answer, oldest first
	tunnel   bool        // the protocol was changed
	stopped  bool        // ctx ended
	// The client sends nothing more; or it went away altogether.
	clientDone, clientGone bool
	clientDoneAt           time.Time // when it was the first of both
	// over is set when nothing more comes from upstream; overEnd then ends every exchange.
	over    bool
	overEnd httpstream.EndInfo
	raw     bool // requests pass without being understood
	unread  relay.Unread
}

// An exchange is one exchange of a relay.
type exchange struct {
	// report tells the sink of the request, once, and returns its exchange.
	report  func() httpstream.Exchange
	method  string // as it went upstream
	upgrade bool   // another protocol was asked for, and only the response tells what comes next

	// Guarded by the relay's mu.
	malformed string // what was wrong with the request's body

	// decided is closed when it is known whether the protocol changes; before
	// that the fields below are guarded by the relay's mu.
	decided   chan struct{}
	isDecided bool
	switched  bool
	// The end of a request that asks for another protocol is reported only when
	// that is refused.
	ended   bool
	endAt   time.Time
	trailer httpstream.Fields
}

func (r *connection) newRelayed(at time.Time, head *httpstream.RequestHead) *exchange {
	return &exchange{
		report:  sync.OnceValue(func() httpstream.Exchange { return r.sink.Request(at, head) }),
		decided: make(chan struct{}),
	}
}

// stop ends the relay because ctx ended.
func (r *connection) stop() {
	r.mu.Lock()
	r.stopped = true
	r.changed.Broadcast()
	r.mu.Unlock()
	r.client.Close()
	r.closeUpstream()
}

func (r *connection) closeUpstream() {
	r.mu.Lock()
	up := r.upstream
	r.mu.Unlock()
	if up != nil {
		up.Close()
	}
}

// use makes conn the upstream, once all earlier requests are answered. If
// nothing can be answered any more, it closes conn and returns false.
func (r *connection) use(conn net.Conn) bool {
	r.mu.Lock()
	old := r.upstream
	if old == conn {
		r.mu.Unlock()
		return true
	}
	r.awaitAnswers()
	if r.over || r.stopped || r.raw {
		r.mu.Unlock()
		conn.Close()
		return false
	}
	r.upstream = conn
	r.mu.Unlock()
	if old != nil {
		old.Close()
		r.responses.Wait()
	}
	r.responses.Go(func() {
		s := responseRelay{connection: r, conn: conn, p: parser{response: true}}
		s.run()
	})
	return true
}

// awaitAnswers waits until no exchange is pending. The caller holds mu.
func (r *connection) awaitAnswers() {
	for len(r.pending) > 0 && !r.over && !r.stopped {
		r.changed.Wait()
	}
}

// push adds an exchange that waits for its answer. Where none can come any more,
// it returns how the exchange ends.
func (r *connection) push(x *exchange) *httpstream.EndInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		end := r.overEnd
		return &end
	}
	r.pending = append(r.pending, x)
	return nil
}

// oldest returns the exchange whose answer comes next, or nil.
func (r *connection) oldest() *exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		return nil
	}
	return r.pending[0]
}

// answered removes the oldest exchange, and reports whether the connection has
// nothing more to do.
func (r *connection) answered() (done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[0] = nil
	r.pending = r.pending[1:]
	r.changed.Broadcast()
	return r.clientDone && len(r.pending) == 0
}

// decide says whether the protocol changes behind x's request.
func (r *connection) decide(x *exchange, switched bool) {
	r.mu.Lock()
	if x.isDecided {
		r.mu.Unlock()
		return
	}
	x.isDecided, x.switched = true, switched
	r.tunnel = r.tunnel || switched
	r.mu.Unlock()
	if x.ended && !switched {
		x.report().RequestEnd(x.endAt, x.trailer)
	}
	close(x.decided)
}

// requestEnded reports the end of x's request, or keeps it until decide is called.
func (r *connection) requestEnded(x *exchange, at time.Time, trailer httpstream.Fields) {
	r.mu.Lock()
	if x.upgrade && !x.isDecided {
		x.ended, x.endAt, x.trailer = true, at, trailer
		r.mu.Unlock()
		return
	}
	switched := x.switched
	r.mu.Unlock()
	if !switched {
		x.report().RequestEnd(at, trailer)
	}
}

// finish ends all exchanges, the oldest as first says, and those that are still
// to come as rest says. It returns false if conn is not the upstream any more.
func (r *connection) finish(conn net.Conn, at time.Time, first, rest httpstream.EndInfo) bool {
	r.mu.Lock()
	if r.upstream != conn {
		r.mu.Unlock()
		return false
	}
	pending := r.pending
	if !r.over {
		r.over, r.overEnd = true, rest
	}
	r.pending = nil
	r.changed.Broadcast()
	r.mu.Unlock()
	for i, x := range pending {
		end := rest
		if i == 0 {
			end = first
		}
		r.end(x, at, end)
	}
	return true
}

// end reports the end of x, which is malformed if its request was.
func (r *connection) end(x *exchange, at time.Time, end httpstream.EndInfo) {
	exchange := x.report()
	r.decide(x, false)
	r.mu.Lock()
	if x.malformed != "" {
		end.How, end.Detail = httpstream.Malformed, x.malformed
	}
	// A client that has read the whole answer may close before it is looked at here.
	end.ClientDone = end.How == httpstream.EOF && !x.switched && !r.clientDoneAt.IsZero() && r.clientDoneAt.Before(at)
	r.mu.Unlock()
	exchange.End(at, end)
}

// cutEnd is the end of an answer that is not complete; detail is for one that
// the server cut.
func (r *connection) cutEnd(detail string) httpstream.EndInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.stopped:
		return httpstream.EndInfo{How: httpstream.Open}
	case r.clientGone || r.clientDone:
		return httpstream.EndInfo{How: httpstream.Cancelled, Detail: "the client closed the connection"}
	}
	return httpstream.EndInfo{How: httpstream.Reset, Detail: detail}
}

// passRaw makes requests pass without being understood.
func (r *connection) passRaw(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.raw = true
	r.unread.Begin(why)
}

func (r *connection) isRaw() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raw
}
