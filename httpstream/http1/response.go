package http1

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
)

// maxKeptOut is how much room a connection keeps for its next answer, in bytes.
const maxKeptOut = 16 << 10

// What happens to a connection after an answer.
type fate uint8

const (
	fateKeep  fate = iota
	fateClose      // orderly
	fateGone       // it is closed already, or the client is gone
)

var (
	errEnded  = errors.New("the answer has ended")
	errNoHead = errors.New("the answer has no head yet")
)

// A responseWriter writes the answer to one request.
type responseWriter struct {
	c   *serverConn
	req *httpstream.RequestHead

	mu        sync.Mutex
	buf       []byte // waits for a flush
	expect    bool   // the client waits for a 100 before it sends the body
	wroteHead bool
	framing   bodyFraming
	left      int64 // of a body with Content-Length
	owed      int64 // of a chunk that was written in part
	lastChunk bool  // the last-chunk line was written
	ended     bool
	fate      fate
	err       error // of a write
}

func newResponseWriter(c *serverConn, req *httpstream.RequestHead) *responseWriter {
	expect := req.Proto != "HTTP/1.0" && hasToken(req.Header, "Expect", "100-continue")
	w := &responseWriter{c: c, req: req, expect: expect, buf: c.out}
	c.out = nil
	return w
}

// proceed tells a client that waits for it to send the body.
func (w *responseWriter) proceed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.expect || w.wroteHead || w.ended {
		return nil
	}
	w.expect = false
	w.buf = append(w.buf, "HTTP/1.1 100 Continue\r\n\r\n"...)
	return w.flush()
}

// expects reports whether the client was never told to send the body.
func (w *responseWriter) expects() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.expect
}

// Interim implements ResponseWriter. HTTP/1.0 clients do not know 1xx answers
// (RFC 9110 section 15.2) and get none; nobody gets a second 100 where Body sent one.
func (w *responseWriter) Interim(head *httpstream.ResponseHead) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended || w.wroteHead:
		return errEnded
	case head.Status < 100 || head.Status > 199 || head.Status == 101:
		return fmt.Errorf("status %d is not interim", head.Status)
	case w.req.Proto == "HTTP/1.0":
		return w.err
	case head.Status == 100 && hasToken(w.req.Header, "Expect", "100-continue"):
		if !w.expect {
			return w.err
		}
		w.expect = false
	}
	if err := checkFields(head.Header); err != nil {
		return err
	}
	w.buf = appendResponse(w.buf, head)
	return w.err
}

// Head implements ResponseWriter.
func (w *responseWriter) Head(head *httpstream.ResponseHead) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.wroteHead {
		return errEnded
	}
	head = w.translate(head)
	if err := checkFields(head.Header); err != nil {
		return err
	}
	framing, length, err := framingOf(head.Proto, head.Header, true)
	switch {
	case head.Status == 101 || w.req.Method == "CONNECT" && head.Status/100 == 2:
		framing = untilClose
		w.c.switched.Store(true)
	case w.bodiless(head.Status):
		framing = noBody
	case err != nil:
		return err
	}
	w.framing, w.left, w.wroteHead = framing, length, true
	if framing == untilClose || !w.persists(head) {
		w.fate = fateClose
	}
	w.buf = appendResponse(w.buf, head)
	return w.err
}

// bodiless reports whether an answer never has a body (RFC 9112 section 6.3).
func (w *responseWriter) bodiless(status int) bool {
	return w.req.Method == "HEAD" || status == 204 || status == 304 || status < 200
}

// translate makes an HTTP/2 head one of HTTP/1.1, and an answer of unknown length
// one that the client's version can read.
func (w *responseWriter) translate(head *httpstream.ResponseHead) *httpstream.ResponseHead {
	old := w.req.Proto == "HTTP/1.0"
	fromH2 := !isVersion(head.Proto)
	chunked := head.Header.Has("Transfer-Encoding")
	if !fromH2 && !(old && chunked) {
		return head
	}
	t := *head
	if fromH2 {
		t.Proto, t.Line = "HTTP/1.1", ""
	}
	t.Header = slices.DeleteFunc(slices.Clone(head.Header), func(f httpstream.Field) bool {
		// A Content-Length beside it was not the body's (RFC 9112 section 6.3).
		return strings.EqualFold(f.Name, "Transfer-Encoding") || chunked && strings.EqualFold(f.Name, "Content-Length")
	})
	switch {
	case w.bodiless(head.Status) || t.Header.Has("Content-Length"):
	case old:
		if !hasToken(t.Header, "Connection", "close") {
			t.Header = append(t.Header, httpstream.Field{Name: "Connection", Value: "close"})
		}
	default:
		t.Header = append(t.Header, httpstream.Field{Name: "Transfer-Encoding", Value: "chunked"})
	}
	return &t
}

// persists reports whether both sides keep the connection (RFC 9112 section 9.3).
func (w *responseWriter) persists(head *httpstream.ResponseHead) bool {
	// Behind a request that says twice where it ends, none is read (RFC 9112 section 6.1).
	both := w.req.Header.Has("Transfer-Encoding") && w.req.Header.Has("Content-Length")
	return !both && persists(w.req.Proto, w.req.Header) &&
		!hasToken(head.Header, "Connection", "close") &&
		(head.Proto != "HTTP/1.0" && w.req.Proto != "HTTP/1.0" || hasToken(head.Header, "Connection", "keep-alive"))
}

func persists(proto string, h httpstream.Fields) bool {
	if hasToken(h, "Connection", "close") {
		return false
	}
	return proto != "HTTP/1.0" || hasToken(h, "Connection", "keep-alive")
}

// Chunk implements ResponseWriter. A chunk without data writes nothing, unless it
// has a SizeLine: that is then the line of the last chunk.
func (w *responseWriter) Chunk(c httpstream.Chunk) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
		return errEnded
	case !w.wroteHead:
		return errNoHead
	}
	size := int64(len(c.Data))
	switch w.framing {
	case byLength:
		if size > w.left {
			return fmt.Errorf("%d bytes more than the Content-Length", size-w.left)
		}
		w.left -= size
		w.buf = append(w.buf, c.Data...)
	case untilClose:
		w.buf = append(w.buf, c.Data...)
	case chunked:
		if err := w.chunk(c); err != nil {
			return err
		}
	}
	return w.err
}

func (w *responseWriter) chunk(c httpstream.Chunk) error {
	size := int64(len(c.Data))
	switch {
	case w.lastChunk:
		return errEnded
	case size == 0 && !c.Rest && w.owed == 0:
		if n, _, err := parseChunkSize([]byte(c.SizeLine)); err == nil && n == 0 && checkText([]byte(c.SizeLine)) == nil {
			w.buf = append(append(w.buf, c.SizeLine...), "\r\n"...)
			w.lastChunk = true
		}
		return nil
	case size == 0:
		return nil
	case w.owed > 0 && !c.Rest:
		return fmt.Errorf("the chunk before is %d bytes short", w.owed)
	case w.owed > 0 && size > w.owed:
		return fmt.Errorf("%d bytes more than the chunk's size", size-w.owed)
	case w.owed == 0:
		w.owed = max(size, c.Of)
		w.buf = append(appendSizeLine(w.buf, c.SizeLine, w.owed), "\r\n"...)
	}
	w.buf = append(w.buf, c.Data...)
	if w.owed -= size; w.owed == 0 {
		w.buf = append(w.buf, "\r\n"...)
	}
	return nil
}

// appendSizeLine appends line if it is one for a chunk of that size, else a line of
// the size alone.
func appendSizeLine(b []byte, line string, size int64) []byte {
	if line != "" {
		if n, _, err := parseChunkSize([]byte(line)); err == nil && n == size && checkText([]byte(line)) == nil {
			return append(b, line...)
		}
	}
	return strconv.AppendInt(b, size, 16)
}

// Flush implements ResponseWriter.
func (w *responseWriter) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

func (w *responseWriter) flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	_, w.err = w.c.conn.Write(w.buf)
	w.buf = w.buf[:0]
	if w.err != nil {
		w.fate = fateGone
		w.c.cancel()
	}
	return w.err
}

// End implements ResponseWriter. An answer that ends other than in EOF, or with
// less than it promised, is cut short with a reset.
func (w *responseWriter) End(end httpstream.EndInfo) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return errEnded
	}
	switch end.How {
	case httpstream.EOF:
	case httpstream.Closed:
		w.ended = true
		w.fate = fateClose
		return w.flushLast()
	default:
		w.ended = true
		return w.abort()
	}
	err := w.finishBody(end.Trailer)
	w.ended = true
	if err != nil {
		_ = w.abort()
		return err
	}
	return w.flushLast()
}

// flushLast flushes the end of an answer.
func (w *responseWriter) flushLast() error {
	finished := w.c.hasFinished()
	if err := w.flush(); err != nil || !finished {
		return err
	}
	if w.err = w.c.gone(); w.err != nil {
		w.fate = fateGone
		w.c.cancel()
	}
	return w.err
}

func (w *responseWriter) finishBody(trailer httpstream.Fields) error {
	switch {
	case !w.wroteHead:
		return errNoHead
	case w.framing == byLength && w.left > 0:
		return fmt.Errorf("%d bytes less than the Content-Length", w.left)
	case w.owed > 0:
		return fmt.Errorf("the last chunk is %d bytes short", w.owed)
	case w.framing != chunked:
		return nil
	}
	if err := checkFields(trailer); err != nil {
		return err
	}
	if !w.lastChunk {
		w.buf = append(w.buf, "0\r\n"...)
	}
	w.buf = append(AppendFields(w.buf, trailer), "\r\n"...)
	return nil
}

// abort sends what was gathered and resets the connection.
func (w *responseWriter) abort() error {
	err := w.flush()
	w.fate = fateGone
	transport.Reset(w.c.conn, err == nil)
	return err
}

// finish is called when the handler has returned.
func (w *responseWriter) finish() fate {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended = true
		_ = w.abort()
	}
	if cap(w.buf) <= maxKeptOut {
		w.c.out = w.buf[:0]
	}
	w.buf = nil
	return w.fate
}
