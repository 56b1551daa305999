package proxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream/event"
)

// rawTLS ends TLS for a server that is not HTTP, or not only.
func (w *world) rawTLS(protos []string, handle func(net.Conn)) func(net.Conn) {
	cfg := w.serverTLS(protos...)
	return func(c net.Conn) {
		s := tls.Server(c, cfg)
		defer s.Close()
		if s.Handshake() == nil {
			handle(s)
		}
	}
}

// clientTLS begins TLS as a client that trusts wiretape.
func (w *world) clientTLS(c net.Conn, name string, protos ...string) *tls.Conn {
	return tls.Client(c, &tls.Config{ServerName: name, RootCAs: w.ours.pool, NextProtos: protos})
}

// shouter answers each line in upper case.
func shouter(c net.Conn) {
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		io.WriteString(c, strings.ToUpper(line))
	}
}

// greeter speaks first, as mail servers do.
func greeter(c net.Conn) {
	io.WriteString(c, "220 ready\r\n")
	shouter(c)
}

func TestAServerThatSpeaksFirstIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name string
		wrap func(*world, *lab) net.Conn
		why  string
	}{
		{"in plain text", func(w *world, b *lab) net.Conn {
			w.raw("mail.example.com:465", greeter)
			return b.dialTo(named("mail.example.com:465"))
		}, "the server spoke first"},
		{"inside TLS without ALPN", func(w *world, b *lab) net.Conn {
			w.raw("mail.example.com:465", w.rawTLS(nil, greeter))
			return w.clientTLS(b.dialTo(named("mail.example.com:465")), "mail.example.com")
		}, "TLS without HTTP inside"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			rec := w.recordWith(nil, transparent)
			conn := c.wrap(w, rec)
			if line := exchange(t, conn, ""); line != "220 ready\r\n" {
				t.Errorf("the client got %q", line)
			}
			if line := exchange(t, conn, "ehlo\r\n"); line != "EHLO\r\n" {
				t.Errorf("the client got %q", line)
			}
			n := rec.waitNotice(event.Opaque)
			if n.About != "mail.example.com:465" || n.Service != "app" || n.Detail != c.why {
				t.Errorf("noticed %+v", n)
			}
			conn.Close()
			tp := rec.tape()
			if len(tp.Calls) != 0 || len(tp.Manifest.Opaque) != 1 {
				t.Fatalf("the tape has the calls %q and %v", urls(tp.Calls), tp.Manifest.Opaque)
			}
			// In replay its client, which waits to be spoken to, is refused at once.
			b, _ := w.replayWith(tp, transparent)
			wantReset(t, b.dialTo(named("mail.example.com:465")))
			if n := b.waitNotice(event.Opaque); n.About != "mail.example.com:465" || n.Detail != c.why {
				t.Errorf("replay noticed %+v", n)
			}
		})
	}
}

func TestReplayRefusesWhatWasOpaqueByAddressToo(t *testing.T) {
	w := newWorld(t)
	w.raw("192.0.2.9:3306", greeter)
	w.http("192.0.2.9:80", streamer("http"))
	rec := w.recordWith(nil, transparent)
	exchange(t, rec.dialTo(named("192.0.2.9:3306")), "")
	// A destination that spoke HTTP as well is heard first.
	if line := exchange(t, rec.dialTo(named("192.0.2.9:80")), "HELLO THERE, WHO ARE YOU?\r\n\r\n"); !strings.Contains(line, "400") {
		t.Errorf("the server answered %q", line)
	}
	ask(t, rec.client(), "GET", "http://192.0.2.9/", "")
	b, heard := w.replayWith(rec.tape(), transparent)
	wantReset(t, b.dialTo(named("192.0.2.9:3306")))
	// Its name became known only after it was recorded.
	d := Dest{Name: "db.example.com", Addr: netip.MustParseAddrPort("192.0.2.9:3306"), Service: "app"}
	wantReset(t, b.dialTo(d))
	ask(t, b.client(), "GET", "http://192.0.2.9/", "")
	if heard.misses() != 0 {
		t.Error("the recorded call was missed")
	}
}

func TestWhatIsNotHTTPPassesUntouched(t *testing.T) {
	for _, c := range []struct{ name, say, why string }{
		{"Postgres asks for TLS", string(postgresSSLRequest) + "\n", "Postgres negotiates TLS itself"},
		{"a client that speaks another protocol", "hello\r\n", "not HTTP"},
		{"a client that begins with an empty line", "\r\n", "not HTTP"},
		{"Redis", "*1\r\n$4\r\nPING\r\n", "not HTTP"},
		{"RTSP", "OPTIONS * RTSP/1.0\r\n\r\n", "not HTTP"},
		{"a TLS record that is no ClientHello", "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00\n", "not a TLS handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.raw("db.example.com:5432", func(c net.Conn) { io.Copy(c, c) })
			rec := w.recordWith(nil, transparent)
			conn := rec.dialTo(named("db.example.com:5432"))
			if got := exchange(t, conn, c.say); !strings.HasPrefix(c.say, got) {
				t.Errorf("%q came back as %q", c.say, got)
			}
			if n := rec.waitNotice(event.Opaque); !strings.HasPrefix(n.Detail, c.why) || n.About != "db.example.com:5432" {
				t.Errorf("noticed %+v", n)
			}
		})
	}
}

func TestTLSWithoutHTTPInItsALPNListIsNotOpened(t *testing.T) {
	w := newWorld(t)
	w.raw("mq.example.com:8883", w.rawTLS([]string{"mqtt"}, shouter))
	rec := w.recordWith(nil, transparent)
	conn := tls.Client(rec.dialTo(named("mq.example.com:8883")), &tls.Config{
		ServerName: "mq.example.com", RootCAs: w.real.pool, NextProtos: []string{"mqtt"},
	})
	if line := exchange(t, conn, "hi\n"); line != "HI\n" {
		t.Errorf("the client got %q", line)
	}
	if n := rec.waitNotice(event.Opaque); !strings.Contains(n.Detail, "mqtt") {
		t.Errorf("noticed %+v", n)
	}
}

func TestHTTP2InPlainTextIsRecordedThoughItsServerSpeaksFirst(t *testing.T) {
	// As gRPC servers do: SETTINGS are sent before the client's preface came.
	settings := "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"
	w := newWorld(t)
	w.raw("grpc.example.com:50051", func(c net.Conn) {
		io.WriteString(c, settings)
		preface := make([]byte, len(http2Preface))
		if _, err := io.ReadFull(c, preface); err == nil && string(preface) == http2Preface {
			io.WriteString(c, "\x00\x00\x08\x07\x00\x00\x00\x00\x00bye, now") // GOAWAY
		}
	})
	rec := w.recordWith(nil, transparent)
	conn := rec.dialTo(named("grpc.example.com:50051"))
	io.WriteString(conn, http2Preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	got := make([]byte, len(settings)+17)
	if _, err := io.ReadFull(conn, got); err != nil || !strings.HasPrefix(string(got), settings) || !strings.HasSuffix(string(got), "bye, now") {
		t.Errorf("the client got %q, %v", got, err)
	}
	conn.Close()
	rec.close()
	if n := rec.all(); len(n) > 0 {
		t.Errorf("noticed %+v", n)
	}
}

func TestAClientThatRejectsOurCertificateIsNamed(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, protos := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}, nil} {
			w := newWorld(t)
			w.https("api.example.com:443", streamer("api"), "h2", "http/1.1")
			rec := w.recordWith(nil, transparent)
			conn := tls.Client(rec.dialTo(named("api.example.com:443")), &tls.Config{
				ServerName: "api.example.com", RootCAs: w.real.pool, NextProtos: protos,
				MinVersion: version, MaxVersion: version,
			})
			var unknown x509.UnknownAuthorityError
			if err := conn.Handshake(); !errors.As(err, &unknown) {
				t.Errorf("%s: the client said %v", tls.VersionName(version), err)
			}
			n := rec.waitNotice(event.Untrusted)
			if n.Service != "app" || n.About != "api.example.com:443" || !strings.Contains(n.Detail, "certificate") {
				t.Errorf("%s, ALPN %v: noticed %+v", tls.VersionName(version), protos, n)
			}
			// Nor is it a call.
			if tp := rec.tape(); len(tp.Calls) != 0 {
				t.Errorf("%s: recorded %q", tls.VersionName(version), urls(tp.Calls))
			}
		}
	}
}

func TestAReplayedClientThatRejectsOurCertificateIsNamed(t *testing.T) {
	w := newWorld(t)
	rec := w.recordWith(nil, transparent)
	b, _ := w.replayWith(rec.tape(), transparent)
	conn := tls.Client(b.dialTo(named("api.example.com:443")), &tls.Config{ServerName: "api.example.com", RootCAs: w.real.pool})
	conn.Handshake()
	if n := b.waitNotice(event.Untrusted); n.About != "api.example.com:443" {
		t.Errorf("noticed %+v", n)
	}
}

func TestAnUpstreamThatCannotBeHadIsRefusedAndRecorded(t *testing.T) {
	for _, c := range []struct {
		name   string
		origin func(*world)
		url    string
		why    string
	}{
		{"nobody listens", func(*world) {}, "tcp://api.example.com:443", "connection refused"},
		{"its certificate is from nobody that we trust", func(w *world) {
			w.raw("api.example.com:443", func(c net.Conn) {
				cert, err := w.ours.issuer.Leaf(t.Context(), "api.example.com")
				if err == nil {
					tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*cert}}).Handshake()
				}
			})
		}, "https://api.example.com", "certificate signed by unknown authority"},
		{"its certificate is for another name", func(w *world) {
			w.raw("api.example.com:443", func(c net.Conn) {
				cert, err := w.real.issuer.Leaf(t.Context(), "other.example.com")
				if err == nil {
					tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*cert}}).Handshake()
				}
			})
		}, "https://api.example.com", "valid for other.example.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.origin(w)
			rec := w.recordWith(nil, transparent)
			attempt := func(b *lab) {
				t.Helper()
				conn := b.dialTo(named("api.example.com:443"))
				if err := w.clientTLS(conn, "api.example.com").Handshake(); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					t.Errorf("the client's handshake ended with %v, want a reset", err)
				}
			}
			attempt(rec)
			n := rec.waitNotice(event.Unreachable)
			if n.About != "api.example.com:443" || !strings.Contains(n.Detail, c.why) {
				t.Errorf("noticed %+v", n)
			}
			tp := rec.tape()
			if len(tp.Calls) != 1 || tp.Calls[0].Request.URL != c.url || !strings.Contains(tp.Calls[0].Failed, c.why) {
				t.Fatalf("recorded %q, which failed with %q", urls(tp.Calls), tp.Calls[0].Failed)
			}
			b, _ := w.replayWith(tp, transparent)
			attempt(b)
		})
	}
}

func TestHostsThatAreNotAskedForPassUntouched(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		host     string // host:port of the destination
		recorded bool
	}{
		{[]string{"api.example.com"}, "api.example.com:443", true},
		{[]string{"other.example.com"}, "api.example.com:443", false},
		{[]string{"*.example.com"}, "a.b.example.com:443", true},
		{[]string{"*.example.com"}, "example.com:443", false},
		{[]string{"api.example.com:8443"}, "api.example.com:443", false},
		{[]string{"api.example.com:8443"}, "api.example.com:8443", true},
		{[]string{"203.0.113.0/24"}, "api.example.com:443", true},
		{[]string{"198.51.100.0/24", "203.0.113.7:80"}, "api.example.com:443", false},
	} {
		t.Run(strings.Join(c.patterns, " ")+" and "+c.host, func(t *testing.T) {
			w := newWorld(t)
			w.https(c.host, streamer("api"), "h2", "http/1.1")
			hosts, err := ParseHosts(c.patterns)
			if err != nil {
				t.Fatal(err)
			}
			rec := w.recordWith(func(cfg *Config) { cfg.Hosts = hosts }, transparent)
			name, _, _ := net.SplitHostPort(c.host)
			pool := w.ours.pool
			if !c.recorded {
				pool = w.real.pool // the client sees the origin's own certificate
			}
			conn := tls.Client(rec.dialTo(named(c.host)), &tls.Config{ServerName: name, RootCAs: pool, NextProtos: []string{"http/1.1"}})
			exchange(t, conn, "GET / HTTP/1.1\r\nHost: "+name+"\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
			conn.Close()
			tp := rec.tape()
			if got := len(tp.Calls) == 1; got != c.recorded {
				t.Errorf("recorded %q", urls(tp.Calls))
			}
			if n := rec.all(); len(n) > 0 {
				t.Errorf("noticed %v", n)
			}
		})
	}
}

func TestAClientWithoutAServerNameGetsACertificateForTheAddress(t *testing.T) {
	w := newWorld(t)
	w.https("127.0.0.1:443", streamer("api"), "http/1.1")
	rec := w.recordWith(nil, transparent)
	conn := w.clientTLS(rec.dialTo(named("127.0.0.1:443")), "127.0.0.1", "http/1.1")
	exchange(t, conn, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
	conn.Close()
	if tp := rec.tape(); len(tp.Calls) != 1 || tp.Calls[0].Request.URL != "https://127.0.0.1/" {
		t.Errorf("recorded %q", urls(tp.Calls))
	}
}

func TestHalfAClientHelloIsCutOff(t *testing.T) {
	w := newWorld(t)
	w.raw("api.example.com:443", shouter)
	rec := w.recordWith(func(c *Config) { c.HandshakeTimeout = 50 * time.Millisecond }, transparent)
	conn := rec.dialTo(named("api.example.com:443"))
	io.WriteString(conn, "\x16\x03\x01\x02\x00\x01")
	if n := rec.waitNotice(event.Opaque); !strings.HasPrefix(n.Detail, "not a TLS handshake") {
		t.Errorf("noticed %+v", n)
	}
}

func TestAClientThatGoesAwayAfterOurCertificateIsCounted(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct {
			name string
			end  func(t *testing.T, client net.Conn, conf *tls.Config)
		}{
			{"in the handshake, as GnuTLS does", func(t *testing.T, client net.Conn, conf *tls.Config) {
				conf.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
					client.Close()
					return errors.New("no")
				}
				tls.Client(client, conf).Handshake()
			}},
			{"after the handshake", func(t *testing.T, client net.Conn, conf *tls.Config) {
				conn := tls.Client(client, conf)
				if err := conn.Handshake(); err != nil {
					t.Error(err)
				}
				conn.Close()
			}},
		} {
			for _, protos := range [][]string{{"h2", "http/1.1"}, nil} {
				t.Run(fmt.Sprint(tls.VersionName(version), protos, c.name), func(t *testing.T) {
					w := newWorld(t)
					w.https("api.example.com:443", streamer("api"), "h2", "http/1.1")
					rec := w.recordWith(nil, transparent)
					c.end(t, rec.dialTo(named("api.example.com:443")), &tls.Config{
						ServerName: "api.example.com", InsecureSkipVerify: true, NextProtos: protos, MinVersion: version, MaxVersion: version,
					})
					n := rec.waitNotice(event.Closed)
					if n.Service != "app" || n.About != "api.example.com:443" {
						t.Errorf("noticed %+v", n)
					}
					if tp := rec.tape(); len(tp.Calls) != 0 {
						t.Errorf("the tape has calls: %q", urls(tp.Calls))
					}
				})
			}
		}
	}
}

func TestAServerThatGoesAwayIsNotTakenForItsClient(t *testing.T) {
	w := newWorld(t)
	w.raw("api.example.com:443", w.rawTLS(nil, func(c net.Conn) { c.Close() }))
	rec := w.recordWith(nil, transparent)
	conn := w.clientTLS(rec.dialTo(named("api.example.com:443")), "api.example.com")
	io.Copy(io.Discard, conn)
	conn.Close()
	rec.close()
	for _, n := range rec.all() {
		if n.Kind == event.Closed {
			t.Errorf("noticed %+v", n)
		}
	}
}
