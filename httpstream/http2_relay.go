package httpstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// h2Linger is how long a peer that nothing is owed to may take to close its side.
const h2Linger = 5 * time.Second

// RelayHTTP2 relays an HTTP/2 connection (RFC 9113), the client preface included,
// until both directions are done or ctx ends, and closes both connections. Frames
// pass as they are, so flow control, priorities and extensions stay between the
// peers; only the field blocks of requests are encoded anew where
// opt.RewriteRequest is set. It returns nil when both peers closed in order,
// ctx's error, a network error, or one that has an UnreadError where a part of
// the connection was relayed without being understood.
func RelayHTTP2(ctx context.Context, client, upstream net.Conn, opt RelayOptions, sink Sink) error {
	streams := newH2Streams(sink)
	streams.unread.tell = opt.Unread
	r := &h2Relay{
		client: client, upstream: upstream, streams: streams,
		requests:  newH2Requests(streams, opt.RewriteRequest),
		responses: newH2Responses(streams),
	}
	defer opt.begun(&r.order)()
	defer client.Close()
	defer upstream.Close()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		r.order.now(func() { streams.close(time.Now(), EndInfo{How: Open}) })
		client.Close()
		upstream.Close()
	})

	var wg sync.WaitGroup
	wg.Go(r.down)
	r.up()
	wg.Wait()
	if !stop() {
		<-stopped
	}
	r.lost(EndInfo{How: Reset, Detail: "the connection ended"}, nil)
	unread := r.streams.unread.result()
	if err := ctx.Err(); err != nil || unread != nil {
		return errors.Join(err, unread)
	}
	return r.err
}

// An h2Relay is one relayed connection; each direction has its goroutine.
type h2Relay struct {
	client, upstream net.Conn
	order            order
	streams          *h2Streams
	requests         *h2Requests  // of up
	responses        *h2Responses // of down

	blind atomic.Bool // the responses are not understood
	dark  atomic.Bool // one of both is not, so nothing is told any more

	mu         sync.Mutex
	clientGone bool // the client sends no more, and is taken to be gone when upstream closes
	hurried    bool
	err        error // the first network error
}

// lost ends all exchanges because a peer went away.
func (r *h2Relay) lost(end EndInfo, err error) {
	r.mu.Lock()
	if r.clientGone {
		end = EndInfo{How: Cancelled, Detail: "the client closed the connection"}
	}
	r.mu.Unlock()
	r.fail(err)
	r.order.now(func() { r.streams.close(time.Now(), end) })
}

// clientLost ends all exchanges because the client went away.
func (r *h2Relay) clientLost(err error) {
	r.mu.Lock()
	r.clientGone = true
	r.mu.Unlock()
	r.lost(EndInfo{}, err)
}

// fail notes a network error.
func (r *h2Relay) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		r.err = err
	}
}

// up relays what the client sends.
func (r *h2Relay) up() {
	for {
		n, err := r.client.Read(r.requests.scan.space())
		if n > 0 {
			at := time.Now()
			r.requests.scan.filled(n)
			var werr error
			if r.dark.Load() && r.requests.err == nil {
				r.streams.unread.add(n)
			}
			b := r.requests.process(at)
			if r.requests.err != nil {
				r.dark.Store(true)
			}
			r.requests.announce()
			read := r.order.stamp(r.requests.tell)
			if len(b) > 0 {
				_, werr = r.upstream.Write(b)
			}
			r.order.settle(read)
			if werr != nil {
				// What upstream said before it went may still be to be read.
				r.fail(fmt.Errorf("write to the server: %w", werr))
				r.upstream.SetReadDeadline(time.Now().Add(h2Linger))
				return
			}
		}
		switch {
		case err == nil:
			continue
		case isEOF(err):
			r.clientEnd(err)
		default:
			r.clientLost(fmt.Errorf("read from the client: %w", err))
			resetConn(r.upstream, true)
			r.client.Close()
		}
		return
	}
}

// clientEnd passes on that the client sends no more. Open exchanges may still be answered.
func (r *h2Relay) clientEnd(err error) {
	r.mu.Lock()
	r.clientGone = true
	r.mu.Unlock()
	if b := r.requests.unsent(); len(b) > 0 {
		r.upstream.Write(b) // if it fails, reading fails as well and says so
	}
	closeWriteConn(r.upstream, err != io.EOF)
	r.hurry()
}

// hurry gives upstream a last moment to close when the client is gone and no
// exchange is open.
func (r *h2Relay) hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clientGone && !r.hurried && !r.blind.Load() && r.streams.unanswered() == 0 {
		r.hurried = true
		r.upstream.SetReadDeadline(time.Now().Add(h2Linger))
	}
}

// down relays what the server sends: first to the client, then to the parser.
func (r *h2Relay) down() {
	for {
		buf := r.responses.scan.space()
		n, err := r.upstream.Read(buf)
		if n > 0 {
			at := time.Now()
			read := r.order.stamp(func() {
				r.responses.scan.filled(n)
				if r.dark.Load() && r.responses.err == nil {
					r.streams.unread.add(n)
				}
				r.responses.process(at)
			})
			if _, werr := r.client.Write(buf[:n]); werr != nil {
				r.order.drop(read)
				r.clientLost(fmt.Errorf("write to the client: %w", werr))
				resetConn(r.upstream, false)
				r.client.Close()
				return
			}
			r.order.settle(read)
			if r.responses.err != nil {
				r.dark.Store(true)
			}
			r.blind.Store(r.responses.err != nil)
			r.hurry()
		}
		switch {
		case err == nil:
			continue
		case isEOF(err):
			r.lost(EndInfo{How: Reset, Detail: "the server closed the connection"}, nil)
			closeWriteConn(r.client, err != io.EOF)
			if r.responses.err == nil {
				r.client.SetReadDeadline(time.Now().Add(h2Linger))
			}
		default:
			r.lost(EndInfo{How: Reset, Detail: "the connection to the server broke"}, fmt.Errorf("read from the server: %w", err))
			resetConn(r.client, true)
			r.upstream.Close()
		}
		return
	}
}
