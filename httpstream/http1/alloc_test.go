package http1

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// A silentSink hears everything and keeps nothing.
type silentSink struct{}

func (s silentSink) Request(time.Time, *httpstream.RequestHead) httpstream.Exchange { return s }
func (silentSink) RequestChunk(time.Time, httpstream.Chunk)                         {}
func (silentSink) RequestEnd(time.Time, httpstream.Fields)                          {}
func (silentSink) Interim(time.Time, *httpstream.ResponseHead)                      {}
func (silentSink) Response(time.Time, *httpstream.ResponseHead)                     {}
func (silentSink) ResponseChunk(time.Time, httpstream.Chunk)                        {}
func (silentSink) End(time.Time, httpstream.EndInfo)                                {}

// allocsPerPiece sends pieces from one side to the other and returns what each takes.
func allocsPerPiece(t *testing.T, from, to net.Conn, piece string) float64 {
	t.Helper()
	b, got := []byte(piece), make([]byte, len(piece))
	pass := func() {
		if _, err := from.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(to, got); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		pass() // buffers find their size
	}
	return testing.AllocsPerRun(1000, pass)
}

func TestARelayAllocatesNothingPerChunk(t *testing.T) {
	const chunkedAnswer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	text := "data: " + strings.Repeat("x", 100) + "\n\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(text), text)
	for _, c := range []struct {
		name, request, answer, piece string
		up                           bool
	}{
		{name: "chunks of an answer", request: getRequest, answer: chunkedAnswer, piece: chunk},
		{name: "pieces of an answer with a length", request: getRequest, answer: "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", piece: text},
		{name: "pieces of an answer until the close", request: getRequest, answer: "HTTP/1.1 200 OK\r\n\r\n", piece: text},
		{name: "chunks of a request", request: "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", piece: chunk, up: true},
		{name: "messages of a WebSocket", request: "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", piece: wsFrame(0x81, text)},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, relayClient := tcpPair(t)
			relayUp, server := tcpPair(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				Relay(context.Background(), relayClient, relayUp, relay.Options{}, silentSink{})
			}()
			sendBytes(t, client, c.request)
			expectBytes(t, server, c.request)
			sendBytes(t, server, c.answer)
			expectBytes(t, client, c.answer)
			from, to := net.Conn(server), net.Conn(client)
			if c.up {
				from, to = to, from
			}
			if n := allocsPerPiece(t, from, to, c.piece); n > 0 {
				t.Errorf("%v allocations each", n)
			}
			client.Close()
			server.Close()
			<-done
		})
	}
}

func TestAServerAllocatesNothingPerChunk(t *testing.T) {
	text := []byte("data: " + strings.Repeat("x", 100) + "\n\n")
	wire := fmt.Sprintf("%x\r\n%s\r\n", len(text), text)
	next := make(chan struct{})
	client, _ := serveOn(t, func(_ context.Context, _ *httpstream.Request, w httpstream.ResponseWriter) {
		w.Head(&httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: httpstream.Fields{{Name: "Transfer-Encoding", Value: "chunked"}}})
		for range next {
			w.Chunk(httpstream.Chunk{Data: text})
			w.Flush()
		}
	})
	sendBytes(t, client, getRequest)
	got := make([]byte, len(wire))
	next <- struct{}{}
	expectBytes(t, client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+wire)
	n := testing.AllocsPerRun(1000, func() {
		next <- struct{}{}
		if _, err := io.ReadFull(client, got); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations each", n)
	}
	close(next)
}
