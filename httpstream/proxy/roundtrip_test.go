package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// streamer answers as a model that streams does: events at their own pace, then a
// trailer; and says how it was asked.
func streamer(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Date", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.Header().Set("Trailer", "X-End")
		w.Header().Set("X-Asked", r.Proto+" "+r.Host+" "+r.Header.Get("Accept-Encoding"))
		for i, part := range []string{"data: h\xc3", "\xa9llo\n\n", "data: 0\r\n\r\n"} {
			fmt.Fprintf(w, "%s", part)
			if i == 0 {
				fmt.Fprintf(w, "%s %s %s", name, r.URL, body)
			}
			w.(http.Flusher).Flush()
		}
		w.Header().Set("X-End", "yes")
	})
}

// A question is one request of a scenario.
type question struct{ method, target, body string }

func (q question) ask(t *testing.T, c *http.Client) answer {
	t.Helper()
	return ask(t, c, q.method, q.target, q.body)
}

// checkReplay wants the answers that came when the tape was recorded.
func checkReplay(t *testing.T, tp *tape.Tape, b *lab, heard *events, c *http.Client, qs []question, want []answer) {
	t.Helper()
	for i, q := range qs {
		if d := cmp.Diff(want[i].String(), q.ask(t, c).String()); d != "" {
			t.Errorf("%s %s differs in replay (-recorded +replayed):\n%s", q.method, q.target, d)
		}
	}
	if n := heard.misses(); n > 0 {
		t.Errorf("%d misses, with the tape %q", n, urls(tp.Calls))
	}
	if n := b.all(); len(n) > 0 {
		t.Errorf("replay noticed %v", n)
	}
}

func TestWhatIsRecordedIsReplayed(t *testing.T) {
	const host = "https://api.example.com"
	https := []question{
		{"POST", host + "/v1/chat?b=2&a=1", `{"q":"first"}`}, {"GET", host + "/v1/models", ""},
		{"POST", host + "/v1/chat?a=1&b=2", `{"q":"second"}`}, {"HEAD", host + "/", ""},
	}
	plain := []question{
		{"GET", "http://one.example.com/a?x=1", ""}, {"POST", "http://two.example.com:8080/b", "two"},
		{"GET", "http://one.example.com/c", ""}, {"POST", "http://one.example.com/a?x=1", "again"},
	}
	for _, c := range []struct {
		name   string
		client func(*lab) *http.Client
		mode   string // as in explicit; "transparent" leads connections
		qs     []question
		proto  string // on the tape
	}{
		{"HTTP/1.1 over TLS that was led here", func(b *lab) *http.Client { return b.client("http/1.1") }, "transparent", https, "HTTP/1.1"},
		{"HTTP/1.1 over TLS from a client without ALPN", func(b *lab) *http.Client { return b.client() }, "transparent", https, "HTTP/1.1"},
		{"HTTP/2 over TLS that was led here", func(b *lab) *http.Client { return b.client("h2", "http/1.1") }, "transparent", https, "HTTP/2.0"},
		{"plain HTTP that was led here", func(b *lab) *http.Client { return b.client() }, "transparent", plain, "HTTP/1.1"},
		{"HTTP/1.1 through CONNECT", func(b *lab) *http.Client { return b.through("http/1.1") }, "", https, "HTTP/1.1"},
		{"HTTP/2 through CONNECT", func(b *lab) *http.Client { return b.through("h2") }, "", https, "HTTP/2.0"},
		{"plain HTTP through a forward proxy, two hosts on one connection", func(b *lab) *http.Client { return b.through("http/1.1") }, "", plain, "HTTP/1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.https("api.example.com:443", streamer("api"), "h2", "http/1.1")
			w.http("one.example.com:80", streamer("one"))
			w.http("two.example.com:8080", streamer("two"))
			how := transparent
			if c.mode != "transparent" {
				how = explicit(c.mode)
			}
			rec := w.recordWith(nil, how)
			client := c.client(rec)
			var want []answer
			for _, q := range c.qs {
				want = append(want, q.ask(t, client))
			}
			if n := rec.all(); len(n) > 0 {
				t.Errorf("record noticed %v", n)
			}
			tp := rec.tape()
			var asked []string
			for _, q := range c.qs {
				asked = append(asked, q.method+" "+q.target)
			}
			if d := cmp.Diff(asked, urls(tp.Calls)); d != "" {
				t.Fatalf("the tape has other calls (-asked +recorded):\n%s", d)
			}
			for _, x := range tp.Calls {
				if x.Request.Proto != c.proto {
					t.Errorf("%s was recorded as %s, want %s", x.Request.URL, x.Request.Proto, c.proto)
				}
				if want := strings.HasPrefix(x.Request.URL, "https"); (x.Request.TLS == "1.3") != want {
					t.Errorf("%s was recorded with TLS %q", x.Request.URL, x.Request.TLS)
				}
			}
			b, heard := w.replayWith(tp, how)
			checkReplay(t, tp, b, heard, c.client(b), c.qs, want)
		})
	}
}

func TestAReverseProxyRecordsUnderItsUpstreamsName(t *testing.T) {
	for _, c := range []struct {
		name, upstream string
		h2c            bool
		want           string
	}{
		{"HTTP/1.1 to a TLS upstream", "https://api.example.com", false, "https://api.example.com"},
		{"HTTP/1.1 to a plain upstream", "http://one.example.com:8080", false, "http://one.example.com:8080"},
		{"HTTP/2 in plain text to a TLS upstream", "https://api.example.com", true, "https://api.example.com"},
		{"HTTP/2 in plain text to a plain upstream", "http://one.example.com:8080/", true, "http://one.example.com:8080"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.https("api.example.com:443", streamer("api"), "h2", "http/1.1")
			w.http("one.example.com:8080", streamer("one"))
			client := func(b *lab) *http.Client {
				tr := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
				tr.Protocols.SetUnencryptedHTTP2(c.h2c)
				tr.Protocols.SetHTTP1(!c.h2c)
				return b.httpClient(tr)
			}
			questions := func(b *lab) []question {
				at := "http://" + b.addr
				return []question{{"POST", at + "/v1/chat", "hello"}, {"GET", at + "/v1/models?x=y", ""}}
			}
			rec := w.recordWith(nil, explicit(c.upstream))
			var want []answer
			for _, q := range questions(rec) {
				want = append(want, q.ask(t, client(rec)))
			}
			tp := rec.tape()
			if d := cmp.Diff([]string{"POST " + c.want + "/v1/chat", "GET " + c.want + "/v1/models?x=y"}, urls(tp.Calls)); d != "" {
				t.Fatalf("the tape has other calls (-want +recorded):\n%s", d)
			}
			u, _ := url.Parse(c.want)
			if asked := want[0].header.Get("X-Asked"); !strings.Contains(asked, " "+u.Host+" ") {
				t.Errorf("upstream was asked as %q", asked)
			}
			b, heard := w.replayWith(tp, explicit(""))
			checkReplay(t, tp, b, heard, client(b), questions(b), want)
		})
	}
}

func TestTheClientIsShownTheProtocolThatUpstreamChose(t *testing.T) {
	for _, c := range []struct {
		name           string
		client, server []string
		want           string
	}{
		{"both speak h2", []string{"h2", "http/1.1"}, []string{"h2", "http/1.1"}, "h2"},
		{"the server speaks HTTP/1.1 only", []string{"h2", "http/1.1"}, []string{"http/1.1"}, "http/1.1"},
		{"the client speaks HTTP/1.1 only", []string{"http/1.1"}, []string{"h2", "http/1.1"}, "http/1.1"},
		{"the server chooses none", []string{"h2", "http/1.1"}, nil, ""},
		{"the client offers none", nil, []string{"h2", "http/1.1"}, ""},
		{"what else the client offers is left out", []string{"acme-tls/1", "http/1.1"}, []string{"acme-tls/1", "http/1.1"}, "http/1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.https("api.example.com:443", streamer("api"), c.server...)
			rec := w.recordWith(nil, transparent)
			conn := w.clientTLS(rec.dialTo(named("api.example.com:443")), "api.example.com", c.client...)
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			if got := conn.ConnectionState().NegotiatedProtocol; got != c.want {
				t.Errorf("the client was shown %q, want %q", got, c.want)
			}
			if c.want == "h2" {
				return
			}
			if line := exchange(t, conn, "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"); line != "HTTP/1.1 200 OK\r\n" {
				t.Errorf("the client got %q", line)
			}
			conn.Close()
			if tp := rec.tape(); len(tp.Calls) != 1 {
				t.Errorf("recorded %q", urls(tp.Calls))
			}
		})
	}
}

func TestReplaySpeaksWhatWasRecorded(t *testing.T) {
	for _, protos := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}} {
		w := newWorld(t)
		w.https("api.example.com:443", streamer("api"), protos...)
		rec := w.recordWith(nil, transparent)
		ask(t, rec.client("h2", "http/1.1"), "GET", "https://api.example.com/", "")
		b, _ := w.replayWith(rec.tape(), transparent)
		// The client prefers the other way round, and is led to what was recorded.
		offer := []string{"http/1.1", "h2"}
		if protos[0] == "http/1.1" {
			slices.Reverse(offer)
		}
		conn := w.clientTLS(b.dialTo(named("api.example.com:443")), "api.example.com", offer...)
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != protos[0] {
			t.Errorf("recorded with %v: replay chose %q of %v", protos, got, offer)
		}
		// A client that can't speak that still gets an answer.
		other := ask(t, b.client("http/1.1"), "GET", "https://api.example.com/", "")
		if other.status != 200 || !strings.Contains(other.body, "data: 0\r\n\r\n") {
			t.Errorf("an HTTP/1.1 client got %v", other)
		}
	}
}

func TestAMissAnswers502AndNamesTheClosestCall(t *testing.T) {
	w := newWorld(t)
	w.https("api.example.com:443", streamer("api"), "h2", "http/1.1")
	rec := w.recordWith(nil, transparent)
	ask(t, rec.client("h2"), "POST", "https://api.example.com/v1/chat", `{"q":1}`)
	b, heard := w.replayWith(rec.tape(), transparent)
	for i, q := range []question{
		{"POST", "https://api.example.com/v1/chat", `{"q":2}`},
		{"GET", "https://unheard-of.example.com/", ""},
		{"GET", "http://unheard-of.example.com/", ""},
	} {
		a := q.ask(t, b.client("h2", "http/1.1"))
		if a.status != 502 || a.header.Get("Content-Type") != "application/json" || !strings.Contains(a.body, "wiretape") {
			t.Errorf("%s %s was answered %v", q.method, q.target, a)
		}
		if i == 0 && a.header.Get("Wiretape-Miss") != "1" {
			t.Errorf("the closest call is not named in %v", a)
		}
	}
	b.close() // a miss is told of after its answer
	if heard.misses() != 3 {
		t.Errorf("%d misses were told of, want 3", heard.misses())
	}
}

func TestTheClientsEncodingsAreAskedForOnlyIfKept(t *testing.T) {
	for _, keep := range []bool{false, true} {
		w := newWorld(t)
		w.https("api.example.com:443", streamer("api"), "h2", "http/1.1")
		w.http("one.example.com:80", streamer("one"))
		set := func(c *Config) { c.KeepEncoding = keep }
		want := "identity"
		if keep {
			want = "gzip, br"
		}
		led, through := w.recordWith(set, transparent), w.recordWith(set, explicit("http://one.example.com"))
		for _, a := range []answer{
			ask(t, led.client("h2"), "GET", "https://api.example.com/", ""),
			ask(t, led.client("http/1.1"), "GET", "https://api.example.com/", ""),
			ask(t, through.through("h2"), "GET", "https://api.example.com/", ""),
			ask(t, through.through("http/1.1"), "GET", "http://one.example.com/", ""),
			ask(t, through.client(), "GET", "http://"+through.addr+"/", ""),
		} {
			if got := a.header.Get("X-Asked"); !strings.HasSuffix(got, " "+want) {
				t.Errorf("keep encoding %v: upstream was asked %q", keep, got)
			}
		}
		// What the client asked stands on the tape as it asked.
		for _, x := range append(led.tape().Calls, through.tape().Calls...) {
			if got := x.Request.Header.Get("Accept-Encoding"); got != "gzip, br" {
				t.Errorf("keep encoding %v: the tape says %q", keep, got)
			}
		}
	}
}
