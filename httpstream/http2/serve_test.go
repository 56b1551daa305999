//lint:file-ignore SA1019 a second implementation is wanted here: net/http has its own copy of this client

package http2

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/wiretape/wiretape/httpstream"
)

type handlerFunc func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter)

func (f handlerFunc) ServeStream(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
	f(ctx, req, w)
}

// served serves h on a loopback address.
func served(t testing.TB, h handlerFunc, wrap func(net.Conn) net.Conn) (addr string, errs chan error) {
	t.Helper()
	return servedBy(t, func(ctx context.Context, conn net.Conn) error {
		if wrap != nil {
			conn = wrap(conn)
		}
		return Serve(ctx, conn, h)
	})
}

// servedBy serves connections with serve until the test ends.
func servedBy(t testing.TB, serve func(context.Context, net.Conn) error) (addr string, errs chan error) {
	t.Helper()
	ln := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	ctx, cancel := context.WithCancel(context.Background())
	errs = make(chan error, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { errs <- serve(ctx, conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		wg.Wait()
	})
	return ln.Addr().String(), errs
}

// servedRaw serves h to one raw client.
func servedRaw(t testing.TB, h handlerFunc, settings ...http2.Setting) (*rawPeer, chan error) {
	t.Helper()
	addr, errs := served(t, h, nil)
	return dialRaw(t, addr, settings...), errs
}

func dialRaw(t testing.TB, addr string, settings ...http2.Setting) *rawPeer {
	t.Helper()
	c := newRawPeer(t, must[net.Conn](t)(net.Dial("tcp", addr)))
	c.AllowIllegalWrites = true
	return c.clientPreface(settings...)
}

func answerHead(status int, pairs ...string) *httpstream.ResponseHead {
	h := &httpstream.ResponseHead{Proto: "HTTP/2.0", Status: status}
	for i := 0; i < len(pairs); i += 2 {
		h.Header = append(h.Header, httpstream.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return h
}

// echoHandler answers with what it reads, and says in a trailer what it read.
func echoHandler(t testing.TB) handlerFunc {
	return func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		w.Interim(answerHead(103, "link", "</a>"))
		w.Head(answerHead(200, "x-target", req.Head.Target))
		w.Flush()
		buf := make([]byte, 10_000)
		total := 0
		for {
			n, err := req.Body.Read(buf)
			total += n
			if w.Chunk(httpstream.Chunk{Data: buf[:n]}) != nil || w.Flush() != nil {
				return
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return
			}
		}
		at, trailer := req.Complete()
		if at.Before(req.Arrived) {
			t.Error("complete before it arrived")
		}
		w.End(httpstream.EndInfo{How: httpstream.EOF, Trailer: httpstream.Fields{
			{Name: "x-total", Value: fmt.Sprint(total)}, {Name: "x-up", Value: trailer.Get("x-up")},
		}})
	}
}

func TestServeAnswersATransport(t *testing.T) {
	addr, _ := served(t, echoHandler(t), nil)
	c := httpClient(t, addr)
	var interim []int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { interim = append(interim, code); return nil },
	})
	body := pattern(6<<20, 1) // over every window
	req := must[*http.Request](t)(http.NewRequestWithContext(ctx, "POST", "http://h/t?q", io.MultiReader(bytes.NewReader(body))))
	req.Trailer = http.Header{"X-Up": {"yes"}}
	res := must[*http.Response](t)(c.Do(req))
	got := must[[]byte](t)(io.ReadAll(res.Body))
	res.Body.Close()
	if !bytes.Equal(got, body) {
		t.Errorf("got %d bytes back", len(got))
	}
	if want := (http.Header{"X-Target": {"/t?q"}}); fmt.Sprint(res.Header) != fmt.Sprint(want) {
		t.Errorf("header %v, want %v", res.Header, want)
	}
	if res.Trailer.Get("X-Total") != fmt.Sprint(len(body)) || res.Trailer.Get("X-Up") != "yes" || !slices.Equal(interim, []int{103}) {
		t.Errorf("trailer %v, interim %v", res.Trailer, interim)
	}
}

func TestServeAnswersOverTLS(t *testing.T) {
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	certs.Close()
	addr, errs := served(t, echoHandler(t), func(c net.Conn) net.Conn {
		return tls.Server(c, &tls.Config{Certificates: certs.TLS.Certificates, NextProtos: []string{"h2"}})
	})
	tr := &http2.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}}
	tr.TLSClientConfig.RootCAs.AddCert(certs.Certificate())
	c := &http.Client{Transport: tr}
	want, _ := sumOf(bytes.NewReader(pattern(2<<20, 1)))
	res := must[*http.Response](t)(c.Post("https://"+addr+"/", "", bytes.NewReader(pattern(2<<20, 1))))
	got, err := sumOf(res.Body)
	if got != want || err != nil {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
	res.Body.Close()
	tr.CloseIdleConnections()
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

func TestServeAnswersManyStreamsAtOnce(t *testing.T) {
	addr, _ := served(t, echoHandler(t), nil)
	c := httpClient(t, addr)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			want, _ := sumOf(bytes.NewReader(pattern(100_000, i)))
			res, err := c.Post("http://h/", "", bytes.NewReader(pattern(100_000, i)))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if got, err := sumOf(res.Body); got != want || err != nil {
				t.Errorf("stream %d: %s, want %s (%v)", i, got, want, err)
			}
		})
	}
	wg.Wait()
}

func TestServeAnswersCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	if v, _ := exec.Command(curl, "--version").Output(); !bytes.Contains(v, []byte("HTTP2")) {
		t.Skip("curl has no HTTP/2")
	}
	addr, _ := served(t, echoHandler(t), nil)
	cmd := exec.Command(curl, "-sS", "-i", "--noproxy", "*", "--http2-prior-knowledge", "--data-binary", "@-", "http://"+addr+"/c")
	body := bytes.Repeat([]byte("0123456789"), 50_000)
	cmd.Stdin = bytes.NewReader(body)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if want := "HTTP/2 103 \r\nlink: </a>\r\n\r\nHTTP/2 200 \r\nx-target: /c\r\n\r\n"; !strings.HasPrefix(string(out), want) {
		t.Errorf("curl got %.200q", out)
	}
	if !bytes.Contains(out, body) || !bytes.HasSuffix(out, []byte("x-total: 500000\r\nx-up: \r\n")) {
		t.Errorf("curl got %d bytes that end in %q", len(out), out[max(0, len(out)-60):])
	}
}

func TestServeWritesExactlyWhatItIsTold(t *testing.T) {
	chunk := func(s string) httpstream.Chunk { return httpstream.Chunk{Data: []byte(s)} }
	tests := []struct {
		name   string
		answer func(w httpstream.ResponseWriter)
		want   []string
	}{
		{"fields in order, nothing added", func(w httpstream.ResponseWriter) {
			w.Head(answerHead(200, "b", "1", "a", "2", "b", "3"))
			w.Chunk(chunk("x"))
			w.End(httpstream.EndInfo{How: httpstream.EOF})
		}, []string{"HEADERS 1 [:status=200 b=1 a=2 b=3]", `DATA 1 "x" end`}},
		{"no body", func(w httpstream.ResponseWriter) {
			w.Head(answerHead(204))
			w.End(httpstream.EndInfo{How: httpstream.EOF})
		}, []string{"HEADERS 1 [:status=204] end"}},
		{"chunks that leave together keep their boundaries", func(w httpstream.ResponseWriter) {
			w.Head(answerHead(200))
			w.Chunk(chunk("a"))
			w.Chunk(chunk("bc"))
			w.Flush()
			w.Chunk(chunk("d"))
			w.End(httpstream.EndInfo{How: httpstream.EOF})
		}, []string{"HEADERS 1 [:status=200]", `DATA 1 "a"`, `DATA 1 "bc"`, `DATA 1 "d" end`}},
		{"an end that comes alone", func(w httpstream.ResponseWriter) {
			w.Head(answerHead(200))
			w.Chunk(chunk("a"))
			w.Flush()
			w.End(httpstream.EndInfo{How: httpstream.EOF})
		}, []string{"HEADERS 1 [:status=200]", `DATA 1 "a"`, `DATA 1 "" end`}},
		{"interim heads and trailers", func(w httpstream.ResponseWriter) {
			w.Interim(answerHead(100))
			w.Interim(answerHead(103, "link", "l"))
			w.Head(answerHead(200))
			w.Chunk(chunk("a"))
			w.End(httpstream.EndInfo{How: httpstream.EOF, Trailer: httpstream.Fields{{Name: "T", Value: "v"}}})
		}, []string{"HEADERS 1 [:status=100]", "HEADERS 1 [:status=103 link=l]", "HEADERS 1 [:status=200]", `DATA 1 "a"`, "HEADERS 1 [t=v] end"}},
		{"a reset with its code", func(w httpstream.ResponseWriter) {
			w.Head(answerHead(200))
			w.Chunk(chunk("a"))
			w.End(httpstream.EndInfo{How: httpstream.Reset, Code: uint32(http2.ErrCodeCancel)})
		}, []string{"HEADERS 1 [:status=200]", `DATA 1 "a"`, "RST_STREAM 1 CANCEL"}},
		{"a reset without a code", func(w httpstream.ResponseWriter) {
			w.End(httpstream.EndInfo{How: httpstream.Reset})
		}, []string{"RST_STREAM 1 INTERNAL_ERROR"}},
		{"an answer without an end", func(w httpstream.ResponseWriter) {
			w.Head(answerHead(200))
			w.Flush()
		}, []string{"HEADERS 1 [:status=200]", "RST_STREAM 1 INTERNAL_ERROR"}},
		{"a head from HTTP/1.1", func(w httpstream.ResponseWriter) {
			h := answerHead(200, "Content-Type", "a/b ", "Connection", "close, X-Hop", "X-Hop", "1", "Transfer-Encoding", "chunked",
				"Keep-Alive", "x", "Upgrade", "h2c", "Proxy-Connection", "x", "X", "folded\r\n line")
			h.Proto, h.Line = "HTTP/1.1", "HTTP/1.1 200 Fine"
			w.Head(h)
			w.Chunk(chunk("a"))
			w.End(httpstream.EndInfo{How: httpstream.EOF})
		}, []string{"HEADERS 1 [:status=200 content-type=a/b x=folded   line]", `DATA 1 "a" end`}},
		{"pieces of a frame that the client would not take whole", func(w httpstream.ResponseWriter) {
			w.Head(answerHead(200))
			w.Chunk(httpstream.Chunk{Data: []byte("abc"), Of: 20_000})
			w.Chunk(httpstream.Chunk{Data: []byte("de"), Rest: true})
			w.End(httpstream.EndInfo{How: httpstream.EOF})
		}, []string{"HEADERS 1 [:status=200]", `DATA 1 "abc"`, `DATA 1 "de" end`}},
		{"pieces of a frame that the client takes", func(w httpstream.ResponseWriter) {
			w.Head(answerHead(200))
			w.Chunk(httpstream.Chunk{Data: []byte("abc"), Of: 6})
			w.Flush()
			w.Chunk(httpstream.Chunk{Data: []byte("de"), Rest: true})
			w.Chunk(httpstream.Chunk{Data: []byte("f"), Rest: true})
			w.Chunk(chunk("g"))
			w.Chunk(httpstream.Chunk{Data: []byte("abc"), Of: 6})
			w.Chunk(chunk("h")) // the rest never came
			w.End(httpstream.EndInfo{How: httpstream.EOF})
		}, []string{"HEADERS 1 [:status=200]", `DATA 1 "abcdef"`, `DATA 1 "g"`, `DATA 1 "abc"`, `DATA 1 "h" end`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := servedRaw(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) { tt.answer(w) })
			c.get(1, true)
			c.expect(tt.want...)
			c.get(3, true) // the connection is in order
			for c.next().StreamID != 3 {
			}
		})
	}
}

// A countedConn counts the writes to a connection.
type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestServeFlushesInOneWrite(t *testing.T) {
	var writes atomic.Int64
	got := make(chan int64)
	addr, _ := served(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		time.Sleep(20 * time.Millisecond) // for the greeting and the acknowledgement
		before := writes.Load()
		w.Head(answerHead(200))
		for range 10 {
			w.Chunk(httpstream.Chunk{Data: make([]byte, 3000)})
		}
		w.End(httpstream.EndInfo{How: httpstream.EOF})
		got <- writes.Load() - before
	}, func(c net.Conn) net.Conn { return countedConn{c, &writes} })
	c := newRawPeer(t, must[net.Conn](t)(net.Dial("tcp", addr))).clientPreface()
	c.get(1, true)
	if n := <-got; n != 1 {
		t.Errorf("%d writes", n)
	}
}

func TestServeHeedsTheWindows(t *testing.T) {
	send := func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		w.Head(answerHead(200))
		w.Chunk(httpstream.Chunk{Data: []byte("abcdef")})
		w.Chunk(httpstream.Chunk{Data: []byte("gh")})
		w.End(httpstream.EndInfo{How: httpstream.EOF})
	}
	t.Run("of the stream", func(t *testing.T) {
		c, _ := servedRaw(t, send, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4})
		c.get(1, true)
		c.expect("HEADERS 1 [:status=200]", `DATA 1 "abcd"`)
		c.WriteWindowUpdate(1, 3)
		c.expect(`DATA 1 "ef"`, `DATA 1 "g"`)
		c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
		c.expect(`DATA 1 "h" end`)
	})
	t.Run("of the connection", func(t *testing.T) {
		c, _ := servedRaw(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
			w.Head(answerHead(200))
			w.Chunk(httpstream.Chunk{Data: make([]byte, 65530)})
			w.Chunk(httpstream.Chunk{Data: []byte("abcdefgh")})
			w.End(httpstream.EndInfo{How: httpstream.EOF})
		}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		c.get(1, true)
		c.next()
		for n := 0; n < 65530; {
			n += len(c.next().payload)
		}
		c.expect(`DATA 1 "abcde"`)
		c.WriteWindowUpdate(0, 100)
		c.expect(`DATA 1 "fgh" end`)
	})
	t.Run("and lets go when the client leaves", func(t *testing.T) {
		left := make(chan error, 1)
		c, _ := servedRaw(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
			w.Head(answerHead(200))
			w.Chunk(httpstream.Chunk{Data: []byte("abcdef")})
			left <- w.Flush()
			<-ctx.Done()
		}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4})
		c.get(1, true)
		c.expect("HEADERS 1 [:status=200]", `DATA 1 "abcd"`)
		c.WriteRSTStream(1, http2.ErrCodeCancel)
		if err := <-left; !errors.Is(err, errReset) {
			t.Errorf("error %v", err)
		}
	})
}

func TestServeHeedsTheHeaderTableSize(t *testing.T) {
	c, _ := servedRaw(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		w.Head(answerHead(200, "x", "y"))
		w.End(httpstream.EndInfo{How: httpstream.EOF})
	}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	for id := uint32(1); id < 6; id += 2 {
		c.get(id, true)
		f := c.next()
		if f.String() != fmt.Sprintf("HEADERS %d [:status=200 x=y] end", id) {
			t.Fatal(f)
		}
		if id == 1 && f.payload[0] != 0x20 {
			t.Errorf("the first block begins with %#x, not a table size update", f.payload[0])
		}
		if bytes.Contains(f.payload, []byte{0xbe}) {
			t.Errorf("block %x uses the dynamic table", f.payload)
		}
	}
}

func TestServeCancelsWhatTheClientLeaves(t *testing.T) {
	for _, how := range []string{"the stream is reset", "the connection is closed"} {
		t.Run(how, func(t *testing.T) {
			gone := make(chan error, 1)
			c, errs := servedRaw(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
				w.Head(answerHead(200))
				w.Flush()
				_, err := io.ReadAll(req.Body)
				<-ctx.Done()
				if w.Flush() == nil {
					t.Error("Flush has no error")
				}
				gone <- err
			})
			c.get(1, false)
			c.next()
			if how == "the stream is reset" {
				c.WriteRSTStream(1, http2.ErrCodeCancel)
			} else {
				c.conn.Close()
			}
			if err := <-gone; err == nil {
				t.Error("the body ended in order")
			}
			c.conn.Close()
			if err := <-errs; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServeMayAnswerBeforeTheRequestIsComplete(t *testing.T) {
	c, _ := servedRaw(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		w.Head(answerHead(413))
		w.End(httpstream.EndInfo{How: httpstream.EOF})
	})
	c.get(1, false)
	c.expect("HEADERS 1 [:status=413] end", "RST_STREAM 1 NO_ERROR")
	c.WriteData(1, false, []byte("late"))
	c.headers(1, true, "t", "late")
	c.get(3, true)
	c.expect("HEADERS 3 [:status=413] end")
}

func TestServeGivesWindowBackForUnreadBodies(t *testing.T) {
	addr, _ := served(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		io.ReadFull(req.Body, make([]byte, 10))
		w.Head(answerHead(200))
		w.End(httpstream.EndInfo{How: httpstream.EOF})
	}, nil)
	c := httpClient(t, addr)
	for range 20 { // 20 MiB through a window of 4
		res, err := c.Post("http://h/", "", bytes.NewReader(make([]byte, 1<<20)))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
}

func TestABudgetOfFramesFillsUpWithTime(t *testing.T) {
	now := time.Unix(1000, 0)
	b := frameBudget{left: burst, rate: burstRate}
	spend := func(n int) (spent int) {
		for spent < n && b.spend(now) {
			spent++
		}
		return spent
	}
	if n := spend(2 * burst); n != burst {
		t.Errorf("%d frames were let pass at once, want %d", n, burst)
	}
	for range 3 {
		now = now.Add(time.Second)
		if n := spend(burst); n < burstRate-2 || n > burstRate {
			t.Errorf("%d frames were let pass a second later, want %d", n, burstRate)
		}
	}
	now = now.Add(time.Hour)
	if n := spend(2 * burst); n != burst {
		t.Errorf("%d frames were let pass an hour later, want %d", n, burst)
	}
}

func TestServeRefusesWhatBreaksTheProtocol(t *testing.T) {
	pseudo := []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/"}
	with := func(more ...string) []string { return append(slices.Clone(pseudo), more...) }
	header := func(pairs ...string) func(*rawPeer) { return func(c *rawPeer) { c.headers(1, true, pairs...) } }
	tests := []struct {
		name string
		send func(c *rawPeer)
		want string
	}{
		{"upper-case name", header(with("Name", "v")...), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"connection field", header(with("connection", "close")...), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"transfer-encoding", header(with("transfer-encoding", "chunked")...), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"te gzip", header(with("te", "gzip")...), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"line feed in a value", header(with("a", "b\nc")...), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"pseudo-header field last", header(":method", "GET", ":scheme", "http", "a", "b", ":path", "/"), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"pseudo-header field twice", header(with(":path", "/")...), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"unknown pseudo-header field", header(with(":x", "/")...), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"no path", header(":method", "GET", ":scheme", "http"), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"no method", header(":path", "/", ":scheme", "http"), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"CONNECT with a path", header(":method", "CONNECT", ":authority", "h", ":path", "/"), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"two content lengths", header(with("content-length", "1", "content-length", "2")...), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"shorter than its content length", header(with("content-length", "1")...), "RST_STREAM 1 PROTOCOL_ERROR"},
		{"longer than its content length", func(c *rawPeer) {
			c.headers(1, false, with("content-length", "1")...)
			c.WriteData(1, false, []byte("ab"))
		}, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"trailers that don't end the stream", func(c *rawPeer) {
			c.get(1, false)
			c.headers(1, false, "a", "b")
		}, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"DATA after the end", func(c *rawPeer) {
			c.get(1, true)
			c.WriteData(1, true, nil)
		}, "RST_STREAM 1 STREAM_CLOSED"},
		{"over the stream's window", func(c *rawPeer) {
			c.get(1, false)
			for range 100 {
				c.WriteData(1, false, make([]byte, 16<<10))
			}
		}, "RST_STREAM 1 FLOW_CONTROL_ERROR"},
		{"window overflow", func(c *rawPeer) {
			c.get(1, false)
			c.WriteWindowUpdate(1, 1<<31-1)
		}, "RST_STREAM 1 FLOW_CONTROL_ERROR"},
		{"fields of more than 1 MiB", func(c *rawPeer) {
			for name := range 3 { // the table lets a small block name many fields
				c.encode(fmt.Sprint("x", name), strings.Repeat("v", 1000))
			}
			block := c.encode(with("big", strings.Repeat("v", 3000))...)
			block = append(block, bytes.Repeat([]byte{0xbe}, 400)...)
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
		}, "RST_STREAM 1 ENHANCE_YOUR_CALM"},
		{"even stream", func(c *rawPeer) { c.get(2, true) }, "GOAWAY 0 PROTOCOL_ERROR"},
		{"lower stream", func(c *rawPeer) { c.get(5, true); c.get(3, true) }, "GOAWAY 0 PROTOCOL_ERROR"},
		{"DATA on a stream that is not open", func(c *rawPeer) { c.WriteData(7, true, nil) }, "GOAWAY 0 PROTOCOL_ERROR"},
		{"RST_STREAM on a stream that is not open", func(c *rawPeer) { c.WriteRSTStream(7, 0) }, "GOAWAY 0 PROTOCOL_ERROR"},
		{"interrupted field block", func(c *rawPeer) {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(pseudo...)})
			c.WriteData(1, true, nil)
		}, "GOAWAY 0 PROTOCOL_ERROR"},
		{"broken HPACK", func(c *rawPeer) {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}, "GOAWAY 0 COMPRESSION_ERROR"},
		{"frame of more than 16 KiB", func(c *rawPeer) { c.WriteData(1, false, make([]byte, 20_000)) }, "GOAWAY 0 FRAME_SIZE_ERROR"},
		{"PUSH_PROMISE", func(c *rawPeer) {
			c.get(1, false)
			c.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: c.encode(pseudo...), EndHeaders: true})
		}, "GOAWAY 0 PROTOCOL_ERROR"},
		{"bad setting", func(c *rawPeer) {
			c.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})
		}, "GOAWAY 0 PROTOCOL_ERROR"},
		{"connection window overflow", func(c *rawPeer) { c.WriteWindowUpdate(0, 1<<31-1) }, "GOAWAY 0 FLOW_CONTROL_ERROR"},
		{"ping flood", func(c *rawPeer) {
			for range burst + 1000 {
				if c.WritePing(false, [8]byte{}) != nil {
					return
				}
			}
		}, "GOAWAY 0 ENHANCE_YOUR_CALM"},
		{"settings flood", func(c *rawPeer) {
			for range burst + 1000 {
				if c.WriteSettings() != nil {
					return
				}
			}
		}, "GOAWAY 0 ENHANCE_YOUR_CALM"},
		{"reset flood", func(c *rawPeer) {
			for i := range uint32(burst + 1000) {
				c.get(2*i+1, true)
				if c.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
					return
				}
			}
		}, "GOAWAY 0 ENHANCE_YOUR_CALM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			handler := handlerFunc(func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) { <-ctx.Done() })
			// On a busy machine a flood may come slower than what is let pass for ever.
			addr, errs := servedBy(t, func(ctx context.Context, conn net.Conn) error {
				return serve(ctx, conn, handler, frameBudget{left: burst})
			})
			c := dialRaw(t, addr)
			tt.send(c)
			for f := c.next(); f.String() != tt.want; f = c.next() {
				if f.Type == http2.FrameGoAway || !strings.HasSuffix(tt.name, "flood") {
					t.Fatalf("got  %v\nwant %v", f, tt.want)
				}
			}
			if strings.HasPrefix(tt.want, "GOAWAY") {
				c.conn.(*net.TCPConn).CloseWrite()
				if err := <-errs; !errors.Is(err, httpstream.ErrMalformed) {
					t.Errorf("error %v", err)
				}
				return
			}
			c.WritePing(false, [8]byte{1}) // the connection goes on
			for f := range c.in {
				if f.Type == http2.FramePing {
					return
				}
			}
			t.Error("the connection is over")
		})
	}
}

func TestServeRefusesMoreStreamsThanItAllows(t *testing.T) {
	c, _ := servedRaw(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) { <-ctx.Done() })
	for i := range uint32(maxStreams + 1) {
		c.get(2*i+1, true)
	}
	c.expect(fmt.Sprintf("RST_STREAM %d REFUSED_STREAM", 2*maxStreams+1))
}

func TestServeEndsWithItsContext(t *testing.T) {
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	c := newRawPeer(t, near)
	done := make(chan error)
	go func() {
		done <- Serve(ctx, far, handlerFunc(func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) { <-ctx.Done() }))
	}()
	c.clientPreface()
	c.get(1, true)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestServeTakesExtendedConnect(t *testing.T) {
	c, _ := servedRaw(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		head := answerHead(101, "Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Accept", "x")
		head.Proto = "HTTP/1.1"
		w.Head(head)
		w.Flush()
		got, _ := io.ReadAll(req.Body)
		w.Chunk(httpstream.Chunk{Data: append([]byte(req.Head.Protocol+" "), got...)})
		w.End(httpstream.EndInfo{How: httpstream.EOF})
	})
	c.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/", ":authority", "h")
	c.expect("HEADERS 1 [:status=200 sec-websocket-accept=x]")
	c.WriteData(1, true, []byte("bytes"))
	c.expect(`DATA 1 "websocket bytes" end`)
}
