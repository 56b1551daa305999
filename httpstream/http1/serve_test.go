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
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

type handlerFunc func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter)

func (f handlerFunc) ServeStream(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
	f(ctx, req, w)
}

// answerWith writes an answer that was parsed, as a player would.
func answerWith(t *testing.T, w httpstream.ResponseWriter, head string, end httpstream.EndInfo, chunks ...httpstream.Chunk) {
	p := &parser{response: true}
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

func textChunk(s string) httpstream.Chunk { return httpstream.Chunk{Data: []byte(s)} }

// serveOn serves one end of a TCP connection and returns the other.
func serveOn(t *testing.T, h handlerFunc) (*net.TCPConn, chan error) {
	t.Helper()
	client, server := tcpPair(t)
	client.SetDeadline(time.Now().Add(20 * time.Second))
	done := make(chan error, 1)
	go func() { done <- Serve(t.Context(), server, h) }()
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
	eof := httpstream.EndInfo{How: httpstream.EOF}
	tests := []struct {
		name    string
		request string
		head    string
		end     httpstream.EndInfo
		chunks  []httpstream.Chunk
		want    string
		closes  bool
	}{
		{"chunks as they were", getRequest, chunked, httpstream.EndInfo{How: httpstream.EOF, Trailer: httpstream.Fields{{Name: "T", Value: "1", Sep: ":"}}},
			[]httpstream.Chunk{{Data: []byte("01234"), Of: 10, SizeLine: "00A;x"}, {Data: []byte("56789"), Rest: true}, textChunk("0\r\n"), {}},
			chunked + "00A;x\r\n0123456789\r\n3\r\n0\r\n\r\n0\r\nT:1\r\n\r\n", false},
		{"a last chunk with an extension", getRequest, chunked, eof, []httpstream.Chunk{textChunk("a"), {SizeLine: "0;x"}}, chunked + "1\r\na\r\n0;x\r\n\r\n", false},
		{"a size line that is wrong is not used", getRequest, chunked, eof, []httpstream.Chunk{{Data: []byte("abc"), SizeLine: "4"}}, chunked + "3\r\nabc\r\n0\r\n\r\n", false},
		{"a body with a length", getRequest, "HTTP/1.1 200\r\nContent-Length: 4\r\n\r\n", eof, []httpstream.Chunk{textChunk("ab"), textChunk("cd")}, "HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nabcd", false},
		{"a body that ends with the connection", getRequest, "HTTP/1.1 200 OK\r\n\r\n", eof, []httpstream.Chunk{textChunk("abcd")}, "HTTP/1.1 200 OK\r\n\r\nabcd", true},
		{"no body for HEAD", "HEAD / HTTP/1.1\r\n\r\n", chunked, eof, []httpstream.Chunk{textChunk("abcd")}, chunked, false},
		{"no body for 304", getRequest, "HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n", eof, []httpstream.Chunk{textChunk("abc")}, "HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n", false},
		{"an answer that closes", getRequest, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", eof, nil, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", true},
		{"chunks for an HTTP/1.0 client", "GET / HTTP/1.0\r\n\r\n", chunked, eof, []httpstream.Chunk{textChunk("abc")}, "HTTP/1.1 200 Fine\r\nserver:x \r\nConnection: close\r\n\r\nabc", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, _ := serveOn(t, func(_ context.Context, _ *httpstream.Request, w httpstream.ResponseWriter) {
				answerWith(t, w, test.head, test.end, test.chunks...)
			})
			sendBytes(t, client, test.request)
			expectBytes(t, client, test.want)
			if test.closes {
				expectEOF(t, client)
				return
			}
			sendBytes(t, client, test.request)
			expectBytes(t, client, test.want)
		})
	}
}

func TestServerTranslatesAnHTTP2Head(t *testing.T) {
	client, _ := serveOn(t, func(_ context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		w.Interim(&httpstream.ResponseHead{Proto: "HTTP/2.0", Status: 103, Header: httpstream.Fields{{Name: "link", Value: "</a>"}}})
		w.Head(&httpstream.ResponseHead{Proto: "HTTP/2.0", Status: 404, Header: httpstream.Fields{{Name: "a", Value: "b"}}})
		w.Chunk(httpstream.Chunk{})
		w.Chunk(textChunk("xy"))
		w.End(httpstream.EndInfo{How: httpstream.EOF})
	})
	sendBytes(t, client, getRequest)
	expectBytes(t, client, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\na: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n")
	sendBytes(t, client, "GET / HTTP/1.0\r\n\r\n")
	expectBytes(t, client, "HTTP/1.1 404 Not Found\r\na: b\r\nConnection: close\r\n\r\nxy")
	expectEOF(t, client)
}

func TestServerReadsRequestsInOrder(t *testing.T) {
	client, _ := serveOn(t, func(_ context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		body, err := io.ReadAll(req.Body)
		at, trailer := req.Complete()
		if err != nil || at.Before(req.Arrived) {
			t.Errorf("%v; complete %s before the head", err, req.Arrived.Sub(at))
		}
		text := fmt.Sprintf("%s %q %q", req.Head.Target, body, AppendFields(nil, trailer))
		answerWith(t, w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(text)), httpstream.EndInfo{How: httpstream.EOF}, textChunk(text))
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
	client, _ := serveOn(t, func(_ context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		if req.Head.Target == "/read" {
			io.ReadAll(req.Body)
			w.Interim(&httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 100, Line: "HTTP/1.1 100 Continue"})
		}
		answerWith(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", httpstream.EndInfo{How: httpstream.EOF})
	})
	sendBytes(t, client, post)
	expectBytes(t, client, "HTTP/1.1 100 Continue\r\n\r\n")
	sendBytes(t, client, "ab")
	expectBytes(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	sendBytes(t, client, strings.Replace(post, "/read", "/refuse", 1))
	expectBytes(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	expectEOF(t, client) // it is unknown whether the body comes
}

func TestServerSkipsABodyThatNobodyRead(t *testing.T) {
	client, _ := serveOn(t, func(_ context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		answerWith(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", httpstream.EndInfo{How: httpstream.EOF})
	})
	for _, size := range []int{100_000, 400_000} {
		go io.WriteString(client, fmt.Sprintf("POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size)))
		expectBytes(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
	expectEOF(t, client) // the second body was more than the server takes
}

func TestServerCutsAnAnswerShortWithAReset(t *testing.T) {
	tests := map[string]handlerFunc{
		"told so": func(_ context.Context, _ *httpstream.Request, w httpstream.ResponseWriter) {
			w.End(httpstream.EndInfo{How: httpstream.Reset})
		},
		"without an end": func(_ context.Context, _ *httpstream.Request, w httpstream.ResponseWriter) {},
		"with less than the length": func(_ context.Context, _ *httpstream.Request, w httpstream.ResponseWriter) {
			w.End(httpstream.EndInfo{How: httpstream.EOF})
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			client, _ := serveOn(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
				w.Head(&httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: httpstream.Fields{{Name: "Content-Length", Value: "9"}}})
				w.Chunk(textChunk("abc"))
				end(ctx, req, w)
			})
			sendBytes(t, client, getRequest)
			expectBytes(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
			if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("read error %v, want a reset", err)
			}
		})
	}
}

func TestServerCutsAnAnswerShortWithAClose(t *testing.T) {
	client, _ := serveOn(t, func(_ context.Context, _ *httpstream.Request, w httpstream.ResponseWriter) {
		answerWith(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", httpstream.EndInfo{How: httpstream.Closed}, textChunk("abc"))
	})
	sendBytes(t, client, getRequest)
	expectBytes(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
	expectEOF(t, client)
}

func TestServerNoticesThatTheClientIsGone(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"at once where it resets":       func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"as it writes, where it closes": func(c *net.TCPConn) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan error, 1)
			client, done := serveOn(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
				w.Head(&httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200})
				w.Flush()
				<-req.Finished
				for ctx.Err() == nil && strings.HasPrefix(name, "as") {
					w.Chunk(textChunk("x"))
					w.Flush()
				}
				<-ctx.Done()
				gone <- ctx.Err()
			})
			sendBytes(t, client, getRequest)
			expectBytes(t, client, "HTTP/1.1 200 OK\r\n\r\n")
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
	client, _ := serveOn(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		body, err := io.ReadAll(req.Body)
		<-req.Finished
		close(finished)
		if string(body) != "ab" || err != nil || ctx.Err() != nil {
			t.Errorf("%q, %v, %v", body, err, ctx.Err())
		}
		w.Head(&httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: httpstream.Fields{{Name: "Content-Length", Value: "4"}}})
		w.Flush()
		w.Chunk(textChunk("cdef"))
		ended <- w.End(httpstream.EndInfo{How: httpstream.EOF})
	})
	sendBytes(t, client, "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab")
	client.CloseWrite()
	<-finished
	expectBytes(t, client, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ncdef")
	expectEOF(t, client)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// An answer that fits in one write is not taken for delivered.
func TestServerNoticesAClientThatWasGoneBeforeItsAnswer(t *testing.T) {
	ended := make(chan error, 1)
	client, _ := serveOn(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		<-req.Finished
		w.Head(&httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 204})
		ended <- w.End(httpstream.EndInfo{How: httpstream.EOF})
		if ctx.Err() == nil {
			t.Error("the context goes on")
		}
	})
	sendBytes(t, client, getRequest)
	client.Close()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}

func TestServerChangesTheProtocol(t *testing.T) {
	client, _ := serveOn(t, func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		if b, err := io.ReadAll(req.Body); len(b) > 0 || err != nil {
			t.Errorf("body %q, %v", b, err)
		}
		w.Head(&httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 101, Header: httpstream.Fields{{Name: "Upgrade", Value: "websocket"}}})
		w.Flush()
		b, err := io.ReadAll(req.Body)
		if err != nil || ctx.Err() != nil {
			t.Errorf("%v, %v", err, ctx.Err())
		}
		w.Chunk(httpstream.Chunk{Data: b, Of: 99})
		w.End(httpstream.EndInfo{How: httpstream.EOF})
	})
	sendBytes(t, client, "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
	expectBytes(t, client, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
	sendBytes(t, client, "\x81\x01a")
	sendBytes(t, client, "\x81\x01b")
	client.CloseWrite()
	expectBytes(t, client, "\x81\x01a\x81\x01b")
	expectEOF(t, client)
}

func TestServerRefusesAMalformedRequest(t *testing.T) {
	client, done := serveOn(t, func(context.Context, *httpstream.Request, httpstream.ResponseWriter) { t.Error("served") })
	sendBytes(t, client, "GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil || resp.StatusCode != 400 {
		t.Fatalf("%v, %v", resp, err)
	}
	client.Close()
	err = <-done
	done <- err
	if !errors.Is(err, httpstream.ErrMalformed) {
		t.Error(err)
	}
}

func TestServerRefusesWhatCannotBeSentAsItIs(t *testing.T) {
	client, _ := serveOn(t, func(_ context.Context, _ *httpstream.Request, w httpstream.ResponseWriter) {
		if err := w.Chunk(textChunk("a")); err == nil {
			t.Error("a chunk before the head was taken")
		}
		if err := w.Head(&httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: httpstream.Fields{{Name: "A", Value: "b\r\nc: d"}}}); !errors.Is(err, httpstream.ErrMalformed) {
			t.Errorf("a field with a line break: %v", err)
		}
		w.Head(&httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: httpstream.Fields{{Name: "Transfer-Encoding", Value: "chunked"}}})
		w.Chunk(httpstream.Chunk{Data: []byte("ab"), Of: 5})
		if err := w.Chunk(textChunk("c")); err == nil {
			t.Error("a chunk inside another was taken")
		}
		if err := w.Chunk(httpstream.Chunk{Data: []byte("cdef"), Rest: true}); err == nil {
			t.Error("more than the chunk's size was taken")
		}
		if err := w.End(httpstream.EndInfo{How: httpstream.EOF}); err == nil {
			t.Error("a short chunk was taken")
		}
	})
	sendBytes(t, client, getRequest)
	io.ReadAll(client)
}

func TestServerEndsWithItsContext(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, server, handlerFunc(func(ctx context.Context, _ *httpstream.Request, _ httpstream.ResponseWriter) { cancel(); <-ctx.Done() }))
	}()
	sendBytes(t, client, getRequest)
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
		served <- Serve(t.Context(), conn, handlerFunc(func(_ context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
			body, _ := io.ReadAll(req.Body)
			if req.Head.Target == "/reset" {
				w.Head(&httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: httpstream.Fields{{Name: "Content-Length", Value: "9"}}})
				w.End(httpstream.EndInfo{How: httpstream.Reset})
				return
			}
			answerWith(t, w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", httpstream.EndInfo{How: httpstream.EOF}, httpstream.Chunk{Data: body})
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
