// Package transport reads TCP and TLS connections without memory that waits, and ends
// them, half of them or by a reset, through whatever wraps them.
package transport

import (
	"errors"
	"io"
	"net"
	"time"
)

// TCP returns the TCP connection below conn, through any number of wrappers
// with a NetConn method such as *tls.Conn, or nil.
func TCP(conn net.Conn) *net.TCPConn {
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

// CloseWrite tells the peer that nothing more comes, and leaves the other
// direction open: for TLS a close_notify alert (RFC 8446 section 6.1) and a FIN.
// With truncate the alert is left out, as by a peer that closed without one.
func CloseWrite(conn net.Conn, truncate bool) {
	tcp := TCP(conn)
	if cw, ok := conn.(interface{ CloseWrite() error }); ok && (tcp == nil || !truncate) {
		_ = cw.CloseWrite()
	} else if tcp == nil {
		conn.Close() // net.Pipe has no half-close
	}
	if tcp != nil {
		_ = tcp.CloseWrite()
	}
}

// Reset closes conn with a TCP RST. A reset discards what the kernel has
// not sent yet; with drain it waits, up to a second, until all has been sent.
func Reset(conn net.Conn, drain bool) {
	if tcp := TCP(conn); tcp != nil {
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

// IsEOF reports whether err is the peer's orderly end of sending. A TLS peer that
// closes without a close_notify alert gives io.ErrUnexpectedEOF.
func IsEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// IsClosed reports whether err comes from a connection that this side closed.
func IsClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
