package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"

// Each exchange here is followed by a plain one on the same connection, which has
// to be told of as well; all bytes pass as they are.
func TestRelayGoesOnBehindWhatARecipientMayTake(t *testing.T) {
	const chunked = "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
	tests := []struct {
		name, request, answer, want string
	}{
		{"an empty line behind an answer", getRequest, okAnswer + "\r\n", "GET /a | > end | 200 | < x | eof"},
		{"LF alone behind an answer", getRequest, okAnswer + "\n\n", "GET /a | > end | 200 | < x | eof"},
		{"empty lines before a request", "\r\n\n\r\nPOST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", okAnswer, "POST / | > x | > end | 200 | < x | eof"},
		{"lines that end in LF alone", "GET / HTTP/1.1\nX-Client: 1\n\n", okAnswer, "GET / 1 | > end | 200 | < x | eof"},
		{"a folded request", "GET / HTTP/1.1\r\nA: b\r\n\tc \r\nX-Client: 1\r\n  2\r\n\r\n", okAnswer, "GET / 1 2 | > end | 200 | < x | eof"},
		{"a folded answer", getRequest, "HTTP/1.1 200 OK\r\nA:\r\n b\r\nContent-Length: 1\r\n\r\nx", "GET /a | > end | 200 | < x | eof"},
		{"the same length twice", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", okAnswer, "POST / | > x | > end | 200 | < x | eof"},
		{"the same length in a list", "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\nx", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx", "POST / | > x | > end | 200 | < x | eof"},
		{"a request with a length and chunked", "POST / HTTP/1.1\r\nContent-Length: 9\r\n" + chunked + "\r\n", okAnswer, "POST / | > x | > end | 200 | < x | eof"},
		{"an answer with a length and chunked", getRequest, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n" + chunked + "\r\n", "GET /a | > end | 200 | < x | eof"},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", okAnswer, "GET / | > end | 200 | < x | eof"},
		{"LF alone in trailers", "POST / HTTP/1.1\r\n" + chunked + "T: 1\n\n", "HTTP/1.1 200 OK\r\n" + chunked + "T: 1\n\r\n", "POST / | > x | > end T: 1 | 200 | < x | eof T: 1"},
		{"folded trailers", "POST / HTTP/1.1\r\n" + chunked + "T: 1\r\n 2\r\n\r\n", okAnswer, "POST / | > x | > end T: 1 2 | 200 | < x | eof"},
		{"control bytes in values", "GET / HTTP/1.1\r\nX-Client: a\x01b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: \x1b[0m\r\nContent-Length: 1\r\n\r\nx", "GET / a\x01b | > end | 200 | < x | eof"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, relay.Options{})
			sendBytes(t, r.client, test.request)
			expectBytes(t, r.server, test.request)
			sendBytes(t, r.server, test.answer)
			expectBytes(t, r.client, test.answer)
			r.log.check(t, test.want)
			sendBytes(t, r.client, getRequest)
			expectBytes(t, r.server, getRequest)
			sendBytes(t, r.server, okAnswer)
			expectBytes(t, r.client, okAnswer)
			r.log.check(t, test.want, "GET /a | > end | 200 | < x | eof")
			r.client.Close()
			r.result(nil)
		})
	}
}

func TestRelayKeepsFoldsInAHeadThatItRewrites(t *testing.T) {
	r := newRig(t, relay.Options{RewriteRequest: func(h *httpstream.RequestHead) {
		h.Header = append(h.Header, httpstream.Field{Name: "Via", Value: "w"})
	}})
	sendBytes(t, r.client, "GET / HTTP/1.1\r\nX-Client:\r\n\ta \r\n  b \r\nC: d\r\n\r\n")
	expectBytes(t, r.server, "GET / HTTP/1.1\r\nX-Client:\r\n\ta \r\n  b \r\nC: d\r\nVia: w\r\n\r\n")
	sendBytes(t, r.server, okAnswer)
	expectBytes(t, r.client, okAnswer)
	r.log.check(t, "GET / a b | > end | 200 | < x | eof")
}

func TestRelayLeavesATimeoutThatWasNotAskedForOut(t *testing.T) {
	const timeout = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
	for name, answer := range map[string]string{
		"with a length":   timeout,
		"until it closes": strings.Replace(timeout, "Content-Length: 1\r\n", "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, relay.Options{})
			sendBytes(t, r.client, getRequest)
			expectBytes(t, r.server, getRequest)
			sendBytes(t, r.server, okAnswer)
			expectBytes(t, r.client, okAnswer)
			r.log.check(t, "GET /a | > end | 200 | < x | eof")
			sendBytes(t, r.server, answer[:20])
			expectBytes(t, r.client, answer[:20])
			sendBytes(t, r.client, getRequest) // in transit, as the server closes
			expectBytes(t, r.server, getRequest)
			sendBytes(t, r.server, answer[20:])
			r.server.CloseWrite()
			expectBytes(t, r.client, answer[20:])
			expectEOF(t, r.client)
			r.client.Close()
			r.result(nil)
			r.log.check(t, "GET /a | > end | 200 | < x | eof", "GET /a | > end | closed")
		})
	}
}

func TestRelaySaysHowMuchPassedUnread(t *testing.T) {
	const more = "GET /more HTTP/1.1\r\n\r\n"
	tests := []struct {
		name, request, answer, reason string
		bytes                         int
	}{
		{"a request's head", "GET / HTTP/1.1\r\nA: sk-secret\x00\r\n\r\n", okAnswer, "control character 0x00", 33 + len(okAnswer)},
		{"a request's target", "GET /sk-secret sk-secret HTTP/1.1\r\n\r\n", okAnswer, "a request line that is not method, target and version", 37 + len(okAnswer)},
		{"an answer's head", getRequest, "HTTP/1.1 200 OK\r\nsk-secret\r\n\r\n", "a header line without a colon", 30},
		{"an answer's body", getRequest, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsk-secret\r\n", "a chunk size that is not hexadecimal", 11},
		{"an answer that nobody asked for", getRequest, okAnswer + okAnswer, "an answer that was not asked for", len(okAnswer)},
		{"a request behind one that says twice where it ends", "POST / HTTP/1.1\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + more, okAnswer,
			"bytes behind a request with both Content-Length and Transfer-Encoding", len(more)},
		{"a body that can't be framed", "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: identity\r\n\r\nbody", okAnswer,
			"a request whose Transfer-Encoding does not end in chunked", 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, relay.Options{})
			sendBytes(t, r.client, test.request)
			expectBytes(t, r.server, test.request)
			sendBytes(t, r.server, test.answer)
			expectBytes(t, r.client, test.answer)
			// Raw from here on, whichever way; the client's are counted only once the
			// other direction has told.
			r.server.Close()
			expectEOF(t, r.client)
			r.client.Close()
			var unread *relay.UnreadError
			select {
			case err := <-r.done:
				if !errors.As(err, &unread) || !errors.Is(err, httpstream.ErrMalformed) {
					t.Fatalf("the relay ended with %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the relay does not end")
			}
			if unread.Reason != test.reason || unread.Bytes != int64(test.bytes) {
				t.Errorf("got %q, %d bytes; want %q, %d", unread.Reason, unread.Bytes, test.reason, test.bytes)
			}
		})
	}
}

// A router is a forward proxy's relay between one client and several origins.
type router struct {
	t       *testing.T
	client  *net.TCPConn
	origins map[string]*net.TCPConn
	log     *eventLog
	done    chan error
}

func newRouter(t *testing.T) *router {
	r := &router{t: t, origins: map[string]*net.TCPConn{}, log: newEventLog(), done: make(chan error, 1)}
	conns := map[string]net.Conn{}
	for _, name := range []string{"a", "b"} {
		conns[name], r.origins[name] = tcpPair(t)
		r.origins[name].SetDeadline(time.Now().Add(20 * time.Second))
	}
	client, relayClient := tcpPair(t)
	client.SetDeadline(time.Now().Add(20 * time.Second))
	r.client = client
	opt := relay.Options{
		Upstream: func(_ context.Context, head *httpstream.RequestHead) (net.Conn, error) {
			return conns[head.Authority], nil
		},
	}
	go func() { r.done <- Relay(t.Context(), relayClient, nil, opt, r.log) }()
	return r
}

// A forward proxy's next request may be for another origin, with its credentials.
func TestForwardRelayNeverGivesARequestToAnotherOrigin(t *testing.T) {
	const toA, toB = "GET http://a/ HTTP/1.1\r\n\r\n", "GET http://b/ HTTP/1.1\r\nAuthorization: Bearer b\r\n\r\n"
	tests := []struct {
		name, first, answer string
	}{
		{"behind a malformed answer", toA, "HTTP/1.1 200 OK\r\nA : b\r\n\r\nx"},
		{"behind malformed chunks", toA, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n"},
		{"behind a 101 that was not asked for", toA, switchHead},
		{"behind malformed chunks of its own", "POST http://a/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n", ""},
		{"behind a request with two ends", "POST http://a/ HTTP/1.1\r\nContent-Length: 90\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + toB, okAnswer},
		{"behind a second answer", toA, okAnswer + okAnswer},
		{"behind an answer that came unasked", toA, okAnswer},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRouter(t)
			unasked := test.name == "behind an answer that came unasked"
			sendBytes(t, r.client, test.first)
			expectBytes(t, r.origins["a"], strings.Split(test.first, "\r\n\r\n")[0])
			if test.answer != "" {
				sendBytes(t, r.origins["a"], test.answer)
				expectBytes(t, r.client, test.answer)
			}
			if unasked {
				r.log.check(t, "GET http://a/ | > end | 200 | < x | eof")
				sendBytes(t, r.origins["a"], "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				expectEOF(t, r.client)
			}
			io.WriteString(r.client, toB) // may be refused already
			got, _ := io.ReadAll(r.origins["a"])
			if strings.Contains(string(got), "Bearer b") {
				t.Errorf("the first origin got %q", got)
			}
			r.origins["b"].SetReadDeadline(time.Now())
			if got, _ := io.ReadAll(r.origins["b"]); len(got) > 0 {
				t.Errorf("the second origin got %q, though the client can't read its answer", got)
			}
			if got, _ := io.ReadAll(r.client); strings.Contains(string(got), "evil") {
				t.Errorf("the client got %q", got)
			}
			select {
			case <-r.done:
			case <-time.After(10 * time.Second):
				t.Fatal("the relay does not end")
			}
		})
	}
}
