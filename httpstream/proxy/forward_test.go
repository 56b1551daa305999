package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// missWith replays an empty tape, and lets misses go on; rec may be nil.
func (w *world) missWith(rec *record.Recorder) (*lab, *events) {
	w.t.Helper()
	heard := &events{}
	pb, err := NewPlayback(&tape.Tape{Dir: w.t.TempDir()}, PlaybackOptions{OnEvent: heard.add})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { pb.Close() })
	cfg := Config{Dial: w.dial, Passthrough: true}
	pb.Configure(&cfg)
	if rec != nil {
		cfg.Record = func(s Stream) httpstream.Sink {
			return rec.Conn(record.Conn{Kind: tape.Call, Service: s.Service, Scheme: s.Scheme, Authority: s.Authority, TLS: s.TLS})
		}
	}
	return w.serveWith(cfg, transparent), heard
}

// newTape returns a recorder, and what ends it and opens its tape.
func newTape(t *testing.T) (*record.Recorder, func() *tape.Tape) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := tape.Create(dir, tape.Manifest{By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	rec := record.New(record.Options{OnError: func(err error) { t.Error(err) }}, w.Apply)
	return rec, func() *tape.Tape {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := rec.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(nil); err != nil {
			t.Fatal(err)
		}
		tp, err := tape.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range tp.Verify() {
			t.Error(p)
		}
		return tp
	}
}

// stepwise answers with the request's body, then with a chunk for each step that
// the test lets it take, then with a trailer.
func stepwise(step <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, "%s %s %s|", r.Proto, r.Header.Get("Accept-Encoding"), body)
		w.(http.Flusher).Flush()
		for i := range 3 {
			select {
			case <-step:
			case <-r.Context().Done():
				return
			}
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
		w.Header().Set("X-Sum", "3")
	}
}

func TestAMissGoesOnToTheOriginChunkByChunk(t *testing.T) {
	for _, tc := range []struct{ name, url, alpn string }{
		{"HTTP/1.1 in TLS", "https://a.example/x?q=1", "http/1.1"},
		{"an HTTP/2 client", "https://a.example/x?q=1", "h2"},
		{"plain text", "http://a.example/x?q=1", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			step := make(chan struct{})
			w.https("a.example:443", stepwise(step), "h2", "http/1.1")
			w.http("a.example:80", stepwise(step))
			rec, end := newTape(t)
			b, heard := w.missWith(rec)

			// A body of unknown length.
			req, err := http.NewRequestWithContext(t.Context(), "POST", tc.url, io.MultiReader(strings.NewReader("hello, "), strings.NewReader("world")))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "br")
			resp, err := b.client(strings.Fields(tc.alpn)...).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			buf := make([]byte, 1000)
			next := func() string {
				n, err := resp.Body.Read(buf)
				if err != nil && n == 0 {
					t.Fatal(err)
				}
				return string(buf[:n])
			}
			const first = "HTTP/1.1 identity hello, world|"
			got := next()
			if resp.StatusCode != 202 || got != first {
				t.Fatalf("status %d, %q", resp.StatusCode, got)
			}
			if (tc.alpn == "h2") != (resp.ProtoMajor == 2) {
				t.Errorf("the client was answered in %s", resp.Proto)
			}
			for i := range 3 {
				step <- struct{}{} // the origin holds back what comes later
				if got := next(); got != fmt.Sprintf("data: %d\n\n", i) {
					t.Fatalf("chunk %d is %q", i, got)
				}
			}
			if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 || resp.Trailer.Get("X-Sum") != "3" {
				t.Errorf("rest %q, %v, trailer %v", rest, err, resp.Trailer)
			}
			b.close()
			if len(heard.list) != 1 || heard.list[0].Miss == nil || !heard.list[0].Forwarded || heard.list[0].Err != nil {
				t.Errorf("events %+v", heard.list)
			}

			tp := end()
			if len(tp.Calls) != 1 {
				t.Fatalf("%d calls on the tape", len(tp.Calls))
			}
			x := tp.Calls[0]
			if x.Request.Method != "POST" || x.Request.URL != tc.url || string(x.Request.Body.Data) != "hello, world" ||
				x.Response.Head.Status != 202 || x.Service != "app" || (tc.alpn == "h2") != (x.Request.Proto == "HTTP/2.0") {
				t.Errorf("recorded %+v", x)
			}
			lines := linesOf(t, tp, x)
			var text []string
			for _, l := range lines {
				if l.End == nil {
					text = append(text, string(l.Data))
				} else if l.End.How != httpstream.EOF || l.End.Trailer.Get("X-Sum") != "3" {
					t.Errorf("end %+v", l.End)
				}
			}
			if got := strings.Join(text, "#"); got != first+"#data: 0\n\n#data: 1\n\n#data: 2\n\n" {
				t.Errorf("recorded chunks %q", got)
			}

			// The new tape answers by itself.
			again, _ := w.replayWith(tp, transparent)
			req, err = http.NewRequestWithContext(t.Context(), "POST", tc.url, strings.NewReader("hello, world"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := again.client(strings.Fields(tc.alpn)...).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Body.Close()
			if all, err := io.ReadAll(body.Body); err != nil || body.StatusCode != 202 || body.Proto != resp.Proto || string(all) != strings.Join(text, "") {
				t.Errorf("replayed %d %q, %v", body.StatusCode, all, err)
			}
		})
	}
}

func linesOf(t *testing.T, tp *tape.Tape, x *tape.Exchange) []tape.Line {
	t.Helper()
	s, err := tp.Stream(x)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var lines []tape.Line
	for l, err := range s.Lines() {
		if err != nil {
			t.Fatal(err)
		}
		l.Data = append([]byte(nil), l.Data...)
		lines = append(lines, l)
	}
	return lines
}

func TestAMissWhoseOriginIsDownStaysAMiss(t *testing.T) {
	w := newWorld(t)
	rec, end := newTape(t)
	b, heard := w.missWith(rec)
	resp, err := b.client("http/1.1").Get("https://down.example/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 502 || resp.Header.Get("Wiretape-Miss") != "none" {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
	if n := b.waitNotice(event.Unreachable); n.Detail != "connection refused" {
		t.Errorf("notice %+v", n)
	}
	b.close()
	if len(heard.list) != 1 || heard.list[0].Forwarded {
		t.Errorf("events %+v", heard.list)
	}
	if tp := end(); len(tp.Calls) != 0 {
		t.Errorf("recorded %+v", tp.Calls[0])
	}
}

func TestAnOriginThatIsNotTrustedIsNotAsked(t *testing.T) {
	w := newWorld(t)
	s := httptest.NewUnstartedServer(http.NotFoundHandler()) // with a certificate of its own
	s.Config.ErrorLog = quiet
	s.StartTLS()
	defer s.Close()
	w.put("a.example:443", s.Listener.Addr().String())
	b, _ := w.missWith(nil)
	resp, err := b.client("http/1.1").Get("https://a.example/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if n := b.waitNotice(event.Unreachable); resp.StatusCode != 502 || !strings.Contains(n.Detail, "certificate") {
		t.Errorf("%s, notice %+v", resp.Status, n)
	}
}

func TestAClientThatLeavesAMissLeavesTheOrigin(t *testing.T) {
	w := newWorld(t)
	left := make(chan struct{})
	w.https("a.example:443", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	}), "http/1.1")
	rec, end := newTape(t)
	b, _ := w.missWith(rec)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", "https://a.example/", nil)
	resp, err := b.client("http/1.1").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	select {
	case <-left:
	case <-time.After(patience):
		t.Fatal("the origin goes on")
	}
	b.close()
	tp := end()
	if len(tp.Calls) != 1 {
		t.Fatalf("%d calls", len(tp.Calls))
	}
	// The origin may end its answer, as it sees the client close its side.
	if lines := linesOf(t, tp, tp.Calls[0]); lines[len(lines)-1].End.How != httpstream.Cancelled && lines[len(lines)-1].End.How != httpstream.EOF {
		t.Errorf("lines %+v", lines)
	}
}

func TestANewlyRecordedCallIsWhatItsClientSaw(t *testing.T) {
	const upstream = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nHTTP2-Settings: AAMAAABk\r\n" +
		"Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\nX-Own:  mine \r\n\r\n3\r\none\r\n0\r\nX-Sum: 3\r\n\r\n"
	w := newWorld(t)
	asked := make(chan string, 2)
	origin := func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		body, _ := io.ReadAll(r.Body)
		asked <- fmt.Sprintf("%s %v %q", r.Method, r.Header, body)
		io.WriteString(c, upstream)
	}
	w.raw("a.example:443", func(c net.Conn) { origin(tls.Server(c, w.serverTLS("http/1.1"))) })
	w.raw("a.example:80", origin)
	rec, end := newTape(t)
	b, _ := w.missWith(rec)

	saw := ask(t, b.client("h2"), "POST", "https://a.example/x", "hello")
	// As Java's client asks: an offer of HTTP/2 with a body of unknown length.
	const javas = "POST /y HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n" +
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	if line := exchange(t, b.dialTo(named("a.example:80")), javas); line != "HTTP/1.1 200 OK\r\n" {
		t.Errorf("the client that offers HTTP/2 got %q", line)
	}
	for range 2 {
		if got := <-asked; strings.Contains(got, "Upgrade") || strings.Contains(got, "Settings") || !strings.HasSuffix(got, `"hello"`) {
			t.Errorf("the origin was asked %s", got)
		}
	}
	b.close()
	tp := end()
	if len(tp.Calls) != 2 {
		t.Fatalf("%q", urls(tp.Calls))
	}
	head := tp.Calls[0].Response.Head
	got := http.Header{}
	for _, f := range head.Header {
		if f.Name != strings.ToLower(f.Name) {
			t.Errorf("the tape has %q in HTTP/2", f.Name)
		}
		got.Add(f.Name, f.Value)
	}
	got.Del("Trailer") // the client takes it away
	if head.Proto != "HTTP/2.0" || fmt.Sprint(got) != fmt.Sprint(saw.header) || saw.header.Get("X-Hop") != "" {
		t.Errorf("the client saw %v, the tape has %v", saw.header, got)
	}
	lines := linesOf(t, tp, tp.Calls[0])
	if trailer := lines[len(lines)-1].End.Trailer; len(trailer) != 1 || trailer[0].Name != "x-sum" || saw.trailer.Get("X-Sum") != "3" {
		t.Errorf("the client saw the trailer %v, the tape has %v", saw.trailer, trailer)
	}
	if x := tp.Calls[1]; x.Request.Header.Get("Upgrade") != "h2c" || string(x.Request.Body.Data) != "hello" {
		t.Errorf("of the client's request the tape has %+v", x.Request)
	}

	again, heard := w.replayWith(tp, transparent)
	if line := exchange(t, again.dialTo(named("a.example:80")), strings.Replace(javas, "hello", "other", 1)); line != "HTTP/1.1 502 Bad Gateway\r\n" {
		t.Errorf("another body was answered %q", line)
	}
	if line := exchange(t, again.dialTo(named("a.example:80")), javas); line != "HTTP/1.1 200 OK\r\n" {
		t.Errorf("the same body was answered %q", line)
	}
	if a := ask(t, again.client("h2"), "POST", "https://a.example/x", "hello"); a.String() != saw.String() || heard.misses() != 1 {
		t.Errorf("the client saw %v, and in replay %v", saw, a)
	}
}
