package http2

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/wiretape/wiretape/httpstream"
)

func TestServeRefusesWhatComesOnAStreamThatTheClientReset(t *testing.T) {
	for name, send := range map[string]func(*rawPeer){
		"DATA":    func(c *rawPeer) { c.WriteData(1, true, []byte("a")) },
		"HEADERS": func(c *rawPeer) { c.get(1, true) },
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := servedRaw(t, func(ctx context.Context, _ *httpstream.Request, _ httpstream.ResponseWriter) { <-ctx.Done() })
			client.get(1, false)
			client.WriteRSTStream(1, http2.ErrCodeCancel)
			send(client)
			if got := client.next().String(); !strings.Contains(got, "STREAM_CLOSED") {
				t.Errorf("got %s, want STREAM_CLOSED", got)
			}
		})
	}
}

// A stream is closed once both sides have ended it (RFC 9113 section 5.1), whether
// the handler has returned or not.
func TestServeRefusesARequestOnAStreamThatBothSidesEnded(t *testing.T) {
	client, _ := servedRaw(t, func(ctx context.Context, _ *httpstream.Request, w httpstream.ResponseWriter) {
		w.Head(&httpstream.ResponseHead{Proto: "HTTP/2.0", Status: 204})
		w.End(httpstream.EndInfo{How: httpstream.EOF})
		<-ctx.Done()
	})
	client.get(1, true)
	if f := client.next(); f.Type != http2.FrameHeaders {
		t.Fatalf("got %v, want the answer", f)
	}
	client.get(1, true)
	if got := client.next().String(); got != "GOAWAY 0 STREAM_CLOSED" {
		t.Errorf("got %s, want GOAWAY 0 STREAM_CLOSED", got)
	}
}

func TestServeRefusesAStreamThatDependsOnItself(t *testing.T) {
	for name, send := range map[string]func(*rawPeer){
		"HEADERS": func(c *rawPeer) {
			c.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, EndHeaders: true, EndStream: true, Priority: http2.PriorityParam{StreamDep: 1, Weight: 1},
				BlockFragment: c.encode(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"),
			})
		},
		"PRIORITY": func(c *rawPeer) { c.WritePriority(1, http2.PriorityParam{StreamDep: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := servedRaw(t, func(context.Context, *httpstream.Request, httpstream.ResponseWriter) { t.Error("served") })
			send(client)
			if got := client.next().String(); !strings.Contains(got, "PROTOCOL_ERROR") {
				t.Errorf("got %s, want PROTOCOL_ERROR", got)
			}
		})
	}
}

// What a client sends behind the end of its request is upstream's to refuse.
func TestRelayTellsOfTheEndOfARequestOnce(t *testing.T) {
	client, server, heard, _ := relayedPair(t, rewriting)
	exchangePrefaces(t, client, server)
	client.get(1, true)
	client.WriteData(1, true, []byte("a"))
	client.headers(1, true, "t", "1")
	for range 3 {
		server.next()
	}
	server.headers(1, true, ":status", "200")
	x := heard.wait(t, 0)
	if got := strings.Join(x.events, "; "); strings.Count(got, "request end") > 1 || x.last.How != httpstream.EOF {
		t.Errorf("heard %s", got)
	}
}
