package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/protocol"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// replay answers a connection from the tape.
func (p *Proxy) replay(ctx context.Context, client net.Conn, dest Dest) {
	authority := dest.Authority()
	if p.cfg.Unreachable != nil && p.cfg.Unreachable(dest.Service, authority) {
		reset(client)
		return
	}
	if why, ok := p.wasOpaque(dest); ok {
		p.replayOpaque(ctx, client, dest, why)
		return
	}
	spoken, client, err := sniffUntil(ctx, client)
	if errors.Is(err, io.EOF) {
		return
	}
	if err != nil {
		reset(client)
		return
	}
	switch spoken.kind {
	case tlsHello:
		p.replayTLS(ctx, client, dest)
	case knownHTTP:
		s := Stream{Service: dest.Service, Scheme: "http", Authority: authority}
		s.Forward = p.forwardTo(dest, s, "")
		p.answer(ctx, client, spoken.http, s)
	default:
		p.replayOpaque(ctx, client, dest, "not HTTP")
	}
}

// wasOpaque tells why dest was not understood when it was recorded. A tape has
// the name of a destination if it was known then, else its address.
func (p *Proxy) wasOpaque(dest Dest) (why string, ok bool) {
	if p.cfg.Opaque == nil {
		return "", false
	}
	if why, ok = p.cfg.Opaque(dest.Service, dest.Authority()); ok || dest.Name == "" {
		return why, ok
	}
	return p.cfg.Opaque(dest.Service, Dest{Addr: dest.Addr}.Authority())
}

// replayOpaque refuses what no tape can answer, or lets it pass where that was asked for.
func (p *Proxy) replayOpaque(ctx context.Context, client net.Conn, dest Dest, why string) {
	p.cfg.Notify(event.Notice{Kind: event.Opaque, Service: dest.Service, About: dest.Authority(), Detail: why})
	if !p.cfg.Passthrough || p.cfg.Dial == nil {
		reset(client)
		return
	}
	upstream, err := p.dial(ctx, dest)
	if err != nil {
		p.refused(ctx, client, dest, Stream{Service: dest.Service, Authority: dest.Authority()}, err)
		return
	}
	defer upstream.Close()
	relay.Raw(ctx, client, upstream)
}

func (p *Proxy) replayTLS(ctx context.Context, client net.Conn, dest Dest) {
	hello, client, err := peekHello(ctx, client, p.cfg.HandshakeTimeout)
	if err != nil {
		p.replayOpaque(ctx, client, dest, "not a TLS handshake: "+err.Error())
		return
	}
	if hello.ServerName != "" {
		dest.Name = hello.ServerName
	}
	if why, ok := p.wasOpaque(dest); ok {
		p.replayOpaque(ctx, client, dest, why)
		return
	}
	offered := httpProtocols(hello.SupportedProtos)
	if len(offered) == 0 && len(hello.SupportedProtos) > 0 {
		p.replayOpaque(ctx, client, dest, withoutHTTP(hello))
		return
	}
	authority := dest.Authority()
	down, err := p.serverHandshake(ctx, client, hello, dest, p.choose(authority, offered))
	if err != nil {
		return
	}
	defer down.Close()
	spoken, inner, err := sniffUntil(ctx, down)
	if errors.Is(err, io.EOF) {
		p.closed(dest)
		return
	}
	if err != nil {
		p.clientFailed(down, dest, err)
		return
	}
	agreed := protocol.ByALPN(down.ConnectionState().NegotiatedProtocol)
	if agreed == nil {
		agreed = spoken.http
	}
	if agreed == nil {
		// Its TLS ended here, so it can't pass through either.
		p.cfg.Notify(event.Notice{Kind: event.Opaque, Service: dest.Service, About: authority, Detail: "TLS without HTTP inside"})
		reset(inner)
		return
	}
	s := Stream{Service: dest.Service, Scheme: "https", Authority: authority, TLS: tlsVersion(down.ConnectionState().Version)}
	s.Forward = p.forwardTo(dest, s, hello.ServerName)
	p.answer(ctx, inner, agreed, s)
}

// choose is the one ALPN name to agree on: HTTP/2 for a client that offers it where
// the host ever spoke it, since servers that speak it prefer it; else what the
// host spoke, else the client's first. Answers are translated where a call was
// recorded in another protocol.
func (p *Proxy) choose(authority string, offered []string) []string {
	if p.cfg.Protocols != nil {
		recorded := p.cfg.Protocols(authority)
		for _, spoken := range protocol.All() {
			if slices.Contains(recorded, spoken.ALPN) && slices.Contains(offered, spoken.ALPN) {
				return []string{spoken.ALPN}
			}
		}
	}
	return offered[:min(1, len(offered))]
}

func (p *Proxy) answer(ctx context.Context, client net.Conn, spoken *protocol.Protocol, s Stream) {
	h := p.cfg.Replay(s)
	if err := spoken.Serve(ctx, client, h); errors.Is(err, httpstream.ErrMalformed) {
		p.cfg.Notify(event.Notice{Kind: event.Misused, Service: s.Service, About: s.Authority, Detail: err.Error()})
	}
}
