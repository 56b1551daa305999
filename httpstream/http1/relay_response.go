package http1

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// A responseRelay is the direction from one upstream connection to the client.
type responseRelay struct {
	*connection
	conn net.Conn
	p    parser
	cur  *exchange // the exchange that is being answered
	raw  bool      // responses pass without being understood
	// unasked is set in a 408 (Request Timeout) on a connection without a request:
	// the server is about to close it (RFC 9110 section 15.5.9, RFC 9112 section 9.5).
	unasked bool
	partial int // bytes that were parsed and are in no event yet

	// The read that is passed on and reported now, and what reporting it brought.
	read *relay.Read
	at   time.Time
	data []byte
	done bool
}

func (s *responseRelay) run() {
	s.read = relay.NewRead(func() { s.done = s.take(s.at, s.data) })
	var space transport.Buffer
	defer space.Idle()
	in := transport.NewReader(s.conn, &space)
	for {
		n, err := in.Read()
		at, buf := time.Now(), space.Space()
		s.at, s.data, s.done = at, buf[:n], false
		if n > 0 && s.opt.Upstream != nil && s.cur == nil && s.oldest() == nil {
			// The client would take it for the answer to its next request, which may go
			// to another upstream.
			if len(bytes.Trim(buf[:n], "\r\n")) > 0 {
				s.client.Close()
				err = net.ErrClosed
			}
			n = 0
		}
		if n > 0 {
			s.order.Stamp(s.read)
			if _, werr := s.client.Write(buf[:n]); werr != nil {
				s.order.Drop(s.read)
				s.clientLost(at)
				return
			}
			s.order.Deliver(s.read)
		}
		if err != nil {
			s.order.Report(func() {}) // what the client said before
			s.ended(at, err)
			return
		}
		if s.done {
			s.conn.Close()
			return
		}
	}
}

// take reports what b holds; it returns true if the connection has nothing more to do.
func (s *responseRelay) take(at time.Time, b []byte) (done bool) {
	for !s.raw {
		if s.p.state == atStart && s.cur == nil && len(b) > 0 {
			// Empty lines belong to no answer, whether one is due or not.
			n, _, err := s.p.start(b)
			if err != nil {
				s.misunderstood(at, err, len(b))
				return false
			}
			b = b[n:]
		}
		if s.cur == nil && len(b) > 0 && !s.unasked {
			if s.cur = s.oldest(); s.cur == nil {
				s.unasked, s.p.method = true, ""
			} else {
				s.p.method = s.cur.method
			}
		}
		n, ev, err := s.p.next(b)
		if err != nil {
			s.misunderstood(at, err, s.partial+len(b))
			return false
		}
		s.partial += n
		b = b[n:]
		if ev.kind == noEvent {
			return done
		}
		size := s.partial
		s.partial = 0
		if s.unasked {
			if !s.timeout(ev) {
				s.misunderstood(at, errUnasked, size+len(b))
				return false
			}
			continue
		}
		switch ev.kind {
		case interimEvent:
			s.cur.report().Interim(at, ev.response)
		case headEvent:
			if !s.head(at, ev.response, size+len(b)) {
				return false
			}
		case chunkEvent:
			s.cur.report().ResponseChunk(at, ev.chunk)
		case endEvent:
			s.end(s.cur, at, httpstream.EndInfo{How: httpstream.EOF, Trailer: ev.trailer})
			s.cur = nil
			done = s.answered()
		}
	}
	s.unread.Add(len(b))
	return false
}

var errUnasked = malformed("an answer that was not asked for")

// timeout takes an event of an answer that was not asked for, and reports whether
// that is a 408.
func (s *responseRelay) timeout(ev event) bool {
	switch ev.kind {
	case interimEvent:
		return false
	case headEvent:
		return ev.response.Status == 408
	case endEvent:
		s.unasked = false
	}
	return true
}

// head begins an answer; size is how many bytes of it and behind it are at hand.
func (s *responseRelay) head(at time.Time, head *httpstream.ResponseHead, size int) bool {
	switched := s.p.state == inTunnel
	if switched && !s.cur.upgrade {
		s.misunderstood(at, malformed("status 101 that was not asked for"), size)
		return false
	}
	s.decide(s.cur, switched)
	s.cur.report().Response(at, head)
	return true
}

// misunderstood ends all exchanges and makes both directions raw, beginning with
// the last size bytes.
func (s *responseRelay) misunderstood(at time.Time, err error, size int) {
	s.raw = true
	s.passRaw(err)
	s.unread.Add(size)
	end := httpstream.EndInfo{How: httpstream.Malformed, Detail: err.Error()}
	s.finish(s.conn, at, end, end)
}

// clientLost ends all exchanges after a write to the client failed.
func (s *responseRelay) clientLost(at time.Time) {
	s.mu.Lock()
	s.clientGone = true
	s.mu.Unlock()
	end := s.cutEnd("")
	s.finish(s.conn, at, end, end)
	transport.Reset(s.conn, false)
	s.client.Close()
}

// ended ends all exchanges after a read failed, and passes the end on to the client.
func (s *responseRelay) ended(at time.Time, err error) {
	s.mu.Lock()
	tunnel := s.tunnel
	s.mu.Unlock()
	end, rest := s.cutEnd(s.cutDetail(err)), s.cutEnd("the server closed the connection before")
	if s.cur != nil && !s.raw && s.p.mayEnd() && transport.IsEOF(err) && s.p.state != atStart {
		end = httpstream.EndInfo{How: httpstream.EOF}
	}
	if transport.IsEOF(err) {
		end, rest = closedNotReset(end), closedNotReset(rest)
	}
	if !s.finish(s.conn, at, end, rest) {
		return
	}
	switch {
	case transport.IsEOF(err):
		transport.CloseWrite(s.client, errors.Is(err, io.ErrUnexpectedEOF))
		if !tunnel && !s.raw {
			s.client.SetReadDeadline(time.Now().Add(linger))
		}
	case !transport.IsClosed(err):
		transport.Reset(s.client, true)
	}
}

// cutDetail says where the server cut an answer short.
func (s *responseRelay) cutDetail(err error) string {
	what := "closed the connection"
	if !transport.IsEOF(err) {
		what = "reset the connection"
	}
	switch {
	case s.cur == nil || s.p.state == atStart:
		return "the server " + what + " without an answer"
	case s.p.state == inHead:
		return "the server " + what + " inside the head"
	}
	return "the server " + what + " inside the body"
}

// closedNotReset is end where it was a FIN, not an RST, that cut an answer short.
func closedNotReset(end httpstream.EndInfo) httpstream.EndInfo {
	if end.How == httpstream.Reset {
		end.How = httpstream.Closed
	}
	return end
}
