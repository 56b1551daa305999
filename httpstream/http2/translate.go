package http2

import (
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// Translated is x, told of an answer in HTTP/1.1 as a client of HTTP/2 gets it.
func Translated(x httpstream.Exchange) httpstream.Exchange { return translated{x} }

type translated struct{ httpstream.Exchange }

// Interim implements httpstream.Exchange.
func (x translated) Interim(at time.Time, head *httpstream.ResponseHead) {
	x.Exchange.Interim(at, translatedHead(head))
}

// Response implements httpstream.Exchange.
func (x translated) Response(at time.Time, head *httpstream.ResponseHead) {
	x.Exchange.Response(at, translatedHead(head))
}

// RequestChunk implements httpstream.Exchange.
func (x translated) RequestChunk(at time.Time, c httpstream.Chunk) {
	if c.SizeLine = ""; len(c.Data) > 0 {
		x.Exchange.RequestChunk(at, c)
	}
}

// ResponseChunk implements httpstream.Exchange.
func (x translated) ResponseChunk(at time.Time, c httpstream.Chunk) {
	if c.SizeLine = ""; len(c.Data) > 0 {
		x.Exchange.ResponseChunk(at, c)
	}
}

// End implements httpstream.Exchange.
func (x translated) End(at time.Time, end httpstream.EndInfo) {
	end.Trailer = Fields(end.Trailer, "HTTP/1.1")
	x.Exchange.End(at, end)
}

// translatedHead is an answer's head as it is written in HTTP/2.
func translatedHead(head *httpstream.ResponseHead) *httpstream.ResponseHead {
	return &httpstream.ResponseHead{Proto: "HTTP/2.0", Status: head.Status, Header: Fields(head.Header, head.Proto)}
}
