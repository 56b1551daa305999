package proxy

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// An Ingress is a published port of a service: what clients send to it is
// relayed to the service, and its HTTP exchanges can be recorded as cases.
type Ingress struct {
	Service   string
	Published string // host:port as clients know it
	Dial      func(context.Context) (net.Conn, error)
	// Record is told of HTTP exchanges; nil only relays.
	Record func(Stream) httpstream.Sink
}

// ServeIngress relays the connections of l to in's service until ctx ends or l
// is closed. TLS and what is not HTTP passes untouched.
func (p *Proxy) ServeIngress(ctx context.Context, l net.Listener, in Ingress) error {
	return p.serve(ctx, l, func(ctx context.Context, conn net.Conn) { p.ingress(ctx, conn, in) })
}

func (p *Proxy) ingress(ctx context.Context, client net.Conn, in Ingress) {
	dctx, cancel := context.WithTimeout(ctx, p.cfg.HandshakeTimeout)
	service, err := in.Dial(dctx)
	cancel()
	if err != nil {
		p.cfg.Notify(unreachable(in.Service, in.Published, err))
		reset(client)
		return
	}
	defer service.Close()
	if in.Record == nil {
		relay.Raw(ctx, client, service)
		return
	}
	spoken, client, service, err := firstSpeaker(ctx, client, service)
	if err != nil && !errors.Is(err, io.EOF) {
		reset(client)
		return
	}
	if spoken.kind != knownHTTP {
		why := whyOpaque(client, service)
		if spoken.kind == tlsHello {
			why = "TLS that the service ends itself"
		}
		if why != "" {
			p.cfg.Notify(event.Notice{Kind: event.Opaque, Service: in.Service, About: in.Published, Detail: why})
		}
		relay.Raw(ctx, client, service)
		return
	}
	opt := relay.Options{}
	if !p.cfg.KeepEncoding {
		opt.RewriteRequest = AskForIdentity
	}
	sink := in.Record(Stream{Service: in.Service, Scheme: "http", Authority: in.Published})
	unread := p.watchUnread(&opt, func() (string, string, bool) { return in.Service, in.Published, true })
	defer unread.tell()
	_ = spoken.http.Relay(ctx, client, service, opt, sink)
}
