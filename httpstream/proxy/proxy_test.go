package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestAForwardedRequestIsOneForItsOrigin(t *testing.T) {
	for _, c := range []struct{ name, head, want string }{
		{"the target becomes a path", "GET http://one.example.com/a?b HTTP/1.1\r\nHost: one.example.com\r\n\r\n",
			"GET /a?b HTTP/1.1\r\nHost: one.example.com\r\n\r\n"},
		{"an empty path is the root", "GET http://one.example.com HTTP/1.1\r\nHost: one.example.com\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: one.example.com\r\n\r\n"},
		{"a query without a path", "GET http://one.example.com?q=/ HTTP/1.1\r\nHost: one.example.com\r\n\r\n",
			"GET /?q=/ HTTP/1.1\r\nHost: one.example.com\r\n\r\n"},
		{"the target wins over Host", "GET http://one.example.com/ HTTP/1.1\r\nHost: two.example.com\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: one.example.com\r\n\r\n"},
		{"OPTIONS for the server as a whole", "OPTIONS http://one.example.com HTTP/1.1\r\nHost: one.example.com\r\n\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: one.example.com\r\n\r\n"},
		{"HTTP/1.0 without Host", "GET http://one.example.com/ HTTP/1.0\r\n\r\n",
			"GET / HTTP/1.0\r\nHost: one.example.com\r\n\r\n"},
		{"what is for the proxy goes no further", "GET HTTP://one.example.com/ HTTP/1.1\r\nHost: one.example.com\r\nProxy-Authorization: Basic x\r\nproxy-connection: keep-alive\r\nX: y\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: one.example.com\r\nX: y\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			got := make(chan string, 1)
			w.raw("one.example.com:80", func(conn net.Conn) {
				var head strings.Builder
				for r := bufio.NewReader(conn); !strings.HasSuffix(head.String(), "\r\n\r\n"); {
					line, err := r.ReadString('\n')
					if err != nil {
						break
					}
					head.WriteString(line)
				}
				got <- head.String()
				io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			})
			rec := w.recordWith(nil, explicit(""))
			exchange(t, dial(t, rec.addr), c.head)
			if g := <-got; g != c.want {
				t.Errorf("the origin got\n%q, want\n%q", g, c.want)
			}
		})
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

func TestWhatTheExplicitProxyCannotServeIsAnswered(t *testing.T) {
	for _, c := range []struct {
		name, say string
		want      string // in the answer; "" for a reset
		kind      event.NoticeKind
	}{
		{"a request to the proxy itself, without an upstream", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "--upstream URL", ""},
		{"an origin that nobody serves", "GET http://down.example.com/ HTTP/1.1\r\nHost: down.example.com\r\n\r\n", "can't reach http://down.example.com", event.Unreachable},
		{"CONNECT without a port", "CONNECT api.example.com HTTP/1.1\r\n\r\n", "is not host:port", ""},
		{"CONNECT to port 0", "CONNECT api.example.com:0 HTTP/1.1\r\n\r\n", "is not host:port", ""},
		{"a target without a host", "GET http:///x HTTP/1.1\r\nHost: x\r\n\r\n", "is not a URL", ""},
		{"TLS to the proxy's port", "\x16\x03\x01\x00\x01\x01", "", event.Misused},
		{"another protocol", "EHLO x\r\n", "", event.Misused},
		{"HTTP/2 in plain text without an upstream", http2Preface, "", event.Misused},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			rec := w.recordWith(nil, explicit(""))
			conn := dial(t, rec.addr)
			io.WriteString(conn, c.say)
			if c.want == "" {
				wantReset(t, conn)
			} else if b, err := io.ReadAll(conn); err != nil || !strings.Contains(string(b), c.want) {
				t.Errorf("answered %q, %v", b, err)
			}
			if c.kind != "" {
				rec.waitNotice(c.kind)
			}
			if tp := rec.tape(); len(tp.Manifest.Opaque) > 0 {
				t.Errorf("the tape says that %v was opaque", tp.Manifest.Opaque)
			}
		})
	}
}

func TestTheHostsPolicyHoldsForAForwardProxyToo(t *testing.T) {
	w := newWorld(t)
	w.http("one.example.com:80", streamer("one"))
	w.http("two.example.com:80", streamer("two"))
	hosts, err := ParseHosts([]string{"one.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	rec := w.recordWith(func(c *Config) { c.Hosts = hosts }, explicit("http://two.example.com"))
	client := rec.through("http/1.1")
	ask(t, client, "GET", "http://one.example.com/", "")
	for _, target := range []string{"http://two.example.com/", "http://" + rec.addr + "/"} {
		c := client
		if strings.Contains(target, rec.addr) {
			c = &http.Client{Transport: rec.client().Transport}
		}
		if a := ask(t, c, "GET", target, ""); !strings.HasSuffix(a.header.Get("X-Asked"), "gzip, br") {
			t.Errorf("%s: what is not recorded was changed: %q", target, a.header.Get("X-Asked"))
		}
	}
	if d := rec.tape(); len(d.Calls) != 1 || d.Calls[0].Request.URL != "http://one.example.com/" {
		t.Errorf("recorded %q", urls(d.Calls))
	}
}

func TestAnUnreachableOriginOfAForwardProxyFailsInReplayToo(t *testing.T) {
	w := newWorld(t)
	rec := w.recordWith(nil, explicit(""))
	if a := ask(t, rec.through("http/1.1"), "GET", "http://down.example.com/", ""); a.status != 502 {
		t.Errorf("answered %v", a)
	}
	b, _ := w.replayWith(rec.tape(), explicit(""))
	if a, err := tryAsk(b.through("http/1.1"), "GET", "http://down.example.com/", ""); err == nil && a.status < 500 {
		t.Errorf("replay answered %v", a)
	}
}

func TestConnectionsThatNobodyLedHereAreClosed(t *testing.T) {
	w := newWorld(t)
	rec := w.recordWith(nil, transparent)
	wantReset(t, rec.dialTo(Dest{Service: "nobody"}))
	rec.waitNotice(event.Stray)
}

func TestWhatIsInternalIsRelayedInReplayToo(t *testing.T) {
	w := newWorld(t)
	w.http("10.0.0.5:80", streamer("db"))
	rec := w.recordWith(nil, transparent)
	tp := rec.tape()
	pb, err := NewPlayback(tp, PlaybackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pb.Close()
	cfg := Config{Dial: w.dial}
	pb.Configure(&cfg)
	b := w.serveWith(cfg, transparent)
	defer b.close()
	d := Dest{Addr: netip.MustParseAddrPort("10.0.0.5:80"), Internal: true}
	if line := exchange(t, b.dialTo(d), "GET / HTTP/1.1\r\nHost: db\r\nConnection: close\r\n\r\n"); line != "HTTP/1.1 200 OK\r\n" {
		t.Errorf("the client got %q", line)
	}
}

func TestADivertedConnectionIsNotRelayed(t *testing.T) {
	w := newWorld(t)
	b := w.recordWith(func(c *Config) {
		c.Divert = func(_ context.Context, c net.Conn, d Dest) bool {
			if d.Addr.Port() == 53 {
				io.WriteString(c, "answer\n")
			}
			return d.Addr.Port() == 53
		}
	}, transparent)
	if line := exchange(t, b.dialTo(named("192.0.2.1:53")), ""); line != "answer\n" {
		t.Errorf("the client got %q", line)
	}
	wantReset(t, b.dialTo(named("192.0.2.1:54")))
}

// Silent peers at every step: none of them may hold the proxy up.
func TestTheEndOfTheContextClosesEverything(t *testing.T) {
	for _, c := range []struct {
		name string
		say  string // what the client sends before it falls silent
		host string
	}{
		{"nothing was sent", "", "quiet.example.com:443"},
		{"half a request line", "GET /", "quiet.example.com:443"},
		{"a request without an answer", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "quiet.example.com:443"},
		{"half a request's body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234", "quiet.example.com:443"},
		{"half a ClientHello", "\x16\x03\x01\x02\x00\x01", "quiet.example.com:443"},
		{"an opaque connection", "hello\r\n", "quiet.example.com:443"},
		{"HTTP/2 in plain text", http2Preface, "quiet.example.com:443"},
		{"a server that hangs in its handshake", clientHello(t), "quiet.example.com:443"},
		{"a dial that hangs", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "slow.example.com:443"},
	} {
		for _, closeListener := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, listener closed: %v", c.name, closeListener), func(t *testing.T) {
				w := newWorld(t)
				accepted := make(chan struct{}, 1)
				w.raw("quiet.example.com:443", func(c net.Conn) {
					accepted <- struct{}{}
					io.Copy(io.Discard, c)
				})
				rec := w.recordWith(func(cfg *Config) {
					cfg.Dial = func(ctx context.Context, d Dest) (net.Conn, error) {
						if d.Name == "slow.example.com" {
							accepted <- struct{}{}
							<-ctx.Done()
							return nil, ctx.Err()
						}
						return w.dial(ctx, d)
					}
				}, transparent)
				conn := rec.dialTo(named(c.host))
				io.WriteString(conn, c.say)
				<-accepted
				if closeListener {
					rec.l.Close()
					<-rec.done
				}
				tp := rec.tape() // fails if the proxy goes on
				for _, x := range tp.Calls {
					if x.Failed != "" {
						t.Errorf("what the end cut off is on the tape as %q", x.Failed)
					}
				}
				conn.SetDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
					t.Error("the client's connection is still open")
				}
			})
		}
	}
}

// clientHello is the first flight of a real client.
func clientHello(t *testing.T) string {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	w := &world{}
	w.ours.pool = nil
	go func() {
		defer a.Close()
		w.clientTLS(a, "quiet.example.com", "http/1.1").Handshake()
	}()
	buf := make([]byte, 8<<10)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestReplayEndsWithItsContext(t *testing.T) {
	for _, say := range []string{"", "GET /", "\x16\x03\x01\x02\x00\x01", http2Preface, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1"} {
		w := newWorld(t)
		b, _ := w.replayWith(w.recordWith(nil, transparent).tape(), transparent)
		conn := b.dialTo(named("api.example.com:443"))
		io.WriteString(conn, say)
		b.close()
	}
}

// ingressLab serves an ingress port for a service that handle serves.
func ingressLab(t *testing.T, w *world) *lab {
	t.Helper()
	var rec atomic.Pointer[record.Recorder]
	b := w.recordWith(nil, func(p *Proxy, ctx context.Context, l net.Listener) error {
		return p.ServeIngress(ctx, l, Ingress{
			Service: "app", Published: "127.0.0.1:8080",
			Dial: func(ctx context.Context) (net.Conn, error) { return w.dial(ctx, named("app:80")) },
			Record: func(s Stream) httpstream.Sink {
				return rec.Load().Conn(record.Conn{Kind: tape.Case, Service: s.Service, Scheme: s.Scheme, Authority: s.Authority})
			},
		})
	})
	rec.Store(b.recorder)
	return b
}

func TestWhatClientsAskTheAppIsRecordedAsCases(t *testing.T) {
	w := newWorld(t)
	w.http("app:80", streamer("app"))
	b := ingressLab(t, w)
	for _, h2 := range []bool{false, true} {
		tr := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(!h2)
		tr.Protocols.SetUnencryptedHTTP2(h2)
		if a := ask(t, b.httpClient(tr), "POST", "http://"+b.addr+"/chat", "hi"); a.status != 200 {
			t.Errorf("answered %v", a)
		}
	}
	tp := b.tape()
	if len(tp.Cases) != 2 || len(tp.Calls) != 0 {
		t.Fatalf("recorded the cases %q and the calls %q", urls(tp.Cases), urls(tp.Calls))
	}
	for i, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		if x := tp.Cases[i]; x.Service != "app" || x.Request.Proto != proto || !strings.HasSuffix(x.Request.URL, "/chat") || string(x.Request.Body.Data) != "hi" {
			t.Errorf("recorded %+v", x)
		}
	}
}

func TestTLSAndOtherProtocolsReachTheAppUntouched(t *testing.T) {
	w := newWorld(t)
	w.https("app:80", streamer("app"), "http/1.1")
	b := ingressLab(t, w)
	w.ours.pool = w.real.pool // the service's own certificate is what the client sees
	conn := w.clientTLS(dial(t, b.addr), "app", "http/1.1")
	exchange(t, conn, "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
	if n := b.waitNotice(event.Opaque); n.About != "127.0.0.1:8080" || n.Detail != "TLS that the service ends itself" {
		t.Errorf("noticed %+v", n)
	}
	w.raw("app:80", greeter)
	if line := exchange(t, dial(t, b.addr), ""); line != "220 ready\r\n" {
		t.Errorf("the client got %q", line)
	}
	w.put("app:80", "127.0.0.1:1")
	// The reset may come before connect has returned; then it is connect's error.
	if conn, err := net.Dial("tcp", b.addr); err == nil {
		conn.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { conn.Close() })
		wantReset(t, conn)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("connecting ended with %v, want a reset", err)
	}
	b.waitNotice(event.Unreachable)
}

func TestAWebSocketToTheAppIsATwoWayCase(t *testing.T) {
	w := newWorld(t)
	w.raw("app:80", func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		frame := make([]byte, 8) // masked, two bytes
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		io.WriteString(c, "\x81\x03yes")
		io.Copy(io.Discard, r)
	})
	b := ingressLab(t, w)
	conn := dial(t, b.addr)
	io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\x82\x00\x00\x00\x00hi")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "\x81\x03yes" {
		t.Errorf("the client got %q, %v", got, err)
	}
	conn.Close()
	tp := b.tape()
	if len(tp.Cases) != 1 || !tp.Cases[0].TwoWay || tp.Cases[0].Response.Head.Status != 101 {
		t.Fatalf("recorded %+v", tp.Cases)
	}
	s, err := tp.Stream(tp.Cases[0])
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var said, heard int
	for l, err := range s.Lines() {
		switch {
		case err != nil:
			t.Fatal(err)
		case l.FromClient:
			said++
		case l.End == nil:
			heard++
		}
	}
	if said == 0 || heard == 0 {
		t.Errorf("the stream has %d messages of the client and %d of the app", said, heard)
	}
}
