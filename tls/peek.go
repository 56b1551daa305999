package mitmtls

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// maxClientHello is the longest ClientHello that is read: what crypto/tls
	// takes. Post-quantum key shares need 1 to 2 KiB, and some clients pad.
	maxClientHello = 64 << 10
	// maxPeek bounds what is kept while a ClientHello is incomplete, record
	// headers (5 bytes each) and bytes behind it included.
	maxPeek = 2 * maxClientHello
)

// errPeeked stops crypto/tls once it has parsed the ClientHello.
var errPeeked = errors.New("ClientHello complete")

// PeekClientHello reads a TLS ClientHello and sends nothing. It may come in any
// number of records and reads, up to 64 KiB. The connection returned reads the
// same bytes again and then goes on with conn; it is never nil, so that bytes
// that are no ClientHello can be relayed as they are. With an encrypted
// ClientHello, the hello is the outer one. A deadline is the caller's to set.
func PeekClientHello(conn net.Conn) (hello *tls.ClientHelloInfo, replay net.Conn, err error) {
	r := &peekConn{Conn: conn}
	srv := tls.Server(r, &tls.Config{
		MinVersion: tls.VersionTLS10,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			hello = h
			return nil, errPeeked
		},
	})
	err = srv.Handshake()
	rc := &replayConn{Conn: conn, pending: r.buf.Bytes()}
	if hello != nil {
		hello.Conn = rc
		return hello, rc, nil
	}
	if r.err != nil {
		err = r.err
	}
	return nil, rc, fmt.Errorf("reading the ClientHello: %w", err)
}

// A peekConn keeps what is read, and swallows the alert that crypto/tls sends
// when it is stopped.
type peekConn struct {
	net.Conn
	buf bytes.Buffer
	err error
}

func (c *peekConn) Read(p []byte) (int, error) {
	left := maxPeek - c.buf.Len()
	if left <= 0 {
		c.err = fmt.Errorf("it is longer than %d bytes", maxClientHello)
		return 0, c.err
	}
	n, err := c.Conn.Read(p[:min(len(p), left)])
	c.buf.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

func (c *peekConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *peekConn) Close() error                     { return nil }
func (c *peekConn) SetDeadline(time.Time) error      { return nil }
func (c *peekConn) SetReadDeadline(time.Time) error  { return nil }
func (c *peekConn) SetWriteDeadline(time.Time) error { return nil }

// A replayConn reads the pending bytes before those of its connection.
type replayConn struct {
	net.Conn
	mu      sync.Mutex
	pending []byte
}

// NetConn returns the connection below, as (*tls.Conn).NetConn does.
func (c *replayConn) NetConn() net.Conn { return c.Conn }

func (c *replayConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if len(c.pending) > 0 {
		n := copy(p, c.pending)
		c.pending = c.pending[n:]
		c.mu.Unlock()
		return n, nil
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}

// WriteTo lets io.Copy splice what comes after the pending bytes.
func (c *replayConn) WriteTo(w io.Writer) (int64, error) {
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	var n int64
	if len(pending) > 0 {
		m, err := w.Write(pending)
		if n = int64(m); err != nil {
			return n, err
		}
	}
	m, err := io.Copy(w, c.Conn)
	return n + m, err
}

// CloseWrite half-closes the connection below, where it can be.
func (c *replayConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetLinger is (*net.TCPConn).SetLinger of the connection below.
func (c *replayConn) SetLinger(sec int) error {
	if sl, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return sl.SetLinger(sec)
	}
	return errors.ErrUnsupported
}
