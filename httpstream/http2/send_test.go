package http2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// sentRequest is what a server reads of one that Send writes.
func sentRequest(t *testing.T, out *httpstream.Outgoing) (text string, body []byte) {
	t.Helper()
	addr, _ := served(t, func(_ context.Context, req *httpstream.Request, w httpstream.ResponseWriter) {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			t.Error(err)
		}
		_, trailer := req.Complete()
		h := req.Head
		text = fmt.Sprintf("%s %s %s %s %v %v", h.Method, h.Scheme, h.Authority, h.Target, h.Header, trailer)
		w.Head(&httpstream.ResponseHead{Proto: "HTTP/2.0", Status: 200})
		w.End(httpstream.EndInfo{How: httpstream.EOF})
	}, nil)
	conn := must[net.Conn](t)(net.Dial("tcp", addr))
	relayed, client := net.Pipe()
	heard := &heardSink{}
	done := make(chan error, 1)
	go func() { done <- Relay(t.Context(), relayed, conn, relay.Options{}, heard) }()
	sent := make(chan error, 1)
	go func() { sent <- Send(client, out) }()
	heard.wait(t, 0)
	client.Close()
	if err := <-sent; err != nil {
		t.Error(err)
	}
	<-done
	return text, body
}

func TestSendWritesARequestInOrder(t *testing.T) {
	head := func(fields ...httpstream.Field) *httpstream.RequestHead {
		return &httpstream.RequestHead{Method: "POST", Scheme: "http", Authority: "h:1", Target: "/x", Header: fields}
	}
	large := pattern(300_000, 1) // over the windows that there are before any SETTINGS
	for _, c := range []struct {
		name string
		out  *httpstream.Outgoing
		want string
		body []byte
	}{
		{"no body", &httpstream.Outgoing{Head: head(httpstream.Field{Name: "b", Value: "1"}, httpstream.Field{Name: "a", Value: "2"})},
			"POST http h:1 /x [{b 1  } {a 2  }] []", nil},
		{"a body that is at hand", &httpstream.Outgoing{Head: head(), Data: large}, "POST http h:1 /x [] []", large},
		{"a body in pieces with a trailer", &httpstream.Outgoing{
			Head: head(),
			Stream: func(yield func(httpstream.Chunk, error) bool) {
				_ = yield(httpstream.Chunk{}, nil) && yield(httpstream.Chunk{Data: []byte("ab")}, nil) && yield(httpstream.Chunk{Data: []byte("c")}, nil)
			},
			Trailer: func() httpstream.Fields { return httpstream.Fields{{Name: "t", Value: "1"}} },
		}, "POST http h:1 /x [] [{t 1  }]", []byte("abc")},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, body := sentRequest(t, c.out)
			if text != c.want || !bytes.Equal(body, c.body) {
				t.Errorf("the server read %s and %d bytes", text, len(body))
			}
		})
	}
}
