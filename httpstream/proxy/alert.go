package proxy

import (
	"bytes"
	"crypto/tls"
	"net"
)

// A fatal alert in plain text is 7 bytes: type, version, length, level, description
// (RFC 8446 sections 5.1 and 6).
const plainAlertSize = 7

// An alertConn remembers the last bytes that were read. OpenSSL sends its alert
// about a TLS 1.3 server's certificate in plain text, at a point where crypto/tls
// expects an encrypted record and can't tell it from garbage.
type alertConn struct {
	net.Conn
	tail []byte
}

// Read implements net.Conn.
func (c *alertConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.tail = append(c.tail, p[max(0, n-plainAlertSize):n]...)
	c.tail = c.tail[max(0, len(c.tail)-plainAlertSize):]
	return n, err
}

// CloseWrite closes the writing side, where the connection below has one.
func (c *alertConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// NetConn returns the connection below.
func (c *alertConn) NetConn() net.Conn { return c.Conn }

// alert returns the alert that the client ended with, if it was in plain text.
func (c *alertConn) alert() error {
	if len(c.tail) == plainAlertSize && bytes.HasPrefix(c.tail, []byte{21, 3, 3, 0, 2, 2}) {
		return &net.OpError{Op: "remote error", Err: tls.AlertError(c.tail[plainAlertSize-1])}
	}
	return nil
}
