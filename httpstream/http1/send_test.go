package http1

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"net"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// streamOf gives pieces, and then an error if there is one.
func streamOf(err error, pieces ...httpstream.Chunk) iter.Seq2[httpstream.Chunk, error] {
	return func(yield func(httpstream.Chunk, error) bool) {
		for _, c := range pieces {
			if !yield(c, nil) {
				return
			}
		}
		if err != nil {
			yield(httpstream.Chunk{}, err)
		}
	}
}

func post(fields ...httpstream.Field) *httpstream.RequestHead {
	return &httpstream.RequestHead{Proto: "HTTP/1.1", Method: "POST", Target: "/", Header: append(httpstream.Fields{{Name: "Host", Value: "h"}}, fields...)}
}

func TestSendWritesJustWhatItIsGiven(t *testing.T) {
	chunkedField := httpstream.Field{Name: "Transfer-Encoding", Value: "chunked"}
	const chunkedHead = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name string
		out  httpstream.Outgoing
		want []string // one for each write
	}{
		{"no body", httpstream.Outgoing{Head: post()}, []string{"POST / HTTP/1.1\r\nHost: h\r\n\r\n"}},
		{"a field's white space", httpstream.Outgoing{Head: post(httpstream.Field{Name: "a", Value: "b", Sep: ":", After: " "})},
			[]string{"POST / HTTP/1.1\r\nHost: h\r\na:b \r\n\r\n"}},
		{"a body that is at hand", httpstream.Outgoing{Head: post(httpstream.Field{Name: "Content-Length", Value: "2"}), Data: []byte("hi")},
			[]string{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"}},
		{"the same in chunks", httpstream.Outgoing{Head: post(chunkedField), Data: []byte("hi")}, []string{chunkedHead + "2\r\nhi\r\n0\r\n\r\n"}},
		{"a body as it comes", httpstream.Outgoing{
			Head: post(chunkedField),
			Stream: streamOf(nil, httpstream.Chunk{}, httpstream.Chunk{Data: []byte("a"), Of: 2}, httpstream.Chunk{Data: []byte("b"), Rest: true},
				httpstream.Chunk{Data: []byte("c"), SizeLine: "01;x"}, httpstream.Chunk{SizeLine: "00"}),
			Trailer: func() httpstream.Fields { return httpstream.Fields{{Name: "t", Value: "1"}} },
		}, []string{chunkedHead, "2\r\na", "b\r\n", "01;x\r\nc\r\n", "00\r\nt: 1\r\n\r\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := net.Pipe()
			sent := make(chan struct{})
			c.out.Sent = func() { close(sent) }
			done := make(chan error, 1)
			go func() { done <- Send(client, &c.out) }()
			buf := make([]byte, 1<<10)
			for _, want := range c.want {
				n, err := server.Read(buf) // of a net.Pipe: one write
				if err != nil || string(buf[:n]) != want {
					t.Errorf("got %q and %v, want %q", buf[:n], err, want)
				}
			}
			<-sent
			io.WriteString(server, "HTTP/1.1 200 OK\r\n\r\n") // is dropped
			server.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSendWaitsForTheServerToAskForTheBody(t *testing.T) {
	client, server := net.Pipe()
	proceed := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- Send(client, &httpstream.Outgoing{Head: post(httpstream.Field{Name: "Expect", Value: "100-continue"}), Data: []byte("body"), Proceed: proceed})
	}()
	buf := make([]byte, 1<<10)
	n, err := server.Read(buf)
	if err != nil || !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
		t.Fatalf("%q and %v", buf[:n], err)
	}
	server.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := server.Read(buf); err == nil {
		t.Errorf("%q was sent before it was asked for", buf[:n])
	}
	server.SetReadDeadline(time.Time{})
	close(proceed)
	if n, err := server.Read(buf); string(buf[:n]) != "body" {
		t.Errorf("%q and %v", buf[:n], err)
	}
	server.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSendTellsErrorsOfItsRequestAndNotOfAServerThatIsDone(t *testing.T) {
	broken := errors.New("can't be read")
	incomplete := streamOf(nil, httpstream.Chunk{Data: []byte("a"), Of: 2}, httpstream.Chunk{Data: []byte("b")})
	for _, c := range []struct {
		name   string
		stream iter.Seq2[httpstream.Chunk, error]
		fails  bool
	}{
		{"a body that breaks", streamOf(broken, httpstream.Chunk{Data: []byte("a")}), true},
		{"a chunk that is not complete", incomplete, true},
		{"a server that answers first", streamOf(nil, httpstream.Chunk{Data: make([]byte, 1<<20)}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := net.Pipe()
			if c.fails {
				go io.Copy(io.Discard, server)
			} else {
				go func() {
					server.Read(make([]byte, 1<<10))
					server.Close()
				}()
			}
			err := Send(client, &httpstream.Outgoing{Head: post(httpstream.Field{Name: "Transfer-Encoding", Value: "chunked"}), Stream: c.stream})
			if (err != nil) != c.fails {
				t.Error(err)
			}
			server.Close()
		})
	}
}
