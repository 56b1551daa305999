// Package worker is the half of the agent that the app's connections are led to: the
// proxy, which records or plays, and the DNS server.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wiretape/wiretape/bpf"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/agent/dns"
	"github.com/wiretape/wiretape/compose/agent/runner"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/netns"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// recentFor is how long the network namespace of an app that connects to nobody is kept
// open: not much longer than its container may be.
const recentFor = 10 * time.Second

// serving is the worker's state once the session began.
type serving struct {
	start    *agent.Start
	out      *agent.LineWriter
	redirect *bpf.Maps
	live     io.Closer // see bpf.Maps.Live
	finder   *netns.Finder
	recent   *netns.Recent
	names    *dns.Names
	dns      *dns.Server
	services map[uint64]agent.Service // by cgroup ID
	proxy    *proxy.Proxy
	job      job
	cases    *runner.Clock
	known    *runner.Correlation // its
	ended    bool                // the recording or the playing
	ports    []servicePort

	ctx    context.Context // ends with the session
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// A job is what differs between record and replay.
type job interface {
	// configure adds to the proxy's configuration.
	configure(*proxy.Config)
	// recordCases records what a client asks at a service's published port, nil where
	// that is not recorded.
	recordCases(port int) func(proxy.Stream) httpstream.Sink
	// notUnderstood takes what of a connection was not read.
	notUnderstood(event.Notice)
	// runCases sends cases of the tape.
	runCases(*agent.Run) error
	// afterCase is how long it goes on after the last case.
	afterCase() time.Duration
	// close ends the recording or the playing, and sends what is held.
	close(context.Context) error
}

// Run is the proxy process of the agent. It ends when the guard closes stdin.
func Run(ctx context.Context, version string, stdin io.Reader, stdout io.Writer) error {
	out := &agent.LineWriter{W: stdout}
	issuer, err := mitmtls.NewIssuer()
	if err != nil {
		return fmt.Errorf("make the intermediate's key: %w", err)
	}
	csr, err := issuer.CSR()
	if err != nil {
		return fmt.Errorf("make the certificate request: %w", err)
	}
	if err := out.Send(agent.FromAgent{Hello: &agent.Hello{Version: version, CSR: string(csr)}}); err != nil {
		return err
	}
	var s *serving
	defer func() {
		if s != nil {
			s.shutdown()
		}
	}()
	r := agent.NewLineReader(stdin)
	for {
		line, err := r.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				if s != nil && s.start.Mode == agent.Record {
					s.stop() // the CLI is gone: what is held is kept by the guard
				}
				return nil
			}
			return err
		}
		var m agent.ToAgent
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("a line from the CLI: %w", err)
		}
		switch {
		case m.Start != nil:
			if s, err = begin(ctx, m.Start, issuer, out); err != nil {
				out.Send(agent.FromAgent{Fatal: &event.Problem{Kind: event.Environment, Err: err}})
				return err
			}
			out.Raw([]byte(agent.ReadyLine))
		case s == nil:
			return errors.New("the CLI asked for something before start")
		case m.Stop:
			s.stop()
		case m.Run != nil:
			s.wg.Go(func() { out.Send(agent.FromAgent{ID: m.ID, Reply: s.runCases(m.Run)}) })
		default:
			out.Send(agent.FromAgent{ID: m.ID, Reply: s.request(&m)})
		}
	}
}

func begin(ctx context.Context, start *agent.Start, issuer *mitmtls.Issuer, out *agent.LineWriter) (*serving, error) {
	f := os.NewFile(agent.GuardFD, "guard")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("the guard's socket: %w", err)
	}
	defer conn.Close()
	files, err := agent.ReceiveFiles(conn.(*net.UnixConn))
	if err != nil {
		return nil, err
	}
	redirect, err := bpf.FromFiles(files)
	if err != nil {
		return nil, err
	}
	if err := issuer.Use([]byte(start.Chain)); err != nil {
		return nil, fmt.Errorf("the intermediate certificate: %w", err)
	}
	out.Redact = tape.NewRedactor(start.Redact)
	ctx, cancel := context.WithCancel(ctx)
	s := &serving{
		start: start, out: out, redirect: redirect, ctx: ctx, cancel: cancel,
		finder:   netns.NewFinder(filepath.Join(agent.CgroupDir, start.Cgroup)),
		recent:   netns.NewRecent(recentFor),
		services: make(map[uint64]agent.Service), known: runner.NewCorrelation(start.Correlate),
	}
	s.cases = runner.NewClock(s.known)
	if err := s.prepare(ctx, issuer); err != nil {
		s.shutdown()
		return nil, err
	}
	// From here on the kernel knows when this process is gone.
	if s.live, err = redirect.Live(); err != nil {
		s.shutdown()
		return nil, err
	}
	return s, nil
}

func (s *serving) prepare(ctx context.Context, issuer *mitmtls.Issuer) error {
	roots, err := s.rootPools()
	if err != nil {
		return err
	}
	var exclude []netip.Prefix
	for _, c := range s.start.Exclude {
		p, err := agent.ParsePrefix(c)
		if err != nil {
			return err
		}
		exclude = append(exclude, p)
	}
	for _, svc := range s.start.Services {
		id, err := bpf.CgroupID(filepath.Join(agent.CgroupDir, svc.Cgroup))
		if err != nil {
			return err
		}
		s.services[id] = svc
	}
	hosts, err := proxy.ParseHosts(s.start.Hosts)
	if err != nil {
		return err
	}
	if err := s.newJob(exclude); err != nil {
		return err
	}
	s.dns.Forward, s.dns.Health = s.forwardDNS, s.dnsHealth
	cfg := proxy.Config{
		Original: s.original, Divert: s.divert, Dial: s.dial, Leaf: issuer.Leaf, Roots: roots,
		Hosts: hosts, KeepEncoding: s.start.KeepEncoding, Notify: s.notify,
	}
	s.job.configure(&cfg)
	s.proxy = proxy.New(cfg)
	return s.listen(ctx)
}

func (s *serving) newJob(exclude []netip.Prefix) error {
	if s.start.Mode == agent.Record {
		s.names = dns.NewNames(s.start.Names, nil, exclude)
		s.dns = dns.NewServer(dns.Resolver, s.names)
		s.job = newRecordJob(s)
		return nil
	}
	e, recorded, err := newReplayJob(s)
	if err != nil {
		return err
	}
	s.job = e
	s.names = dns.NewNames(s.start.Names, recorded, exclude)
	source := dns.Tape
	if s.start.OnMiss.Open() {
		source = dns.ResolverThenTape
	}
	s.dns = dns.NewServer(source, s.names)
	s.dns.Keep = e.keepName()
	return nil
}

// listen opens every port before the hooks are attached, so that the first
// connection finds somebody there.
func (s *serving) listen(ctx context.Context) error {
	for _, port := range agent.TCPPorts() {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: int(port)})
		if err != nil {
			return err
		}
		s.serve(ctx, fmt.Sprintf("port %d of the proxy", port), func() error { return s.proxy.Serve(ctx, l) })
	}
	// One socket an address, so that an answer leaves from where it was asked.
	seen := make(map[string]bool)
	for _, svc := range s.start.Services {
		for _, addr := range []string{svc.AgentIPv4, svc.AgentIPv6} {
			if addr == "" || seen[addr] {
				continue
			}
			seen[addr] = true
			conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(addr), Port: agent.DNSPort})
			if err != nil {
				return fmt.Errorf("the DNS server's port: %w", err)
			}
			s.wg.Go(func() { s.dns.ServeUDP(ctx, conn) })
		}
	}
	for _, in := range s.start.Ingress {
		if err := s.listenIngress(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

func (s *serving) listenIngress(ctx context.Context, in agent.Ingress) error {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: in.Listen})
	if err != nil {
		return fmt.Errorf("the port for %s: %w", in.Published, err)
	}
	var dir string
	for _, svc := range s.start.Services {
		if svc.Name == in.Service {
			dir = filepath.Join(agent.CgroupDir, svc.Cgroup)
		}
	}
	if dir == "" {
		l.Close()
		return fmt.Errorf("the port %s is for the service %s, which the agent does not know", in.Published, in.Service)
	}
	d := &serviceDialer{dir: dir, port: in.Port}
	s.ports = append(s.ports, servicePort{in, d})
	ingress := proxy.Ingress{Service: in.Service, Published: in.Published, Dial: d.dial, Record: s.job.recordCases(in.Port)}
	s.serve(ctx, "the port for "+in.Published, func() error { return s.proxy.ServeIngress(ctx, l, ingress) })
	return nil
}

// runCases sends cases, and returns the reply to the request.
func (s *serving) runCases(m *agent.Run) *agent.Reply {
	if err := s.job.runCases(m); err != nil {
		return &agent.Reply{Error: err.Error()}
	}
	return &agent.Reply{}
}

// serve runs a server until ctx ends.
func (s *serving) serve(ctx context.Context, what string, run func() error) {
	s.wg.Go(func() {
		err := run()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = net.ErrClosed
		}
		s.serverEnded(fmt.Errorf("%s has ended: %w", what, err))
	})
}

// serverEnded ends the session for a server that ended before it: the app would go on
// without it, and nobody would know.
func (s *serving) serverEnded(err error) {
	_ = s.out.Send(agent.FromAgent{Fatal: &event.Problem{Kind: event.Environment, Err: err, Next: "start the session again; if it happens again, report it with the output of --debug"}})
}

// dnsHealth takes what keeps the DNS server from answering.
func (s *serving) dnsHealth(err error) {
	if loop := (*dns.LoopError)(nil); errors.As(err, &loop) {
		s.serverEnded(err)
		return
	}
	s.out.Notice(event.Notice{Kind: event.Failed, Detail: err.Error()})
}

func (s *serving) request(m *agent.ToAgent) *agent.Reply {
	switch {
	case m.Listening != nil:
		for _, svc := range s.start.Services {
			if svc.Name != m.Listening.Service {
				continue
			}
			cs, err := containersOf(filepath.Join(agent.CgroupDir, svc.Cgroup))
			if err != nil {
				return &agent.Reply{Error: err.Error()}
			}
			reply := &agent.Reply{}
			for _, c := range cs {
				if ports, err := listening(c.pid); err == nil {
					reply.Ports = append(reply.Ports, ports)
				}
			}
			return reply
		}
		return &agent.Reply{Error: "no such service: " + m.Listening.Service}
	case m.Exclude != nil:
		for _, c := range m.Exclude {
			if p, err := agent.ParsePrefix(c); err == nil {
				s.names.AddExclude(p)
			}
		}
		return &agent.Reply{}
	case m.Case != nil:
		s.cases.Set(*m.Case)
		return &agent.Reply{}
	}
	return &agent.Reply{Error: "unknown request"}
}

// stopTimeout bounds how long the agent works at what it holds when a session ends.
const stopTimeout = 20 * time.Second

// linger waits for what the app does behind the last case's answer.
func (s *serving) linger() {
	ago, ok := s.cases.SinceCase()
	left := s.job.afterCase() - ago
	if !ok || left <= 0 {
		return
	}
	select {
	case <-time.After(left):
	case <-s.ctx.Done():
	}
}

// stop ends the recording; connections go on, unrecorded.
func (s *serving) stop() {
	if s.ended {
		return
	}
	s.ended = true
	s.linger()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	s.proxy.CatchUp()
	s.proxy.TellUnread()
	if err := s.job.close(ctx); err != nil {
		s.out.Notice(event.Notice{Kind: event.Failed, Detail: err.Error()})
	}
	s.out.Send(agent.FromAgent{Stopped: true})
}

func (s *serving) shutdown() {
	if s.live != nil {
		s.live.Close()
	}
	s.cancel()
	s.wg.Wait()
	s.finder.Close()
	s.recent.Close()
	s.redirect.Close()
}
