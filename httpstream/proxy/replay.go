package proxy

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// replay answers a connection from the tape.
func (p *Proxy) replay(ctx context.Context, client net.Conn, dest Dest) {
	authority := dest.Authority()
	if p.cfg.Unreachable != nil && p.cfg.Unreachable(dest.Service, authority) {
		reset(client)
		return
	}
	proto, client, err := sniffUntil(ctx, client)
	if err != nil {
		reset(client)
		return
	}
	switch proto {
	case tlsHello:
		p.replayTLS(ctx, client, dest)
	case http1, http2:
		p.answer(ctx, client, proto, Stream{Service: dest.Service, Scheme: "http", Authority: authority})
	default:
		p.replayOpaque(ctx, client, dest, "not HTTP")
	}
}

// sniffUntil is sniffClient, cut off when ctx ends.
func sniffUntil(ctx context.Context, client net.Conn) (protocol, net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { client.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return sniffClient(client)
}

// replayOpaque refuses what no tape can answer, or lets it pass where that was asked for.
func (p *Proxy) replayOpaque(ctx context.Context, client net.Conn, dest Dest, why string) {
	p.cfg.Notify(Notice{Kind: Opaque, Service: dest.Service, Authority: dest.Authority(), Detail: why})
	if !p.cfg.Passthrough || p.cfg.Dial == nil {
		reset(client)
		return
	}
	upstream, err := p.dial(ctx, dest)
	if err != nil {
		p.refused(client, dest, Stream{Service: dest.Service, Authority: dest.Authority()}, err)
		return
	}
	defer upstream.Close()
	httpstream.RelayRaw(ctx, client, upstream)
}

func (p *Proxy) replayTLS(ctx context.Context, client net.Conn, dest Dest) {
	client.SetDeadline(time.Now().Add(p.cfg.HandshakeTimeout))
	hello, client, err := mitmtls.PeekClientHello(client)
	client.SetDeadline(time.Time{})
	if err != nil {
		p.replayOpaque(ctx, client, dest, "not a TLS handshake: "+err.Error())
		return
	}
	if hello.ServerName != "" {
		dest.Name = hello.ServerName
	}
	offered := httpProtocols(hello.SupportedProtos)
	if len(offered) == 0 && len(hello.SupportedProtos) > 0 {
		p.replayOpaque(ctx, client, dest, "TLS for "+strings.Join(hello.SupportedProtos, ", ")+", without HTTP in its ALPN list")
		return
	}
	authority := dest.Authority()
	down, first, err := p.serverHandshake(ctx, client, hello, dest, p.choose(authority, offered))
	if err != nil {
		return
	}
	inner := withPrefix(down, first)
	s := Stream{Service: dest.Service, Scheme: "https", Authority: authority, TLS: tlsVersion(down.ConnectionState().Version)}
	proto := http1
	switch down.ConnectionState().NegotiatedProtocol {
	case "h2":
		proto = http2
	case "http/1.1":
	default:
		if proto, inner, err = sniffUntil(ctx, inner); err != nil {
			reset(inner)
			return
		}
	}
	if proto != http1 && proto != http2 {
		p.replayOpaque(ctx, inner, dest, "TLS without HTTP inside")
		return
	}
	p.answer(ctx, inner, proto, s)
}

// choose is the one ALPN name to agree on: the first that the host spoke when it
// was recorded and that the client offers, else the client's first.
func (p *Proxy) choose(authority string, offered []string) []string {
	if p.cfg.Protocols != nil {
		for _, recorded := range p.cfg.Protocols(authority) {
			if slices.Contains(offered, recorded) {
				return []string{recorded}
			}
		}
	}
	return offered[:min(1, len(offered))]
}

func (p *Proxy) answer(ctx context.Context, client net.Conn, proto protocol, s Stream) {
	h := p.cfg.Replay(s)
	if proto == http2 {
		httpstream.ServeHTTP2(ctx, client, h)
		return
	}
	httpstream.ServeHTTP1(ctx, client, h)
}
