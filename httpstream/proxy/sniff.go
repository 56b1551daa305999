package proxy

import (
	"bytes"
	"errors"
	"net"
	"os"
	"time"
)

// A protocol is what the first bytes of a connection look like.
type protocol int

const (
	undecided protocol = iota
	opaque
	tlsHello
	http1
	http2
	postgresTLS // SSLRequest: TLS follows a one-byte answer, so it can't be ended here
)

const (
	http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // RFC 9113 section 3.4
	maxMethod    = 24
	// maxRequestLine bounds what is read before a connection is taken for
	// something else; RFC 9112 section 3 asks for 8000 octets at least.
	maxRequestLine = 64 << 10
)

var postgresSSLRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

// classify tells what b begins. It answers undecided only where more bytes can
// change the answer and a client of that protocol would send them unasked.
func classify(b []byte) protocol {
	switch {
	case len(b) == 0:
		return undecided
	case b[0] == 0x16:
		if len(b) < 2 {
			return undecided
		}
		if b[1] == 3 {
			return tlsHello
		}
		return opaque
	case b[0] == 0:
		if bytes.HasPrefix(b, postgresSSLRequest) {
			return postgresTLS
		}
		return opaque
	case bytes.HasPrefix([]byte(http2Preface), b):
		// Nothing but the preface starts so, yet "P" may still become "POST".
		if len(b) >= len("PRI * ") {
			return http2
		}
		return undecided
	case bytes.HasPrefix(b, []byte(http2Preface)):
		return http2
	}
	return classifyRequestLine(b)
}

// classifyRequestLine wants a method, a target and a version (RFC 9112 section 3).
// It gives up at the first byte that can't be part of them, so that a protocol
// whose client waits for an answer is not kept waiting.
func classifyRequestLine(b []byte) protocol {
	// Servers ignore an empty line before the request line (RFC 9112 section 2.2).
	b = bytes.TrimLeft(b, "\r\n")
	if len(b) == 0 {
		return undecided
	}
	method := b
	sp := bytes.IndexByte(b, ' ')
	if sp >= 0 {
		method = b[:sp]
	}
	if len(method) == 0 || len(method) > maxMethod {
		return opaque
	}
	for _, c := range method {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return opaque
		}
	}
	if sp < 0 {
		return undecided
	}
	target := b[sp+1:]
	if len(target) == 0 {
		return undecided
	}
	isConnect := string(method) == "CONNECT"
	if c := target[0]; !isConnect && c != '/' && c != '*' && c != 'h' && c != 'H' {
		return opaque
	}
	line, _, whole := bytes.Cut(target, []byte("\n"))
	if !whole {
		if len(target) > maxRequestLine {
			return opaque
		}
		return undecided
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	if i := bytes.LastIndexByte(line, ' '); i > 0 && bytes.HasPrefix(line[i+1:], []byte("HTTP/1.")) {
		return http1
	}
	return opaque
}

// A prefixConn gives back bytes that were read from it to look at them.
type prefixConn struct {
	net.Conn
	prefix []byte
}

// Read implements net.Conn.
func (c *prefixConn) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite closes the writing side, where the connection below has one.
func (c *prefixConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// NetConn returns the connection below.
func (c *prefixConn) NetConn() net.Conn { return c.Conn }

// withPrefix returns a connection that reads prefix first.
func withPrefix(c net.Conn, prefix []byte) net.Conn {
	if len(prefix) == 0 {
		return c
	}
	return &prefixConn{Conn: c, prefix: prefix}
}

// sniffClient reads from conn until its protocol is known. The connection that
// it returns reads those bytes again.
func sniffClient(conn net.Conn) (protocol, net.Conn, error) {
	var got []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if p := classify(got); p != undecided {
			return p, withPrefix(conn, got), nil
		}
		if err != nil {
			return opaque, withPrefix(conn, got), err
		}
	}
}

// firstSpeaker waits for either side to send. If upstream speaks first, the
// protocol is opaque: no HTTP server does. Bytes that were read are read again
// from the connections returned.
func firstSpeaker(client, upstream net.Conn) (p protocol, c, u net.Conn, err error) {
	type read struct {
		data []byte
		err  error
	}
	fromUpstream := make(chan read, 1)
	go func() {
		buf := make([]byte, 4<<10)
		n, err := upstream.Read(buf)
		if n > 0 {
			// Wakes the client's reader, which may be waiting for a client that waits for us.
			client.SetReadDeadline(time.Unix(1, 0))
		} else if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			client.SetReadDeadline(time.Unix(1, 0))
		}
		fromUpstream <- read{buf[:n], err}
	}()
	p, c, err = sniffClient(client)
	upstream.SetReadDeadline(time.Unix(1, 0))
	up := <-fromUpstream
	upstream.SetReadDeadline(time.Time{})
	client.SetReadDeadline(time.Time{})
	u = withPrefix(upstream, up.data)
	switch {
	case len(up.data) > 0 && errors.Is(err, os.ErrDeadlineExceeded):
		return opaque, c, u, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return opaque, c, u, up.err
	}
	return p, c, u, err
}
