// Package relay is what the relays of all protocols have in common: their options,
// the order in which reads are reported, what passed unread, and the relay of bytes.
package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
)

// Options say how http1.Relay and http2.Relay pass requests on.
type Options struct {
	// RewriteRequest may change a request's head before it goes upstream; in
	// HTTP/1 any field and the target, in HTTP/2 any field. The framing of the
	// body (Content-Length, Transfer-Encoding) is not its to change. The sink
	// is given the head as the client sent it. Nil changes nothing.
	RewriteRequest func(*httpstream.RequestHead)
	// Upstream chooses the connection for each HTTP/1 request, as a forward proxy
	// does; it sees the head as the client sent it. It returns the connection of
	// the request before it, or another one: the answers to earlier requests are
	// then completed first and the old connection is closed. When it returns an
	// error, the client is answered with a 502 that says why. Nil keeps the one
	// connection that the relay was given. HTTP/2 does not use it.
	Upstream func(ctx context.Context, head *httpstream.RequestHead) (net.Conn, error)
	// Unread is told once, when a part of the connection is not understood; what
	// has passed so far can be asked for at any time. The error of the relay has
	// it in the end. It does not block. May be nil.
	Unread func(*Unread)
	// Begun is told when the relay begins, with a function that returns when the
	// sink was told of all that the relay had read by then, and returns one that is
	// called at the relay's end. May be nil.
	Begun func(catchUp func()) (ended func())
}

// Start tells of a relay that begins, and returns what is called at its end.
func (opt *Options) Start(o *Order) (ended func()) {
	if opt.Begun == nil {
		return func() {}
	}
	return opt.Begun(func() { o.Report(func() {}) })
}

// Raw copies bytes both ways, until both directions are done or ctx ends,
// and closes both connections. A half-close is passed on as one and a reset as a
// reset. It returns how many bytes went up to the server and down to the
// client, and ctx's error if that ended it.
func Raw(ctx context.Context, client, upstream net.Conn) (up, down int64, err error) {
	defer client.Close()
	defer upstream.Close()
	stop := context.AfterFunc(ctx, func() {
		client.Close()
		upstream.Close()
	})
	defer stop()

	var wg sync.WaitGroup
	wg.Go(func() { down = copyOneWay(client, upstream) })
	up = copyOneWay(upstream, client)
	wg.Wait()
	return up, down, ctx.Err()
}

// copyOneWay copies until src ends, then half-closes dst; when either side
// fails, both are reset.
func copyOneWay(dst, src net.Conn) int64 {
	n, err := io.Copy(dst, src)
	switch {
	case err == nil:
		transport.CloseWrite(dst, false)
	case errors.Is(err, io.ErrUnexpectedEOF):
		transport.CloseWrite(dst, true)
	default:
		transport.Reset(dst, true)
		transport.Reset(src, false)
	}
	return n
}
