package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
	"github.com/wiretape/wiretape/httpstream/protocol"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// ServeExplicit serves clients that know of the proxy, on one port: as a
// forward proxy (absolute-form requests and CONNECT, RFC 9110 section 9.3.6) and,
// for requests addressed to the proxy itself, as a reverse proxy for upstream.
// upstream may be nil; in replay it isn't used.
func (p *Proxy) ServeExplicit(ctx context.Context, l net.Listener, upstream *url.URL) error {
	return p.serve(ctx, l, func(ctx context.Context, conn net.Conn) {
		p.explicit(ctx, conn, upstream)
	})
}

func (p *Proxy) explicit(ctx context.Context, client net.Conn, upstream *url.URL) {
	peer := client.RemoteAddr().String()
	spoken, client, err := sniffUntil(ctx, client)
	if err != nil {
		return
	}
	switch spoken.kind {
	case knownHTTP:
		if !spoken.http.Forwards {
			break
		}
		target, rest, err := connectTarget(ctx, client)
		if err != nil {
			fmt.Fprintf(client, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nwiretape: %v\n", err)
			return
		}
		if target != nil {
			p.tunnel(ctx, rest, *target)
			return
		}
		client = rest
	case tlsHello:
		p.cfg.Notify(event.Notice{Kind: event.Misused, About: peer, Detail: "the client speaks TLS to the proxy's own port: the proxy's URL begins with http://, also for https servers"})
		reset(client)
		return
	default:
		p.cfg.Notify(event.Notice{Kind: event.Misused, About: peer, Detail: "the client does not speak HTTP"})
		reset(client)
		return
	}
	if p.cfg.Replay != nil {
		p.answer(ctx, client, spoken.http, Stream{Scheme: "http", Reverse: true})
		return
	}
	if spoken.http.Forwards {
		p.forwardEach(ctx, client, spoken.http, upstream)
		return
	}
	p.reverse(ctx, client, spoken.http, upstream)
}

// maxConnectHead bounds the head of a CONNECT request, in bytes.
const maxConnectHead = 64 << 10

// connectTarget reads the head of a CONNECT request, if there is one on conn.
// The connection that it returns reads what follows, or the request itself if it isn't one.
func connectTarget(ctx context.Context, conn net.Conn) (*Dest, net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })
	defer stop()
	const method = "CONNECT "
	var got []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if len(got) >= len(method) && !bytes.HasPrefix(got, []byte(method)) {
			return nil, transport.WithPrefix(conn, got), nil
		}
		if end := bytes.Index(got, []byte("\r\n\r\n")); end >= 0 {
			target, _, _ := strings.Cut(string(got[len(method):end]), " ")
			dest, err := parseAuthority(target, "")
			return &dest, transport.WithPrefix(conn, got[end+4:]), err
		}
		if err != nil {
			return nil, transport.WithPrefix(conn, got), nil
		}
		if len(got) > maxConnectHead {
			return nil, conn, errors.New("the CONNECT request's head is too long")
		}
	}
}

// parseAuthority reads "host:port"; defaultPort is for a host alone.
func parseAuthority(s, defaultPort string) (Dest, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if defaultPort == "" {
			return Dest{}, fmt.Errorf("%.80q is not host:port", s)
		}
		host, port = strings.Trim(s, "[]"), defaultPort
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" || strings.ContainsAny(host, " /@?#[]") {
		return Dest{}, fmt.Errorf("%.80q is not host:port", s)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return Dest{Addr: netip.AddrPortFrom(addr, uint16(n))}, nil
	}
	if strings.Contains(host, ":") {
		return Dest{}, fmt.Errorf("%.80q is not host:port", s)
	}
	return Dest{Name: strings.ToLower(host), Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(n))}, nil
}

// tunnel serves what a client sends through CONNECT as if it had been led here.
func (p *Proxy) tunnel(ctx context.Context, client net.Conn, dest Dest) {
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
		return
	}
	if p.cfg.Replay != nil {
		p.replay(ctx, client, dest)
		return
	}
	p.record(ctx, client, dest)
}

// An originSink tells a recorder the origin that a request was meant for, where
// the client addressed the proxy.
type originSink struct {
	httpstream.Sink
	authority string
}

// Request implements httpstream.Sink.
func (s originSink) Request(at time.Time, head *httpstream.RequestHead) httpstream.Exchange {
	h := *head
	h.Authority = s.authority
	return s.Sink.Request(at, &h)
}

// A schemeSink records absolute-form requests under their own scheme.
type schemeSink struct {
	p *Proxy
}

// Request implements httpstream.Sink.
func (s schemeSink) Request(at time.Time, head *httpstream.RequestHead) httpstream.Exchange {
	st := Stream{Scheme: "http", Authority: head.Authority}
	if u, err := url.Parse(head.Target); err == nil && u.IsAbs() {
		if !s.p.wanted(u) {
			return httpstream.Discard{}
		}
		st.Scheme, st.Authority = strings.ToLower(u.Scheme), u.Host
	}
	return s.p.cfg.Record(st).Request(at, head)
}

// wanted reports whether the hosts to record include an origin.
func (p *Proxy) wanted(origin *url.URL) bool {
	dest, err := originDest(origin)
	return err != nil || p.cfg.Hosts.Match(dest.Name, dest.Addr)
}

// forwardEach relays each request to the origin that it names, or to upstream.
func (p *Proxy) forwardEach(ctx context.Context, client net.Conn, spoken *protocol.Protocol, upstream *url.URL) {
	var current net.Conn
	var currentOrigin string
	var host atomic.Pointer[url.URL] // of the origin that is asked
	opt := relay.Options{
		Upstream: func(ctx context.Context, head *httpstream.RequestHead) (net.Conn, error) {
			origin, err := requestOrigin(head, upstream)
			if err != nil {
				return nil, err
			}
			key := origin.Scheme + "://" + origin.Host
			if current != nil && key == currentOrigin {
				return current, nil
			}
			conn, _, err := p.dialOrigin(ctx, origin, spoken.ALPN)
			if err != nil {
				p.cfg.Notify(unreachable("", origin.Host, err))
				return nil, fmt.Errorf("can't reach %.200s: %s", key, dialError(err))
			}
			// The relay closes the connection before this one once its answers are in.
			current, currentOrigin = conn, key
			host.Store(origin)
			return conn, nil
		},
		RewriteRequest: func(head *httpstream.RequestHead) {
			p.rewriteForward(head, upstream)
		},
	}
	var sink httpstream.Sink = schemeSink{p}
	if upstream != nil {
		sink = explicitSink{reverse: p.reverseSink(upstream), forward: sink}
	}
	unread := p.watchUnread(&opt, func() (string, string, bool) {
		if origin := host.Load(); origin != nil {
			return "", origin.Host, p.wanted(origin)
		}
		return "", client.RemoteAddr().String(), true
	})
	defer unread.tell()
	_ = spoken.Relay(ctx, client, nil, opt, sink)
}

// An explicitSink tells requests to the proxy itself from those through it.
type explicitSink struct {
	reverse, forward httpstream.Sink
}

// Request implements httpstream.Sink.
func (s explicitSink) Request(at time.Time, head *httpstream.RequestHead) httpstream.Exchange {
	if isAbsolute(head.Target) {
		return s.forward.Request(at, head)
	}
	return s.reverse.Request(at, head)
}

func (p *Proxy) reverseSink(upstream *url.URL) httpstream.Sink {
	if !p.wanted(upstream) {
		return httpstream.Discard{}
	}
	s := Stream{Scheme: upstream.Scheme, Authority: upstream.Host}
	return originSink{p.cfg.Record(s), upstream.Host}
}

func isAbsolute(target string) bool {
	return strings.HasPrefix(strings.ToLower(target), "http://") || strings.HasPrefix(strings.ToLower(target), "https://")
}

// requestOrigin is the scheme and host that a request is for.
func requestOrigin(head *httpstream.RequestHead, upstream *url.URL) (*url.URL, error) {
	if isAbsolute(head.Target) {
		u, err := url.Parse(head.Target)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("the request's target %.80q is not a URL", head.Target)
		}
		return u, nil
	}
	if upstream == nil {
		return nil, errors.New("this request is addressed to the proxy itself: set http_proxy and https_proxy in the client, or start wiretape proxy record with --upstream URL")
	}
	return upstream, nil
}

// rewriteForward makes the request one for the origin (RFC 9112 sections 3.2.1 and 3.2.2).
func (p *Proxy) rewriteForward(head *httpstream.RequestHead, upstream *url.URL) {
	origin, err := requestOrigin(head, upstream)
	if err != nil {
		return // it is refused
	}
	if !p.cfg.KeepEncoding && p.wanted(origin) {
		AskForIdentity(head)
	}
	if isAbsolute(head.Target) {
		head.Target = httpstream.OriginForm(head.Method, head.Target)
	}
	setHost(head, origin.Host)
	fields := head.Header[:0:0]
	for _, f := range head.Header {
		if !strings.EqualFold(f.Name, "Proxy-Connection") && !strings.EqualFold(f.Name, "Proxy-Authorization") {
			fields = append(fields, f)
		}
	}
	head.Header = fields
}

// setHost has the request name host, in place of what it names now.
func setHost(head *httpstream.RequestHead, host string) {
	head.Authority = host
	if head.Scheme == "" && !head.Header.Has("Host") {
		head.Header = append(httpstream.Fields{{Name: "Host", Value: host}}, head.Header...)
		return
	}
	fields := make(httpstream.Fields, len(head.Header))
	copy(fields, head.Header)
	for i := range fields {
		if strings.EqualFold(fields[i].Name, "Host") {
			fields[i].Value = host
		}
	}
	head.Header = fields
}

// reverse relays a client that speaks to the proxy itself, and can't ask for other
// origins, to an upstream that speaks the same protocol.
func (p *Proxy) reverse(ctx context.Context, client net.Conn, spoken *protocol.Protocol, upstream *url.URL) {
	if upstream == nil {
		p.cfg.Notify(event.Notice{Kind: event.Misused, About: client.RemoteAddr().String(), Detail: "the client speaks " + spoken.Name + " in plain text to the proxy's own port, which needs --upstream URL"})
		reset(client)
		return
	}
	conn, alpn, err := p.dialOrigin(ctx, upstream, spoken.ALPN)
	if err == nil && upstream.Scheme == "https" && alpn != spoken.ALPN {
		conn.Close()
		err = fmt.Errorf("it doesn't speak %s, which the client asked for", spoken.Name)
	}
	if err != nil {
		p.cfg.Notify(unreachable("", upstream.Host, err))
		reset(client)
		return
	}
	defer conn.Close()
	opt := relay.Options{RewriteRequest: func(head *httpstream.RequestHead) {
		if !p.cfg.KeepEncoding && p.wanted(upstream) {
			AskForIdentity(head)
		}
		head.Scheme = upstream.Scheme
		setHost(head, upstream.Host)
	}}
	unread := p.watchUnread(&opt, func() (string, string, bool) { return "", upstream.Host, p.wanted(upstream) })
	defer unread.tell()
	_ = spoken.Relay(ctx, client, conn, opt, p.reverseSink(upstream))
}

// dialOrigin connects to an origin, with TLS for https, and tells the ALPN name agreed on.
func (p *Proxy) dialOrigin(ctx context.Context, origin *url.URL, alpn string) (net.Conn, string, error) {
	dest, err := originDest(origin)
	if err != nil {
		return nil, "", err
	}
	conn, err := p.dial(ctx, dest)
	if err != nil {
		return nil, "", err
	}
	if origin.Scheme != "https" {
		return conn, "", nil
	}
	secure, err := p.clientHandshake(ctx, conn, dest.Name, dest, []string{alpn})
	if err != nil {
		conn.Close()
		return nil, "", fmt.Errorf("TLS: %w", err)
	}
	return secure, secure.ConnectionState().NegotiatedProtocol, nil
}

func originDest(origin *url.URL) (Dest, error) {
	if origin.Scheme == "https" {
		return parseAuthority(origin.Host, "443")
	}
	return parseAuthority(origin.Host, "80")
}
