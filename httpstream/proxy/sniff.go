package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"time"

	mitmtls "github.com/wiretape/wiretape/tls"
)

// A protocol is what the first bytes of a connection look like.
type protocol int

const (
	undecided protocol = iota
	opaque
	tlsHello
	speaksHTTP1
	speaksHTTP2
	postgresTLS // SSLRequest: TLS follows a one-byte answer, so it can't be ended here
)

const (
	http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // RFC 9113 section 3.4
	maxMethod    = 24
	// maxRequestLine bounds what is read before a connection is taken for
	// something else, in bytes; RFC 9112 section 3 asks for 8000 at least.
	maxRequestLine = 64 << 10
)

// past is a deadline that wakes a reader at once.
var past = time.Unix(1, 0)

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
	case bytes.HasPrefix(b, postgresSSLRequest):
		return postgresTLS
	case bytes.HasPrefix(b, []byte(http2Preface)):
		return speaksHTTP2
	case bytes.HasPrefix(postgresSSLRequest, b), bytes.HasPrefix([]byte(http2Preface), b):
		return undecided
	}
	return classifyRequestLine(b)
}

// classifyRequestLine wants a method, a target and a version (RFC 9112 section 3).
// It gives up at the first byte that can't be part of them, so that a protocol
// whose client waits for an answer is not kept waiting. For the same reason it
// takes no empty line before them, as RFC 9112 section 2.2 would let it: to a
// Finger or Gopher server that is a whole request.
func classifyRequestLine(b []byte) protocol {
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
	if len(line) > maxRequestLine-maxMethod-len(" ") {
		return opaque
	}
	if !whole {
		return undecided
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	if i := bytes.LastIndexByte(line, ' '); i > 0 && bytes.HasPrefix(line[i+1:], []byte("HTTP/1.")) {
		return speaksHTTP1
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

// sniffUntil is sniffClient, cut off when ctx ends.
func sniffUntil(ctx context.Context, client net.Conn) (protocol, net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { client.SetReadDeadline(past) })
	defer stop()
	return sniffClient(client)
}

// peekHello reads a ClientHello. A client that sends half of one and waits is
// cut off after timeout, and when ctx ends.
func peekHello(ctx context.Context, client net.Conn, timeout time.Duration) (*tls.ClientHelloInfo, net.Conn, error) {
	client.SetReadDeadline(time.Now().Add(timeout))
	stop := context.AfterFunc(ctx, func() { client.SetReadDeadline(past) })
	hello, peeked, err := mitmtls.PeekClientHello(client)
	stop()
	client.SetReadDeadline(time.Time{})
	return hello, peeked, err
}

// firstSpeaker waits for either side to send. If upstream speaks first, the
// protocol is opaque: of HTTP servers only those of HTTP/2 do, with their
// SETTINGS. Bytes that were read are read again from the connections returned.
// The error is ctx's if that ended, else that of the side which ended without a word.
func firstSpeaker(ctx context.Context, client, upstream net.Conn) (p protocol, c, u net.Conn, err error) {
	type read struct {
		data []byte
		err  error
	}
	// Wakes the client's reader, which may be waiting for a client that waits for us.
	wake := func() { client.SetReadDeadline(past) }
	stop := context.AfterFunc(ctx, wake)
	fromUpstream := make(chan read, 1)
	go func() {
		buf := make([]byte, 4<<10)
		n, err := upstream.Read(buf)
		if !beginsHTTP2(buf[:n]) && !errors.Is(err, os.ErrDeadlineExceeded) {
			wake()
		}
		fromUpstream <- read{buf[:n], err}
	}()
	p, c, err = sniffClient(client)
	stop()
	upstream.SetReadDeadline(past)
	up := <-fromUpstream
	upstream.SetReadDeadline(time.Time{})
	client.SetReadDeadline(time.Time{})
	u = withPrefix(upstream, up.data)
	switch {
	case ctx.Err() != nil:
		return opaque, c, u, ctx.Err()
	case len(up.data) > 0 && !(p == speaksHTTP2 && beginsHTTP2(up.data)):
		return opaque, c, u, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return opaque, c, u, up.err
	}
	return p, c, u, err
}

// beginsHTTP2 reports whether a server's first bytes are a SETTINGS frame, which
// it may send before it hears from the client (RFC 9113 sections 3.4 and 6.5).
func beginsHTTP2(b []byte) bool {
	const header, settings = 9, 4
	if len(b) < header {
		return false
	}
	length := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	return length%6 == 0 && length <= 16<<10 && bytes.Equal(b[3:header], []byte{settings, 0, 0, 0, 0, 0})
}
