package httpstream

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

func TestHTTP2ServeRefusesWhatComesOnAStreamThatTheClientReset(t *testing.T) {
	for name, send := range map[string]func(*h2Raw){
		"DATA":    func(c *h2Raw) { c.WriteData(1, true, []byte("a")) },
		"HEADERS": func(c *h2Raw) { c.get(1, true) },
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := h2ServedRaw(t, func(ctx context.Context, _ *Request, _ ResponseWriter) { <-ctx.Done() })
			client.get(1, false)
			client.WriteRSTStream(1, http2.ErrCodeCancel)
			send(client)
			if got := client.next().String(); !strings.Contains(got, "STREAM_CLOSED") {
				t.Errorf("got %s, want STREAM_CLOSED", got)
			}
		})
	}
}

func TestHTTP2ServeRefusesAStreamThatDependsOnItself(t *testing.T) {
	for name, send := range map[string]func(*h2Raw){
		"HEADERS": func(c *h2Raw) {
			c.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, EndHeaders: true, EndStream: true, Priority: http2.PriorityParam{StreamDep: 1, Weight: 1},
				BlockFragment: c.encode(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"),
			})
		},
		"PRIORITY": func(c *h2Raw) { c.WritePriority(1, http2.PriorityParam{StreamDep: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := h2ServedRaw(t, func(context.Context, *Request, ResponseWriter) { t.Error("served") })
			send(client)
			if got := client.next().String(); !strings.Contains(got, "PROTOCOL_ERROR") {
				t.Errorf("got %s, want PROTOCOL_ERROR", got)
			}
		})
	}
}

// What a client sends behind the end of its request is upstream's to refuse.
func TestHTTP2RelayTellsOfTheEndOfARequestOnce(t *testing.T) {
	client, server, heard, _ := h2Pair(t, h2Rewriting)
	h2Prefaces(t, client, server)
	client.get(1, true)
	client.WriteData(1, true, []byte("a"))
	client.headers(1, true, "t", "1")
	for range 3 {
		server.next()
	}
	server.headers(1, true, ":status", "200")
	x := heard.wait(t, 0)
	if got := strings.Join(x.events, "; "); strings.Count(got, "request end") > 1 || x.last.How != EOF {
		t.Errorf("heard %s", got)
	}
}
