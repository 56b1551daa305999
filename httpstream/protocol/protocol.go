// Package protocol is the one table of the protocols that wiretape records, serves
// and sends.
package protocol

import (
	"context"
	"net"
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/http1"
	"github.com/wiretape/wiretape/httpstream/http2"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// A Protocol is one row. A new one is a row and a package of its own.
type Protocol struct {
	// Name is for people.
	Name string
	// ALPN is its protocol ID in TLS (RFC 7301).
	ALPN string
	// Speaks reports whether RequestHead.Proto is of this protocol.
	Speaks func(proto string) bool
	// Begins reports whether a client's first bytes are of this protocol, and if not,
	// whether those that follow can make them so.
	Begins func(first []byte) (yes, more bool)
	// ServerBegins reports whether a server may send these bytes before it hears from
	// the client. Nil: it waits.
	ServerBegins func(first []byte) bool

	// Relay, Serve and Send are as http1.Relay, http1.Serve and http1.Send.
	Relay func(ctx context.Context, client, upstream net.Conn, opt relay.Options, sink httpstream.Sink) error
	Serve func(ctx context.Context, conn net.Conn, h httpstream.Handler) error
	Send  func(conn net.Conn, out *httpstream.Outgoing) error

	// Forwards is set where the requests of one connection may go to several origins:
	// Relay uses relay.Options.Upstream, so it can be a forward proxy's, and CONNECT
	// makes the connection a tunnel.
	Forwards bool
	// Outgoing is a request of any protocol as one to send in this one. Nil where none
	// can be translated.
	Outgoing func(*httpstream.Request) (*httpstream.Outgoing, error)
	// Translated is an exchange that is told of an answer of the protocol with Outgoing
	// as a client of this one gets it. Nil where that is no other.
	Translated func(httpstream.Exchange) httpstream.Exchange
}

// table is in the order in which servers prefer them.
var table = []*Protocol{
	{
		Name: "HTTP/2", ALPN: "h2", Speaks: func(proto string) bool { return proto == "HTTP/2.0" },
		Begins: http2.Begins, ServerBegins: http2.ServerBegins,
		Relay: http2.Relay, Serve: http2.Serve, Send: http2.Send,
		Translated: http2.Translated,
	},
	{
		Name: "HTTP/1.1", ALPN: "http/1.1", Speaks: func(proto string) bool { return strings.HasPrefix(proto, "HTTP/1.") },
		Begins: http1.Begins,
		Relay:  http1.Relay, Serve: http1.Serve, Send: http1.Send,
		Forwards: true, Outgoing: http1.Outgoing,
	},
}

// find returns the first row that is wanted, or nil.
func find(wanted func(*Protocol) bool) *Protocol {
	if i := slices.IndexFunc(table, wanted); i >= 0 {
		return table[i]
	}
	return nil
}

// All are the protocols in the order in which servers prefer them.
func All() []*Protocol { return slices.Clone(table) }

// ByALPN returns the protocol of an ALPN ID, or nil.
func ByALPN(id string) *Protocol { return find(func(p *Protocol) bool { return p.ALPN == id }) }

// Of returns the protocol of a RequestHead.Proto, or nil.
func Of(proto string) *Protocol { return find(func(p *Protocol) bool { return p.Speaks(proto) }) }

// Forwarder returns the protocol in which any request can be passed on.
func Forwarder() *Protocol { return find(func(p *Protocol) bool { return p.Outgoing != nil }) }

// Recognise returns the protocol that a client's first bytes begin, or nil, and
// whether those that follow can still make them one.
func Recognise(first []byte) (p *Protocol, more bool) {
	for _, p := range table {
		yes, open := p.Begins(first)
		if yes {
			return p, false
		}
		more = more || open
	}
	return nil, more
}
