// Package http2 relays, serves and sends HTTP/2 (RFC 9113) frame by frame.
package http2

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

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// linger is how long a peer that nothing is owed to may take to close its side.
const linger = 5 * time.Second

// Relay relays an HTTP/2 connection (RFC 9113), the client preface included,
// until both directions are done or ctx ends, and closes both connections. Frames
// pass as they are, so flow control, priorities and extensions stay between the
// peers; only the field blocks of requests are encoded anew where
// opt.RewriteRequest is set. It returns nil when both peers closed in order,
// ctx's error, a network error, or one that has an UnreadError where a part of
// the connection was relayed without being understood.
func Relay(ctx context.Context, client, upstream net.Conn, opt relay.Options, sink httpstream.Sink) error {
	streams := newStreamTable(sink)
	streams.unread.Notify = opt.Unread
	r := &connection{
		client: client, upstream: upstream, streams: streams,
		requests:  newRequestReader(streams, opt.RewriteRequest),
		responses: newResponseReader(streams),
	}
	defer opt.Start(&r.order)()
	defer client.Close()
	defer upstream.Close()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		r.order.Report(func() { streams.close(time.Now(), httpstream.EndInfo{How: httpstream.Open}) })
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
	r.lost(httpstream.EndInfo{How: httpstream.Reset, Detail: "the connection ended"}, nil)
	unread := r.streams.unread.Err()
	if err := ctx.Err(); err != nil || unread != nil {
		return errors.Join(err, unread)
	}
	return r.err
}

// A connection is one relayed connection; each direction has its goroutine.
type connection struct {
	client, upstream net.Conn
	order            relay.Order
	streams          *streamTable
	requests         *requestReader  // of up
	responses        *responseReader // of down

	blind atomic.Bool // the responses are not understood
	dark  atomic.Bool // one of both is not, so nothing is told any more

	mu         sync.Mutex
	clientGone bool // the client sends no more, and is taken to be gone when upstream closes
	hurried    bool
	err        error // the first network error
}

// lost ends all exchanges because a peer went away.
func (r *connection) lost(end httpstream.EndInfo, err error) {
	r.mu.Lock()
	if r.clientGone {
		end = httpstream.EndInfo{How: httpstream.Cancelled, Detail: "the client closed the connection"}
	}
	r.mu.Unlock()
	r.fail(err)
	r.order.Report(func() { r.streams.close(time.Now(), end) })
}

// clientLost ends all exchanges because the client went away.
func (r *connection) clientLost(err error) {
	r.mu.Lock()
	r.clientGone = true
	r.mu.Unlock()
	r.lost(httpstream.EndInfo{}, err)
}

// fail notes a network error.
func (r *connection) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		r.err = err
	}
}

// up relays what the client sends.
func (r *connection) up() {
	read := relay.NewRead(r.requests.report)
	in := transport.NewReader(r.client, &r.requests.scan)
	for {
		n, err := in.Read()
		if n > 0 {
			at := time.Now()
			r.requests.scan.filled(n)
			var werr error
			if r.dark.Load() && r.requests.err == nil {
				r.streams.unread.Add(n)
			}
			b := r.requests.process(at)
			if r.requests.err != nil {
				r.dark.Store(true)
			}
			r.requests.announce()
			r.order.Stamp(read)
			if len(b) > 0 {
				_, werr = r.upstream.Write(b)
			}
			r.order.Deliver(read)
			if werr != nil {
				// What upstream said before it went may still be to be read.
				r.fail(fmt.Errorf("write to the server: %w", werr))
				r.upstream.SetReadDeadline(time.Now().Add(linger))
				return
			}
		}
		switch {
		case err == nil:
			continue
		case transport.IsEOF(err):
			r.clientEnd(err)
		default:
			r.clientLost(fmt.Errorf("read from the client: %w", err))
			transport.Reset(r.upstream, true)
			r.client.Close()
		}
		return
	}
}

// clientEnd passes on that the client sends no more. Open exchanges may still be answered.
func (r *connection) clientEnd(err error) {
	r.mu.Lock()
	r.clientGone = true
	r.mu.Unlock()
	if b := r.requests.unsent(); len(b) > 0 {
		_, _ = r.upstream.Write(b) // if it fails, reading fails as well and says so
	}
	transport.CloseWrite(r.upstream, !errors.Is(err, io.EOF))
	r.hurry()
}

// hurry gives upstream a last moment to close when the client is gone and no
// exchange is open.
func (r *connection) hurry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clientGone && !r.hurried && !r.blind.Load() && r.streams.unanswered() == 0 {
		r.hurried = true
		r.upstream.SetReadDeadline(time.Now().Add(linger))
	}
}

// down relays what the server sends: first to the client, then to the parser.
func (r *connection) down() {
	var n int
	var at time.Time
	read := relay.NewRead(func() {
		r.responses.scan.filled(n)
		if r.dark.Load() && r.responses.err == nil {
			r.streams.unread.Add(n)
		}
		r.responses.process(at)
	})
	in := transport.NewReader(r.upstream, &r.responses.scan)
	for {
		var err error
		n, err = in.Read()
		buf := r.responses.scan.space()
		if n > 0 {
			at = time.Now()
			r.order.Stamp(read)
			if _, werr := r.client.Write(buf[:n]); werr != nil {
				r.order.Drop(read)
				r.clientLost(fmt.Errorf("write to the client: %w", werr))
				transport.Reset(r.upstream, false)
				r.client.Close()
				return
			}
			r.order.Deliver(read)
			if r.responses.err != nil {
				r.dark.Store(true)
			}
			r.blind.Store(r.responses.err != nil)
			r.hurry()
		}
		switch {
		case err == nil:
			continue
		case transport.IsEOF(err):
			r.lost(httpstream.EndInfo{How: httpstream.Reset, Detail: "the server closed the connection"}, nil)
			transport.CloseWrite(r.client, !errors.Is(err, io.EOF))
			if r.responses.err == nil {
				r.client.SetReadDeadline(time.Now().Add(linger))
			}
		default:
			r.lost(httpstream.EndInfo{How: httpstream.Reset, Detail: "the connection to the server broke"}, fmt.Errorf("read from the server: %w", err))
			transport.Reset(r.client, true)
			r.upstream.Close()
		}
		return
	}
}
