package httpstream

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// What happens to a connection after an answer.
type h1Fate uint8

const (
	h1Keep  h1Fate = iota
	h1Close        // orderly
	h1Gone         // it is closed already, or the client is gone
)

var (
	errH1Ended  = errors.New("the answer has ended")
	errH1NoHead = errors.New("the answer has no head yet")
)

// An h1Response writes the answer to one request.
type h1Response struct {
	c   *h1ServerConn
	req *RequestHead

	mu        sync.Mutex
	buf       []byte // waits for a flush
	expect    bool   // the client waits for a 100 before it sends the body
	wroteHead bool
	framing   h1BodyFraming
	left      int64 // of a body with Content-Length
	owed      int64 // of a chunk that was written in part
	lastChunk bool  // the last-chunk line was written
	ended     bool
	fate      h1Fate
	err       error // of a write
}

func newH1Response(c *h1ServerConn, req *RequestHead) *h1Response {
	expect := req.Proto != "HTTP/1.0" && h1HasToken(req.Header, "Expect", "100-continue")
	return &h1Response{c: c, req: req, expect: expect}
}

// proceed tells a client that waits for it to send the body.
func (w *h1Response) proceed() error {
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
func (w *h1Response) expects() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.expect
}

// Interim implements ResponseWriter. HTTP/1.0 clients do not know 1xx answers
// (RFC 9110 section 15.2) and get none; nobody gets a second 100 where Body sent one.
func (w *h1Response) Interim(head *ResponseHead) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended || w.wroteHead:
		return errH1Ended
	case head.Status < 100 || head.Status > 199 || head.Status == 101:
		return fmt.Errorf("status %d is not interim", head.Status)
	case w.req.Proto == "HTTP/1.0":
		return w.err
	case head.Status == 100 && h1HasToken(w.req.Header, "Expect", "100-continue"):
		if !w.expect {
			return w.err
		}
		w.expect = false
	}
	if err := h1CheckFields(head.Header); err != nil {
		return err
	}
	w.buf = h1AppendResponse(w.buf, head)
	return w.err
}

// Head implements ResponseWriter.
func (w *h1Response) Head(head *ResponseHead) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || w.wroteHead {
		return errH1Ended
	}
	head = w.translate(head)
	if err := h1CheckFields(head.Header); err != nil {
		return err
	}
	framing, length, err := h1Framing(head.Proto, head.Header, true)
	switch {
	case head.Status == 101 || w.req.Method == "CONNECT" && head.Status/100 == 2:
		framing = h1UntilClose
		w.c.switched.Store(true)
	case w.bodiless(head.Status):
		framing = h1NoBody
	case err != nil:
		return err
	}
	w.framing, w.left, w.wroteHead = framing, length, true
	if framing == h1UntilClose || !w.persists(head) {
		w.fate = h1Close
	}
	w.buf = h1AppendResponse(w.buf, head)
	return w.err
}

// bodiless reports whether an answer never has a body (RFC 9112 section 6.3).
func (w *h1Response) bodiless(status int) bool {
	return w.req.Method == "HEAD" || status == 204 || status == 304 || status < 200
}

// translate makes an HTTP/2 head one of HTTP/1.1, and an answer of unknown length
// one that the client's version can read.
func (w *h1Response) translate(head *ResponseHead) *ResponseHead {
	old := w.req.Proto == "HTTP/1.0"
	fromH2 := !h1IsVersion(head.Proto)
	chunked := head.Header.Has("Transfer-Encoding")
	if !fromH2 && !(old && chunked) {
		return head
	}
	t := *head
	if fromH2 {
		t.Proto, t.Line = "HTTP/1.1", ""
	}
	t.Header = slices.DeleteFunc(slices.Clone(head.Header), func(f Field) bool {
		// A Content-Length beside it was not the body's (RFC 9112 section 6.3).
		return strings.EqualFold(f.Name, "Transfer-Encoding") || chunked && strings.EqualFold(f.Name, "Content-Length")
	})
	switch {
	case w.bodiless(head.Status) || t.Header.Has("Content-Length"):
	case old:
		if !h1HasToken(t.Header, "Connection", "close") {
			t.Header = append(t.Header, Field{Name: "Connection", Value: "close"})
		}
	default:
		t.Header = append(t.Header, Field{Name: "Transfer-Encoding", Value: "chunked"})
	}
	return &t
}

// persists reports whether both sides keep the connection (RFC 9112 section 9.3).
func (w *h1Response) persists(head *ResponseHead) bool {
	// Behind a request that says twice where it ends, none is read (RFC 9112 section 6.1).
	both := w.req.Header.Has("Transfer-Encoding") && w.req.Header.Has("Content-Length")
	return !both && h1Persists(w.req.Proto, w.req.Header) &&
		!h1HasToken(head.Header, "Connection", "close") &&
		(head.Proto != "HTTP/1.0" && w.req.Proto != "HTTP/1.0" || h1HasToken(head.Header, "Connection", "keep-alive"))
}

func h1Persists(proto string, h Fields) bool {
	if h1HasToken(h, "Connection", "close") {
		return false
	}
	return proto != "HTTP/1.0" || h1HasToken(h, "Connection", "keep-alive")
}

// Chunk implements ResponseWriter. A chunk without data writes nothing, unless it
// has a SizeLine: that is then the line of the last chunk.
func (w *h1Response) Chunk(c Chunk) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
		return errH1Ended
	case !w.wroteHead:
		return errH1NoHead
	}
	size := int64(len(c.Data))
	switch w.framing {
	case h1Length:
		if size > w.left {
			return fmt.Errorf("%d bytes more than the Content-Length", size-w.left)
		}
		w.left -= size
		w.buf = append(w.buf, c.Data...)
	case h1UntilClose:
		w.buf = append(w.buf, c.Data...)
	case h1Chunked:
		if err := w.chunk(c); err != nil {
			return err
		}
	}
	return w.err
}

func (w *h1Response) chunk(c Chunk) error {
	size := int64(len(c.Data))
	switch {
	case w.lastChunk:
		return errH1Ended
	case size == 0 && !c.Rest && w.owed == 0:
		if n, _, err := h1ParseChunkSize([]byte(c.SizeLine)); err == nil && n == 0 && h1CheckText([]byte(c.SizeLine)) == nil {
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
		w.buf = append(append(w.buf, h1SizeLine(c.SizeLine, w.owed)...), "\r\n"...)
	}
	w.buf = append(w.buf, c.Data...)
	if w.owed -= size; w.owed == 0 {
		w.buf = append(w.buf, "\r\n"...)
	}
	return nil
}

// h1SizeLine returns line if it is one for a chunk of that size.
func h1SizeLine(line string, size int64) string {
	if n, _, err := h1ParseChunkSize([]byte(line)); err == nil && n == size && h1CheckText([]byte(line)) == nil {
		return line
	}
	return strconv.FormatInt(size, 16)
}

// Flush implements ResponseWriter.
func (w *h1Response) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

func (w *h1Response) flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	_, w.err = w.c.conn.Write(w.buf)
	w.buf = w.buf[:0]
	if w.err != nil {
		w.fate = h1Gone
		w.c.cancel()
	}
	return w.err
}

// End implements ResponseWriter. An answer that ends other than in EOF, or with
// less than it promised, is cut short with a reset.
func (w *h1Response) End(end EndInfo) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return errH1Ended
	}
	switch end.How {
	case EOF:
	case Closed:
		w.ended = true
		w.fate = h1Close
		return w.flushLast()
	default:
		w.ended = true
		return w.abort()
	}
	err := w.finishBody(end.Trailer)
	w.ended = true
	if err != nil {
		w.abort()
		return err
	}
	return w.flushLast()
}

// flushLast flushes the end of an answer.
func (w *h1Response) flushLast() error {
	finished := w.c.hasFinished()
	if err := w.flush(); err != nil || !finished {
		return err
	}
	if w.err = w.c.gone(); w.err != nil {
		w.fate = h1Gone
		w.c.cancel()
	}
	return w.err
}

func (w *h1Response) finishBody(trailer Fields) error {
	switch {
	case !w.wroteHead:
		return errH1NoHead
	case w.framing == h1Length && w.left > 0:
		return fmt.Errorf("%d bytes less than the Content-Length", w.left)
	case w.owed > 0:
		return fmt.Errorf("the last chunk is %d bytes short", w.owed)
	case w.framing != h1Chunked:
		return nil
	}
	if err := h1CheckFields(trailer); err != nil {
		return err
	}
	if !w.lastChunk {
		w.buf = append(w.buf, "0\r\n"...)
	}
	w.buf = append(AppendFields(w.buf, trailer), "\r\n"...)
	return nil
}

// abort sends what was gathered and resets the connection.
func (w *h1Response) abort() error {
	err := w.flush()
	w.fate = h1Gone
	resetConn(w.c.conn, err == nil)
	return err
}

// finish is called when the handler has returned.
func (w *h1Response) finish() h1Fate {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended = true
		w.abort()
	}
	return w.fate
}
