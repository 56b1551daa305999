package runner

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// continuePatience is how long a client waits for 100 (Continue) before it
// sends the body anyway (RFC 9110 section 10.1.1).
const continuePatience = time.Second

// target is the request-target of an origin-form request for an absolute URL,
// byte for byte as it was sent (RFC 9112 section 3.2).
func target(method, url string) string {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		rest = url
	}
	i := strings.IndexAny(rest, "/?#")
	switch {
	case i < 0 && method == "OPTIONS":
		return "*"
	case i < 0:
		return "/"
	case rest[i] == '/':
		return rest[i:]
	}
	return "/" + rest[i:]
}

// authority is the host and port of an absolute URL.
func authority(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// fields are the request's, with the credentials that Options.Headers has.
func (e *exchange) fields() httpstream.Fields {
	fs := append(httpstream.Fields(nil), e.x.Request.Header...)
	for i := range fs {
		if !strings.Contains(fs[i].Value, tape.Redacted) {
			continue
		}
		if v := e.replacement(fs[i].Name); v != "" {
			fs[i].Value = v
		}
	}
	return fs
}

func (e *exchange) replacement(name string) string {
	for n, v := range e.opt.Headers {
		if strings.EqualFold(n, name) {
			return v
		}
	}
	return ""
}

// body calls yield for each piece of the recorded request body.
func (e *exchange) body(yield func(httpstream.Chunk) error) error {
	b := &e.x.Request.Body
	if !b.InStream {
		if len(b.Data) == 0 {
			return nil
		}
		return yield(httpstream.Chunk{Data: b.Data})
	}
	stream, err := e.opt.Tape.Stream(e.x)
	if err != nil {
		return err
	}
	defer stream.Close()
	for line, err := range stream.Lines() {
		if err != nil {
			return err
		}
		if line.End != nil {
			return nil
		}
		if line.FromClient {
			if err := yield(line.Chunk); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendHTTP1 writes the request as the client did, and reads what the relay
// passes back, which the sink has seen already.
func (e *exchange) sendHTTP1(conn net.Conn) error {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		io.Copy(io.Discard, conn)
	}()
	err := e.writeHTTP1(bufio.NewWriterSize(conn, 32<<10))
	if pipeClosed(err) {
		err = nil // the app answered before it had read all
	}
	if err == nil {
		<-drained // ends when the exchange does
		return nil
	}
	conn.Close()
	<-drained
	return err
}

func (e *exchange) writeHTTP1(w *bufio.Writer) error {
	q := &e.x.Request
	fs := e.fields()
	fmt.Fprintf(w, "%s %s %s\r\n", q.Method, target(q.Method, q.URL), q.Proto)
	for _, f := range fs {
		writeField(w, f)
	}
	w.WriteString("\r\n")
	if strings.EqualFold(fs.Get("Expect"), "100-continue") {
		if err := w.Flush(); err != nil {
			return err
		}
		select {
		case <-e.proceed:
		case <-e.ended:
		case <-time.After(continuePatience):
		}
	}
	if !chunked(fs) {
		if err := e.body(func(c httpstream.Chunk) error {
			_, err := w.Write(c.Data)
			return err
		}); err != nil {
			return err
		}
		return w.Flush()
	}
	return e.writeChunked(w)
}

func writeField(w *bufio.Writer, f httpstream.Field) {
	sep := f.Sep
	if sep == "" {
		sep = ": "
	}
	w.WriteString(f.Name)
	w.WriteString(sep)
	w.WriteString(f.Value)
	w.WriteString(f.After)
	w.WriteString("\r\n")
}

func chunked(fs httpstream.Fields) bool {
	te := fs.Values("Transfer-Encoding")
	return len(te) > 0 && strings.HasSuffix(strings.ToLower(strings.TrimSpace(te[len(te)-1])), "chunked")
}

// writeChunked writes the body with its recorded chunk boundaries (RFC 9112
// section 7.1), where the tape has them; a body in the exchange file is one chunk.
func (e *exchange) writeChunked(w *bufio.Writer) error {
	var left int64 // of the chunk that is being written
	last := "0"
	err := e.body(func(c httpstream.Chunk) error {
		if len(c.Data) == 0 {
			if c.SizeLine != "" {
				last = c.SizeLine
			}
			return nil
		}
		if !c.Rest {
			if left > 0 {
				return errors.New("the recorded request body has a chunk that is not complete")
			}
			left = max(c.Of, int64(len(c.Data)))
			size := c.SizeLine
			if size == "" {
				size = fmt.Sprintf("%x", left)
			}
			w.WriteString(size + "\r\n")
		}
		w.Write(c.Data)
		if left -= int64(len(c.Data)); left == 0 {
			w.WriteString("\r\n")
		}
		// Each recorded piece goes on its own, so that none waits for the next.
		return w.Flush()
	})
	if err != nil {
		return err
	}
	w.WriteString(last + "\r\n")
	for _, f := range e.x.Request.Trailer {
		writeField(w, f)
	}
	w.WriteString("\r\n")
	return w.Flush()
}
