package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
)

const (
	maxDrain    = 256 << 10       // bytes of a request that are read for nobody
	drainTime   = 2 * time.Second // how long that may take
	closeLinger = time.Second     // how long a client may take to see the end
)

// Serve reads HTTP/1 requests (RFC 9112) from conn, has h answer them one
// after the other, and closes conn. The context that h gets is done when the client
// resets the connection or cannot be written to. A client that has closed its side
// may still read: Request.Finished tells, and for a changed
// protocol (101, CONNECT) it is the end of Body. What Body yields after the change
// begins after ResponseWriter.Head was called; before it, Body ends where the
// request's framing says. A handler that returns without End cuts the answer
// short.
//
// A malformed request is answered with a 400; the error then wraps ErrMalformed.
// The error is ctx's if that ended, and nil however else the connection ended.
func Serve(ctx context.Context, conn net.Conn, h httpstream.Handler) error {
	connCtx, cancel := context.WithCancel(ctx)
	c := &serverConn{conn: conn, in: newInbox(), cancel: cancel, finished: make(chan struct{})}
	var reader sync.WaitGroup
	reader.Go(func() { c.in.run(conn, c.clientEnded) })
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		stop()
		cancel()
		close(c.in.done)
		conn.Close()
		reader.Wait()
	}()
	err := c.serve(connCtx, h)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// A serverConn is the server's side of a connection.
type serverConn struct {
	conn     net.Conn
	in       *inbox
	cancel   func()
	finished chan struct{} // closed when the client sends no more
	switched atomic.Bool   // to another protocol

	// Used by one goroutine at a time: by requestBody under its mutex, else by serve.
	p   parser
	cur input  // what was received; data is the part that is not parsed yet
	buf []byte // all of what was received
	out []byte // of the answer before; its room is used again
}

// clientEnded is called when nothing more comes from the client.
func (c *serverConn) clientEnded(err error) {
	// Where there is no half-close, or where TLS was not closed in order, the client
	// is gone.
	if !errors.Is(err, io.EOF) || transport.TCP(c.conn) == nil && !c.switched.Load() {
		c.cancel()
	}
	close(c.finished)
}

// hasFinished reports whether the client has closed its side.
func (c *serverConn) hasFinished() bool {
	select {
	case <-c.finished:
		return true
	default:
		return false
	}
}

// gone reports why a client that had closed its side can't have got what was
// written then: one that does not read any more answers with a reset. It waits
// until the client's host has acknowledged all, a second at most.
func (c *serverConn) gone() error {
	tcp := transport.TCP(c.conn)
	if tcp == nil || c.switched.Load() {
		return nil
	}
	for deadline := time.Now().Add(closeLinger); ; time.Sleep(time.Millisecond) {
		n, err := transport.Unacknowledged(tcp)
		if transport.IsClosed(err) {
			return nil // by this side, as ctx ended
		}
		if err != nil || n == 0 || time.Now().After(deadline) {
			return err
		}
	}
}

// next returns the next event and the time of the read that completed it. It
// gives up with context.Canceled when stop is closed.
func (c *serverConn) next(stop <-chan struct{}) (event, time.Time, error) {
	for {
		n, ev, err := c.p.next(c.cur.data)
		c.cur.data = c.cur.data[n:]
		if err != nil || ev.kind != noEvent {
			return ev, c.cur.at, err
		}
		select {
		case read, ok := <-c.in.reads:
			if !ok {
				return event{}, time.Now(), c.in.err
			}
			c.in.recycle(c.buf)
			c.cur, c.buf = read, read.data
		case <-stop:
			return event{}, time.Time{}, context.Canceled
		}
	}
}

func (c *serverConn) serve(ctx context.Context, h httpstream.Handler) error {
	for {
		ev, at, err := c.next(nil)
		if errors.Is(err, httpstream.ErrMalformed) {
			_, _ = c.conn.Write(refusal("400 Bad Request", err))
			c.close()
			return err
		}
		if err != nil {
			return nil
		}
		if !c.serveOne(ctx, h, ev.request, at) {
			return nil
		}
	}
}

// serveOne has h answer one request, and reports whether another may follow.
func (c *serverConn) serveOne(ctx context.Context, h httpstream.Handler, head *httpstream.RequestHead, at time.Time) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := newResponseWriter(c, head)
	body := &requestBody{c: c, w: w, closed: make(chan struct{})}
	h.ServeStream(ctx, &httpstream.Request{Head: head, Arrived: at, Body: body, Finished: c.finished, Complete: body.complete}, w)
	cancel()
	body.close()
	switch w.finish() {
	case fateKeep:
		if body.drain() {
			return true
		}
		c.close()
	case fateClose:
		c.close()
	}
	return false
}

// close ends the connection so that the client can read all that was sent: closing
// it on bytes that were not read would reset it.
func (c *serverConn) close() {
	transport.CloseWrite(c.conn, false)
	timeout := time.NewTimer(closeLinger)
	defer timeout.Stop()
	for {
		select {
		case read, ok := <-c.in.reads:
			if !ok {
				return
			}
			c.in.recycle(read.data)
		case <-timeout.C:
			return
		}
	}
}

// A requestBody is the body of a request, then the bytes of another protocol.
type requestBody struct {
	c      *serverConn
	w      *responseWriter
	closed chan struct{}

	mu      sync.Mutex
	rest    []byte // of a chunk that did not fit
	ended   bool
	tunnel  bool
	at      time.Time
	trailer httpstream.Fields
	err     error
}

// Read implements io.Reader. Its first call asks a client that waits for it to
// send the body (RFC 9110 section 10.1.1).
func (b *requestBody) Read(p []byte) (int, error) {
	if err := b.w.proceed(); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
		return 0, net.ErrClosed
	default:
	}
	if len(p) == 0 {
		return 0, nil
	}
	for len(b.rest) == 0 {
		if err := b.fill(b.closed); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// fill gets more of the body.
func (b *requestBody) fill(stop <-chan struct{}) error {
	if b.err != nil {
		return b.err
	}
	if b.ended && !b.tunnel && b.c.switched.Load() {
		b.c.p.change()
		b.ended, b.tunnel = false, true
	}
	if b.ended {
		return io.EOF
	}
	ev, at, err := b.c.next(stop)
	switch {
	case errors.Is(err, context.Canceled):
		return net.ErrClosed
	case err != nil && b.tunnel && transport.IsEOF(err):
		b.ended, b.at = true, at
		return io.EOF
	case err != nil && transport.IsEOF(err):
		b.err = io.ErrUnexpectedEOF
		return b.err
	case err != nil:
		b.err = err
		return err
	}
	switch ev.kind {
	case chunkEvent:
		b.rest = ev.chunk.Data
	case endEvent:
		b.ended, b.at, b.trailer = true, at, ev.trailer
	}
	return nil
}

func (b *requestBody) complete() (time.Time, httpstream.Fields) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at, b.trailer
}

// close makes a Read return that the handler left behind.
func (b *requestBody) close() {
	close(b.closed)
	b.mu.Lock()
	defer b.mu.Unlock()
}

// drain reads what the handler did not, within reason, and reports whether
// the connection is then at the next request.
func (b *requestBody) drain() bool {
	if b.w.expects() {
		return false // the client may or may not send the body
	}
	if b.ended && b.err == nil && !b.tunnel && !b.c.switched.Load() {
		b.passedBy()
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	for n := 0; n <= maxDrain; n += len(b.rest) {
		if err := b.fill(ctx.Done()); err != nil {
			if errors.Is(err, io.EOF) {
				b.passedBy()
			}
			return errors.Is(err, io.EOF)
		}
	}
	return false
}

// passedBy goes on in HTTP behind a request that offered another protocol.
func (b *requestBody) passedBy() {
	if b.c.p.state == undecided {
		b.c.p.resume()
	}
}
