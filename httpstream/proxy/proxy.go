// Package proxy accepts connections that were led to it, finds out what they
// speak, ends TLS where there is HTTP inside, and hands each exchange to a
// recorder or to a player. Where a connection wanted to go and how to get there
// are functions, so everything here runs without root, Docker or a kernel.
package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
	"github.com/wiretape/wiretape/httpstream/replay"
)

// A Dest is where a connection wanted to go.
type Dest struct {
	Addr netip.AddrPort
	// Name is the DNS name that the client looked up to get Addr, if that is known.
	Name    string
	Service string
	// Internal marks a destination inside the project: it is relayed, never recorded.
	Internal bool
	// Via is for Dial: what it needs to reach Addr as the client would.
	Via any
}

// Authority is the destination as "host:port", by name where one is known.
func (d Dest) Authority() string {
	host := d.Name
	if host == "" {
		host = d.Addr.Addr().Unmap().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(d.Addr.Port())))
}

// A Stream describes one connection on which HTTP was found.
type Stream struct {
	Service   string
	Scheme    string // "http" or "https"
	Authority string // host:port, for requests that name none
	TLS       string // "1.3", or "" for plain text
	Reverse   bool   // the client addressed the proxy itself, not the recorded host
	// Forward, in replay, answers a request from the destination; nil where that
	// may not be. Its errors are those of replay.Forward.
	Forward replay.Forward
}

// Config is what all of a Proxy's connections share.
type Config struct {
	// Original tells where an accepted connection wanted to go; false closes it.
	Original func(net.Conn) (Dest, bool)
	// Divert serves a connection that its destination tells apart, such as DNS over
	// TCP; false leaves it to the proxy. May be nil.
	Divert func(context.Context, net.Conn, Dest) bool
	// Dial reaches a destination as the client would. Nil in replay.
	Dial func(context.Context, Dest) (net.Conn, error)
	// Leaf makes the certificate that a client is shown for a server name or address.
	Leaf func(ctx context.Context, serverName string) (*tls.Certificate, error)
	// Roots are what the service trusts upstream; nil means the system's.
	Roots func(service string) *x509.CertPool
	// Hosts limits what is recorded; nil records everything.
	Hosts *HostPolicy
	// KeepEncoding leaves the client's Accept-Encoding as it is.
	KeepEncoding bool
	// Record is told of what passes. In replay that is what Passthrough lets pass,
	// and it may be nil.
	Record func(Stream) httpstream.Sink
	// Failed is told of upstreams that can't be reached, in record.
	Failed func(Stream, time.Time, string)
	// Replay answers instead of the outside world. Without it, all is recorded.
	Replay func(Stream) httpstream.Handler
	// Protocols are the ALPN names that the host spoke in any recorded call.
	Protocols func(authority string) []string
	// Unreachable reports whether the recorded destination refused the service's connections.
	Unreachable func(service, authority string) bool
	// Opaque tells why a destination was relayed without being understood when the
	// tape was recorded. In replay it is refused at once, since its client may wait
	// for the server to speak first. May be nil.
	Opaque func(service, authority string) (why string, ok bool)
	// Passthrough lets go on to the real destination, in replay, what can't be
	// answered: a request that has Stream.Forward asked for, and what is not HTTP.
	Passthrough bool
	Notify      func(event.Notice)
	// HandshakeTimeout bounds TLS handshakes and dials; 0 means 30 s.
	HandshakeTimeout time.Duration
}

// A Proxy serves connections.
type Proxy struct {
	cfg Config

	mu     sync.Mutex
	unread map[*unreadConn]struct{} // connections that are not understood and not told of
	relays map[*func()]struct{}     // the catchUp of each relay that runs
}

// New returns a Proxy.
func New(cfg Config) *Proxy {
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = 30 * time.Second
	}
	if cfg.Notify == nil {
		cfg.Notify = func(event.Notice) {}
	}
	return &Proxy{cfg: cfg, unread: make(map[*unreadConn]struct{}), relays: make(map[*func()]struct{})}
}

// Serve handles the connections of l until ctx ends or l is closed. It then ends
// those that are left, and returns when the last of them is done.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	return p.serve(ctx, l, p.Handle)
}

// serve leaves it to handle to end when ctx does: only who reads from a connection
// knows what its end then means for what was recorded of it.
//
// Who accepted a connection serves it, and has another goroutine wait for the next one:
// the other way round, the connection would wait until nobody else is found to be there.
func (p *Proxy) serve(ctx context.Context, l net.Listener, handle func(context.Context, net.Conn)) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	over := make(chan struct{})
	var next func()
	next = func() {
		conn := accept(ctx, l)
		if conn == nil {
			close(over)
			return
		}
		defer conn.Close()
		wg.Go(next)
		handle(ctx, conn)
	}
	wg.Go(next)
	<-over
	return nil
}

// accept returns the next connection, or nil when ctx ends or l is closed.
func accept(ctx context.Context, l net.Listener) net.Conn {
	var pause time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			return conn
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
		// Out of file descriptors or memory: others' connections must end first.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// Handle serves one connection that was led to the proxy. It returns when the
// connection is done; the caller closes it.
func (p *Proxy) Handle(ctx context.Context, conn net.Conn) {
	dest, ok := p.cfg.Original(conn)
	if !ok {
		p.cfg.Notify(event.Notice{Kind: event.Stray, Detail: "from " + conn.RemoteAddr().String()})
		reset(conn)
		return
	}
	if p.cfg.Divert != nil && p.cfg.Divert(ctx, conn, dest) {
		return
	}
	if p.cfg.Replay != nil && !dest.Internal {
		p.replay(ctx, conn, dest)
		return
	}
	p.record(ctx, conn, dest)
}

// reset closes c so that its peer sees a refused or broken connection, not an orderly end.
func reset(c net.Conn) { transport.Reset(c, false) }

func tlsVersion(v uint16) string {
	return strings.TrimPrefix(tls.VersionName(v), "TLS ")
}
