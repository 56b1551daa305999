package http1

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
)

// continuePatience is how long a client waits for 100 (Continue) before it
// sends the body anyway (RFC 9110 section 10.1.1).
const continuePatience = time.Second

// Send writes a request as a client of HTTP/1 (RFC 9112) with just the given bytes
// and chunk boundaries, and drops what comes back: who relays the connection has
// told its sink. It returns nil when conn has ended, the error of out.Stream, or
// that of a write to a connection that is not at its end. With an error it closes conn.
func Send(conn net.Conn, out *httpstream.Outgoing) error {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, conn)
	}()
	err := write(bufio.NewWriterSize(conn, readSize), out)
	if transport.IsClosed(err) || errors.Is(err, io.EOF) {
		err = nil // the server answered before it had read all
	} else if err == nil && out.Sent != nil {
		out.Sent()
	}
	if err != nil {
		conn.Close()
	}
	<-drained
	return err
}

// write writes a request. Errors of w stay until its next Flush.
func write(w *bufio.Writer, out *httpstream.Outgoing) error {
	w.Write(AppendRequestHead(w.AvailableBuffer(), out.Head))
	if out.Proceed != nil && hasToken(out.Head.Header, "Expect", "100-continue") {
		if err := w.Flush(); err != nil {
			return err
		}
		select {
		case <-out.Proceed:
		case <-time.After(continuePatience):
		}
	}
	body := bodyWriter{w: w, chunked: isChunked(out.Head.Header)}
	if len(out.Data) > 0 {
		_ = body.add(httpstream.Chunk{Data: out.Data})
	}
	if out.Stream != nil {
		for c, err := range out.Stream {
			if err == nil {
				err = body.add(c)
			}
			if err == nil {
				err = w.Flush()
			}
			if err != nil {
				return err
			}
		}
	}
	body.end(out.Trailers())
	return w.Flush()
}

// isChunked reports whether chunked is the last transfer coding (RFC 9112 section 6.1).
func isChunked(h httpstream.Fields) bool {
	codings := listOf(h, "Transfer-Encoding")
	return len(codings) > 0 && strings.EqualFold(codings[len(codings)-1], "chunked")
}

// A bodyWriter writes the body of a request.
type bodyWriter struct {
	w       *bufio.Writer
	chunked bool
	left    int64  // of the chunk that is being written
	last    string // the last chunk's line, if it is not "0"
}

func (b *bodyWriter) add(c httpstream.Chunk) error {
	switch {
	case !b.chunked:
		b.w.Write(c.Data)
		return nil
	case len(c.Data) == 0:
		if c.SizeLine != "" {
			b.last = c.SizeLine
		}
		return nil
	case !c.Rest && b.left > 0:
		return errors.New("the request's body has a chunk that is not complete")
	case !c.Rest:
		b.left = max(c.Of, int64(len(c.Data)))
		line := c.SizeLine
		if line == "" {
			line = strconv.FormatInt(b.left, 16)
		}
		b.w.WriteString(line + "\r\n")
	}
	b.w.Write(c.Data)
	if b.left -= int64(len(c.Data)); b.left == 0 {
		b.w.WriteString("\r\n")
	}
	return nil
}

func (b *bodyWriter) end(trailer httpstream.Fields) {
	if !b.chunked {
		return
	}
	if b.last == "" {
		b.last = "0"
	}
	b.w.WriteString(b.last + "\r\n")
	b.w.Write(append(AppendFields(nil, trailer), "\r\n"...))
}
