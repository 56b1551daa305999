package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/protocol"
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

// forward has upstream answer one request, on a connection of its own, in the
// protocol that every request can be translated to.
// The request goes through a relay, so what passes is recorded as in record mode.
func (p *Proxy) forward(ctx context.Context, dest Dest, s Stream, serverName string, req *httpstream.Request, w httpstream.ResponseWriter) error {
	spoken := protocol.Forwarder()
	upstream, err := p.dial(ctx, dest)
	if err != nil {
		return p.unreachable(ctx, s, err)
	}
	defer upstream.Close()
	if s.Scheme == "https" {
		up, err := p.clientHandshake(ctx, upstream, serverName, dest, []string{spoken.ALPN})
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
	answer := &forwarded{w: w, asked: req.Head, recorder: httpstream.Discard{}, done: func() { ours.Close() }, failed: cancel}
	if p.cfg.Record != nil {
		answer.recorder = p.cfg.Record(s)
	}
	finished := make(chan struct{})
	go func() {
		out, err := spoken.Outgoing(req)
		if err == nil {
			out.Sent = func() {
				select {
				case <-req.Finished:
					close(finished)
					theirs.SetReadDeadline(past)
				case <-ctx.Done():
				}
			}
			err = spoken.Send(ours, out) // what the relay passes back, answer has already
		}
		if err != nil {
			cancel() // the request can't be completed
		}
	}()
	opt := relay.Options{}
	if !p.cfg.KeepEncoding {
		opt.RewriteRequest = AskForIdentity
	}
	// The end of ctx reaches the relay as a client that is gone, which it tells upstream.
	unread := p.watchUnread(&opt, func() (string, string, bool) { return s.Service, s.Authority, p.cfg.Record != nil })
	defer unread.tell()
	_ = spoken.Relay(context.WithoutCancel(ctx), goneConn{theirs, ctx, finished}, upstream, opt, answer)
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
	if asked := protocol.Of(f.asked.Proto); asked != nil && asked.Translated != nil {
		x = asked.Translated(x)
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
