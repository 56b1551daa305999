package httpstream

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// ErrMalformed is wrapped by the errors for bytes that are not HTTP.
var ErrMalformed = errors.New("malformed HTTP")

// RelayOptions say how RelayHTTP1 and RelayHTTP2 pass requests on.
type RelayOptions struct {
	// RewriteRequest may change a request's head before it goes upstream; in
	// HTTP/1 any field and the target, in HTTP/2 any field. The framing of the
	// body (Content-Length, Transfer-Encoding) is not its to change. The sink
	// is given the head as the client sent it. Nil changes nothing.
	RewriteRequest func(*RequestHead)
	// Upstream chooses the connection for each HTTP/1 request, as a forward proxy
	// does; it sees the head as the client sent it. It returns the connection of
	// the request before it, or another one: the answers to earlier requests are
	// then completed first and the old connection is closed. When it returns an
	// error, the client is answered with a 502 that says why. Nil keeps the one
	// connection that the relay was given. HTTP/2 does not use it.
	Upstream func(ctx context.Context, head *RequestHead) (net.Conn, error)
	// Unread is told once, when a part of the connection is not understood; what
	// has passed so far can be asked for at any time. The error of the relay has
	// it in the end. It does not block. May be nil.
	Unread func(*Unread)
	// Begun is told when the relay begins, with a function that returns when the
	// sink was told of all that the relay had read by then, and returns one that is
	// called at the relay's end. May be nil.
	Begun func(catchUp func()) (ended func())
}

// begun tells of a relay that begins, and returns what is called at its end.
func (opt *RelayOptions) begun(o *order) (ended func()) {
	if opt.Begun == nil {
		return func() {}
	}
	return opt.Begun(func() { o.now(func() {}) })
}

// RelayRaw copies bytes both ways, until both directions are done or ctx ends,
// and closes both connections. A half-close is passed on as one and a reset as a
// reset. It returns how many bytes went up to the server and down to the
// client, and ctx's error if that ended it.
func RelayRaw(ctx context.Context, client, upstream net.Conn) (up, down int64, err error) {
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
		closeWriteConn(dst, false)
	case errors.Is(err, io.ErrUnexpectedEOF):
		closeWriteConn(dst, true)
	default:
		resetConn(dst, true)
		resetConn(src, false)
	}
	return n
}

// tcpOf returns the TCP connection below conn, through any number of wrappers
// with a NetConn method such as *tls.Conn, or nil.
func tcpOf(conn net.Conn) *net.TCPConn {
	for {
		switch c := conn.(type) {
		case *net.TCPConn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// closeWriteConn tells the peer that nothing more comes, and leaves the other
// direction open: for TLS a close_notify alert (RFC 8446 section 6.1) and a FIN.
// With truncate the alert is left out, as by a peer that closed without one.
func closeWriteConn(conn net.Conn, truncate bool) {
	tcp := tcpOf(conn)
	if cw, ok := conn.(interface{ CloseWrite() error }); ok && (tcp == nil || !truncate) {
		cw.CloseWrite()
	} else if tcp == nil {
		conn.Close() // net.Pipe has no half-close
	}
	if tcp != nil {
		tcp.CloseWrite()
	}
}

// resetConn closes conn with a TCP RST. A reset discards what the kernel has
// not sent yet; with drain it waits, up to a second, until all has been sent.
func resetConn(conn net.Conn, drain bool) {
	if tcp := tcpOf(conn); tcp != nil {
		if drain {
			for deadline := time.Now().Add(time.Second); unsentBytes(tcp) > 0 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
		}
		tcp.SetLinger(0)
		tcp.Close()
	}
	conn.Close()
}

// isEOF reports whether err is the peer's orderly end of sending. A TLS peer that
// closes without a close_notify alert gives io.ErrUnexpectedEOF.
func isEOF(err error) bool {
	return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)
}
