package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
	"github.com/wiretape/wiretape/httpstream/protocol"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// record relays a connection between a client and the destination that it
// wanted, and has the HTTP on it recorded.
func (p *Proxy) record(ctx context.Context, client net.Conn, dest Dest) {
	upstream, err := p.dial(ctx, dest)
	if err != nil {
		p.refused(ctx, client, dest, Stream{Service: dest.Service, Authority: dest.Authority()}, err)
		return
	}
	defer upstream.Close()
	if dest.Internal {
		relay.Raw(ctx, client, upstream)
		return
	}
	spoken, client, upstream, err := firstSpeaker(ctx, client, upstream)
	if err != nil && !errors.Is(err, io.EOF) {
		reset(client)
		return
	}
	switch spoken.kind {
	case tlsHello:
		p.recordTLS(ctx, client, upstream, dest)
	case knownHTTP:
		if !p.cfg.Hosts.Match(dest.Name, dest.Addr) {
			relay.Raw(ctx, client, upstream)
			return
		}
		p.relay(ctx, client, upstream, spoken.http, Stream{Service: dest.Service, Scheme: "http", Authority: dest.Authority()})
	case postgresTLS:
		p.relayOpaque(ctx, client, upstream, dest, "Postgres negotiates TLS itself")
	default:
		p.relayOpaque(ctx, client, upstream, dest, whyOpaque(client, upstream))
	}
}

// whyOpaque tells for people who spoke first. Only a peeked connection has bytes to show.
func whyOpaque(client, upstream net.Conn) string {
	if transport.HasPrefix(upstream) {
		return "the server spoke first"
	}
	if transport.HasPrefix(client) {
		return "not HTTP"
	}
	return ""
}

func (p *Proxy) dial(ctx context.Context, dest Dest) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.HandshakeTimeout)
	defer cancel()
	return p.cfg.Dial(ctx, dest)
}

// refused ends a connection whose upstream can't be had as the client would have seen it end.
func (p *Proxy) refused(ctx context.Context, client net.Conn, dest Dest, s Stream, err error) {
	// What the end of the session cut off did not fail.
	if ctx.Err() == nil && p.cfg.Hosts.Match(dest.Name, dest.Addr) && !dest.Internal {
		if p.cfg.Failed != nil {
			p.cfg.Failed(s, time.Now(), dialError(err))
		}
		p.cfg.Notify(unreachable(dest.Service, s.Authority, err))
	}
	reset(client)
}

// unreachable tells of an upstream that can't be had.
func unreachable(service, authority string, err error) event.Notice {
	n := event.Notice{Kind: event.Unreachable, Service: service, About: authority, Detail: dialError(err)}
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		n.Cause = event.PrivateRoot
	}
	return n
}

// dialError is the innermost reason, since addresses are said elsewhere.
func dialError(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return "timed out"
	}
	return err.Error()
}

func (p *Proxy) relayOpaque(ctx context.Context, client, upstream net.Conn, dest Dest, why string) {
	if why != "" && p.cfg.Hosts.Match(dest.Name, dest.Addr) {
		p.cfg.Notify(event.Notice{Kind: event.Opaque, Service: dest.Service, About: dest.Authority(), Detail: why})
	}
	relay.Raw(ctx, client, upstream)
}

// recordTLS shakes hands with upstream first, as the client asked, and shows the
// client what upstream chose.
func (p *Proxy) recordTLS(ctx context.Context, client, upstream net.Conn, dest Dest) {
	hello, client, err := peekHello(ctx, client, p.cfg.HandshakeTimeout)
	if err != nil {
		p.relayOpaque(ctx, client, upstream, dest, "not a TLS handshake: "+err.Error())
		return
	}
	if hello.ServerName != "" {
		dest.Name = hello.ServerName
	}
	if !p.cfg.Hosts.Match(dest.Name, dest.Addr) {
		relay.Raw(ctx, client, upstream)
		return
	}
	protos := httpProtocols(hello.SupportedProtos)
	if len(protos) == 0 && len(hello.SupportedProtos) > 0 {
		p.relayOpaque(ctx, client, upstream, dest, withoutHTTP(hello))
		return
	}
	s := Stream{Service: dest.Service, Scheme: "https", Authority: dest.Authority()}
	up, err := p.clientHandshake(ctx, upstream, hello.ServerName, dest, protos)
	if err != nil {
		p.refused(ctx, client, dest, s, fmt.Errorf("TLS with upstream: %w", err))
		return
	}
	defer up.Close()
	state := up.ConnectionState()
	s.TLS = tlsVersion(state.Version)
	var offer []string
	if state.NegotiatedProtocol != "" {
		offer = []string{state.NegotiatedProtocol}
	}
	down, err := p.serverHandshake(ctx, client, hello, dest, offer)
	if err != nil {
		return
	}
	p.recordInside(ctx, down, up, dest, s)
}

// recordInside relays what is inside TLS, once it is known what that is.
func (p *Proxy) recordInside(ctx context.Context, down, up *tls.Conn, dest Dest, s Stream) {
	var (
		spoken sniffed
		client net.Conn
		server net.Conn = up
		err    error
	)
	agreed := protocol.ByALPN(up.ConnectionState().NegotiatedProtocol)
	if agreed != nil && agreed.ServerBegins != nil {
		// Its server may speak first, and its client speaks unasked.
		spoken, client, err = sniffUntil(ctx, down)
	} else {
		spoken, client, server, err = firstSpeaker(ctx, down, up)
	}
	serverSpoke := transport.HasPrefix(server)
	switch {
	case errors.Is(err, io.EOF):
		if hasEnded(down) {
			p.closed(dest)
		}
		relay.Raw(ctx, client, server)
	case err != nil:
		p.clientFailed(down, dest, err)
	case agreed != nil && !serverSpoke:
		p.relay(ctx, client, server, agreed, s)
	case spoken.kind == knownHTTP:
		p.relay(ctx, client, server, spoken.http, s)
	default:
		p.relayOpaque(ctx, client, server, dest, "TLS without HTTP inside")
	}
}

func withoutHTTP(hello *tls.ClientHelloInfo) string {
	return "TLS for " + strings.Join(hello.SupportedProtos, ", ") + ", without HTTP in its ALPN list"
}

// httpProtocols is the client's ALPN list less what isn't recorded, in its order.
func httpProtocols(offered []string) []string {
	return slices.DeleteFunc(slices.Clone(offered), func(s string) bool {
		return protocol.ByALPN(s) == nil
	})
}

func (p *Proxy) clientHandshake(ctx context.Context, upstream net.Conn, serverName string, dest Dest, protos []string) (*tls.Conn, error) {
	var roots *x509.CertPool
	if p.cfg.Roots != nil {
		roots = p.cfg.Roots(dest.Service)
	}
	cfg := &tls.Config{
		ServerName: serverName,
		NextProtos: protos,
		RootCAs:    roots,
		// What is relayed is at hand: small records at the beginning would only be more writes.
		DynamicRecordSizingDisabled: true,
	}
	if serverName == "" {
		// The client sent no name, so none is sent; crypto/tls can then only be told
		// what to verify by doing it here.
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, c := range cs.PeerCertificates[1:] {
				opts.Intermediates.AddCert(c)
			}
			leaf := cs.PeerCertificates[0]
			if _, err := leaf.Verify(opts); err != nil {
				return err
			}
			byAddr := leaf.VerifyHostname(dest.Addr.Addr().Unmap().String())
			if byAddr != nil && dest.Name != "" {
				return leaf.VerifyHostname(dest.Name)
			}
			return byAddr
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.HandshakeTimeout)
	defer cancel()
	conn := tls.Client(transport.NewPollable(upstream), cfg)
	return conn, conn.HandshakeContext(ctx)
}

// serverHandshake ends the client's TLS. A TLS 1.3 client rejects a certificate
// only in what it sends after that: see clientFailed.
func (p *Proxy) serverHandshake(ctx context.Context, client net.Conn, hello *tls.ClientHelloInfo, dest Dest, offer []string) (*tls.Conn, error) {
	name := hello.ServerName
	if name == "" {
		name = dest.Addr.Addr().Unmap().String()
		if dest.Addr.Addr().IsUnspecified() {
			name = dest.Name // through CONNECT, which names no address
		}
	}
	cert, err := p.cfg.Leaf(ctx, name)
	if err != nil {
		p.cfg.Notify(event.Notice{Kind: event.Unreachable, Service: dest.Service, About: dest.Authority(), Detail: "making a certificate: " + err.Error()})
		reset(client)
		return nil, err
	}
	conn := tls.Server(&alertConn{Conn: client}, &tls.Config{
		Certificates: []tls.Certificate{*cert}, NextProtos: offer,
		DynamicRecordSizingDisabled: true, // as upstream
	})
	hctx, cancel := context.WithTimeout(ctx, p.cfg.HandshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(hctx); err != nil {
		p.clientFailed(conn, dest, err)
		return nil, err
	}
	return conn, nil
}

// clientFailed resets a client whose TLS failed, and says so if it rejected our certificate.
func (p *Proxy) clientFailed(client net.Conn, dest Dest, err error) {
	why, ok := rejected(err)
	if c, secure := client.(*tls.Conn); !ok && secure {
		if below, seen := c.NetConn().(*alertConn); seen {
			why, ok = rejected(below.alert())
		}
	}
	switch {
	case ok:
		p.cfg.Notify(event.Notice{Kind: event.Untrusted, Service: dest.Service, About: dest.Authority(), Detail: why})
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		p.closed(dest)
	}
	reset(client)
}

// closed tells of a client that went away after our certificate without a request
// or an alert. It may have changed its mind, but some, as those of GnuTLS, reject a
// certificate like that.
func (p *Proxy) closed(dest Dest) {
	p.cfg.Notify(event.Notice{Kind: event.Closed, Service: dest.Service, About: dest.Authority()})
}

// hasEnded reports whether a connection was found ended before; it does not wait.
func hasEnded(conn *tls.Conn) bool {
	_ = conn.SetReadDeadline(past)
	defer func() { _ = conn.SetReadDeadline(time.Time{}) }()
	_, err := conn.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// rejected reports whether err is a client's alert about our certificate
// (RFC 8446 section 6.2).
func rejected(err error) (string, bool) {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		why := strings.TrimPrefix(op.Err.Error(), "tls: ")
		for _, alert := range []string{"certificate", "decrypt", "access denied", "handshake failure"} {
			if strings.Contains(why, alert) {
				return why, true
			}
		}
	}
	return "", false
}

// relay relays HTTP and records it.
func (p *Proxy) relay(ctx context.Context, client, upstream net.Conn, spoken *protocol.Protocol, s Stream) {
	opt := relay.Options{}
	if !p.cfg.KeepEncoding {
		opt.RewriteRequest = AskForIdentity
	}
	sink := p.cfg.Record(s)
	unread := p.watchUnread(&opt, func() (string, string, bool) { return s.Service, s.Authority, true })
	defer unread.tell()
	_ = spoken.Relay(ctx, client, upstream, opt, sink)
}

// AskForIdentity has upstream answer uncompressed (RFC 9110 section 12.5.3), so
// that a tape can be read and redacted.
func AskForIdentity(head *httpstream.RequestHead) {
	if !head.Header.Has("Accept-Encoding") {
		return
	}
	fields := make(httpstream.Fields, 0, len(head.Header))
	done := false
	for _, f := range head.Header {
		if strings.EqualFold(f.Name, "Accept-Encoding") {
			if done {
				continue
			}
			done = true
			f.Value = "identity"
		}
		fields = append(fields, f)
	}
	head.Header = fields
}
