package http2

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

func TestRelayKeepsHeadsBodiesAndTrailers(t *testing.T) {
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>; rel=preload")
		w.WriteHeader(103)
		w.Header().Set("Trailer", "X-Sum")
		sum, err := sumOf(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Got", r.Trailer.Get("X-Up"))
		w.WriteHeader(201)
		io.WriteString(w, "one")
		w.(http.Flusher).Flush()
		io.WriteString(w, "three")
		w.Header().Set("X-Sum", sum)
	})
	withPeers(t, origin, relay.Options{}, func(t *testing.T, c *http.Client, url string, l *testLink) {
		body := pattern(300_000, 1)
		var interim []int
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { interim = append(interim, code); return nil },
		})
		// A plain reader, so that the length is unknown and trailers may follow.
		req := must[*http.Request](t)(http.NewRequestWithContext(ctx, "POST", url+"/a?b=c", io.MultiReader(bytes.NewReader(body))))
		req.Trailer = http.Header{"X-Up": {"yes"}}
		res := must[*http.Response](t)(c.Do(req))
		got := must[[]byte](t)(io.ReadAll(res.Body))
		res.Body.Close()
		sum, _ := sumOf(bytes.NewReader(body))
		if string(got) != "onethree" || res.StatusCode != 201 || res.Header.Get("X-Got") != "yes" || res.Trailer.Get("X-Sum") != sum || !slices.Equal(interim, []int{103}) {
			t.Fatalf("%d %v %q %v %v", res.StatusCode, res.Header, got, res.Trailer, interim)
		}
		x := l.heard.wait(t, 0)
		if x.head.Target != "/a?b=c" || x.head.Authority != "example.com" || x.head.Proto != "HTTP/2.0" || x.head.Method != "POST" {
			t.Errorf("head %+v", x.head)
		}
		if !bytes.Equal(x.reqBody.Bytes(), body) || x.requestTrailer.Get("x-up") != "yes" {
			t.Errorf("request body of %d bytes, trailer %v", x.reqBody.Len(), x.requestTrailer)
		}
		if len(x.interim) != 1 || x.interim[0].Header.Get("link") == "" || x.response.Status != 201 {
			t.Errorf("interim %v, response %v", x.interim, x.response)
		}
		if !slices.Equal(x.chunks, []int{3, 5}) || x.last.How != httpstream.EOF || x.last.Trailer.Get("x-sum") != sum {
			t.Errorf("chunks %v, end %+v", x.chunks, x.last)
		}
	})
}

func TestRelayRewritesRequestsForUpstreamOnly(t *testing.T) {
	long := strings.Repeat("x", 50_000) // more than one frame holds
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Long") != long {
			t.Errorf("long field of %d bytes", len(r.Header.Get("Long")))
		}
		fmt.Fprintf(w, "%s %s %s", r.URL, r.Header.Get("Accept-Encoding"), r.Header.Get("Extra"))
	})
	opt := relay.Options{RewriteRequest: func(h *httpstream.RequestHead) {
		h.Target += "?rewritten"
		for i := range h.Header {
			if h.Header[i].Name == "accept-encoding" {
				h.Header[i].Value = "identity"
			}
		}
		h.Header = append(h.Header, httpstream.Field{Name: "Extra", Value: "e"})
	}}
	withPeers(t, origin, opt, func(t *testing.T, c *http.Client, url string, l *testLink) {
		for i := range 3 { // later requests use what earlier ones put in the client's table
			req := must[*http.Request](t)(http.NewRequest("GET", url+"/p", nil))
			req.Header.Set("Long", long)
			res := must[*http.Response](t)(c.Do(req))
			got := must[[]byte](t)(io.ReadAll(res.Body))
			res.Body.Close()
			if string(got) != "/p?rewritten identity e" {
				t.Fatalf("got %q", got)
			}
			x := l.heard.wait(t, i)
			if x.head.Target != "/p" || x.head.Header.Get("accept-encoding") != "gzip" || x.head.Header.Has("extra") {
				t.Errorf("the sink saw %s %v", x.head.Target, x.head.Header.Get("accept-encoding"))
			}
		}
	})
}

func TestRelayPassesCompressedBodiesAsTheyAre(t *testing.T) {
	text := bytes.Repeat([]byte("some text "), 1000)
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	zw.Write(text)
	zw.Close()
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed.Bytes())
	})
	withPeers(t, origin, relay.Options{}, func(t *testing.T, c *http.Client, url string, l *testLink) {
		res := must[*http.Response](t)(c.Get(url))
		got := must[[]byte](t)(io.ReadAll(res.Body))
		res.Body.Close()
		if !bytes.Equal(got, text) {
			t.Errorf("the client got %d bytes", len(got))
		}
		if x := l.heard.wait(t, 0); !bytes.Equal(x.body.Bytes(), packed.Bytes()) {
			t.Errorf("the sink heard %d bytes", x.body.Len())
		}
	})
}

func TestRelayCarriesManyStreamsWithLargeBodies(t *testing.T) {
	const streams, size = 120, 100_000
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		io.Copy(w, r.Body)
	})
	opt := relay.Options{RewriteRequest: func(h *httpstream.RequestHead) {}}
	withPeers(t, origin, opt, func(t *testing.T, c *http.Client, url string, l *testLink) {
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() {
				want, _ := sumOf(bytes.NewReader(pattern(size, i)))
				res, err := c.Post(fmt.Sprintf("%s/%d", url, i), "", bytes.NewReader(pattern(size, i)))
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
		for i := range streams {
			x := l.heard.wait(t, i)
			var n int
			fmt.Sscanf(x.head.Target, "/%d", &n)
			if want := pattern(size, n); !bytes.Equal(x.body.Bytes(), want) || !bytes.Equal(x.reqBody.Bytes(), want) || x.last.How != httpstream.EOF {
				t.Errorf("exchange %d heard %d up, %d down, end %v", n, x.reqBody.Len(), x.body.Len(), x.last)
			}
		}
	})
}

// endless answers with a first chunk and goes on until the client leaves.
func endless(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "first")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func TestRelayTellsHowAnExchangeWasCutShort(t *testing.T) {
	t.Run("cancelled by the client", func(t *testing.T) {
		withPeers(t, http.HandlerFunc(endless), relay.Options{}, func(t *testing.T, c *http.Client, url string, l *testLink) {
			ctx, cancel := context.WithCancel(t.Context())
			req := must[*http.Request](t)(http.NewRequestWithContext(ctx, "GET", url, nil))
			res := must[*http.Response](t)(c.Do(req))
			io.ReadFull(res.Body, make([]byte, 5))
			cancel()
			res.Body.Close()
			x := l.heard.wait(t, 0)
			if x.last.How != httpstream.Cancelled || x.last.Code != uint32(http2.ErrCodeCancel) || x.body.String() != "first" {
				t.Errorf("%v %v", x.last, x.events)
			}
		})
	})
	t.Run("reset by the server", func(t *testing.T) {
		abort := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "first")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		withPeers(t, abort, relay.Options{}, func(t *testing.T, c *http.Client, url string, l *testLink) {
			res := must[*http.Response](t)(c.Get(url))
			if _, err := io.ReadAll(res.Body); err == nil {
				t.Error("the client read a whole body")
			}
			res.Body.Close()
			if x := l.heard.wait(t, 0); x.last.How != httpstream.Reset || x.last.Code != uint32(http2.ErrCodeInternal) {
				t.Errorf("%v", x.last)
			}
		})
	})
	t.Run("the recording ends", func(t *testing.T) {
		withPeers(t, http.HandlerFunc(endless), relay.Options{}, func(t *testing.T, c *http.Client, url string, l *testLink) {
			res := must[*http.Response](t)(c.Get(url))
			defer res.Body.Close()
			l.stop()
			if x := l.heard.wait(t, 0); x.last.How != httpstream.Open {
				t.Errorf("%v", x.last)
			}
			if err := <-l.errs; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	})
}

// relayedPair is a relay between two raw peers.
func relayedPair(t testing.TB, opt relay.Options) (client, server *rawPeer, heard *heardSink, done chan error) {
	t.Helper()
	ln := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	pair := func() (dialled, accepted net.Conn) {
		dialled = must[net.Conn](t)(net.Dial("tcp", ln.Addr().String()))
		accepted = must[net.Conn](t)(ln.Accept())
		return dialled, accepted
	}
	near, relayClient := pair()
	relayServer, far := pair()
	client, server = newRawPeer(t, near), newRawPeer(t, far)
	heard, done = new(heardSink), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		done <- Relay(ctx, relayClient, relayServer, opt, heard)
	}()
	t.Cleanup(func() {
		cancel()
		<-finished
	})
	return client, server, heard, done
}

// prefaces lets two raw peers greet each other.
func exchangePrefaces(t testing.TB, client, server *rawPeer) {
	t.Helper()
	client.clientPreface()
	preface := make([]byte, len(http2.ClientPreface))
	must[int](t)(io.ReadFull(server.conn, preface))
	if string(preface) != http2.ClientPreface {
		t.Fatalf("preface %q", preface)
	}
	server.start()
	server.WriteSettings()
}

func TestRelayHearsTheFramesThatPass(t *testing.T) {
	tests := []struct {
		name   string
		answer func(client, server *rawPeer)
		want   string
	}{
		{"every DATA frame is a chunk, an empty one is none", func(_, s *rawPeer) {
			s.headers(1, false, ":status", "200")
			s.WriteData(1, false, []byte("ab"))
			s.WriteData(1, false, nil)
			s.WriteDataPadded(1, false, []byte("cde"), make([]byte, 9))
			s.WriteData(1, true, nil)
		}, "response 200; down 2 of 0 rest false; down 3 of 0 rest false; end eof [] 0"},
		{"END_STREAM on HEADERS", func(_, s *rawPeer) {
			s.headers(1, true, ":status", "204")
		}, "response 204; end eof [] 0"},
		{"END_STREAM on the last DATA", func(_, s *rawPeer) {
			s.headers(1, false, ":status", "200")
			s.WriteData(1, true, []byte("a"))
		}, "response 200; down 1 of 0 rest false; end eof [] 0"},
		{"a frame of more than 64 KiB comes in pieces", func(_, s *rawPeer) {
			s.headers(1, false, ":status", "200")
			s.WriteData(1, false, make([]byte, 64<<10))
			s.WriteData(1, true, make([]byte, 150_000))
		}, "response 200; down 65536 of 0 rest false; down 65536 of 150000 rest false; down 65536 of 0 rest true; down 18928 of 0 rest true; end eof [] 0"},
		{"unknown frames and priorities are not of interest", func(_, s *rawPeer) {
			s.WriteRawFrame(0xbe, 0xff, 1, make([]byte, 300))
			s.headers(1, false, ":status", "200")
			s.WritePriority(1, http2.PriorityParam{Weight: 3})
			s.WriteRawFrame(0xfa, 0, 7, nil)
			s.WriteData(1, true, []byte("a"))
		}, "response 200; down 1 of 0 rest false; end eof [] 0"},
		{"field blocks may be padded, prioritised and continued", func(_, s *rawPeer) {
			block := s.encode(":status", "200", "a", "b")
			s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1], PadLength: 20, Priority: http2.PriorityParam{Weight: 7}})
			s.WriteContinuation(1, false, block[1:3])
			s.WriteContinuation(1, false, nil)
			s.WriteContinuation(1, true, block[3:])
			s.headers(1, true, "t", "v")
		}, "response 200; end eof [{t v  }] 0"},
		{"interim answers come before the final one", func(_, s *rawPeer) {
			s.headers(1, false, ":status", "100")
			s.headers(1, false, ":status", "103", "link", "x")
			s.headers(1, true, ":status", "200")
		}, "interim 100; interim 103; response 200; end eof [] 0"},
		{"a reset without an answer", func(_, s *rawPeer) {
			s.WriteRSTStream(1, http2.ErrCodeRefusedStream)
		}, "end reset [] 7"},
		{"GOAWAY refuses what is above its stream", func(_, s *rawPeer) {
			s.WriteGoAway(0, http2.ErrCodeNo, []byte("debug"))
		}, "end reset [] 7"},
		{"GOAWAY lets go on what is below its stream", func(_, s *rawPeer) {
			s.WriteGoAway(1, http2.ErrCodeNo, nil)
			s.headers(1, true, ":status", "200")
		}, "response 200; end eof [] 0"},
		{"a response without a status", func(_, s *rawPeer) {
			s.headers(1, false, "a", "b")
		}, "end malformed [] 0"},
		{"DATA before the head", func(_, s *rawPeer) {
			s.WriteData(1, false, []byte("a"))
		}, "end malformed [] 0"},
		{"a field block that HPACK can't read", func(_, s *rawPeer) {
			s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndHeaders: true})
		}, "end malformed [] 0"},
		{"the server closes", func(_, s *rawPeer) {
			s.headers(1, false, ":status", "200")
			s.conn.Close()
		}, "response 200; end reset [] 0"},
		{"the client closes", func(c, s *rawPeer) {
			c.conn.Close()
			for range s.in { // a server goes when its client has gone
			}
			s.conn.Close()
		}, "end cancelled [] 0"},
		{"the client resets", func(c, _ *rawPeer) {
			c.WriteRSTStream(1, http2.ErrCodeCancel)
		}, "end cancelled [] 8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server, heard, _ := relayedPair(t, relay.Options{RewriteRequest: func(*httpstream.RequestHead) {}})
			exchangePrefaces(t, client, server)
			client.get(1, true)
			server.next()
			server.AllowIllegalWrites = true
			tt.answer(client, server)
			x := heard.wait(t, 0)
			if got := strings.Join(x.events[2:], "; "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestRelayPassesServerBytesUnchanged(t *testing.T) {
	client, server, heard, _ := relayedPair(t, relay.Options{RewriteRequest: func(*httpstream.RequestHead) {}})
	io.WriteString(client.conn, http2.ClientPreface)
	client.WriteSettings()
	client.get(1, true)
	preface := make([]byte, len(http2.ClientPreface))
	io.ReadFull(server.conn, preface)
	server.start()
	server.next()

	var sent bytes.Buffer
	raw := newRawPeer(t, server.conn)
	raw.Framer = http2.NewFramer(&sent, nil)
	raw.AllowIllegalWrites = true
	raw.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
	raw.headers(1, false, ":status", "200", "a", strings.Repeat("b", 5000))
	raw.WriteDataPadded(1, false, pattern(70_000, 3), make([]byte, 255))
	raw.WriteRawFrame(0x77, 3, 99, pattern(100_000, 4))
	raw.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndHeaders: true})
	sent.Write(pattern(50_000, 5)) // not HTTP/2 at all
	go func() {
		for b := sent.Bytes(); len(b) > 0; {
			n := min(len(b), 7777)
			server.conn.Write(b[:n])
			b = b[n:]
		}
	}()
	got := make([]byte, sent.Len())
	must[int](t)(io.ReadFull(client.conn, got))
	if !bytes.Equal(got, sent.Bytes()) {
		t.Error("the client got other bytes")
	}
	if x := heard.wait(t, 0); x.last.How != httpstream.Malformed {
		t.Errorf("end %v", x.last)
	}
	// The requests that follow still arrive, encoded anew as those before.
	client.get(3, true)
	server.expect("HEADERS 3 [:method=GET :scheme=http :authority=example.com :path=/] end")
}

func TestRelayPassesClientFramesUnchanged(t *testing.T) {
	client, server, heard, _ := relayedPair(t, relay.Options{RewriteRequest: func(h *httpstream.RequestHead) { h.Method = "PUT" }})
	exchangePrefaces(t, client, server)
	block := client.encode(":path", "/p", ":method", "POST", ":scheme", "http", "x-secret", "s", "cookie", "a=b", "cookie", "c=d")
	client.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 5, BlockFragment: block[:3], PadLength: 7,
		Priority: http2.PriorityParam{StreamDep: 3, Exclusive: true, Weight: 9},
	})
	client.WriteContinuation(5, true, block[3:])
	f := server.next()
	if got, want := f.String(), "HEADERS 5 [:path=/p :method=PUT :scheme=http x-secret=s cookie=a=b cookie=c=d]"; got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	if want := []byte{0x80, 0, 0, 3, 9}; !f.Flags.Has(http2.FlagHeadersPriority) || !bytes.Equal(f.payload[:5], want) {
		t.Errorf("priority %x, want %x", f.payload[:5], want)
	}
	// DATA goes on before the frame is complete.
	half := append(appendHeader(nil, 4, http2.FrameData, 0, 5), "ab"...)
	client.conn.Write(half)
	time.Sleep(20 * time.Millisecond)
	io.WriteString(client.conn, "cd")
	server.expect(`DATA 5 "abcd"`)
	client.WriteDataPadded(5, false, []byte("ef"), make([]byte, 3))
	if f := server.next(); string(f.payload) != "\x03ef\x00\x00\x00" {
		t.Errorf("padded DATA %q", f.payload)
	}
	client.headers(5, true, "t", "v")
	server.expect("HEADERS 5 [t=v] end")
	server.headers(5, true, ":status", "200")
	x := heard.wait(t, 0)
	if x.head.Method != "POST" || x.reqBody.String() != "abcdef" || x.requestTrailer.Get("t") != "v" {
		t.Errorf("heard %v", x.events)
	}
}

func TestRelayRecordsExtendedConnectAndPush(t *testing.T) {
	client, server, heard, _ := relayedPair(t, relay.Options{RewriteRequest: func(*httpstream.RequestHead) {}})
	exchangePrefaces(t, client, server)
	client.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/chat", ":authority", "h")
	server.expect("HEADERS 1 [:method=CONNECT :protocol=websocket :scheme=https :path=/chat :authority=h]")
	server.headers(1, false, ":status", "200")
	server.WriteData(1, false, []byte("\x81\x01a"))
	client.expect("HEADERS 1 [:status=200]", `DATA 1 "\x81\x01a"`)
	client.WriteData(1, true, []byte("\x88\x00"))
	server.expect(`DATA 1 "\x88\x00" end`)
	server.WritePushPromise(http2.PushPromiseParam{
		StreamID: 1, PromiseID: 2, EndHeaders: true,
		BlockFragment: server.encode(":method", "GET", ":scheme", "https", ":authority", "h", ":path", "/pushed"),
	})
	server.WriteData(1, true, []byte("\x88\x00"))
	server.headers(2, false, ":status", "200")
	server.WriteData(2, true, []byte("p"))

	x := heard.wait(t, 0)
	if x.head.Protocol != "websocket" || x.head.Target != "/chat" || x.reqBody.String() != "\x88\x00" || x.body.String() != "\x81\x01a\x88\x00" {
		t.Errorf("heard %+v %v", x.head, x.events)
	}
	if x := heard.wait(t, 1); x.head.Target != "/pushed" || !x.requestEnded || x.body.String() != "p" {
		t.Errorf("heard %+v %v", x.head, x.events)
	}
}

func TestRelayEndsWhenBothSidesDo(t *testing.T) {
	t.Run("in order", func(t *testing.T) {
		client, server, _, done := relayedPair(t, relay.Options{})
		exchangePrefaces(t, client, server)
		client.conn.(*net.TCPConn).CloseWrite()
		for range server.in {
		}
		server.conn.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("an answer arrives after the client's half-close", func(t *testing.T) {
		client, server, heard, done := relayedPair(t, relay.Options{})
		exchangePrefaces(t, client, server)
		client.get(1, true)
		client.conn.(*net.TCPConn).CloseWrite()
		server.next()
		server.headers(1, true, ":status", "200")
		if x := heard.wait(t, 0); x.last.How != httpstream.EOF {
			t.Errorf("end %v", x.last)
		}
		server.conn.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("a reset is passed on as one", func(t *testing.T) {
		client, server, heard, done := relayedPair(t, relay.Options{})
		exchangePrefaces(t, client, server)
		client.get(1, true)
		server.next()
		client.conn.(*net.TCPConn).SetLinger(0)
		client.conn.Close()
		if x := heard.wait(t, 0); x.last.How != httpstream.Cancelled {
			t.Errorf("end %v", x.last)
		}
		if err := <-done; err == nil {
			t.Error("no error")
		}
		for range server.in {
		}
	})
	t.Run("an unfinished request is passed on", func(t *testing.T) {
		client, server, _, done := relayedPair(t, relay.Options{RewriteRequest: func(*httpstream.RequestHead) {}})
		exchangePrefaces(t, client, server)
		client.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82, 0x86}})
		client.conn.Write([]byte{0, 0, 1})
		client.conn.(*net.TCPConn).CloseWrite()
		for range server.in {
		}
		server.conn.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("what is no HTTP/2 is relayed raw", func(t *testing.T) {
		client, server, _, done := relayedPair(t, relay.Options{RewriteRequest: func(*httpstream.RequestHead) {}})
		io.WriteString(client.conn, "PRI * HTTP/3 and so on")
		client.conn.(*net.TCPConn).CloseWrite()
		if got := must[[]byte](t)(io.ReadAll(server.conn)); string(got) != "PRI * HTTP/3 and so on" {
			t.Errorf("got %q", got)
		}
		io.WriteString(server.conn, "answer")
		server.conn.Close()
		if got := must[[]byte](t)(io.ReadAll(client.conn)); string(got) != "answer" {
			t.Errorf("got %q", got)
		}
		client.conn.Close()
		if err := <-done; !errors.Is(err, httpstream.ErrMalformed) {
			t.Errorf("error %v", err)
		}
	})
}
