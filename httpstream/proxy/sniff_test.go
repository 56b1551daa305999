package proxy

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// longLine is more than a request line may have, in bytes.
const longLine = 64 << 10

func (s sniffed) String() string {
	if s.kind == knownHTTP {
		return s.http.Name
	}
	return map[kind]string{undecided: "undecided", opaque: "opaque", tlsHello: "tlsHello", postgresTLS: "postgresTLS"}[s.kind]
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     string
	}{
		{"nothing", "", "undecided"},
		{"a method that is not complete", "GE", "undecided"},
		{"a target that is not complete", "GET /inde", "undecided"},
		{"a request line", "GET / HTTP/1.1\r\n", "HTTP/1.1"},
		{"HTTP/1.0", "POST /x HTTP/1.0\n", "HTTP/1.1"},
		{"a proxy's target", "GET http://h/ HTTP/1.1\r\n", "HTTP/1.1"},
		{"CONNECT", "CONNECT h:443 HTTP/1.1\r\n", "HTTP/1.1"},
		{"the server as a whole", "OPTIONS * HTTP/1.1\r\n", "HTTP/1.1"},
		{"a method with a dash", "M-SEARCH * HTTP/1.1\r\n", "HTTP/1.1"},
		{"a version that is not HTTP's", "OPTIONS * RTSP/1.0\r\n", "opaque"},
		{"no version", "GET /\r\n", "opaque"},
		{"SIP", "INVITE sip:a@b SIP/2.0\r\n", "opaque"},
		{"an empty line", "\r\n", "opaque"},
		{"lower case", "get / HTTP/1.1\r\n", "opaque"},
		{"a letter of the preface", "P", "undecided"},
		{"most of the preface", http2Preface[:23], "undecided"},
		{"the preface", http2Preface, "HTTP/2"},
		{"the preface's method with another version", "PRI * HTTP/1.1\r\n", "HTTP/1.1"},
		{"TLS", "\x16\x03\x01", "tlsHello"},
		{"half of TLS's mark", "\x16", "undecided"},
		{"not TLS", "\x16\x04", "opaque"},
		{"Postgres", string(postgresSSLRequest), "postgresTLS"},
		{"half of what Postgres sends", string(postgresSSLRequest[:5]), "undecided"},
		{"Postgres without TLS", "\x00\x00\x00\x09\x00\x03\x00\x00\x00", "opaque"},
		{"a method without an end", strings.Repeat("A", 25), "opaque"},
		{"a line without an end", "GET /" + strings.Repeat("a", longLine), "opaque"},
	} {
		if got := classify([]byte(c.in)).String(); got != c.want {
			t.Errorf("%s: %q is %s, want %s", c.name, c.in[:min(30, len(c.in))], got, c.want)
		}
	}
}

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// What both sides have sent before anybody looks decides as it would later, and is read
// again.
func TestWhoSpokeFirstIsToldByWhatIsThere(t *testing.T) {
	const request, settings = "GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for _, c := range []struct{ name, client, server, want string }{
		{"a request", request, "", "HTTP/1.1"},
		{"a request, and a server that greets", request, "220 hello\r\n", "opaque"},
		{"a server that greets", "", "220 hello\r\n", "opaque"},
		{"TLS", "\x16\x03\x01", "", "tlsHello"},
		{"TLS, and a server that greets", "\x16\x03\x01", "* OK IMAP\r\n", "opaque"},
		{"HTTP/2", http2Preface, "", "HTTP/2"},
		{"HTTP/2, and a server that begins", http2Preface, settings, "HTTP/2"},
		{"HTTP/2, and a server that greets", http2Preface, "220 hello\r\n", "opaque"},
		{"something else", "\x00\x01", "", "opaque"},
	} {
		t.Run(c.name, func(t *testing.T) {
			app, client := tcpPair(t)
			upstream, server := tcpPair(t)
			for conn, said := range map[net.Conn]string{app: c.client, server: c.server} {
				if _, err := io.WriteString(conn, said); err != nil {
					t.Fatal(err)
				}
			}
			p, again, upAgain, err := firstSpeaker(t.Context(), client, upstream)
			if err != nil || p.String() != c.want {
				t.Errorf("%v, %v; want %s", p, err, c.want)
			}
			app.Close()
			server.Close()
			for conn, said := range map[net.Conn]string{again: c.client, upAgain: c.server} {
				if got, err := io.ReadAll(conn); err != nil || string(got) != said {
					t.Errorf("then %q is read, %v; want %q", got, err, said)
				}
			}
		})
	}
}

// The decision must not depend on how the bytes were split, and must come.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", http2Preface, "PRI * HTTP/1.1\r\n", "\x16\x03\x01\x00", "\r\n\r\nGET / HTTP/1.1\r\n",
		string(postgresSSLRequest), "\x00\x00\x00\x08\x04\xd2\x16\x30", "CONNECT a:1 HTTP/1.1\n", "PUT", "GET / HTTP/1.1",
	} {
		f.Add([]byte(s), uint(len(s)))
	}
	f.Add([]byte("GET /"), uint(longLine))
	f.Fuzz(func(t *testing.T, b []byte, size uint) {
		// What the fuzzer can't write itself: something long.
		if size = min(size, longLine+100); len(b) > 0 {
			for uint(len(b)) < size {
				b = append(b, b...)
			}
			b = b[:max(size, 1)]
		}
		whole := classify(b)
		if whole.kind == undecided && len(b) > longLine {
			t.Fatalf("%d bytes are not enough to decide", len(b))
		}
		step := max(1, len(b)/64)
		for n := 0; n <= len(b); n += step {
			if p := classify(b[:n]); p.kind != undecided && p != whole {
				t.Fatalf("%q is %v by its first %d bytes and %v by all", b, p, n, whole)
			}
		}
	})
}

func FuzzParseAuthority(f *testing.F) {
	for _, s := range []string{"api.example.com:443", "[::1]:80", "10.0.0.1", "[fe80::1%eth0]:443", "a:b:c", ":80", "h:0", "h:65536", "u@h:1", "H.", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, port := range []string{"", "443"} {
			d, err := parseAuthority(s, port)
			if err != nil {
				continue
			}
			if d.Addr.Port() == 0 || !d.Addr.IsValid() {
				t.Fatalf("%q is %+v", s, d)
			}
			// What it names is the same when it is read again.
			again, err := parseAuthority(d.Authority(), "")
			if err != nil || again.Authority() != d.Authority() {
				t.Fatalf("%q is %q, and that is %q (%v)", s, d.Authority(), again.Authority(), err)
			}
		}
	})
}

func TestHostPatterns(t *testing.T) {
	addr := netip.MustParseAddrPort
	for _, c := range []struct {
		pattern, name string
		addr          netip.AddrPort
		want          bool
	}{
		{"api.example.com", "API.Example.com.", addr("192.0.2.1:443"), true},
		{"API.example.com.", "api.example.com", addr("192.0.2.1:443"), true},
		{"example.com", "api.example.com", addr("192.0.2.1:443"), false},
		{"*.example.com", "api.example.com", addr("192.0.2.1:443"), true},
		{"*.example.com", "notexample.com", addr("192.0.2.1:443"), false},
		{"*.example.com:8443", "a.example.com", addr("192.0.2.1:8443"), true},
		{"*.example.com:8443", "a.example.com", addr("192.0.2.1:443"), false},
		{"a.example.com:0443", "a.example.com", addr("192.0.2.1:443"), true},
		{"192.0.2.1", "", addr("192.0.2.1:443"), true},
		{"192.0.2.1", "", addr("[::ffff:192.0.2.1]:443"), true},
		{"192.0.2.0/24:443", "x", addr("192.0.2.9:443"), true},
		{"192.0.2.0/24:443", "x", addr("192.0.2.9:80"), false},
		{"::1", "", addr("[::1]:80"), true},
		{"[::1]:81", "", addr("[::1]:80"), false},
		{"2001:db8::/32", "", addr("[2001:db8::5]:80"), true},
	} {
		hp, err := ParseHosts([]string{c.pattern})
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := hp.Match(c.name, c.addr); got != c.want {
			t.Errorf("%s matches %s at %s: %v, want %v", c.pattern, c.name, c.addr, got, c.want)
		}
	}
	for _, bad := range []string{"", "*", "*.", "*.*.com", "https://a", "a b", "a:b:c", "h:0", "h:65536", "h:https", "h:", "a*.com", "10.0.0.0/33"} {
		if _, err := ParseHosts([]string{bad}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("the pattern %q gives the error %v", bad, err)
		}
	}
	if hp, err := ParseHosts(nil); hp != nil || err != nil || !hp.Match("", netip.AddrPort{}) {
		t.Error("no patterns don't match everything")
	}
}

func FuzzParseHosts(f *testing.F) {
	for _, s := range []string{"a.example.com", "*.example.com:1", "10.0.0.0/8", "[::1]:443", "::/0", "x:99999", "..", "*", "%"} {
		f.Add(s, "a.example.com")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		hp, err := ParseHosts([]string{pattern})
		if err != nil {
			return
		}
		hp.Match(name, netip.MustParseAddrPort("10.0.0.1:443"))
		hp.Match(name, netip.AddrPort{})
		host := pattern
		if h, _, err := net.SplitHostPort(pattern); err == nil {
			host = h
		}
		if _, err := netip.ParseAddr(host); err != nil && !strings.ContainsAny(pattern, "*/:") && !hp.Match(strings.ToUpper(pattern), netip.AddrPort{}) {
			t.Fatalf("the name %q does not match itself", pattern)
		}
	})
}
