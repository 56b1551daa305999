package httpstream

import "iter"

// An Outgoing is a request that a Send function of a protocol writes as a client.
type Outgoing struct {
	// Head is the head as it goes on the wire: nothing is added, and the framing of
	// the body follows its fields.
	Head *RequestHead
	// Data is the body where all of it is at hand.
	Data []byte
	// Stream gives the body in place of Data: each piece leaves on its own, and a
	// piece with neither data nor SizeLine sends on what was written before the next
	// is there. Its first error ends the request.
	Stream iter.Seq2[Chunk, error]
	// Trailer is asked once the body is at its end. Nil: there is none.
	Trailer func() Fields
	// Proceed is closed when the server asks for the body with 100 (Continue), or does
	// anything else. A request that expects that waits for it, a second at most (RFC
	// 9110 section 10.1.1). Nil: it does not wait.
	Proceed <-chan struct{}
	// Sent is called when all of the request is written. May be nil.
	Sent func()
}

// Trailers are the fields behind a body that is at its end.
func (o *Outgoing) Trailers() Fields {
	if o.Trailer == nil {
		return nil
	}
	return o.Trailer()
}
