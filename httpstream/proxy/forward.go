package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/http1"
	"github.com/wiretape/wiretape/httpstream/http2"
	"github.com/wiretape/wiretape/httpstream/relay"
	"github.com/wiretape/wiretape/httpstream/replay"
)

// forwardTo returns what passes requests of a connection on to where it was
// meant to go; nil where nothing may pass. serverName is what a TLS client asked for.
func (p *Proxy) forwardTo(dest Dest, s Stream, serverName string) replay.Forward {
	if !p.cfg.Passthrough || p.cfg.Dial == nil {
		return nil
	}
	return func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) error {
		return p.forward(ctx, dest, s, serverName, req, w)
	}
}

// forward has upstream answer one request, on a connection of its own, in HTTP/1.1.
// The request goes through a relay, so what passes is recorded as in record mode.
func (p *Proxy) forward(ctx context.Context, dest Dest, s Stream, serverName string, req *httpstream.Request, w httpstream.ResponseWriter) error {
	upstream, err := p.dial(ctx, dest)
	if err != nil {
		return p.unreachable(ctx, s, err)
	}
	defer upstream.Close()
	if s.Scheme == "https" {
		up, err := p.clientHandshake(ctx, upstream, serverName, dest, []string{"http/1.1"})
		if err != nil {
			return p.unreachable(ctx, s, fmt.Errorf("TLS with upstream: %w", err))
		}
		defer up.Close()
		s.TLS = tlsVersion(up.ConnectionState().Version)
		upstream = up
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ours, theirs := net.Pipe()
	defer context.AfterFunc(ctx, func() { ours.Close() })()
	answer := &forwarded{w: w, asked: req.Head, recorder: unrecorded{}, done: func() { ours.Close() }, failed: cancel}
	if p.cfg.Record != nil {
		answer.recorder = p.cfg.Record(s)
	}
	go io.Copy(io.Discard, ours) // what the relay passes back, answer has already
	finished := make(chan struct{})
	go func() {
		if err := writeRequest(ours, req); err != nil {
			if !errors.Is(err, io.ErrClosedPipe) {
				cancel() // the request can't be completed
			}
			return
		}
		select {
		case <-req.Finished:
			close(finished)
			theirs.SetReadDeadline(past)
		case <-ctx.Done():
		}
	}()
	opt := relay.Options{}
	if !p.cfg.KeepEncoding {
		opt.RewriteRequest = AskForIdentity
	}
	// The end of ctx reaches the relay as a client that is gone, which it tells upstream.
	unread := p.watchUnread(&opt, func() (string, string, bool) { return s.Service, s.Authority, p.cfg.Record != nil })
	defer unread.tell()
	http1.Relay(context.WithoutCancel(ctx), goneConn{theirs, ctx, finished}, upstream, opt, answer)
	return answer.err()
}

// unreachable tells of an upstream that can't be had.
func (p *Proxy) unreachable(ctx context.Context, s Stream, err error) error {
	if ctx.Err() == nil {
		p.cfg.Notify(unreachable(s.Service, s.Authority, err))
	}
	return fmt.Errorf("%w: %s", replay.ErrUnreachable, dialError(err))
}

// A goneConn is a connection whose peer reset it once ctx is done, and has closed
// its side once finished is closed, and its read deadline is over.
type goneConn struct {
	net.Conn
	ctx      context.Context
	finished <-chan struct{}
}

// Read implements net.Conn.
func (c goneConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && c.ctx.Err() != nil {
		return n, syscall.ECONNRESET
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		select {
		case <-c.finished:
			return n, io.EOF
		default:
		}
	}
	return n, err
}

// A forwarded is the sink for one request: it writes the answer to the client,
// and tells the recorder.
type forwarded struct {
	w        httpstream.ResponseWriter
	asked    *httpstream.RequestHead // by the client
	recorder httpstream.Sink
	done     func() // the answer is complete
	failed   func() // the client can't be written to

	mu    sync.Mutex
	ended bool
	wrote error // the first error of w
}

// Request implements httpstream.Sink.
func (f *forwarded) Request(at time.Time, _ *httpstream.RequestHead) httpstream.Exchange {
	// The tape has what the client asked and saw, and so it gets the same protocol again.
	x := f.recorder.Request(at, f.asked)
	if f.asked.Proto == "HTTP/2.0" {
		x = asHTTP2{x}
	}
	return &forwardedExchange{x, f}
}

func (f *forwarded) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wrote == nil && !f.ended {
		return errors.New("the request could not be passed on")
	}
	return f.wrote
}

// write has do write to the client, and what it wrote leave.
func (f *forwarded) write(do func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || f.wrote != nil {
		return
	}
	if f.wrote = do(); f.wrote == nil {
		f.wrote = f.w.Flush()
	}
	if f.wrote != nil {
		f.failed()
	}
}

// end ends the client's answer as upstream's ended.
func (f *forwarded) end(end httpstream.EndInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended && f.wrote == nil {
		if end.How == httpstream.Malformed {
			end.How = httpstream.Reset // what was not understood did not pass
		}
		f.wrote = f.w.End(end)
	}
	f.ended = true
	f.done()
}

// A forwardedExchange tees an exchange's answer to the client.
type forwardedExchange struct {
	httpstream.Exchange
	f *forwarded
}

// Interim implements httpstream.Exchange.
func (x *forwardedExchange) Interim(at time.Time, head *httpstream.ResponseHead) {
	x.Exchange.Interim(at, head)
	x.f.write(func() error { return x.f.w.Interim(head) })
}

// Response implements httpstream.Exchange.
func (x *forwardedExchange) Response(at time.Time, head *httpstream.ResponseHead) {
	x.Exchange.Response(at, head)
	x.f.write(func() error { return x.f.w.Head(head) })
}

// ResponseChunk implements httpstream.Exchange.
func (x *forwardedExchange) ResponseChunk(at time.Time, c httpstream.Chunk) {
	x.Exchange.ResponseChunk(at, c)
	x.f.write(func() error { return x.f.w.Chunk(c) })
}

// End implements httpstream.Exchange.
func (x *forwardedExchange) End(at time.Time, end httpstream.EndInfo) {
	x.Exchange.End(at, end)
	x.f.end(end)
}

// asHTTP2 records an answer in HTTP/1.1 as a client of HTTP/2 gets it.
type asHTTP2 struct{ httpstream.Exchange }

// Interim implements httpstream.Exchange.
func (x asHTTP2) Interim(at time.Time, head *httpstream.ResponseHead) {
	x.Exchange.Interim(at, http2Head(head))
}

// Response implements httpstream.Exchange.
func (x asHTTP2) Response(at time.Time, head *httpstream.ResponseHead) {
	x.Exchange.Response(at, http2Head(head))
}

// RequestChunk implements httpstream.Exchange.
func (x asHTTP2) RequestChunk(at time.Time, c httpstream.Chunk) {
	if c.SizeLine = ""; len(c.Data) > 0 {
		x.Exchange.RequestChunk(at, c)
	}
}

// ResponseChunk implements httpstream.Exchange.
func (x asHTTP2) ResponseChunk(at time.Time, c httpstream.Chunk) {
	if c.SizeLine = ""; len(c.Data) > 0 {
		x.Exchange.ResponseChunk(at, c)
	}
}

// End implements httpstream.Exchange.
func (x asHTTP2) End(at time.Time, end httpstream.EndInfo) {
	end.Trailer = http2.Fields(end.Trailer, "HTTP/1.1")
	x.Exchange.End(at, end)
}

// http2Head is an answer's head as it is written in HTTP/2.
func http2Head(head *httpstream.ResponseHead) *httpstream.ResponseHead {
	return &httpstream.ResponseHead{Proto: "HTTP/2.0", Status: head.Status, Header: http2.Fields(head.Header, head.Proto)}
}

// writeRequest writes a request as HTTP/1, its body as it comes.
func writeRequest(w io.Writer, req *httpstream.Request) error {
	head, body, err := http1Request(req)
	if err != nil {
		return err
	}
	if _, err := w.Write(http1.AppendRequestHead(nil, head)); err != nil {
		return err
	}
	chunked := isChunked(head.Header)
	buf := make([]byte, 32<<10)
	var out []byte
	for {
		n, err := body.Read(buf)
		if out = buf[:n]; chunked && n > 0 {
			out = append(fmt.Appendf(nil, "%x\r\n", n), buf[:n]...)
			out = append(out, "\r\n"...)
		}
		if n > 0 {
			if _, err := w.Write(out); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && chunked:
			_, trailer := req.Complete()
			_, err = w.Write(append(http1.AppendFields([]byte("0\r\n"), trailer), "\r\n"...))
			return err
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// http1Request is a request's head in HTTP/1, with the framing of its body.
func http1Request(req *httpstream.Request) (*httpstream.RequestHead, io.Reader, error) {
	head := *req.Head
	if req.Head.Proto != "HTTP/2.0" {
		if head.Header.Has("Upgrade") || head.Header.Has("HTTP2-Settings") {
			head.Header = withoutUpgrade(head.Header)
		}
		return &head, req.Body, nil
	}
	head.Proto = "HTTP/1.1"
	head.Header = http1Fields(req.Head)
	if head.Header.Has("Content-Length") {
		return &head, req.Body, nil
	}
	body := bufio.NewReader(req.Body)
	switch _, err := body.Peek(1); {
	case err == io.EOF: // it has none
	case err != nil:
		return nil, nil, err
	default:
		head.Header = append(head.Header, httpstream.Field{Name: "Transfer-Encoding", Value: "chunked"})
	}
	return &head, body, nil
}

// http1Fields are the header fields of an HTTP/2 request in HTTP/1.1: with a Host
// field (RFC 9113 section 8.3.1), and the cookies in one field (section 8.2.3).
func http1Fields(head *httpstream.RequestHead) httpstream.Fields {
	fields := httpstream.Fields{{Name: "Host", Value: head.Authority}}
	cookies := strings.Join(head.Header.Values("Cookie"), "; ")
	for _, f := range head.Header {
		switch {
		case strings.EqualFold(f.Name, "Host"):
			continue
		case strings.EqualFold(f.Name, "Cookie"):
			if cookies == "" {
				continue
			}
			f.Value, cookies = cookies, ""
		}
		fields = append(fields, f)
	}
	return fields
}

// withoutUpgrade takes back an offer of HTTP/2, and what came with it on this
// connection (RFC 7540 section 3.2.1): the answer would come in frames.
func withoutUpgrade(header httpstream.Fields) httpstream.Fields {
	offer := func(name string) bool {
		return strings.EqualFold(name, "Upgrade") || strings.EqualFold(name, "HTTP2-Settings")
	}
	var fields httpstream.Fields
	for _, f := range header {
		if offer(f.Name) {
			continue
		}
		if strings.EqualFold(f.Name, "Connection") {
			var left []string
			for name := range strings.SplitSeq(f.Value, ",") {
				if name = strings.Trim(name, " \t"); name != "" && !offer(name) {
					left = append(left, name)
				}
			}
			if len(left) == 0 {
				continue
			}
			f.Value = strings.Join(left, ", ")
		}
		fields = append(fields, f)
	}
	return fields
}

// isChunked reports whether chunked is the last transfer coding (RFC 9112 section 6.1).
func isChunked(fs httpstream.Fields) bool {
	codings := strings.Split(strings.Join(fs.Values("Transfer-Encoding"), ","), ",")
	return strings.EqualFold(strings.TrimSpace(codings[len(codings)-1]), "chunked")
}
