package replay

import (
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

const (
	keyField         = "Sec-WebSocket-Key"
	acceptField      = "Sec-WebSocket-Accept"
	subprotocolField = "Sec-WebSocket-Protocol"
	extensionsField  = "Sec-WebSocket-Extensions"
)

// handshake returns the recorded head of an answer as the client of req can
// accept it: where it opens a WebSocket, it has fields that answer what each
// client says anew. Over HTTP/2 (RFC 8441) there is no key and no accept value.
// It reports whether this client takes the extensions that were agreed on.
func handshake(head *httpstream.ResponseHead, x *tape.Exchange, req *httpstream.RequestHead, redact *tape.Redactor) (*httpstream.ResponseHead, bool) {
	if !x.IsWebSocket() {
		return head, true
	}
	h := *head
	h.Header = slices.Clone(head.Header)
	for i := range h.Header {
		f := &h.Header[i]
		switch {
		case strings.EqualFold(f.Name, acceptField):
			f.Value = accept(f.Value, x.Request.Header.Get(keyField), req.Header.Get(keyField))
		case strings.EqualFold(f.Name, subprotocolField):
			f.Value = subprotocol(f.Value, req.Header, redact)
		}
	}
	agreed := takes(websocket.ParseDeflate(head.Header), websocket.ParseDeflate(req.Header))
	if !agreed {
		// A client fails a connection with an extension that it did not offer (RFC 6455
		// section 4.1).
		h.Header = slices.DeleteFunc(h.Header, func(f httpstream.Field) bool { return strings.EqualFold(f.Name, extensionsField) })
	}
	return &h, agreed
}

// takes reports whether one of the client's offers allows what was agreed on
// (RFC 7692 section 7.1).
func takes(agreed, offers []websocket.Deflate) bool {
	if len(agreed) == 0 {
		return true
	}
	a := agreed[0]
	return slices.ContainsFunc(offers, func(o websocket.Deflate) bool {
		return (a.ServerNoContext || !o.ServerNoContext) &&
			(o.ServerBits <= 0 || a.ServerBits > 0 && a.ServerBits <= o.ServerBits) &&
			(a.ClientBits == 0 || o.ClientBits != 0)
	})
}

// accept answers the key of this call (RFC 6455 section 4.2.2). A value that was
// wrong when it was recorded, so that clients rejected it, stays wrong.
func accept(recorded, recordedKey, key string) string {
	if key == "" || recordedKey != "" && websocket.Accept(recordedKey) != recorded {
		return recorded
	}
	return websocket.Accept(key)
}

// subprotocol is the recorded choice in the client's own words: one that holds a
// key is redacted on the tape, and a client accepts only what it offered
// (RFC 6455 section 4.1).
func subprotocol(recorded string, header httpstream.Fields, redact *tape.Redactor) string {
	for _, value := range header.Values(subprotocolField) {
		for offer := range strings.SplitSeq(value, ",") {
			offer = strings.TrimSpace(offer)
			f := redact.Fields(httpstream.Fields{{Name: subprotocolField, Value: offer}})
			if offer != recorded && f[0].Value == recorded {
				return offer
			}
		}
	}
	return recorded
}
