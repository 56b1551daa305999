//lint:file-ignore SA1019 a second implementation is wanted here: net/http has its own copy of this client

package httpstream

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
)

type h2HandlerFunc func(ctx context.Context, req *Request, w ResponseWriter)

func (f h2HandlerFunc) ServeStream(ctx context.Context, req *Request, w ResponseWriter) {
	f(ctx, req, w)
}

// h2Served serves h on a loopback address.
func h2Served(t testing.TB, h h2HandlerFunc, wrap func(net.Conn) net.Conn) (addr string, errs chan error) {
	t.Helper()
	return h2ServedBy(t, func(ctx context.Context, conn net.Conn) error {
		if wrap != nil {
			conn = wrap(conn)
		}
		return ServeHTTP2(ctx, conn, h)
	})
}

// h2ServedBy serves connections with serve until the test ends.
func h2ServedBy(t testing.TB, serve func(context.Context, net.Conn) error) (addr string, errs chan error) {
	t.Helper()
	ln := h2Must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
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

// h2ServedRaw serves h to one raw client.
func h2ServedRaw(t testing.TB, h h2HandlerFunc, settings ...http2.Setting) (*h2Raw, chan error) {
	t.Helper()
	addr, errs := h2Served(t, h, nil)
	return h2DialRaw(t, addr, settings...), errs
}

func h2DialRaw(t testing.TB, addr string, settings ...http2.Setting) *h2Raw {
	t.Helper()
	c := newH2Raw(t, h2Must[net.Conn](t)(net.Dial("tcp", addr)))
	c.AllowIllegalWrites = true
	return c.clientPreface(settings...)
}

func h2Head(status int, pairs ...string) *ResponseHead {
	h := &ResponseHead{Proto: "HTTP/2.0", Status: status}
	for i := 0; i < len(pairs); i += 2 {
		h.Header = append(h.Header, Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return h
}

// h2Echo answers with what it reads, and says in a trailer what it read.
func h2Echo(t testing.TB) h2HandlerFunc {
	return func(ctx context.Context, req *Request, w ResponseWriter) {
		w.Interim(h2Head(103, "link", "</a>"))
		w.Head(h2Head(200, "x-target", req.Head.Target))
		w.Flush()
		buf := make([]byte, 10_000)
		total := 0
		for {
			n, err := req.Body.Read(buf)
			total += n
			if w.Chunk(Chunk{Data: buf[:n]}) != nil || w.Flush() != nil {
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
		w.End(EndInfo{How: EOF, Trailer: Fields{
			{Name: "x-total", Value: fmt.Sprint(total)}, {Name: "x-up", Value: trailer.Get("x-up")},
		}})
	}
}

func TestHTTP2ServeAnswersATransport(t *testing.T) {
	addr, _ := h2Served(t, h2Echo(t), nil)
	c := h2Client(t, addr)
	var interim []int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { interim = append(interim, code); return nil },
	})
	body := h2Pattern(6<<20, 1) // over every window
	req := h2Must[*http.Request](t)(http.NewRequestWithContext(ctx, "POST", "http://h/t?q", io.MultiReader(bytes.NewReader(body))))
	req.Trailer = http.Header{"X-Up": {"yes"}}
	res := h2Must[*http.Response](t)(c.Do(req))
	got := h2Must[[]byte](t)(io.ReadAll(res.Body))
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

func TestHTTP2ServeAnswersOverTLS(t *testing.T) {
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	certs.Close()
	addr, errs := h2Served(t, h2Echo(t), func(c net.Conn) net.Conn {
		return tls.Server(c, &tls.Config{Certificates: certs.TLS.Certificates, NextProtos: []string{"h2"}})
	})
	tr := &http2.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}}
	tr.TLSClientConfig.RootCAs.AddCert(certs.Certificate())
	c := &http.Client{Transport: tr}
	want, _ := h2Sum(bytes.NewReader(h2Pattern(2<<20, 1)))
	res := h2Must[*http.Response](t)(c.Post("https://"+addr+"/", "", bytes.NewReader(h2Pattern(2<<20, 1))))
	got, err := h2Sum(res.Body)
	if got != want || err != nil {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
	res.Body.Close()
	tr.CloseIdleConnections()
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

func TestHTTP2ServeAnswersManyStreamsAtOnce(t *testing.T) {
	addr, _ := h2Served(t, h2Echo(t), nil)
	c := h2Client(t, addr)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			want, _ := h2Sum(bytes.NewReader(h2Pattern(100_000, i)))
			res, err := c.Post("http://h/", "", bytes.NewReader(h2Pattern(100_000, i)))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if got, err := h2Sum(res.Body); got != want || err != nil {
				t.Errorf("stream %d: %s, want %s (%v)", i, got, want, err)
			}
		})
	}
	wg.Wait()
}

func TestHTTP2ServeAnswersCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	if v, _ := exec.Command(curl, "--version").Output(); !bytes.Contains(v, []byte("HTTP2")) {
		t.Skip("curl has no HTTP/2")
	}
	addr, _ := h2Served(t, h2Echo(t), nil)
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

func TestHTTP2ServeWritesExactlyWhatItIsTold(t *testing.T) {
	chunk := func(s string) Chunk { return Chunk{Data: []byte(s)} }
	tests := []struct {
		name   string
		answer func(w ResponseWriter)
		want   []string
	}{
		{"fields in order, nothing added", func(w ResponseWriter) {
			w.Head(h2Head(200, "b", "1", "a", "2", "b", "3"))
			w.Chunk(chunk("x"))
			w.End(EndInfo{How: EOF})
		}, []string{"HEADERS 1 [:status=200 b=1 a=2 b=3]", `DATA 1 "x" end`}},
		{"no body", func(w ResponseWriter) {
			w.Head(h2Head(204))
			w.End(EndInfo{How: EOF})
		}, []string{"HEADERS 1 [:status=204] end"}},
		{"chunks that leave together keep their boundaries", func(w ResponseWriter) {
			w.Head(h2Head(200))
			w.Chunk(chunk("a"))
			w.Chunk(chunk("bc"))
			w.Flush()
			w.Chunk(chunk("d"))
			w.End(EndInfo{How: EOF})
		}, []string{"HEADERS 1 [:status=200]", `DATA 1 "a"`, `DATA 1 "bc"`, `DATA 1 "d" end`}},
		{"an end that comes alone", func(w ResponseWriter) {
			w.Head(h2Head(200))
			w.Chunk(chunk("a"))
			w.Flush()
			w.End(EndInfo{How: EOF})
		}, []string{"HEADERS 1 [:status=200]", `DATA 1 "a"`, `DATA 1 "" end`}},
		{"interim heads and trailers", func(w ResponseWriter) {
			w.Interim(h2Head(100))
			w.Interim(h2Head(103, "link", "l"))
			w.Head(h2Head(200))
			w.Chunk(chunk("a"))
			w.End(EndInfo{How: EOF, Trailer: Fields{{Name: "T", Value: "v"}}})
		}, []string{"HEADERS 1 [:status=100]", "HEADERS 1 [:status=103 link=l]", "HEADERS 1 [:status=200]", `DATA 1 "a"`, "HEADERS 1 [t=v] end"}},
		{"a reset with its code", func(w ResponseWriter) {
			w.Head(h2Head(200))
			w.Chunk(chunk("a"))
			w.End(EndInfo{How: Reset, Code: uint32(http2.ErrCodeCancel)})
		}, []string{"HEADERS 1 [:status=200]", `DATA 1 "a"`, "RST_STREAM 1 CANCEL"}},
		{"a reset without a code", func(w ResponseWriter) {
			w.End(EndInfo{How: Reset})
		}, []string{"RST_STREAM 1 INTERNAL_ERROR"}},
		{"an answer without an end", func(w ResponseWriter) {
			w.Head(h2Head(200))
			w.Flush()
		}, []string{"HEADERS 1 [:status=200]", "RST_STREAM 1 INTERNAL_ERROR"}},
		{"a head from HTTP/1.1", func(w ResponseWriter) {
			h := h2Head(200, "Content-Type", "a/b ", "Connection", "close, X-Hop", "X-Hop", "1", "Transfer-Encoding", "chunked",
				"Keep-Alive", "x", "Upgrade", "h2c", "Proxy-Connection", "x", "X", "folded\r\n line")
			h.Proto, h.Line = "HTTP/1.1", "HTTP/1.1 200 Fine"
			w.Head(h)
			w.Chunk(chunk("a"))
			w.End(EndInfo{How: EOF})
		}, []string{"HEADERS 1 [:status=200 content-type=a/b x=folded   line]", `DATA 1 "a" end`}},
		{"pieces of a frame that the client would not take whole", func(w ResponseWriter) {
			w.Head(h2Head(200))
			w.Chunk(Chunk{Data: []byte("abc"), Of: 20_000})
			w.Chunk(Chunk{Data: []byte("de"), Rest: true})
			w.End(EndInfo{How: EOF})
		}, []string{"HEADERS 1 [:status=200]", `DATA 1 "abc"`, `DATA 1 "de" end`}},
		{"pieces of a frame that the client takes", func(w ResponseWriter) {
			w.Head(h2Head(200))
			w.Chunk(Chunk{Data: []byte("abc"), Of: 6})
			w.Flush()
			w.Chunk(Chunk{Data: []byte("de"), Rest: true})
			w.Chunk(Chunk{Data: []byte("f"), Rest: true})
			w.Chunk(chunk("g"))
			w.Chunk(Chunk{Data: []byte("abc"), Of: 6})
			w.Chunk(chunk("h")) // the rest never came
			w.End(EndInfo{How: EOF})
		}, []string{"HEADERS 1 [:status=200]", `DATA 1 "abcdef"`, `DATA 1 "g"`, `DATA 1 "abc"`, `DATA 1 "h" end`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := h2ServedRaw(t, func(ctx context.Context, req *Request, w ResponseWriter) { tt.answer(w) })
			c.get(1, true)
			c.expect(tt.want...)
			c.get(3, true) // the connection is in order
			for c.next().StreamID != 3 {
			}
		})
	}
}

// An h2Counted counts the writes to a connection.
type h2Counted struct {
	net.Conn
	writes *atomic.Int64
}

func (c h2Counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestHTTP2ServeFlushesInOneWrite(t *testing.T) {
	var writes atomic.Int64
	got := make(chan int64)
	addr, _ := h2Served(t, func(ctx context.Context, req *Request, w ResponseWriter) {
		time.Sleep(20 * time.Millisecond) // for the greeting and the acknowledgement
		before := writes.Load()
		w.Head(h2Head(200))
		for range 10 {
			w.Chunk(Chunk{Data: make([]byte, 3000)})
		}
		w.End(EndInfo{How: EOF})
		got <- writes.Load() - before
	}, func(c net.Conn) net.Conn { return h2Counted{c, &writes} })
	c := newH2Raw(t, h2Must[net.Conn](t)(net.Dial("tcp", addr))).clientPreface()
	c.get(1, true)
	if n := <-got; n != 1 {
		t.Errorf("%d writes", n)
	}
}

func TestHTTP2ServeHeedsTheWindows(t *testing.T) {
	send := func(ctx context.Context, req *Request, w ResponseWriter) {
		w.Head(h2Head(200))
		w.Chunk(Chunk{Data: []byte("abcdef")})
		w.Chunk(Chunk{Data: []byte("gh")})
		w.End(EndInfo{How: EOF})
	}
	t.Run("of the stream", func(t *testing.T) {
		c, _ := h2ServedRaw(t, send, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4})
		c.get(1, true)
		c.expect("HEADERS 1 [:status=200]", `DATA 1 "abcd"`)
		c.WriteWindowUpdate(1, 3)
		c.expect(`DATA 1 "ef"`, `DATA 1 "g"`)
		c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
		c.expect(`DATA 1 "h" end`)
	})
	t.Run("of the connection", func(t *testing.T) {
		c, _ := h2ServedRaw(t, func(ctx context.Context, req *Request, w ResponseWriter) {
			w.Head(h2Head(200))
			w.Chunk(Chunk{Data: make([]byte, 65530)})
			w.Chunk(Chunk{Data: []byte("abcdefgh")})
			w.End(EndInfo{How: EOF})
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
		c, _ := h2ServedRaw(t, func(ctx context.Context, req *Request, w ResponseWriter) {
			w.Head(h2Head(200))
			w.Chunk(Chunk{Data: []byte("abcdef")})
			left <- w.Flush()
			<-ctx.Done()
		}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4})
		c.get(1, true)
		c.expect("HEADERS 1 [:status=200]", `DATA 1 "abcd"`)
		c.WriteRSTStream(1, http2.ErrCodeCancel)
		if err := <-left; !errors.Is(err, errH2Reset) {
			t.Errorf("error %v", err)
		}
	})
}

func TestHTTP2ServeHeedsTheHeaderTableSize(t *testing.T) {
	c, _ := h2ServedRaw(t, func(ctx context.Context, req *Request, w ResponseWriter) {
		w.Head(h2Head(200, "x", "y"))
		w.End(EndInfo{How: EOF})
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

func TestHTTP2ServeCancelsWhatTheClientLeaves(t *testing.T) {
	for _, how := range []string{"the stream is reset", "the connection is closed"} {
		t.Run(how, func(t *testing.T) {
			gone := make(chan error, 1)
			c, errs := h2ServedRaw(t, func(ctx context.Context, req *Request, w ResponseWriter) {
				w.Head(h2Head(200))
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

func TestHTTP2ServeMayAnswerBeforeTheRequestIsComplete(t *testing.T) {
	c, _ := h2ServedRaw(t, func(ctx context.Context, req *Request, w ResponseWriter) {
		w.Head(h2Head(413))
		w.End(EndInfo{How: EOF})
	})
	c.get(1, false)
	c.expect("HEADERS 1 [:status=413] end", "RST_STREAM 1 NO_ERROR")
	c.WriteData(1, false, []byte("late"))
	c.headers(1, true, "t", "late")
	c.get(3, true)
	c.expect("HEADERS 3 [:status=413] end")
}

func TestHTTP2ServeGivesWindowBackForUnreadBodies(t *testing.T) {
	addr, _ := h2Served(t, func(ctx context.Context, req *Request, w ResponseWriter) {
		io.ReadFull(req.Body, make([]byte, 10))
		w.Head(h2Head(200))
		w.End(EndInfo{How: EOF})
	}, nil)
	c := h2Client(t, addr)
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
	b := h2Budget{left: h2Burst, rate: h2BurstRate}
	spend := func(n int) (spent int) {
		for spent < n && b.spend(now) {
			spent++
		}
		return spent
	}
	if n := spend(2 * h2Burst); n != h2Burst {
		t.Errorf("%d frames were let pass at once, want %d", n, h2Burst)
	}
	for range 3 {
		now = now.Add(time.Second)
		if n := spend(h2Burst); n < h2BurstRate-2 || n > h2BurstRate {
			t.Errorf("%d frames were let pass a second later, want %d", n, h2BurstRate)
		}
	}
	now = now.Add(time.Hour)
	if n := spend(2 * h2Burst); n != h2Burst {
		t.Errorf("%d frames were let pass an hour later, want %d", n, h2Burst)
	}
}

func TestHTTP2ServeRefusesWhatBreaksTheProtocol(t *testing.T) {
	pseudo := []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/"}
	with := func(more ...string) []string { return append(slices.Clone(pseudo), more...) }
	header := func(pairs ...string) func(*h2Raw) { return func(c *h2Raw) { c.headers(1, true, pairs...) } }
	tests := []struct {
		name string
		send func(c *h2Raw)
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
		{"longer than its content length", func(c *h2Raw) {
			c.headers(1, false, with("content-length", "1")...)
			c.WriteData(1, false, []byte("ab"))
		}, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"trailers that don't end the stream", func(c *h2Raw) {
			c.get(1, false)
			c.headers(1, false, "a", "b")
		}, "RST_STREAM 1 PROTOCOL_ERROR"},
		{"DATA after the end", func(c *h2Raw) {
			c.get(1, true)
			c.WriteData(1, true, nil)
		}, "RST_STREAM 1 STREAM_CLOSED"},
		{"over the stream's window", func(c *h2Raw) {
			c.get(1, false)
			for range 100 {
				c.WriteData(1, false, make([]byte, 16<<10))
			}
		}, "RST_STREAM 1 FLOW_CONTROL_ERROR"},
		{"window overflow", func(c *h2Raw) {
			c.get(1, false)
			c.WriteWindowUpdate(1, 1<<31-1)
		}, "RST_STREAM 1 FLOW_CONTROL_ERROR"},
		{"fields of more than 1 MiB", func(c *h2Raw) {
			for name := range 3 { // the table lets a small block name many fields
				c.encode(fmt.Sprint("x", name), strings.Repeat("v", 1000))
			}
			block := c.encode(with("big", strings.Repeat("v", 3000))...)
			block = append(block, bytes.Repeat([]byte{0xbe}, 400)...)
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
		}, "RST_STREAM 1 ENHANCE_YOUR_CALM"},
		{"even stream", func(c *h2Raw) { c.get(2, true) }, "GOAWAY 0 PROTOCOL_ERROR"},
		{"lower stream", func(c *h2Raw) { c.get(5, true); c.get(3, true) }, "GOAWAY 0 PROTOCOL_ERROR"},
		{"DATA on a stream that is not open", func(c *h2Raw) { c.WriteData(7, true, nil) }, "GOAWAY 0 PROTOCOL_ERROR"},
		{"RST_STREAM on a stream that is not open", func(c *h2Raw) { c.WriteRSTStream(7, 0) }, "GOAWAY 0 PROTOCOL_ERROR"},
		{"interrupted field block", func(c *h2Raw) {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.encode(pseudo...)})
			c.WriteData(1, true, nil)
		}, "GOAWAY 0 PROTOCOL_ERROR"},
		{"broken HPACK", func(c *h2Raw) {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}, "GOAWAY 0 COMPRESSION_ERROR"},
		{"frame of more than 16 KiB", func(c *h2Raw) { c.WriteData(1, false, make([]byte, 20_000)) }, "GOAWAY 0 FRAME_SIZE_ERROR"},
		{"PUSH_PROMISE", func(c *h2Raw) {
			c.get(1, false)
			c.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: c.encode(pseudo...), EndHeaders: true})
		}, "GOAWAY 0 PROTOCOL_ERROR"},
		{"bad setting", func(c *h2Raw) {
			c.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})
		}, "GOAWAY 0 PROTOCOL_ERROR"},
		{"connection window overflow", func(c *h2Raw) { c.WriteWindowUpdate(0, 1<<31-1) }, "GOAWAY 0 FLOW_CONTROL_ERROR"},
		{"ping flood", func(c *h2Raw) {
			for range h2Burst + 1000 {
				if c.WritePing(false, [8]byte{}) != nil {
					return
				}
			}
		}, "GOAWAY 0 ENHANCE_YOUR_CALM"},
		{"settings flood", func(c *h2Raw) {
			for range h2Burst + 1000 {
				if c.WriteSettings() != nil {
					return
				}
			}
		}, "GOAWAY 0 ENHANCE_YOUR_CALM"},
		{"reset flood", func(c *h2Raw) {
			for i := range uint32(h2Burst + 1000) {
				c.get(2*i+1, true)
				if c.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
					return
				}
			}
		}, "GOAWAY 0 ENHANCE_YOUR_CALM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			handler := h2HandlerFunc(func(ctx context.Context, req *Request, w ResponseWriter) { <-ctx.Done() })
			// On a busy machine a flood may come slower than what is let pass for ever.
			addr, errs := h2ServedBy(t, func(ctx context.Context, conn net.Conn) error {
				return serveHTTP2(ctx, conn, handler, h2Budget{left: h2Burst})
			})
			c := h2DialRaw(t, addr)
			tt.send(c)
			for f := c.next(); f.String() != tt.want; f = c.next() {
				if f.Type == http2.FrameGoAway || !strings.HasSuffix(tt.name, "flood") {
					t.Fatalf("got  %v\nwant %v", f, tt.want)
				}
			}
			if strings.HasPrefix(tt.want, "GOAWAY") {
				c.conn.(*net.TCPConn).CloseWrite()
				if err := <-errs; !errors.Is(err, ErrMalformed) {
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

func TestHTTP2ServeRefusesMoreStreamsThanItAllows(t *testing.T) {
	c, _ := h2ServedRaw(t, func(ctx context.Context, req *Request, w ResponseWriter) { <-ctx.Done() })
	for i := range uint32(h2MaxStreams + 1) {
		c.get(2*i+1, true)
	}
	c.expect(fmt.Sprintf("RST_STREAM %d REFUSED_STREAM", 2*h2MaxStreams+1))
}

func TestHTTP2ServeEndsWithItsContext(t *testing.T) {
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	c := newH2Raw(t, near)
	done := make(chan error)
	go func() {
		done <- ServeHTTP2(ctx, far, h2HandlerFunc(func(ctx context.Context, req *Request, w ResponseWriter) { <-ctx.Done() }))
	}()
	c.clientPreface()
	c.get(1, true)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestHTTP2ServeTakesExtendedConnect(t *testing.T) {
	c, _ := h2ServedRaw(t, func(ctx context.Context, req *Request, w ResponseWriter) {
		head := h2Head(101, "Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Accept", "x")
		head.Proto = "HTTP/1.1"
		w.Head(head)
		w.Flush()
		got, _ := io.ReadAll(req.Body)
		w.Chunk(Chunk{Data: append([]byte(req.Head.Protocol+" "), got...)})
		w.End(EndInfo{How: EOF})
	})
	c.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/", ":authority", "h")
	c.expect("HEADERS 1 [:status=200 sec-websocket-accept=x]")
	c.WriteData(1, true, []byte("bytes"))
	c.expect(`DATA 1 "websocket bytes" end`)
}
