package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"github.com/wiretape/wiretape/httpstream/internal/transport"
	"github.com/wiretape/wiretape/httpstream/protocol"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// A kind is what the first bytes of a connection are.
type kind int

const (
	undecided kind = iota
	opaque
	tlsHello
	knownHTTP   // a row of the protocols' table
	postgresTLS // SSLRequest: TLS follows a one-byte answer, so it can't be ended here
)

// A sniffed is what a connection speaks: its kind, and which HTTP that is.
type sniffed struct {
	kind kind
	http *protocol.Protocol // of knownHTTP
}

// past is a deadline that wakes a reader at once.
var past = time.Unix(1, 0)

var postgresSSLRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}

// classify tells what b begins. It answers undecided only where more bytes can
// change the answer and a client of that protocol would send them unasked.
func classify(b []byte) sniffed {
	switch {
	case len(b) == 0:
		return sniffed{kind: undecided}
	case b[0] == 0x16:
		if len(b) < 2 {
			return sniffed{kind: undecided}
		}
		if b[1] == 3 {
			return sniffed{kind: tlsHello}
		}
		return sniffed{kind: opaque}
	case bytes.HasPrefix(b, postgresSSLRequest):
		return sniffed{kind: postgresTLS}
	}
	p, more := protocol.Recognise(b)
	switch {
	case p != nil:
		return sniffed{knownHTTP, p}
	case more || bytes.HasPrefix(postgresSSLRequest, b):
		return sniffed{kind: undecided}
	}
	return sniffed{kind: opaque}
}

// sniffClient reads from conn until its protocol is known. The connection that
// it returns reads those bytes again.
func sniffClient(conn net.Conn) (sniffed, net.Conn, error) {
	var got []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if p := classify(got); p.kind != undecided {
			return p, transport.WithPrefix(conn, got), nil
		}
		if err != nil {
			return sniffed{kind: opaque}, transport.WithPrefix(conn, got), err
		}
	}
}

// sniffUntil is sniffClient, cut off when ctx ends.
func sniffUntil(ctx context.Context, client net.Conn) (sniffed, net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { client.SetReadDeadline(past) })
	defer stop()
	return sniffClient(client)
}

// peekHello reads a ClientHello. A client that sends half of one and waits is
// cut off after timeout, and when ctx ends.
func peekHello(ctx context.Context, client net.Conn, timeout time.Duration) (*tls.ClientHelloInfo, net.Conn, error) {
	client.SetReadDeadline(time.Now().Add(timeout))
	stop := context.AfterFunc(ctx, func() { client.SetReadDeadline(past) })
	hello, peeked, err := mitmtls.PeekClientHello(transport.NewPollable(client))
	stop()
	client.SetReadDeadline(time.Time{})
	return hello, peeked, err
}

// firstSpeaker waits for either side to send. If upstream speaks first, the
// protocol is opaque: of HTTP servers only those with ServerBegins do. Bytes that were
// read are read again from the connections returned.
// The error is ctx's if that ended, else that of the side which ended without a word.
func firstSpeaker(ctx context.Context, client, upstream net.Conn) (p sniffed, c, u net.Conn, err error) {
	// Mostly the client's bytes are here by now: it has written while upstream was dialled.
	said, ok := transport.Arrived(client)
	client = transport.WithPrefix(client, said)
	if p = classify(said); ok && p.kind != undecided {
		if said, ok = transport.Arrived(upstream); ok {
			return p.before(said), client, transport.WithPrefix(upstream, said), nil
		}
	}
	return firstOfTwo(ctx, client, upstream)
}

// before is what a connection speaks whose client has said p and whose server has said
// something of its own.
func (p sniffed) before(said []byte) sniffed {
	if len(said) > 0 && !(p.kind == knownHTTP && p.http.ServerBegins != nil && p.http.ServerBegins(said)) {
		return sniffed{kind: opaque}
	}
	return p
}

// firstOfTwo is firstSpeaker where what is here does not tell: it reads both.
func firstOfTwo(ctx context.Context, client, upstream net.Conn) (p sniffed, c, u net.Conn, err error) {
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
		if !serverBegins(buf[:n]) && !errors.Is(err, os.ErrDeadlineExceeded) {
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
	u = transport.WithPrefix(upstream, up.data)
	switch {
	case ctx.Err() != nil:
		return sniffed{kind: opaque}, c, u, ctx.Err()
	case len(up.data) > 0 && p.before(up.data).kind == opaque:
		return sniffed{kind: opaque}, c, u, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return sniffed{kind: opaque}, c, u, up.err
	}
	return p, c, u, err
}

// serverBegins reports whether there is a protocol whose server may begin with b.
func serverBegins(b []byte) bool {
	return slices.ContainsFunc(protocol.All(), func(p *protocol.Protocol) bool {
		return p.ServerBegins != nil && p.ServerBegins(b)
	})
}
