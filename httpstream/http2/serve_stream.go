package http2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/wiretape/wiretape/httpstream"
)

// A serverStream is one request being served; it is the request's body.
// The server's mu guards it.
type serverStream struct {
	c      *serverConn
	id     uint32
	ctx    context.Context
	cancel context.CancelFunc

	err  error // why nothing more comes or goes
	over bool  // RST_STREAM came or went, so none is due

	answered bool // END_STREAM went

	sendable   *sync.Cond // sendWindow, the connection's, or err changed
	sendWindow int64

	arrived    *sync.Cond // body, complete or err changed
	body       bytes.Buffer
	recvWindow int64
	unreturned int64 // bytes to give back to recvWindow
	declared   int64 // Content-Length, or -1
	received   int64

	complete   bool
	completeAt time.Time
	trailer    httpstream.Fields
}

// newServerStream needs the server's mu.
func newServerStream(c *serverConn, id uint32, declared int64) *serverStream {
	s := &serverStream{
		c: c, id: id, declared: declared,
		sendable: sync.NewCond(&c.mu), sendWindow: c.peerWindow,
		arrived: sync.NewCond(&c.mu), recvWindow: streamWindow,
	}
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	return s
}

// open reports whether the stream counts against the client's limit (RFC 9113
// section 5.1.2). It needs the server's mu.
func (s *serverStream) open() bool { return s.err == nil && !s.over && !(s.answered && s.complete) }

// failLocked ends the stream early. It needs the server's mu.
func (s *serverStream) failLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	s.cancel()
	s.sendable.Broadcast()
	s.arrived.Broadcast()
}

// finish notes that the request is complete. It needs the server's mu.
func (s *serverStream) finish(at time.Time, trailer httpstream.Fields) error {
	if s.declared >= 0 && s.received != s.declared {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	}
	s.complete, s.completeAt, s.trailer = true, at, trailer
	s.arrived.Signal()
	return nil
}

func (s *serverStream) completed() (time.Time, httpstream.Fields) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.completeAt, s.trailer
}

// Read reads the request's body.
func (s *serverStream) Read(p []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for s.body.Len() == 0 && !s.complete && s.err == nil {
		s.arrived.Wait()
	}
	switch {
	case s.body.Len() > 0:
		n, _ := s.body.Read(p)
		s.c.credit(int64(n))
		s.credit(int64(n))
		return n, nil
	case s.complete:
		return 0, io.EOF
	}
	return 0, s.err
}

// credit gives room in the stream's window back to the client. It needs the server's mu.
func (s *serverStream) credit(n int64) {
	s.unreturned += n
	if s.unreturned >= streamWindow/4 && !s.complete && s.err == nil {
		s.c.replies = appendCode(s.c.replies, http2.FrameWindowUpdate, s.id, uint32(s.unreturned))
		s.recvWindow += s.unreturned
		s.unreturned = 0
		s.c.poke()
	}
}

// serve runs the handler and closes what it left open: an answer without an end
// is an error of ours, a request that nobody wants to read is not (RFC 9113
// section 8.1).
func (s *serverStream) serve(req *httpstream.Request) {
	w := &responseWriter{s: s, c: s.c}
	s.c.handler.ServeStream(s.ctx, req, w)

	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, s.id)
	switch {
	case s.over || s.err != nil:
	case !w.ended:
		c.refuse(s.id, http2.ErrCodeInternal)
	case !s.complete:
		c.refuse(s.id, http2.ErrCodeNo)
	}
	if s.over {
		c.remember(s.id, !errors.Is(s.err, errReset))
	}
	c.credit(int64(s.body.Len()))
	s.failLocked(errGone)
	c.poke()
}
