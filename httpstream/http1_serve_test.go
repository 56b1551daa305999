package httpstream

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
	"testing"
	"time"
)

type h1HandlerFunc func(ctx context.Context, req *Request, w ResponseWriter)

func (f h1HandlerFunc) ServeStream(ctx context.Context, req *Request, w ResponseWriter) {
	f(ctx, req, w)
}

// h1Answer writes an answer that was parsed, as a player would.
func h1Answer(t *testing.T, w ResponseWriter, head string, end EndInfo, chunks ...Chunk) {
	p := &h1Parser{response: true}
	_, ev, err := p.next([]byte(head))
	if err != nil || ev.response == nil {
		t.Errorf("head %q: %v", head, err)
		return
	}
	if err := w.Head(ev.response); err != nil {
		t.Errorf("Head: %v", err)
	}
	for _, c := range chunks {
		if err := w.Chunk(c); err != nil {
			t.Errorf("Chunk: %v", err)
		}
	}
	if err := w.End(end); err != nil {
		t.Errorf("End: %v", err)
	}
}

func h1Text(s string) Chunk { return Chunk{Data: []byte(s)} }

// h1Serve serves one end of a TCP connection and returns the other.
func h1Serve(t *testing.T, h h1HandlerFunc) (*net.TCPConn, chan error) {
	t.Helper()
	client, server := tcpPair(t)
	client.SetDeadline(time.Now().Add(20 * time.Second))
	done := make(chan error, 1)
	go func() { done <- ServeHTTP1(t.Context(), server, h) }()
	t.Cleanup(func() {
		client.Close()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the server does not end")
		}
	})
	return client, done
}

func TestServerWritesAnswersExactly(t *testing.T) {
	const chunked = "HTTP/1.1 200 Fine\r\nserver:x \r\nTransfer-Encoding: chunked\r\n\r\n"
	eof := EndInfo{How: EOF}
	tests := []struct {
		name    string
		request string
		head    string
		end     EndInfo
		chunks  []Chunk
		want    string
		closes  bool
	}{
		{"chunks as they were", h1Get, chunked, EndInfo{How: EOF, Trailer: Fields{{Name: "T", Value: "1", Sep: ":"}}},
			[]Chunk{{Data: []byte("01234"), Of: 10, SizeLine: "00A;x"}, {Data: []byte("56789"), Rest: true}, h1Text("0\r\n"), {}},
			chunked + "00A;x\r\n0123456789\r\n3\r\n0\r\n\r\n0\r\nT:1\r\n\r\n", false},
		{"a last chunk with an extension", h1Get, chunked, eof, []Chunk{h1Text("a"), {SizeLine: "0;x"}}, chunked + "1\r\na\r\n0;x\r\n\r\n", false},
		{"a size line that is wrong is not used", h1Get, chunked, eof, []Chunk{{Data: []byte("abc"), SizeLine: "4"}}, chunked + "3\r\nabc\r\n0\r\n\r\n", false},
		{"a body with a length", h1Get, "HTTP/1.1 200\r\nContent-Length: 4\r\n\r\n", eof, []Chunk{h1Text("ab"), h1Text("cd")}, "HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nabcd", false},
		{"a body that ends with the connection", h1Get, "HTTP/1.1 200 OK\r\n\r\n", eof, []Chunk{h1Text("abcd")}, "HTTP/1.1 200 OK\r\n\r\nabcd", true},
		{"no body for HEAD", "HEAD / HTTP/1.1\r\n\r\n", chunked, eof, []Chunk{h1Text("abcd")}, chunked, false},
		{"no body for 304", h1Get, "HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n", eof, []Chunk{h1Text("abc")}, "HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n", false},
		{"an answer that closes", h1Get, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", eof, nil, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", true},
		{"chunks for an HTTP/1.0 client", "GET / HTTP/1.0\r\n\r\n", chunked, eof, []Chunk{h1Text("abc")}, "HTTP/1.1 200 Fine\r\nserver:x \r\nConnection: close\r\n\r\nabc", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, _ := h1Serve(t, func(_ context.Context, _ *Request, w ResponseWriter) {
				h1Answer(t, w, test.head, test.end, test.chunks...)
			})
			h1Send(t, client, test.request)
			h1Expect(t, client, test.want)
			if test.closes {
				h1ExpectEOF(t, client)
				return
			}
			h1Send(t, client, test.request)
			h1Expect(t, client, test.want)
		})
	}
}

func TestServerTranslatesAnHTTP2Head(t *testing.T) {
	client, _ := h1Serve(t, func(_ context.Context, req *Request, w ResponseWriter) {
		w.Interim(&ResponseHead{Proto: "HTTP/2.0", Status: 103, Header: Fields{{Name: "link", Value: "</a>"}}})
		w.Head(&ResponseHead{Proto: "HTTP/2.0", Status: 404, Header: Fields{{Name: "a", Value: "b"}}})
		w.Chunk(Chunk{})
		w.Chunk(h1Text("xy"))
		w.End(EndInfo{How: EOF})
	})
	h1Send(t, client, h1Get)
	h1Expect(t, client, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\na: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n")
	h1Send(t, client, "GET / HTTP/1.0\r\n\r\n")
	h1Expect(t, client, "HTTP/1.1 404 Not Found\r\na: b\r\nConnection: close\r\n\r\nxy")
	h1ExpectEOF(t, client)
}

func TestServerReadsRequestsInOrder(t *testing.T) {
	client, _ := h1Serve(t, func(_ context.Context, req *Request, w ResponseWriter) {
		body, err := io.ReadAll(req.Body)
		at, trailer := req.Complete()
		if err != nil || at.Before(req.Arrived) {
			t.Errorf("%v; complete %s before the head", err, req.Arrived.Sub(at))
		}
		text := fmt.Sprintf("%s %q %q", req.Head.Target, body, AppendFields(nil, trailer))
		h1Answer(t, w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(text)), EndInfo{How: EOF}, h1Text(text))
	})
	go io.WriteString(client, "GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: v\r\n\r\n"+
		"POST /3 HTTP/1.1\r\nContent-Length: 2\r\n\r\nxyGET /4 HTTP/1.1\r\nUpgrade: h2c\r\n\r\nGET /5 HTTP/1.1\r\n\r\n")
	in := bufio.NewReader(client)
	for _, want := range []string{`/1 "" ""`, `/2 "abcde" "T: v\r\n"`, `/3 "xy" ""`, `/4 "" ""`, `/5 "" ""`} {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != want {
			t.Errorf("got %s, want %s", body, want)
		}
	}
}

func TestServerAsksForTheBodyOnce(t *testing.T) {
	const post = "POST /read HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
	client, _ := h1Serve(t, func(_ context.Context, req *Request, w ResponseWriter) {
		if req.Head.Target == "/read" {
			io.ReadAll(req.Body)
			w.Interim(&ResponseHead{Proto: "HTTP/1.1", Status: 100, Line: "HTTP/1.1 100 Continue"})
		}
		h1Answer(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", EndInfo{How: EOF})
	})
	h1Send(t, client, post)
	h1Expect(t, client, "HTTP/1.1 100 Continue\r\n\r\n")
	h1Send(t, client, "ab")
	h1Expect(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	h1Send(t, client, strings.Replace(post, "/read", "/refuse", 1))
	h1Expect(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	h1ExpectEOF(t, client) // it is unknown whether the body comes
}

func TestServerSkipsABodyThatNobodyRead(t *testing.T) {
	client, _ := h1Serve(t, func(_ context.Context, req *Request, w ResponseWriter) {
		h1Answer(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", EndInfo{How: EOF})
	})
	for _, size := range []int{100_000, 400_000} {
		go io.WriteString(client, fmt.Sprintf("POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size)))
		h1Expect(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
	h1ExpectEOF(t, client) // the second body was more than the server takes
}

func TestServerCutsAnAnswerShortWithAReset(t *testing.T) {
	tests := map[string]h1HandlerFunc{
		"told so":                   func(_ context.Context, _ *Request, w ResponseWriter) { w.End(EndInfo{How: Reset}) },
		"without an end":            func(_ context.Context, _ *Request, w ResponseWriter) {},
		"with less than the length": func(_ context.Context, _ *Request, w ResponseWriter) { w.End(EndInfo{How: EOF}) },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			client, _ := h1Serve(t, func(ctx context.Context, req *Request, w ResponseWriter) {
				w.Head(&ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: Fields{{Name: "Content-Length", Value: "9"}}})
				w.Chunk(h1Text("abc"))
				end(ctx, req, w)
			})
			h1Send(t, client, h1Get)
			h1Expect(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
			if _, err := client.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("read error %v, want a reset", err)
			}
		})
	}
}

func TestServerCutsAnAnswerShortWithAClose(t *testing.T) {
	client, _ := h1Serve(t, func(_ context.Context, _ *Request, w ResponseWriter) {
		h1Answer(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", EndInfo{How: Closed}, h1Text("abc"))
	})
	h1Send(t, client, h1Get)
	h1Expect(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
	h1ExpectEOF(t, client)
}

func TestServerNoticesThatTheClientIsGone(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"at once where it resets":       func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"as it writes, where it closes": func(c *net.TCPConn) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan error, 1)
			client, done := h1Serve(t, func(ctx context.Context, req *Request, w ResponseWriter) {
				w.Head(&ResponseHead{Proto: "HTTP/1.1", Status: 200})
				w.Flush()
				<-req.Finished
				for ctx.Err() == nil && strings.HasPrefix(name, "as") {
					w.Chunk(h1Text("x"))
					w.Flush()
				}
				<-ctx.Done()
				gone <- ctx.Err()
			})
			h1Send(t, client, h1Get)
			h1Expect(t, client, "HTTP/1.1 200 OK\r\n\r\n")
			leave(client)
			select {
			case <-gone:
			case <-time.After(10 * time.Second):
				t.Fatal("the handler waits for ever")
			}
			err := <-done
			done <- err
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServerAnswersAClientThatHasHalfClosed(t *testing.T) {
	finished := make(chan struct{})
	ended := make(chan error, 1)
	client, _ := h1Serve(t, func(ctx context.Context, req *Request, w ResponseWriter) {
		body, err := io.ReadAll(req.Body)
		<-req.Finished
		close(finished)
		if string(body) != "ab" || err != nil || ctx.Err() != nil {
			t.Errorf("%q, %v, %v", body, err, ctx.Err())
		}
		w.Head(&ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: Fields{{Name: "Content-Length", Value: "4"}}})
		w.Flush()
		w.Chunk(h1Text("cdef"))
		ended <- w.End(EndInfo{How: EOF})
	})
	h1Send(t, client, "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab")
	client.CloseWrite()
	<-finished
	h1Expect(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ncdef")
	h1ExpectEOF(t, client)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// An answer that fits in one write is not taken for delivered.
func TestServerNoticesAClientThatWasGoneBeforeItsAnswer(t *testing.T) {
	ended := make(chan error, 1)
	client, _ := h1Serve(t, func(ctx context.Context, req *Request, w ResponseWriter) {
		<-req.Finished
		w.Head(&ResponseHead{Proto: "HTTP/1.1", Status: 204})
		ended <- w.End(EndInfo{How: EOF})
		if ctx.Err() == nil {
			t.Error("the context goes on")
		}
	})
	h1Send(t, client, h1Get)
	client.Close()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}

func TestServerChangesTheProtocol(t *testing.T) {
	client, _ := h1Serve(t, func(ctx context.Context, req *Request, w ResponseWriter) {
		if b, err := io.ReadAll(req.Body); len(b) > 0 || err != nil {
			t.Errorf("body %q, %v", b, err)
		}
		w.Head(&ResponseHead{Proto: "HTTP/1.1", Status: 101, Header: Fields{{Name: "Upgrade", Value: "websocket"}}})
		w.Flush()
		b, err := io.ReadAll(req.Body)
		if err != nil || ctx.Err() != nil {
			t.Errorf("%v, %v", err, ctx.Err())
		}
		w.Chunk(Chunk{Data: b, Of: 99})
		w.End(EndInfo{How: EOF})
	})
	h1Send(t, client, "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
	h1Expect(t, client, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
	h1Send(t, client, "\x81\x01a")
	h1Send(t, client, "\x81\x01b")
	client.CloseWrite()
	h1Expect(t, client, "\x81\x01a\x81\x01b")
	h1ExpectEOF(t, client)
}

func TestServerRefusesAMalformedRequest(t *testing.T) {
	client, done := h1Serve(t, func(context.Context, *Request, ResponseWriter) { t.Error("served") })
	h1Send(t, client, "GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil || resp.StatusCode != 400 {
		t.Fatalf("%v, %v", resp, err)
	}
	client.Close()
	err = <-done
	done <- err
	if !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestServerRefusesWhatCannotBeSentAsItIs(t *testing.T) {
	client, _ := h1Serve(t, func(_ context.Context, _ *Request, w ResponseWriter) {
		if err := w.Chunk(h1Text("a")); err == nil {
			t.Error("a chunk before the head was taken")
		}
		if err := w.Head(&ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: Fields{{Name: "A", Value: "b\r\nc: d"}}}); !errors.Is(err, ErrMalformed) {
			t.Errorf("a field with a line break: %v", err)
		}
		w.Head(&ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: Fields{{Name: "Transfer-Encoding", Value: "chunked"}}})
		w.Chunk(Chunk{Data: []byte("ab"), Of: 5})
		if err := w.Chunk(h1Text("c")); err == nil {
			t.Error("a chunk inside another was taken")
		}
		if err := w.Chunk(Chunk{Data: []byte("cdef"), Rest: true}); err == nil {
			t.Error("more than the chunk's size was taken")
		}
		if err := w.End(EndInfo{How: EOF}); err == nil {
			t.Error("a short chunk was taken")
		}
	})
	h1Send(t, client, h1Get)
	io.ReadAll(client)
}

func TestServerEndsWithItsContext(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- ServeHTTP1(ctx, server, h1HandlerFunc(func(ctx context.Context, _ *Request, _ ResponseWriter) { cancel(); <-ctx.Done() }))
	}()
	h1Send(t, client, h1Get)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestServerSpeaksTLSWithANetHTTPClient(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	config := &tls.Config{Certificates: certified.TLS.Certificates}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			served <- err
			return
		}
		served <- ServeHTTP1(t.Context(), conn, h1HandlerFunc(func(_ context.Context, req *Request, w ResponseWriter) {
			body, _ := io.ReadAll(req.Body)
			if req.Head.Target == "/reset" {
				w.Head(&ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: Fields{{Name: "Content-Length", Value: "9"}}})
				w.End(EndInfo{How: Reset})
				return
			}
			h1Answer(t, w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", EndInfo{How: EOF}, Chunk{Data: body})
		}))
	}()
	client := certified.Client().Transport.(*http.Transport)
	client.DialTLSContext = nil
	for _, path := range []string{"/", "/", "/reset"} {
		body := bytes.Repeat([]byte("b"), 100_000)
		req, _ := http.NewRequest("POST", "https://"+ln.Addr().String()+path, bytes.NewReader(body))
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if path == "/reset" {
			if err == nil {
				t.Error("an answer that was cut short ended well")
			}
			break
		}
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	client.CloseIdleConnections()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
