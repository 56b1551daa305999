// Package dns answers the DNS queries of the app: from the resolver that they were meant
// for, or from the tape.
package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	timeout = 5 * time.Second
	// outsideTimeout leaves time to answer from the tape before an asker gives
	// up, which is after 5 s as a rule (resolv.conf(5)).
	outsideTimeout = 2 * time.Second
	// maxMessage is the longest message: TCP's length prefix has 16 bits (RFC 1035 section 4.2.2).
	maxMessage = 64 << 10
	// ttl is short, so that a resolver's cache does not outlive a session; in seconds.
	ttl = 60
	// maxInFlight bounds the queries that wait for the real resolver.
	maxInFlight = 512
)

// A Source is where the answers to queries for names outside the project come from.
type Source int

const (
	// Resolver is the one that a query was meant for.
	Resolver Source = iota
	// Tape is what was recorded; a name that is not there gets a made-up address.
	Tape
	// ResolverThenTape is the tape where the resolver does not know the name, or does
	// not answer.
	ResolverThenTape
)

// A Server answers the app's DNS queries.
type Server struct {
	source Source
	names  *Names
	// Forward sends a query to the resolver that the asker meant, from where it meant it.
	Forward func(ctx context.Context, asker netip.AddrPort, network string, query []byte) ([]byte, error)
	// Keep is told of every answer from outside; nil where nothing is recorded.
	Keep func(tape.Name)
	// Unresolved is told of every query for a name outside that no resolver could
	// answer; may be nil.
	Unresolved func(name, why string)
	// Health is told what keeps the server from answering: a *LoopError, or once
	// ErrOverloaded. It may be nil.
	Health     func(error)
	slot       chan struct{}
	overloaded *sync.Once
}

// NewServer returns a server whose Forward is to be set.
func NewServer(source Source, names *Names) *Server {
	return &Server{source: source, names: names, slot: make(chan struct{}, maxInFlight), overloaded: &sync.Once{}}
}

// A LoopError is the end of a loop that answers queries, before its context ended.
type LoopError struct {
	At  net.Addr // where nobody answers any more
	Err error
}

func (e *LoopError) Error() string {
	return fmt.Sprintf("the DNS server at %v has ended: %v", e.At, e.Err)
}
func (e *LoopError) Unwrap() error { return e.Err }

// ErrOverloaded is for queries that get no answer, because too many wait for theirs.
var ErrOverloaded = fmt.Errorf("more than %d DNS queries wait for their resolver; further ones get no answer", maxInFlight)

func (s *Server) unhealthy(err error) {
	if s.Health != nil {
		s.Health(err)
	}
}

// ServeUDP answers queries until ctx ends, which closes conn.
func (s *Server) ServeUDP(ctx context.Context, conn *net.UDPConn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	buf := make([]byte, maxMessage)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if ctx.Err() == nil {
				s.unhealthy(&LoopError{At: conn.LocalAddr(), Err: err})
			}
			return
		}
		query := append([]byte(nil), buf[:n]...)
		select {
		case s.slot <- struct{}{}:
		default: // as any overloaded resolver: the app asks again
			s.overloaded.Do(func() { s.unhealthy(ErrOverloaded) })
			continue
		}
		wg.Go(func() {
			defer func() { <-s.slot }()
			if answer := s.answer(ctx, from, "udp", query); answer != nil {
				_, _ = conn.WriteToUDPAddrPort(answer, from)
			}
		})
	}
}

// ServeTCP answers the queries of one connection (RFC 7766).
func (s *Server) ServeTCP(ctx context.Context, conn net.Conn, from netip.AddrPort) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	for {
		conn.SetDeadline(time.Now().Add(2 * timeout))
		query, err := readMessage(conn)
		if err != nil {
			return
		}
		answer := s.answer(ctx, from, "tcp", query)
		if answer == nil || writeMessage(conn, answer) != nil {
			return
		}
	}
}

func readMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

func writeMessage(w io.Writer, msg []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return err
}

// answer returns nil where the asker gets no answer, as from a resolver that is down.
func (s *Server) answer(ctx context.Context, from netip.AddrPort, network string, query []byte) []byte {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil || header.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return refuse(header, nil, dnsmessage.RCodeFormatError)
	}
	name := canonicalName(q.Name.String())
	if s.source != Resolver && !s.names.isInternal(name) {
		if s.source == ResolverThenTape {
			if answer := s.fromOutside(ctx, from, network, q, name, query); answer != nil {
				return answer
			}
		}
		answer := s.fromTape(header, q, name)
		if network == "udp" && len(answer) > udpSize(&p) {
			return truncated(header, q)
		}
		return answer
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := s.Forward(ctx, from, network, query)
	if err != nil {
		timedOut := errors.Is(err, context.DeadlineExceeded)
		switch {
		case errors.Is(err, context.Canceled):
		case timedOut:
			s.failed(q, name, "timed out")
		default:
			s.failed(q, name, err.Error())
		}
		if timedOut {
			return nil
		}
		return refuse(header, &q, dnsmessage.RCodeServerFailure)
	}
	return s.keepAnswer(q, name, answer)
}

// failed tells of a query that no resolver could answer, which the app finds in a
// test as it was.
func (s *Server) failed(q dnsmessage.Question, name, why string) {
	if s.names.isInternal(name) {
		return
	}
	if s.Keep != nil {
		s.Keep(tape.Name{Name: name, Type: typeName(q.Type), RCode: rcodeName(dnsmessage.RCodeServerFailure)})
	}
	if s.Unresolved != nil {
		s.Unresolved(name, why)
	}
}

// fromOutside returns the resolver's answer; nil where it has none, or says that
// there is no such name.
func (s *Server) fromOutside(ctx context.Context, from netip.AddrPort, network string, q dnsmessage.Question, name string, query []byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, outsideTimeout)
	defer cancel()
	answer, err := s.Forward(ctx, from, network, query)
	if err != nil {
		return nil
	}
	var p dnsmessage.Parser
	if header, err := p.Start(answer); err != nil || header.RCode != dnsmessage.RCodeSuccess {
		return nil
	}
	return s.keepAnswer(q, name, answer)
}

func refuse(h dnsmessage.Header, q *dnsmessage.Question, code dnsmessage.RCode) []byte {
	m := dnsmessage.Message{Header: replyHeader(h, code)}
	if q != nil {
		m.Questions = []dnsmessage.Question{*q}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// truncated has the asker ask again over TCP (RFC 1035 section 4.2.1).
func truncated(h dnsmessage.Header, q dnsmessage.Question) []byte {
	m := dnsmessage.Message{Header: replyHeader(h, dnsmessage.RCodeSuccess), Questions: []dnsmessage.Question{q}}
	m.Truncated = true
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// udpSize is how long an answer over UDP the asker takes, in bytes: 512, or what
// the OPT record of its query says (RFC 6891 section 6.2.3). One question of p was read.
func udpSize(p *dnsmessage.Parser) int {
	const least = 512
	if p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return least
	}
	for {
		h, err := p.AdditionalHeader()
		if err != nil {
			return least
		}
		if h.Type == dnsmessage.TypeOPT {
			return max(least, int(h.Class))
		}
		if p.SkipAdditional() != nil {
			return least
		}
	}
}

func replyHeader(h dnsmessage.Header, code dnsmessage.RCode) dnsmessage.Header {
	return dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired,
		RecursionAvailable: true, RCode: code,
	}
}

// keepAnswer keeps what a real resolver answered and returns what the app is to get.
func (s *Server) keepAnswer(q dnsmessage.Question, name string, answer []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(answer); err != nil || m.Truncated {
		return answer // the app asks again over TCP where it was cut
	}
	kept := tape.Name{Name: name, Type: typeName(q.Type), RCode: rcodeName(m.RCode)}
	changed := false
	for i := range m.Answers {
		r := &m.Answers[i]
		if b := serviceBinding(r.Body); b != nil {
			if params, ok := withoutHTTP3(b.Params); ok {
				b.Params, changed = params, true
			}
		}
		if text, ok := answerText(r.Body); ok {
			kept.Answers = append(kept.Answers, text)
		}
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			s.names.learn(name, netip.AddrFrom4(b.A))
		case *dnsmessage.AAAAResource:
			s.names.learn(name, netip.AddrFrom16(b.AAAA))
		}
	}
	switch {
	case m.RCode == dnsmessage.RCodeServerFailure:
		s.failed(q, name, "its resolver answers "+kept.RCode)
	case !s.names.isInternal(name) && s.Keep != nil:
		s.Keep(kept)
	}
	if !changed {
		return answer
	}
	packed, err := m.Pack()
	if err != nil {
		return answer
	}
	return packed
}

// fromTape answers as recorded, or makes an address up, so that the call is
// made and can be reported with its URL.
func (s *Server) fromTape(h dnsmessage.Header, q dnsmessage.Question, name string) []byte {
	m := dnsmessage.Message{Header: replyHeader(h, dnsmessage.RCodeSuccess), Questions: []dnsmessage.Question{q}}
	if q.Class == dnsmessage.ClassINET {
		s.fillFromTape(&m, q, name)
	}
	b, err := m.Pack()
	if err != nil {
		return refuse(h, &q, dnsmessage.RCodeServerFailure)
	}
	return b
}

func (s *Server) fillFromTape(m *dnsmessage.Message, q dnsmessage.Question, name string) {
	recorded, ok := s.names.recorded[nameKey{name, typeName(q.Type)}]
	if !ok {
		switch {
		case q.Type == dnsmessage.TypeA && !strings.HasSuffix(name, ".arpa"):
			s.addAddr(m, q.Name, s.names.madeUpFor(name))
		case q.Type == dnsmessage.TypePTR:
			m.RCode = dnsmessage.RCodeNameError
		}
		return
	}
	m.RCode = rcodeOf(recorded.RCode)
	given := make(map[netip.Addr]bool)
	for _, text := range recorded.Answers {
		typ, value, _ := strings.Cut(text, " ")
		switch typ {
		case "A", "AAAA":
			addr, err := netip.ParseAddr(value)
			if err != nil {
				continue
			}
			if !s.names.usable(addr) {
				addr = s.names.madeUpFor(name)
				if typ == "AAAA" {
					addr = s.names.madeUpFor6(name)
				}
			}
			if given[addr] {
				continue // several were replaced by one
			}
			given[addr] = true
			s.names.learn(name, addr)
			s.addAddr(m, q.Name, addr)
		default:
			// Canonical names are not needed to connect; the addresses are given
			// under the name that was asked for.
			if data, err := parseGeneric(value); err == nil && typ == typeName(q.Type) {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: ttl},
					Body:   &dnsmessage.UnknownResource{Type: q.Type, Data: data},
				})
			}
		}
	}
}

func (s *Server) addAddr(m *dnsmessage.Message, name dnsmessage.Name, addr netip.Addr) {
	h := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttl}
	if addr.Is4() {
		h.Type = dnsmessage.TypeA
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}})
		return
	}
	h.Type = dnsmessage.TypeAAAA
	m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
}

// Exchange sends a query over conn, which it closes, and returns the answer to it.
func Exchange(ctx context.Context, conn net.Conn, network string, query []byte) ([]byte, error) {
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if network == "tcp" {
		if err := writeMessage(conn, query); err != nil {
			return nil, err
		}
		return readMessage(conn)
	}
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, maxMessage)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		// A late answer to another query that had this port is not ours.
		if n >= 2 && len(query) >= 2 && buf[0] == query[0] && buf[1] == query[1] {
			return buf[:n], nil
		}
	}
}

// ErrNoResolver is for a query of which the hooks saw nothing.
var ErrNoResolver = errors.New("no resolver is known for this query")
