package http2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// rewriting has every field block encoded anew.
var rewriting = relay.Options{RewriteRequest: func(h *httpstream.RequestHead) {
	for i := range h.Header {
		if h.Header[i].Name == "accept-encoding" {
			h.Header[i].Value = "identity"
		}
	}
}}

// A head that is too large for the tape passes to a server that takes it, and the
// connection goes on, its HPACK tables included.
func TestRelayPassesFieldBlocksThatAreTooLargeToBeUnderstood(t *testing.T) {
	for name, opt := range map[string]relay.Options{"as they are": {}, "encoded anew": rewriting} {
		t.Run(name, func(t *testing.T) {
			origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n := len(r.Header.Get("X-Large")); n > 0 {
					w.Header().Set("X-Large", strings.Repeat("b", 1_200_000))
				}
				fmt.Fprint(w, len(r.Header.Get("X-Large")), r.Header.Get("X-Small"), len(r.Header.Get("X-Many")))
			}))
			origin.Config.Protocols = new(http.Protocols)
			origin.Config.Protocols.SetUnencryptedHTTP2(true)
			origin.Config.MaxHeaderBytes = 8 << 20
			origin.Start()
			defer origin.Close()
			l := newTestLink(t, nil, func() (net.Conn, error) { return net.Dial("tcp", origin.Listener.Addr().String()) }, opt)
			tr := &http.Transport{
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
				},
				Protocols: new(http.Protocols), MaxResponseHeaderBytes: 8 << 20,
			}
			tr.Protocols.SetUnencryptedHTTP2(true)
			defer tr.CloseIdleConnections()
			client := &http.Client{Transport: tr}
			for i, large := range []int{0, 1_500_000, 0, 3_000_000, 0} {
				req, _ := http.NewRequest("GET", "http://example.com/", nil)
				req.Header.Set("X-Small", "s")
				if large > 0 {
					req.Header.Set("X-Large", strings.Repeat("a", large/2))
					req.Header.Set("X-Many", strings.Repeat("c", large/2))
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if want := fmt.Sprint(large/2, "s", large/2); string(body) != want || err != nil || large > 0 && len(resp.Header.Get("X-Large")) != 1_200_000 {
					t.Errorf("request %d: %q, %v; want %q", i, body, err, want)
				}
			}
			for i := range 3 {
				if x := l.heard.wait(t, i); x.last.How != httpstream.EOF {
					t.Errorf("exchange %d ended with %+v", i, x.last)
				}
			}
			l.heard.mu.Lock()
			defer l.heard.mu.Unlock()
			if len(l.heard.exchanges) != 3 {
				t.Errorf("%d exchanges, want those with a small head", len(l.heard.exchanges))
			}
		})
	}
}

func TestRelaySaysThatALargeFieldBlockPassedUnread(t *testing.T) {
	client, server, _, done := relayedPair(t, rewriting)
	exchangePrefaces(t, client, server)
	block := client.encode(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/", "x", strings.Repeat("\xff", 2<<20))
	client.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:100], EndStream: true})
	size := len(block)
	for block = block[100:]; len(block) > minFrame; block = block[minFrame:] {
		client.WriteContinuation(1, false, block[:minFrame])
	}
	client.WriteContinuation(1, true, block)
	if f := server.next(); len(f.fields) != 5 || len(f.fields[4].Value) != 2<<20 || !f.Flags.Has(http2.FlagHeadersEndStream) {
		t.Errorf("%v, %d fields", f.FrameHeader, len(f.fields))
	}
	client.conn.Close()
	for range server.in {
	}
	server.conn.Close()
	var unread *relay.UnreadError
	if err := <-done; !errors.As(err, &unread) || unread.Bytes != int64(size) || unread.Reason != "request: a field block over 1 MiB" {
		t.Errorf("ended with %v, want %d bytes unread", err, size)
	}
}

// A small block can stand for very many fields; what they amount to is bounded.
func TestRelayDoesNotMultiplyAFieldBlock(t *testing.T) {
	client, server, _, done := relayedPair(t, rewriting)
	exchangePrefaces(t, client, server)
	block := client.encode(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/", "x", strings.Repeat("\xff", 4000))
	again := strings.Repeat(string(client.encode("x", strings.Repeat("\xff", 4000))), 8000)
	client.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append(block, again...), EndHeaders: true, EndStream: true})
	client.conn.Close()
	passed := 0
	for f := range server.in {
		passed += len(f.payload)
	}
	server.conn.Close()
	if err := <-done; !errors.Is(err, httpstream.ErrMalformed) || passed > maxPassed {
		t.Errorf("%d bytes passed, the relay ended with %v", passed, err)
	}
}

// What is wrong with a request is for upstream to say.
func TestRelayLeavesBadRequestsAsBadAsTheyWere(t *testing.T) {
	request := []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}
	with := func(more ...string) []string {
		return append(append([]string{}, request...), append(more, "accept-encoding", "gzip")...)
	}
	tests := map[string][]string{
		"a name in upper case":                  with("X-Upper", "1"),
		"an unknown pseudo-header field":        append([]string{":foo", "bar"}, with()...),
		"a pseudo-header field twice":           append([]string{":path", "/b"}, with()...),
		"a pseudo-header field behind a field":  with("x", "1", ":scheme", "http"),
		"no method":                             with()[2:],
		"no path":                               append(request[:6:6], "accept-encoding", "gzip"),
		"an empty path":                         {":method", "GET", ":scheme", "http", ":authority", "a", ":path", "", "accept-encoding", "gzip"},
		"CONNECT with a path":                   {":method", "CONNECT", ":scheme", "http", ":authority", "a", ":path", "/", "accept-encoding", "gzip"},
		"an empty protocol":                     {":method", "CONNECT", ":scheme", "http", ":authority", "a", ":path", "/", ":protocol", ""},
		"a field of the connection":             with("connection", "close", "transfer-encoding", "chunked"),
		"te other than trailers":                with("te", "gzip"),
		"an authority and another host":         with("host", "b"),
		"an empty name":                         with("", "x"),
		"a line end in a value":                 with("x", "a\r\nb: c"),
		"white space around a value":            with("x", " a "),
		"a length that is not the body's":       with("content-length", "5"),
		"an authority that is a user's as well": {":method", "GET", ":scheme", "http", ":authority", "u:p@a", ":path", "/"},
	}
	for name, pairs := range tests {
		t.Run(name, func(t *testing.T) {
			client, server, _, _ := relayedPair(t, rewriting)
			exchangePrefaces(t, client, server)
			client.AllowIllegalWrites = true
			client.headers(1, true, pairs...)
			var want []hpack.HeaderField
			_, err := requestHead(fieldsOf(pairs))
			for _, f := range fieldsOf(pairs) {
				if f.Name == "accept-encoding" && err == nil {
					f.Value = "identity"
				}
				want = append(want, f)
			}
			if f := server.next(); fieldsText(f.fields) != fieldsText(want) {
				t.Errorf("upstream got %s\nwant         %s", fieldsText(f.fields), fieldsText(want))
			}
		})
	}
}

func fieldsOf(pairs []string) (fields []hpack.HeaderField) {
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return fields
}

// A counted is a context that knows how many wait for its end.
type counted struct {
	context.Context
	waiting int
}

func (c *counted) AfterFunc(func()) func() bool {
	c.waiting++
	stopped := false
	return func() bool {
		if !stopped {
			stopped = true
			c.waiting--
		}
		return true
	}
}

func (c *counted) Done() <-chan struct{} { return make(chan struct{}) }

func TestServeReleasesWhatARefusedRequestHeld(t *testing.T) {
	ctx := &counted{Context: context.Background()}
	c := &serverConn{ctx: ctx, streams: map[uint32]*serverStream{}, refused: map[uint32]bool{}}
	c.reader.at = time.Now()
	err := c.request(&http2.MetaHeadersFrame{
		HeadersFrame: &http2.HeadersFrame{FrameHeader: http2.FrameHeader{StreamID: 1, Flags: http2.FlagHeadersEndStream}},
		Fields:       fieldsOf([]string{":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/", "content-length", "5"}),
	})
	if !errors.As(err, new(http2.StreamError)) || ctx.waiting != 0 {
		t.Errorf("%v; %d contexts are kept", err, ctx.waiting)
	}
}
