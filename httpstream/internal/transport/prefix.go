package transport

import "net"

// A prefixed gives back bytes that were read from it to look at them.
type prefixed struct {
	net.Conn
	prefix []byte
}

// WithPrefix returns a connection that reads prefix first, then conn.
func WithPrefix(conn net.Conn, prefix []byte) net.Conn {
	if len(prefix) == 0 {
		return conn
	}
	return &prefixed{Conn: conn, prefix: prefix}
}

// HasPrefix reports whether conn was made to read a prefix first, which may be read by now.
func HasPrefix(conn net.Conn) bool {
	_, ok := conn.(*prefixed)
	return ok
}

// Read implements net.Conn.
func (c *prefixed) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		if c.prefix = c.prefix[n:]; len(c.prefix) == 0 {
			c.prefix = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite closes the writing side, where the connection below has one.
func (c *prefixed) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// NetConn returns the connection below.
func (c *prefixed) NetConn() net.Conn { return c.Conn }
