package replay

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

// The key and its answer of RFC 6455 section 1.3.
const (
	exampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	exampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

func TestAWebSocketIsOpenedForTheKeyOfThisClient(t *testing.T) {
	for _, tc := range []struct {
		name                     string
		recordedKey, recordedAcc string
		offered, protocol        string
		asked                    string
		wantAccept, wantProtocol string
	}{
		{
			name:        "another key has another answer",
			recordedKey: "AAAAAAAAAAAAAAAAAAAAAA==", recordedAcc: websocket.Accept("AAAAAAAAAAAAAAAAAAAAAA=="),
			asked: "Sec-WebSocket-Key: " + exampleKey, wantAccept: exampleAccept,
		},
		{
			name: "an answer without a recorded key is made anew", recordedAcc: "removed by hand",
			asked: "Sec-WebSocket-Key: " + exampleKey, wantAccept: exampleAccept,
		},
		{
			name:        "a wrong answer stays wrong",
			recordedKey: "AAAAAAAAAAAAAAAAAAAAAA==", recordedAcc: "wrong",
			asked: "Sec-WebSocket-Key: " + exampleKey, wantAccept: "wrong",
		},
		{
			name: "a subprotocol that holds a key is the client's own", offered: "realtime, openai-insecure-api-key.REDACTED", protocol: "openai-insecure-api-key.REDACTED",
			asked: "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-1", wantProtocol: "openai-insecure-api-key.sk-1",
		},
		{
			name: "a subprotocol stays as it was chosen", offered: "other, realtime", protocol: "realtime",
			asked: "Sec-WebSocket-Protocol: other, realtime", wantProtocol: "realtime",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := webSocket()
			add := func(fs *httpstream.Fields, name, value string) {
				if value != "" {
					*fs = append(*fs, httpstream.Field{Name: name, Value: value})
				}
			}
			add(&s.x.Request.Header, "Sec-WebSocket-Key", tc.recordedKey)
			add(&s.x.Request.Header, "Sec-WebSocket-Protocol", tc.offered)
			add(&s.x.Response.Head.Header, "sec-websocket-accept", tc.recordedAcc)
			add(&s.x.Response.Head.Header, "Sec-WebSocket-Protocol", tc.protocol)
			bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
				w.send(t, strings.TrimSuffix(upgrade, "\r\n")+tc.asked+"\r\n\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(w), nil)
				if err != nil || resp.StatusCode != 101 {
					t.Fatal(resp, err)
				}
				if got := resp.Header.Get("Sec-WebSocket-Accept"); got != tc.wantAccept {
					t.Errorf("accept %q, want %q", got, tc.wantAccept)
				}
				if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != tc.wantProtocol {
					t.Errorf("subprotocol %q, want %q", got, tc.wantProtocol)
				}
			})
		})
	}
}

func TestAWebSocketOverHTTP2HasNoKey(t *testing.T) {
	x := tape.Exchange{
		Request:  tape.Request{Method: "CONNECT", Protocol: "websocket", Header: httpstream.Fields{{Name: "Sec-WebSocket-Version", Value: "13"}}},
		Response: response(0, 200, httpstream.Field{Name: "sec-websocket-protocol", Value: "chat"}),
	}
	got, _ := handshake(&x.Response.Head, &x, &httpstream.RequestHead{Method: "CONNECT", Protocol: "websocket"}, nil)
	if len(got.Header) != 1 || got.Header[0].Value != "chat" {
		t.Errorf("the head is %v", got.Header)
	}
}
