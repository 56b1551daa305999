package http1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// A rig is a relay between a client and a server that a test plays.
type rig struct {
	t              *testing.T
	client, server *net.TCPConn
	log            *eventLog
	cancel         func()
	done           chan error
}

func newRig(t *testing.T, opt relay.Options) *rig {
	t.Helper()
	client, relayClient := tcpPair(t)
	relayUp, server := tcpPair(t)
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{t: t, client: client, server: server, log: newEventLog(), cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- Relay(ctx, relayClient, relayUp, opt, r.log) }()
	t.Cleanup(func() {
		cancel()
		client.Close()
		server.Close()
	})
	return r
}

func sendBytes(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatalf("writing %.40q: %v", s, err)
	}
}

func expectBytes(t testing.TB, r io.Reader, s string) {
	t.Helper()
	b := make([]byte, len(s))
	if n, err := io.ReadFull(r, b); err != nil || string(b) != s {
		t.Fatalf("read %.200q, %v; want %.200q", b[:n], err, s)
	}
}

func expectEOF(t testing.TB, r io.Reader) {
	t.Helper()
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Fatalf("read %q, %v; want EOF", b, err)
	}
}

func (r *rig) result(want error) {
	r.t.Helper()
	select {
	case err := <-r.done:
		if !errors.Is(err, want) || want == nil && err != nil {
			r.t.Errorf("relay ended with %v, want %v", err, want)
		}
	case <-time.After(10 * time.Second):
		r.t.Fatal("the relay does not end")
	}
}

const getRequest = "GET /a HTTP/1.1\r\nhost:  h \r\nX: 1\r\n\r\n"

func TestRelayPassesBytesAsTheyAre(t *testing.T) {
	r := newRig(t, relay.Options{})
	sendBytes(t, r.client, getRequest[:10])
	sendBytes(t, r.client, getRequest[10:])
	expectBytes(t, r.server, getRequest)
	answer := "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\r\n\r\n00A;x\r\n01234"
	sendBytes(t, r.server, answer)
	expectBytes(t, r.client, answer)
	r.log.wait(t, "a piece", func(xs []*eventLogExchange) bool { return len(xs[0].events) == 5 })
	sendBytes(t, r.server, "56789\r\n0\r\nT: 1\r\n\r\n")
	expectBytes(t, r.client, "56789\r\n0\r\nT: 1\r\n\r\n")
	r.client.CloseWrite()
	expectEOF(t, r.server)
	r.result(nil)
	r.log.check(t, "GET /a | > end | 200 | < a | < 01234 of 10 line 00A;x | < 56789 rest | eof T: 1")
}

func TestRelayPairsPipelinedRequestsWithTheirAnswers(t *testing.T) {
	r := newRig(t, relay.Options{RewriteRequest: func(h *httpstream.RequestHead) {
		h.Target += "?x"
		h.Header = append(h.Header, httpstream.Field{Name: "Via", Value: "w"})
	}})
	sendBytes(t, r.client, "HEAD /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nX-Client: c\r\n\r\n")
	expectBytes(t, r.server, "HEAD /1?x HTTP/1.1\r\nVia: w\r\n\r\nPOST /2?x HTTP/1.1\r\nContent-Length: 3\r\nVia: w\r\n\r\nabcGET /3?x HTTP/1.1\r\nX-Client: c\r\nVia: w\r\n\r\n")
	answers := "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 201 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 202 OK\r\n\r\nrest"
	sendBytes(t, r.server, answers)
	r.server.Close()
	expectBytes(t, r.client, answers)
	expectEOF(t, r.client)
	r.client.Close()
	r.result(nil)
	r.log.check(t, "HEAD /1 | > end | 200 | eof", "POST /2 | > abc | > end | 201 | < x | eof", "GET /3 c | > end | 202 | < rest | eof")
}

func TestRelayPassesExpectationsAndEarlyAnswers(t *testing.T) {
	r := newRig(t, relay.Options{})
	post := "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
	sendBytes(t, r.client, post)
	expectBytes(t, r.server, post)
	sendBytes(t, r.server, "HTTP/1.1 100 Continue\r\n\r\n")
	expectBytes(t, r.client, "HTTP/1.1 100 Continue\r\n\r\n")
	sendBytes(t, r.client, "ab")
	expectBytes(t, r.server, "ab")
	sendBytes(t, r.server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	expectBytes(t, r.client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	sendBytes(t, r.client, "cd"+getRequest)
	expectBytes(t, r.server, "cd"+getRequest)
	sendBytes(t, r.server, "HTTP/1.1 204 No\r\n\r\n")
	expectBytes(t, r.client, "HTTP/1.1 204 No\r\n\r\n")
	r.client.Close()
	r.result(nil)
	r.log.check(t, "POST / | interim 100 | > ab | 200 | eof | > cd | > end", "GET /a | > end | 204 | eof")
}

func TestRelayFollowsAWebSocket(t *testing.T) {
	r := newRig(t, relay.Options{})
	get := "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	sendBytes(t, r.client, get)
	expectBytes(t, r.server, get)
	sendBytes(t, r.server, switchHead+"\x81\x02hi")
	expectBytes(t, r.client, switchHead+"\x81\x02hi")
	for range 3 {
		sendBytes(t, r.client, "\x81\x03abc")
		expectBytes(t, r.server, "\x81\x03abc")
		sendBytes(t, r.server, "\x01\x01d")
		expectBytes(t, r.client, "\x01\x01d")
	}
	sendBytes(t, r.server, "\x80\x01e")
	expectBytes(t, r.client, "\x80\x01e")
	r.client.CloseWrite()
	expectEOF(t, r.server)
	sendBytes(t, r.server, "\x88\x00")
	r.server.Close()
	expectBytes(t, r.client, "\x88\x00")
	expectEOF(t, r.client)
	r.result(nil)
	r.log.check(t, "GET /ws | 101 | < \x81\x02hi"+
		" | > \x81\x03abc | < \x01\x01d | > \x81\x03abc | < \x01\x01d | > \x81\x03abc | < \x01\x01d | < \x80\x01e"+
		" | > end | < \x88\x00 | eof")
}

func TestRelayGoesOnInHTTPWhenAnUpgradeIsRefused(t *testing.T) {
	r := newRig(t, relay.Options{})
	get := "GET /ws HTTP/1.1\r\nUpgrade: h2c\r\n\r\n"
	sendBytes(t, r.client, get)
	expectBytes(t, r.server, get)
	sendBytes(t, r.client, getRequest) // is held until the answer tells what it is
	sendBytes(t, r.server, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
	expectBytes(t, r.server, getRequest)
	sendBytes(t, r.server, "HTTP/1.1 204 OK\r\n\r\n")
	expectBytes(t, r.client, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 204 OK\r\n\r\n")
	r.client.Close()
	r.result(nil)
	r.log.check(t, "GET /ws | > end | 200 | < x | eof", "GET /a | > end | 204 | eof")
}

func TestRelayTunnelsBehindConnect(t *testing.T) {
	r := newRig(t, relay.Options{})
	sendBytes(t, r.client, "CONNECT a:1 HTTP/1.1\r\n\r\nearly")
	expectBytes(t, r.server, "CONNECT a:1 HTTP/1.1\r\n\r\n")
	sendBytes(t, r.server, "HTTP/1.1 200 OK\r\n\r\n")
	expectBytes(t, r.server, "early")
	r.server.CloseWrite()
	expectBytes(t, r.client, "HTTP/1.1 200 OK\r\n\r\n")
	expectEOF(t, r.client)
	sendBytes(t, r.client, "late")
	expectBytes(t, r.server, "late")
	r.client.Close()
	expectEOF(t, r.server)
	r.result(nil)
	r.log.wait(t, "both ends", func(xs []*eventLogExchange) bool { return len(xs[0].events) == 6 })
}

func TestRelayPassesAServersResetOn(t *testing.T) {
	r := newRig(t, relay.Options{})
	sendBytes(t, r.client, getRequest)
	expectBytes(t, r.server, getRequest)
	part := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
	sendBytes(t, r.server, part)
	expectBytes(t, r.client, part)
	r.server.SetLinger(0)
	r.server.Close()
	if _, err := r.client.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read error %v, want a reset", err)
	}
	r.result(nil)
	r.log.check(t, "GET /a | > end | 200 | < a | reset")
}

func TestRelayNotesAnAnswerThatIsCutShort(t *testing.T) {
	r := newRig(t, relay.Options{})
	sendBytes(t, r.client, getRequest+getRequest)
	expectBytes(t, r.server, getRequest+getRequest)
	sendBytes(t, r.server, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
	r.server.Close()
	expectBytes(t, r.client, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
	expectEOF(t, r.client)
	sendBytes(t, r.client, getRequest) // nobody is there to answer
	r.log.check(t, "GET /a | > end | 200 | < a | closed", "GET /a | > end | closed", "GET /a | > end | closed")
	r.client.Close()
	r.result(nil)
}

func TestRelayCancelsWhenTheClientIsGone(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"with a reset": func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"with a close": func(c *net.TCPConn) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, relay.Options{})
			sendBytes(t, r.client, getRequest)
			expectBytes(t, r.server, getRequest)
			sendBytes(t, r.server, "HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\na")
			expectBytes(t, r.client, "HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\na")
			leave(r.client)
			for { // until the relay's end is gone
				if _, err := io.WriteString(r.server, "b"); err != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			r.result(nil)
			r.log.mu.Lock()
			defer r.log.mu.Unlock()
			if got := r.log.exchanges[0].String(); !strings.HasSuffix(got, " | cancelled") {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestRelayAnswersAClientThatHasHalfClosed(t *testing.T) {
	r := newRig(t, relay.Options{})
	sendBytes(t, r.client, getRequest)
	r.client.CloseWrite()
	expectBytes(t, r.server, getRequest)
	expectEOF(t, r.server)
	sendBytes(t, r.server, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
	expectBytes(t, r.client, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
	expectEOF(t, r.client)
	r.result(nil)
	r.log.check(t, "GET /a | > end | 200 | < a | eof")
}

func TestRelayGoesOnWithBytesThatAreNotHTTP(t *testing.T) {
	tests := []struct {
		name, request, answer, want string
	}{
		{"in an answer's head", getRequest, "HTTP/1.1 200 OK\r\nA : b\r\n\r\nx", "GET /a | > end | malformed"},
		{"in an answer's chunks", getRequest, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nz\r\nb", "GET /a | > end | 200 | < a | malformed"},
		{"in a request's chunks", "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nz\r\nb", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "POST /a | > a | 200 | < a | malformed"},
		{"in a second request", getRequest + "garb\x00age", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nagarbage", "GET /a | > end | 200 | < a | eof"},
		{"in an unwanted 101", getRequest, switchHead, "GET /a | > end | malformed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, relay.Options{})
			sendBytes(t, r.client, test.request)
			expectBytes(t, r.server, test.request)
			sendBytes(t, r.server, test.answer)
			expectBytes(t, r.client, test.answer)
			r.log.check(t, test.want)
			sendBytes(t, r.client, "more\x00")
			expectBytes(t, r.server, "more\x00")
			sendBytes(t, r.server, "back\x00")
			expectBytes(t, r.client, "back\x00")
			r.client.Close()
			expectEOF(t, r.server)
			r.server.Close()
			r.result(httpstream.ErrMalformed)
		})
	}
}

func TestRelayLeavesExchangesOpenWhenItsContextEnds(t *testing.T) {
	r := newRig(t, relay.Options{})
	sendBytes(t, r.client, getRequest)
	expectBytes(t, r.server, getRequest)
	sendBytes(t, r.server, "HTTP/1.1 200 OK\r\n\r\na")
	expectBytes(t, r.client, "HTTP/1.1 200 OK\r\n\r\na")
	r.log.wait(t, "a chunk", func(xs []*eventLogExchange) bool { return len(xs[0].events) == 4 })
	r.cancel()
	r.result(context.Canceled)
	r.log.check(t, "GET /a | > end | 200 | < a | open")
}

func TestRelayChoosesAnUpstreamForEachRequest(t *testing.T) {
	servers := map[string]*net.TCPConn{}
	conns := map[string]net.Conn{}
	for _, name := range []string{"a", "b"} {
		conns[name], servers[name] = tcpPair(t)
	}
	log := newEventLog()
	client, relayClient := tcpPair(t)
	done := make(chan error, 1)
	go func() {
		done <- Relay(t.Context(), relayClient, nil, relay.Options{
			Upstream: func(_ context.Context, head *httpstream.RequestHead) (net.Conn, error) {
				if conn := conns[head.Authority]; conn != nil {
					return conn, nil
				}
				return nil, errors.New("no such host")
			},
			RewriteRequest: func(head *httpstream.RequestHead) {
				head.Target = strings.TrimPrefix(head.Target, "http://"+head.Authority)
			},
		}, log)
	}()
	sendBytes(t, client, "GET http://a/1 HTTP/1.1\r\n\r\nGET http://a/2 HTTP/1.1\r\n\r\nGET http://b/3 HTTP/1.1\r\n\r\nGET http://c/4 HTTP/1.1\r\n\r\n")
	expectBytes(t, servers["a"], "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
	sendBytes(t, servers["a"], "HTTP/1.1 201 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n")
	expectEOF(t, servers["a"])
	expectBytes(t, servers["b"], "GET /3 HTTP/1.1\r\n\r\n")
	sendBytes(t, servers["b"], "HTTP/1.1 203 OK\r\nContent-Length: 0\r\n\r\n")
	in := bufio.NewReader(client)
	for _, status := range []int{201, 202, 203, 502} {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != status || status == 502 && !strings.Contains(string(body), "no such host") {
			t.Errorf("status %d %q, want %d", resp.StatusCode, body, status)
		}
	}
	expectEOF(t, in)
	client.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	log.check(t, "GET http://a/1 | > end | 201 | eof", "GET http://a/2 | > end | 202 | eof", "GET http://b/3 | > end | 203 | eof", "GET http://c/4 | reset")
}

func TestRelayRefusesAMalformedRequestWithoutAnUpstream(t *testing.T) {
	client, relayClient := net.Pipe()
	defer client.Close()
	done := make(chan error, 1)
	go func() {
		done <- Relay(t.Context(), relayClient, nil, relay.Options{Upstream: func(context.Context, *httpstream.RequestHead) (net.Conn, error) {
			return nil, errors.New("not reached")
		}}, newEventLog())
	}()
	go io.WriteString(client, "GET / HTTP/1.1\r\nA : b\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil || resp.StatusCode != 400 {
		t.Fatalf("%v, %v", resp, err)
	}
	if err := <-done; !errors.Is(err, httpstream.ErrMalformed) {
		t.Error(err)
	}
}

func TestRelayWorksBetweenNetHTTPClientAndServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Trailer", "Sum")
		body, _ := io.ReadAll(req.Body)
		for i := range 5 {
			fmt.Fprintf(w, "%d:%d\n", i, len(body))
			w.(http.Flusher).Flush()
		}
		w.Header().Set("Sum", "5")
	}))
	defer server.Close()
	log := newEventLog()
	var relays sync.WaitGroup
	client := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		up, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			return nil, err
		}
		a, b := tcpPair(t)
		relays.Go(func() { Relay(context.Background(), b, up, relay.Options{}, log) })
		return a, nil
	}}
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for n := range 10 {
				size := n * 20_000
				req, _ := http.NewRequest("POST", "http://x/", io.MultiReader(bytes.NewReader(make([]byte, size))))
				resp, err := client.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				want := fmt.Sprintf("0:%d\n1:%d\n2:%d\n3:%d\n4:%d\n", size, size, size, size, size)
				if err != nil || string(body) != want || resp.Trailer.Get("Sum") != "5" {
					t.Errorf("%q, %v, %v", body, err, resp.Trailer)
				}
			}
		})
	}
	calls.Wait()
	client.CloseIdleConnections()
	relays.Wait()
	ends := 0
	for _, x := range log.exchanges {
		if strings.HasSuffix(x.String(), " | eof Sum: 5") {
			ends++
		}
	}
	if ends != 40 {
		t.Errorf("%d of %d exchanges ended well", ends, len(log.exchanges))
	}
}

func TestRelayWorksBetweenTLSConnections(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		if req.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	trusted := server.Client().Transport.(*http.Transport).TLSClientConfig
	up, err := tls.Dial("tcp", server.Listener.Addr().String(), trusted)
	if err != nil {
		t.Fatal(err)
	}
	clientEnd, relayEnd := tcpPair(t)
	log := newEventLog()
	done := make(chan error, 1)
	go func() {
		done <- Relay(t.Context(), tls.Server(relayEnd, server.TLS), up, relay.Options{}, log)
	}()
	client := tls.Client(clientEnd, &tls.Config{RootCAs: trusted.RootCAs, ServerName: "example.com"})
	in := bufio.NewReader(client)
	for _, path := range []string{"/", "/cut"} {
		sendBytes(t, client, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if string(body) != "hello" || (err != nil) != (path == "/cut") {
			t.Errorf("%s: %q, %v", path, body, err)
		}
	}
	client.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	log.check(t, "GET / | > end | 200 | < hello | eof", "GET /cut | > end | 200 | < hello | closed")
}

func TestRawRelayCountsBytesAndPassesEnds(t *testing.T) {
	client, relayClient := tcpPair(t)
	relayUp, server := tcpPair(t)
	var up, down int64
	done := make(chan error, 1)
	go func() {
		var err error
		up, down, err = relay.Raw(t.Context(), relayClient, relayUp)
		done <- err
	}()
	sendBytes(t, client, "hello")
	client.CloseWrite()
	expectBytes(t, server, "hello")
	expectEOF(t, server)
	sendBytes(t, server, "goodbye")
	server.SetLinger(0)
	expectBytes(t, client, "goodbye")
	server.Close()
	if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read error %v, want a reset", err)
	}
	if err := <-done; err != nil || up != 5 || down != 7 {
		t.Errorf("%d up, %d down, %v", up, down, err)
	}
}
