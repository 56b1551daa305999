package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/wiretape/wiretape/httpstream/tape"
)

var asker = netip.MustParseAddrPort("10.0.0.9:40000")

func dnsQuery(t testing.TB, name string, typ dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0xbeef, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}},
	}
	return packDNS(t, m)
}

func packDNS(t testing.TB, m dnsmessage.Message) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answered reads a reply: its code, and its answers as on a tape.
func answered(t testing.TB, reply []byte) (code string, list []string) {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("the reply %x: %v", reply, err)
	}
	if !m.Response || m.ID != 0xbeef || !m.RecursionAvailable {
		t.Errorf("the reply has the header %v", m.Header)
	}
	for _, r := range m.Answers {
		if r.Header.Name != m.Questions[0].Name {
			t.Errorf("an answer is for %s, asked was %s", r.Header.Name, m.Questions[0].Name)
		}
		text, ok := answerText(r.Body)
		if !ok {
			t.Errorf("an answer of type %v can't be written", r.Header.Type)
		}
		list = append(list, text)
	}
	return rcodeName(m.RCode), list
}

// replayDNS is a server in replay that fails the test where it asks the network.
func replayDNS(t testing.TB, recorded []tape.Name, exclude ...string) *Server {
	var prefixes []netip.Prefix
	for _, e := range exclude {
		prefixes = append(prefixes, netip.MustParsePrefix(e))
	}
	s := NewServer(Tape, NewNames([]string{"db"}, recorded, prefixes))
	s.Forward = func(context.Context, netip.AddrPort, string, []byte) ([]byte, error) {
		t.Error("a query went to the network")
		return nil, ErrNoResolver
	}
	return s
}

func TestReplayAnswersFromTheTape(t *testing.T) {
	const https = `HTTPS \# 10 00010000010003026832`
	s := replayDNS(t, []tape.Name{
		{Name: "api.example.com", Type: "A", RCode: "NOERROR", Answers: []string{"CNAME edge.example.net", "A 203.0.113.1", "A 203.0.113.2"}},
		{Name: "api.example.com", Type: "AAAA", RCode: "NOERROR", Answers: []string{"AAAA 2001:db8::1"}},
		{Name: "api.example.com", Type: "HTTPS", RCode: "NOERROR", Answers: []string{https}},
		{Name: "gone.example.com", Type: "A", RCode: "NXDOMAIN"},
		{Name: "broken.example.com", Type: "A", RCode: "SERVFAIL"},
		{Name: "v6.example.com", Type: "A", RCode: "NOERROR"},
		{Name: "near.example.com", Type: "A", RCode: "NOERROR", Answers: []string{"A 172.18.0.5", "A 172.18.0.6", "A 203.0.113.3"}},
		{Name: "near.example.com", Type: "AAAA", RCode: "NOERROR", Answers: []string{"AAAA fd00::5"}},
		{Name: "self.example.com", Type: "A", RCode: "NOERROR", Answers: []string{"A 127.0.0.1"}},
		{Name: "odd.example.com", Type: "A", RCode: "NOERROR", Answers: []string{"A not-an-address", "A", ""}},
		{Name: "text.example.com", Type: "TXT", RCode: "NOERROR", Answers: []string{`TXT \# 3 026869`, `TXT \# 9 026869`, `TXT hi`}},
	}, "172.18.0.0/16", "fd00::/8")
	for _, c := range []struct {
		name string
		typ  dnsmessage.Type
		code string
		want []string
	}{
		{"api.example.com.", dnsmessage.TypeA, "NOERROR", []string{"A 203.0.113.1", "A 203.0.113.2"}},
		{"API.Example.COM.", dnsmessage.TypeA, "NOERROR", []string{"A 203.0.113.1", "A 203.0.113.2"}},
		{"api.example.com.", dnsmessage.TypeAAAA, "NOERROR", []string{"AAAA 2001:db8::1"}},
		{"api.example.com.", dnsmessage.TypeHTTPS, "NOERROR", []string{https}},
		{"api.example.com.", dnsmessage.TypeMX, "NOERROR", nil},
		{"gone.example.com.", dnsmessage.TypeA, "NXDOMAIN", nil},
		{"broken.example.com.", dnsmessage.TypeA, "SERVFAIL", nil},
		{"v6.example.com.", dnsmessage.TypeA, "NOERROR", nil},
		// What lies in today's networks is replaced, once.
		{"near.example.com.", dnsmessage.TypeA, "NOERROR", []string{"A 198.18.0.1", "A 203.0.113.3"}},
		{"near.example.com.", dnsmessage.TypeAAAA, "NOERROR", []string{"AAAA 2001:2::2"}},
		{"self.example.com.", dnsmessage.TypeA, "NOERROR", []string{"A 198.18.0.3"}},
		{"odd.example.com.", dnsmessage.TypeA, "NOERROR", nil},
		{"text.example.com.", dnsmessage.TypeTXT, "NOERROR", []string{`TXT \# 3 026869`}},
		// An unknown name gets an address, so that the miss can be reported with its URL.
		{"unknown.example.com.", dnsmessage.TypeA, "NOERROR", []string{"A 198.18.0.4"}},
		{"unknown.example.com.", dnsmessage.TypeAAAA, "NOERROR", nil},
		{"unknown.example.com.", dnsmessage.TypeHTTPS, "NOERROR", nil},
		{"other.example.com.", dnsmessage.TypeA, "NOERROR", []string{"A 198.18.0.5"}},
		{"Unknown.example.com.", dnsmessage.TypeA, "NOERROR", []string{"A 198.18.0.4"}},
		{"1.113.0.203.in-addr.arpa.", dnsmessage.TypePTR, "NXDOMAIN", nil},
		{"1.113.0.203.in-addr.arpa.", dnsmessage.TypeA, "NOERROR", nil},
	} {
		code, got := answered(t, s.answer(t.Context(), asker, "udp", dnsQuery(t, c.name, c.typ)))
		if d := cmp.Diff(c.want, got); code != c.code || d != "" {
			t.Errorf("%s %s is %s, want %s (-want +got):\n%s", c.name, typeName(c.typ), code, c.code, d)
		}
	}
	for addr, want := range map[string]string{
		"203.0.113.2": "api.example.com", "2001:db8::1": "api.example.com", "198.18.0.1": "near.example.com",
		"2001:2::2": "near.example.com", "198.18.0.4": "unknown.example.com", "::ffff:203.0.113.2": "api.example.com", "192.0.2.1": "",
	} {
		if got := s.names.NameOf(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s was looked up as %q, want %q", addr, got, want)
		}
	}
}

func TestWhereMissesGoOnTheResolverIsAskedBeforeTheTape(t *testing.T) {
	s := replayDNS(t, []tape.Name{{Name: "api.example.com", Type: "A", RCode: "NOERROR", Answers: []string{"A 203.0.113.1"}}})
	s.source = ResolverThenTape
	var kept []tape.Name
	s.Keep = func(n tape.Name) { kept = append(kept, n) }
	query := dnsQuery(t, "api.example.com.", dnsmessage.TypeA)
	for _, tc := range []struct {
		name, answer string
		code         dnsmessage.RCode
		err          error
		keeps        int
	}{
		{"it knows the name", "A 203.0.113.9", dnsmessage.RCodeSuccess, nil, 1},
		{"it does not know the name", "A 203.0.113.1", dnsmessage.RCodeNameError, nil, 0},
		{"it fails", "A 203.0.113.1", dnsmessage.RCodeServerFailure, nil, 0},
		{"it can't be asked", "A 203.0.113.1", 0, ErrNoResolver, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			kept = nil
			s.Forward = func(_ context.Context, _ netip.AddrPort, _ string, query []byte) ([]byte, error) {
				var m dnsmessage.Message
				if err := m.Unpack(query); err != nil {
					return nil, err
				}
				m.Header = replyHeader(m.Header, tc.code)
				if tc.code == dnsmessage.RCodeSuccess {
					s.addAddr(&m, m.Questions[0].Name, netip.MustParseAddr("203.0.113.9"))
				}
				reply, _ := m.Pack()
				return reply, tc.err
			}
			code, list := answered(t, s.answer(t.Context(), asker, "udp", query))
			if code != "NOERROR" || len(list) != 1 || list[0] != tc.answer || len(kept) != tc.keeps {
				t.Errorf("%s %v, kept %v", code, list, kept)
			}
		})
	}
}

func TestWhatDoesNotFitIntoADatagramIsAskedForAgain(t *testing.T) {
	many := tape.Name{Name: "many.example.com", Type: "A", RCode: "NOERROR"}
	for i := range 60 {
		many.Answers = append(many.Answers, fmt.Sprintf("A 203.0.113.%d", i+1))
	}
	s := replayDNS(t, []tape.Name{many})
	query := dnsQuery(t, "many.example.com.", dnsmessage.TypeA)
	var m dnsmessage.Message
	if err := m.Unpack(s.answer(t.Context(), asker, "udp", query)); err != nil || !m.Truncated || len(m.Answers) != 0 {
		t.Errorf("over UDP: %v, %v", m.GoString(), err)
	}
	if _, got := answered(t, s.answer(t.Context(), asker, "tcp", query)); len(got) != 60 {
		t.Errorf("over TCP %d answers came", len(got))
	}
	var large dnsmessage.Message
	if err := large.Unpack(query); err != nil {
		t.Fatal(err)
	}
	opt := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(".")}
	if err := opt.SetEDNS0(4096, dnsmessage.RCodeSuccess, false); err != nil {
		t.Fatal(err)
	}
	large.Additionals = []dnsmessage.Resource{{Header: opt, Body: &dnsmessage.OPTResource{}}}
	if _, got := answered(t, s.answer(t.Context(), asker, "udp", packDNS(t, large))); len(got) != 60 {
		t.Errorf("to an asker that takes 4096 bytes %d answers came", len(got))
	}
}

func TestInternalNamesGoToTheNetworkInReplayToo(t *testing.T) {
	s := replayDNS(t, []tape.Name{{Name: "db", Type: "A", RCode: "NXDOMAIN"}})
	s.Keep = func(n tape.Name) { t.Errorf("%v was kept", n) }
	s.Forward = func(_ context.Context, from netip.AddrPort, network string, query []byte) ([]byte, error) {
		if from != asker || network != "udp" {
			t.Errorf("forwarded for %v over %s", from, network)
		}
		return realAnswer(t, query, &dnsmessage.AResource{A: [4]byte{172, 18, 0, 7}}), nil
	}
	_, got := answered(t, s.answer(t.Context(), asker, "udp", dnsQuery(t, "DB.", dnsmessage.TypeA)))
	if d := cmp.Diff([]string{"A 172.18.0.7"}, got); d != "" {
		t.Error(d)
	}
	addr := netip.MustParseAddr("172.18.0.7")
	if !s.names.IsInternalAddr(addr) || s.names.NameOf(addr) != "db" {
		t.Error("the address is not known as internal")
	}
	s.names.learn("outside.example.com", addr)
	if s.names.IsInternalAddr(addr) {
		t.Error("the address is internal though an outside name led to it last")
	}
}

// realAnswer is what a resolver would say to query.
func realAnswer(t testing.TB, query []byte, bodies ...dnsmessage.ResourceBody) []byte {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		t.Fatal(err)
	}
	m.Response, m.RecursionAvailable = true, true
	for _, b := range bodies {
		h := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 300}
		if u, ok := b.(*dnsmessage.UnknownResource); ok {
			h.Type = u.Type
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: b})
	}
	return packDNS(t, m)
}

// recordDNS is a server in record whose resolver says these; it returns what is kept.
func recordDNS(t testing.TB, bodies ...dnsmessage.ResourceBody) (*Server, *[]tape.Name) {
	s := NewServer(Resolver, NewNames([]string{"db"}, nil, nil))
	kept := new([]tape.Name)
	s.Keep = func(n tape.Name) { *kept = append(*kept, n) }
	s.Forward = func(_ context.Context, _ netip.AddrPort, _ string, query []byte) ([]byte, error) {
		return realAnswer(t, query, bodies...), nil
	}
	return s, kept
}

func TestRecordKeepsEveryAnswerAndReplayGivesItBack(t *testing.T) {
	name := dnsmessage.MustNewName
	for _, c := range []struct {
		typ    dnsmessage.Type
		bodies []dnsmessage.ResourceBody
		want   []string
	}{
		{dnsmessage.TypeA, []dnsmessage.ResourceBody{
			&dnsmessage.CNAMEResource{CNAME: name("Edge.Example.net.")}, &dnsmessage.AResource{A: [4]byte{203, 0, 113, 9}},
		}, []string{"CNAME edge.example.net", "A 203.0.113.9"}},
		{dnsmessage.TypeAAAA, []dnsmessage.ResourceBody{&dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::9").As16()}}, []string{"AAAA 2001:db8::9"}},
		{dnsmessage.TypeMX, []dnsmessage.ResourceBody{&dnsmessage.MXResource{Pref: 10, MX: name("m.x.")}}, []string{`MX \# 7 000a016d017800`}},
		{dnsmessage.TypeTXT, []dnsmessage.ResourceBody{&dnsmessage.TXTResource{TXT: []string{"hi", "\x00"}}}, []string{`TXT \# 5 0268690100`}},
		{dnsmessage.TypeSRV, []dnsmessage.ResourceBody{&dnsmessage.SRVResource{Priority: 1, Weight: 2, Port: 443, Target: name("a.b.")}}, []string{`SRV \# 11 0001000201bb0161016200`}},
		{dnsmessage.TypeNS, []dnsmessage.ResourceBody{&dnsmessage.NSResource{NS: name("n.s.")}}, []string{`NS \# 5 016e017300`}},
		{dnsmessage.TypePTR, []dnsmessage.ResourceBody{&dnsmessage.PTRResource{PTR: name("p.r.")}}, []string{`PTR \# 5 0170017200`}},
		{dnsmessage.Type(257), []dnsmessage.ResourceBody{&dnsmessage.UnknownResource{Type: 257, Data: []byte{0, 5}}}, []string{`TYPE257 \# 2 0005`}},
	} {
		s, kept := recordDNS(t, c.bodies...)
		query := dnsQuery(t, "api.example.com.", c.typ)
		s.answer(t.Context(), asker, "udp", query)
		want := []tape.Name{{Name: "api.example.com", Type: typeName(c.typ), RCode: "NOERROR", Answers: c.want}}
		if d := cmp.Diff(want, *kept); d != "" {
			t.Errorf("%s was kept as (-want +got):\n%s", typeName(c.typ), d)
			continue
		}
		_, got := answered(t, replayDNS(t, *kept).answer(t.Context(), asker, "udp", query))
		if d := cmp.Diff(c.want[len(c.want)-1:], got); d != "" {
			t.Errorf("%s is replayed as (-want +got):\n%s", typeName(c.typ), d)
		}
	}
}

func TestRecordPassesOnWhatTheResolverSays(t *testing.T) {
	s, kept := recordDNS(t)
	query := dnsQuery(t, "api.example.com.", dnsmessage.TypeA)
	for _, c := range []struct {
		name   string
		answer []byte
		err    error
		want   string // a code, or "" for what the resolver said, byte for byte
		kept   int
	}{
		{"an answer that is not DNS", []byte("what?"), nil, "", 0},
		{"a resolver that can't be reached", nil, ErrNoResolver, "SERVFAIL", 1},
		{"a resolver that is silent", nil, context.DeadlineExceeded, "none", 1},
	} {
		*kept = nil
		s.Forward = func(context.Context, netip.AddrPort, string, []byte) ([]byte, error) { return c.answer, c.err }
		got := s.answer(t.Context(), asker, "udp", query)
		switch c.want {
		case "":
			if !bytes.Equal(got, c.answer) {
				t.Errorf("%s became %x", c.name, got)
			}
		case "none":
			if got != nil {
				t.Errorf("%s was answered %x", c.name, got)
			}
		default:
			if code, _ := answered(t, got); code != c.want {
				t.Errorf("%s was answered %s", c.name, code)
			}
		}
		if len(*kept) != c.kept {
			t.Errorf("%s: %v was kept", c.name, *kept)
		}
	}
}

// svcb is the data of a service binding: priority 1, target ".", then parameters.
func svcb(params ...string) []byte {
	return []byte("\x00\x01\x00" + strings.Join(params, ""))
}

func param(key uint16, value string) string {
	b := binary.BigEndian.AppendUint16(nil, key)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return string(b) + value
}

func TestHTTP3AndEncryptedHellosAreTakenOutOfServiceBindings(t *testing.T) {
	port, hint := param(3, "\x20\xfb"), param(4, "\xcb\x00\x71\x01")
	for _, c := range []struct {
		name     string
		in, want []byte
	}{
		{"h3 goes, h2 stays", svcb(param(1, "\x02h3\x02h2"), hint), svcb(param(1, "\x02h2"), hint)},
		{"drafts of h3 go", svcb(param(1, "\x05h3-29\x02h2\x02h3")), svcb(param(1, "\x02h2"))},
		{"a list of h3 alone goes, and what rests on it", svcb(param(1, "\x02h3"), param(2, ""), port), svcb(port)},
		{"the encrypted hello goes", svcb(param(1, "\x02h2"), param(5, "\xfe\x0d")), svcb(param(1, "\x02h2"))},
		{"what went is not mandatory any more", svcb(param(0, "\x00\x01\x00\x05"), param(1, "\x02h2"), param(5, "x")), svcb(param(0, "\x00\x01"), param(1, "\x02h2"))},
		{"nothing is mandatory any more", svcb(param(0, "\x00\x05"), param(5, "x")), svcb()},
		{"what has neither stays", svcb(param(1, "\x02h2"), port, hint), svcb(param(1, "\x02h2"), port, hint)},
		{"a list that can't be read stays", svcb(param(1, "\x09h3"), param(5, "x")), svcb(param(1, "\x09h3"), param(5, "x"))},
	} {
		for _, typ := range []dnsmessage.Type{dnsmessage.TypeHTTPS, dnsmessage.TypeSVCB} {
			s, kept := recordDNS(t, &dnsmessage.UnknownResource{Type: typ, Data: c.in})
			_, got := answered(t, s.answer(t.Context(), asker, "udp", dnsQuery(t, "api.example.com.", typ)))
			want := []string{fmt.Sprintf(`%s \# %d %x`, typeName(typ), len(c.want), c.want)}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s: the app hears (-want +got):\n%s", c.name, d)
			}
			if d := cmp.Diff(want, (*kept)[0].Answers); d != "" {
				t.Errorf("%s: the tape keeps (-want +got):\n%s", c.name, d)
			}
		}
	}
}

func TestMalformedQueries(t *testing.T) {
	s := replayDNS(t, nil)
	good := dnsQuery(t, "api.example.com.", dnsmessage.TypeA)
	response := bytes.Clone(good)
	response[2] |= 0x80
	none := bytes.Clone(good[:12])
	none[5] = 0
	for name, q := range map[string][]byte{"nothing": {}, "half a header": good[:11], "a response": response} {
		if a := s.answer(t.Context(), asker, "udp", q); a != nil {
			t.Errorf("%s was answered %x", name, a)
		}
	}
	for name, q := range map[string][]byte{"half a question": good[:15], "no question": none} {
		if code, _ := answered(t, s.answer(t.Context(), asker, "udp", q)); code != "FORMERR" {
			t.Errorf("%s was answered %s", name, code)
		}
	}
}

func TestDNSOverTCPAndUDP(t *testing.T) {
	s := replayDNS(t, []tape.Name{{Name: "api.example.com", Type: "A", RCode: "NOERROR", Answers: []string{"A 203.0.113.1"}}})
	query := dnsQuery(t, "api.example.com.", dnsmessage.TypeA)

	client, server := net.Pipe()
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		s.ServeTCP(ctx, server, asker)
	}()
	for range 2 { // on one connection, in pieces (RFC 7766 sections 6.2.1 and 8)
		framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
		for _, part := range [][]byte{framed[:1], framed[1:9], framed[9:]} {
			if _, err := client.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		reply, err := readMessage(client)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := answered(t, reply); len(got) != 1 {
			t.Errorf("answered %q", got)
		}
	}
	cancel()
	<-done
	client.Close()

	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s.Health = func(err error) { t.Error(err) }
	serving, stop := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		s.ServeUDP(serving, conn)
		close(served)
	}()
	up, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	up.Write([]byte("noise")) // is ignored
	reply, err := Exchange(ctx, up, "udp", query)
	if err != nil {
		t.Fatal(err)
	}
	if _, got := answered(t, reply); len(got) != 1 {
		t.Errorf("answered %q", got)
	}
	stop()
	<-served
}

func TestAServerTellsWhatKeepsItFromAnswering(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Resolver, NewNames(nil, nil, nil))
	s.slot = make(chan struct{}, 1)
	goOn := make(chan struct{})
	s.Forward = func(ctx context.Context, _ netip.AddrPort, _ string, _ []byte) ([]byte, error) {
		<-goOn
		return nil, ErrNoResolver
	}
	health := make(chan error, 10)
	s.Health = func(err error) { health <- err }
	served := make(chan struct{})
	go func() {
		s.ServeUDP(t.Context(), conn)
		close(served)
	}()
	up, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	for range 5 {
		up.Write(dnsQuery(t, "api.example.com.", dnsmessage.TypeA))
	}
	if err := <-health; !errors.Is(err, ErrOverloaded) {
		t.Errorf("an overloaded server says %v", err)
	}
	close(goOn)
	conn.Close()
	var loop *LoopError
	if err := <-health; !errors.As(err, &loop) || loop.At.String() != conn.LocalAddr().String() {
		t.Errorf("a server whose loop has ended says %v", err)
	}
	<-served
	if len(health) > 0 {
		t.Errorf("it also says %v", <-health)
	}
}

func FuzzDNSQuery(f *testing.F) {
	f.Add(dnsQuery(f, "api.example.com.", dnsmessage.TypeA))
	f.Add(dnsQuery(f, "new.example.com.", dnsmessage.TypeHTTPS))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, query []byte) {
		s := replayDNS(t, []tape.Name{{Name: "api.example.com", Type: "A", RCode: "NOERROR", Answers: []string{"A 10.0.0.1"}}})
		s.names.internal = nil
		reply := s.answer(t.Context(), asker, "udp", query)
		if reply == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(reply); err != nil || !m.Response || m.ID != binary.BigEndian.Uint16(query) {
			t.Fatalf("%x was answered %x: %v", query, reply, err)
		}
		if len(reply) > 512 && len(reply) > len(query)+512 {
			t.Fatalf("%d bytes were answered to %d", len(reply), len(query))
		}
	})
}

// What a resolver says reaches the app in some form, whatever it is, and what is
// kept of it can be answered.
func FuzzDNSAnswer(f *testing.F) {
	query := dnsQuery(f, "api.example.com.", dnsmessage.TypeHTTPS)
	f.Add(realAnswer(f, query, &dnsmessage.UnknownResource{Type: dnsmessage.TypeHTTPS, Data: svcb(param(1, "\x02h3\x02h2"), param(5, "x"))}))
	f.Add(realAnswer(f, query, &dnsmessage.AResource{A: [4]byte{203, 0, 113, 9}}))
	f.Add(realAnswer(f, query, &dnsmessage.MXResource{MX: dnsmessage.MustNewName("m.x.")}))
	f.Add([]byte("what?"))
	f.Fuzz(func(t *testing.T, said []byte) {
		s, kept := recordDNS(t)
		s.Forward = func(context.Context, netip.AddrPort, string, []byte) ([]byte, error) { return said, nil }
		heard := s.answer(t.Context(), asker, "udp", query)
		var before, after dnsmessage.Message
		if before.Unpack(said) != nil {
			if !bytes.Equal(heard, said) {
				t.Fatalf("%x became %x", said, heard)
			}
			return
		}
		if err := after.Unpack(heard); err != nil || len(after.Answers) != len(before.Answers) {
			t.Fatalf("%x became %x: %v", said, heard, err)
		}
		for _, n := range *kept {
			if replayDNS(t, []tape.Name{n}).answer(t.Context(), asker, "tcp", query) == nil {
				t.Fatalf("%v is not answered", n)
			}
		}
	})
}

func FuzzParseGeneric(f *testing.F) {
	for _, s := range []string{`\# 3 026869`, `\# 0`, `\# 0 `, `\# 1 zz`, `\# -1 00`, "A 1.2.3.4", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		data, err := parseGeneric(s)
		if err != nil {
			return
		}
		text, _ := answerText(&dnsmessage.UnknownResource{Type: 999, Data: data})
		again, err := parseGeneric(strings.TrimPrefix(text, "TYPE999 "))
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q is %x, and that is %x (%v)", s, data, again, err)
		}
	})
}

func TestCodesHaveNames(t *testing.T) {
	for code, name := range rcodeNames {
		if rcodeOf(name) != code || rcodeName(code) != name {
			t.Errorf("%d and %s are not the same", code, name)
		}
	}
	if rcodeName(16) != "RCODE16" || rcodeOf("RCODE16") != dnsmessage.RCodeServerFailure {
		t.Error("an unknown code is not answered as a failure")
	}
	if typeName(99) != "TYPE99" || typeName(dnsmessage.TypeHTTPS) != "HTTPS" {
		t.Error("types have other names")
	}
}

func TestANameThatCannotBeResolvedIsToldAndKept(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		told string
	}{
		{"the resolver does not answer", context.DeadlineExceeded, "timed out"},
		{"the resolver is not there", ErrNoResolver, ErrNoResolver.Error()},
		{"the session ended", context.Canceled, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, kept := recordDNS(t)
			s.Forward = func(context.Context, netip.AddrPort, string, []byte) ([]byte, error) { return nil, c.err }
			told := ""
			s.Unresolved = func(name, why string) { told += name + " " + why }
			s.answer(t.Context(), asker, "udp", dnsQuery(t, "db.", dnsmessage.TypeA))
			s.answer(t.Context(), asker, "udp", dnsQuery(t, "api.example.com.", dnsmessage.TypeA))
			if c.told == "" {
				if told != "" || len(*kept) != 0 {
					t.Errorf("told %q, kept %v", told, *kept)
				}
				return
			}
			if told != "api.example.com "+c.told || len(*kept) != 1 || (*kept)[0].RCode != "SERVFAIL" {
				t.Errorf("told %q, kept %v", told, *kept)
			}
		})
	}
}
