package worker

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/agent/dns"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/netns"
)

// via is what a Dest needs to be dialled as the app would.
type via struct {
	netns uint64 // cookie of its network namespace
	pid   int
	peer  netip.Addr // the app's address, for when the process is gone already
}

// original tells where a connection that was led here wanted to go.
func (s *serving) original(conn net.Conn) (proxy.Dest, bool) {
	peer := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	origin, ok, err := s.redirect.Take(conn.LocalAddr().(*net.TCPAddr).AddrPort(), peer)
	if err != nil || !ok {
		return proxy.Dest{}, false
	}
	dst := netip.AddrPortFrom(origin.Dst.Addr().Unmap(), origin.Dst.Port())
	d := proxy.Dest{
		Addr: dst, Name: s.names.NameOf(dst.Addr()),
		Service: s.services[origin.CgroupID].Name,
		Via:     via{netns: origin.NetnsCookie, pid: int(origin.PID), peer: peer.Addr()},
	}
	// A service may be reached on a network that isn't the project's own.
	d.Internal = s.names.IsInternalAddr(dst.Addr())
	return d, true
}

// namespace opens the network namespace that a connection came from.
func (s *serving) namespace(ctx context.Context, v via) (*netns.NS, error) {
	ns, err := netns.Of(v.pid)
	if err == nil {
		return ns, nil
	}
	found, ferr := s.finder.ByAddr(ctx, v.peer)
	if ferr != nil {
		return nil, fmt.Errorf("the namespace of process %d: %w", v.pid, err)
	}
	return netns.Of(found.PID)
}

// dial connects from inside the app's network namespace: its routes, and what
// it may not reach, stay its own.
func (s *serving) dial(ctx context.Context, d proxy.Dest) (net.Conn, error) {
	v := d.Via.(via)
	if ns := s.recent.Get(v.netns); ns != nil {
		conn, err := ns.DialTCP(ctx, d.Addr)
		if err == nil {
			return conn, nil
		}
		if !errors.Is(err, os.ErrClosed) {
			return nil, err
		}
	}
	ns, err := s.namespace(ctx, v)
	if err != nil {
		return nil, err
	}
	if !s.recent.Keep(v.netns, ns) {
		defer ns.Close()
	}
	conn, err := ns.DialTCP(ctx, d.Addr)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// divert serves DNS over TCP.
func (s *serving) divert(ctx context.Context, conn net.Conn, d proxy.Dest) bool {
	if d.Addr.Port() != 53 {
		return false
	}
	srv := *s.dns
	srv.Forward = func(ctx context.Context, _ netip.AddrPort, _ string, query []byte) ([]byte, error) {
		up, err := s.dial(ctx, d)
		if err != nil {
			return nil, err
		}
		return dns.Exchange(ctx, up, "tcp", query)
	}
	peer := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	srv.ServeTCP(ctx, conn, peer)
	return true
}

func (s *serving) rootPools() (func(string) *x509.CertPool, error) {
	pools := make(map[string]*x509.CertPool)
	for _, svc := range s.start.Services {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(svc.Roots))
		if s.start.UpstreamCA != "" && !pool.AppendCertsFromPEM([]byte(s.start.UpstreamCA)) {
			return nil, errors.New("--upstream-ca has no certificate in PEM form")
		}
		pools[svc.Name] = pool
	}
	return func(service string) *x509.CertPool { return pools[service] }, nil
}

const untrustedNext = "the client does not trust wiretape's certificate: wiretape help troubleshooting a-client-rejects-the-certificate says what to do"

// notify tells the user what the proxy noticed.
func (s *serving) notify(n event.Notice) {
	if n.Kind == event.Stray {
		s.out.Send(agent.FromAgent{Log: &agent.Log{Level: "debug", Message: "closed a connection that was not led here, " + n.Detail}})
		return
	}
	switch {
	case n.Kind == event.Untrusted:
		n.Next = untrustedNext
	case n.Cause == event.PrivateRoot:
		n.Next = "if upstream's certificate is signed by a private root, give it with --upstream-ca FILE"
	case n.Kind == event.Opaque:
		s.job.notUnderstood(n)
	}
	s.out.Notice(n)
}

// forwardDNS asks the resolver that the asker meant, from the asker's namespace:
// Docker's own resolver exists only there.
func (s *serving) forwardDNS(ctx context.Context, asker netip.AddrPort, network string, query []byte) ([]byte, error) {
	found, err := s.finder.ByAddr(ctx, asker.Addr().Unmap())
	if err != nil {
		return nil, err
	}
	cookie, err := found.NS.Cookie()
	if err != nil {
		return nil, err
	}
	origin, ok, err := s.redirect.UDPOrigin(cookie, asker.Port())
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, dns.ErrNoResolver
	}
	conn, err := found.NS.DialUDP(netip.AddrPort{}, origin.Dst)
	if err != nil {
		return nil, err
	}
	return dns.Exchange(ctx, conn, "udp", query)
}
