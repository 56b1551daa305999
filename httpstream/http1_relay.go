package httpstream

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	h1ReadSize = 32 << 10
	// h1Linger is how long a client may keep its connection after the server
	// closed its side: as long as a Linux server's kernel would wait (tcp_fin_timeout).
	h1Linger = 60 * time.Second
	// h1RefusalLinger is how long a refused client may still send, so that a
	// reset does not take the answer from it.
	h1RefusalLinger = time.Second
)

// RelayHTTP1 relays HTTP/1 (RFC 9112) both ways, until both directions are done
// or ctx ends, and closes the connections. Bytes from upstream are written to
// the client before they are looked at. A request's head is held until it is
// complete, rewritten and passed on; its body passes as it comes. What is not
// HTTP passes as it is from there on, and the error then has an UnreadError;
// where opt.Upstream is set, a malformed request is not passed on, nor is any
// behind an answer that is: its bytes would go to an upstream that was not chosen
// for them. upstream may be nil if opt.Upstream is set. The error has ctx's if
// that ended, and is nil however else the connections ended.
func RelayHTTP1(ctx context.Context, client, upstream net.Conn, opt RelayOptions, sink Sink) error {
	r := &h1Relay{ctx: ctx, opt: opt, sink: sink, client: client}
	r.changed.L = &r.mu
	r.unread.tell = opt.Unread
	defer opt.begun(&r.order)()
	defer client.Close()
	defer r.closeUpstream()
	defer context.AfterFunc(ctx, r.stop)()
	if upstream != nil {
		r.use(upstream)
	}
	q := h1RequestRelay{h1Relay: r, p: h1Parser{passing: opt.Upstream == nil, oneHost: opt.Upstream != nil}}
	q.run()
	r.responses.Wait()
	return errors.Join(ctx.Err(), r.unread.result())
}

// An h1Relay is the state that the two directions of a relayed connection share.
// Each direction has a goroutine; the one for responses is replaced when
// opt.Upstream changes the connection.
type h1Relay struct {
	ctx       context.Context
	opt       RelayOptions
	sink      Sink
	client    net.Conn
	order     order
	responses sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond // pending got shorter, or over was set
	upstream net.Conn
	pending  []*h1Relayed // requests without a complete answer, oldest first
	tunnel   bool         // the protocol was changed
	stopped  bool         // ctx ended
	// The client sends nothing more; or it went away altogether.
	clientDone, clientGone bool
	clientDoneAt           time.Time // when it was the first of both
	// over is set when nothing more comes from upstream; overEnd then ends every exchange.
	over    bool
	overEnd EndInfo
	raw     bool // requests pass without being understood
	unread  Unread
}

// An h1Relayed is one exchange of a relay.
type h1Relayed struct {
	// report tells the sink of the request, once, and returns its exchange.
	report  func() Exchange
	method  string // as it went upstream
	upgrade bool   // another protocol was asked for, and only the response tells what comes next

	// Guarded by the relay's mu.
	malformed string // what was wrong with the request's body

	// decided is closed when it is known whether the protocol changes; before
	// that the fields below are guarded by the relay's mu.
	decided   chan struct{}
	isDecided bool
	switched  bool
	webSocket bool
	// The end of a request that asks for another protocol is reported only when
	// that is refused.
	ended   bool
	endAt   time.Time
	trailer Fields
}

func (r *h1Relay) newRelayed(at time.Time, head *RequestHead) *h1Relayed {
	return &h1Relayed{
		report:  sync.OnceValue(func() Exchange { return r.sink.Request(at, head) }),
		decided: make(chan struct{}),
	}
}

// stop ends the relay because ctx ended.
func (r *h1Relay) stop() {
	r.mu.Lock()
	r.stopped = true
	r.changed.Broadcast()
	r.mu.Unlock()
	r.client.Close()
	r.closeUpstream()
}

func (r *h1Relay) closeUpstream() {
	r.mu.Lock()
	up := r.upstream
	r.mu.Unlock()
	if up != nil {
		up.Close()
	}
}

// use makes conn the upstream, once all earlier requests are answered. If
// nothing can be answered any more, it closes conn and returns false.
func (r *h1Relay) use(conn net.Conn) bool {
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
		s := h1ResponseRelay{h1Relay: r, conn: conn, p: h1Parser{response: true}}
		s.run()
	})
	return true
}

// awaitAnswers waits until no exchange is pending. The caller holds mu.
func (r *h1Relay) awaitAnswers() {
	for len(r.pending) > 0 && !r.over && !r.stopped {
		r.changed.Wait()
	}
}

// push adds an exchange that waits for its answer. Where none can come any more,
// it returns how the exchange ends.
func (r *h1Relay) push(x *h1Relayed) *EndInfo {
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
func (r *h1Relay) oldest() *h1Relayed {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		return nil
	}
	return r.pending[0]
}

// answered removes the oldest exchange, and reports whether the connection has
// nothing more to do.
func (r *h1Relay) answered() (done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[0] = nil
	r.pending = r.pending[1:]
	r.changed.Broadcast()
	return r.clientDone && len(r.pending) == 0
}

// decide says whether the protocol changes behind x's request.
func (r *h1Relay) decide(x *h1Relayed, switched, webSocket bool) {
	r.mu.Lock()
	if x.isDecided {
		r.mu.Unlock()
		return
	}
	x.isDecided, x.switched, x.webSocket = true, switched, webSocket
	r.tunnel = r.tunnel || switched
	r.mu.Unlock()
	if x.ended && !switched {
		x.report().RequestEnd(x.endAt, x.trailer)
	}
	close(x.decided)
}

// requestEnded reports the end of x's request, or keeps it until decide is called.
func (r *h1Relay) requestEnded(x *h1Relayed, at time.Time, trailer Fields) {
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
func (r *h1Relay) finish(conn net.Conn, at time.Time, first, rest EndInfo) bool {
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
func (r *h1Relay) end(x *h1Relayed, at time.Time, end EndInfo) {
	exchange := x.report()
	r.decide(x, false, false)
	r.mu.Lock()
	if x.malformed != "" {
		end.How, end.Detail = Malformed, x.malformed
	}
	// A client that has read the whole answer may close before it is looked at here.
	end.ClientDone = end.How == EOF && !x.switched && !r.clientDoneAt.IsZero() && r.clientDoneAt.Before(at)
	r.mu.Unlock()
	exchange.End(at, end)
}

// cutEnd is the end of an answer that is not complete; detail is for one that
// the server cut.
func (r *h1Relay) cutEnd(detail string) EndInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.stopped:
		return EndInfo{How: Open}
	case r.clientGone || r.clientDone:
		return EndInfo{How: Cancelled, Detail: "the client closed the connection"}
	}
	return EndInfo{How: Reset, Detail: detail}
}

// passRaw makes requests pass without being understood.
func (r *h1Relay) passRaw(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.raw = true
	r.unread.begin(why)
}

func (r *h1Relay) isRaw() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raw
}

// isClosed reports whether err comes from a connection that this side closed.
func isClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
