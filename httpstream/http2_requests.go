package httpstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2Requests rewrites and notes what the client sends.
type h2Requests struct {
	streams *h2Streams
	rewrite func(*RequestHead) // nil: all bytes pass unchanged

	scan      h2Scanner
	preface   int // bytes of the client preface that were seen
	early     int // unparsed bytes of the scanner that are in an earlier out
	block     h2Block
	data      h2Data
	dec       *h2Decoder
	enc       *hpack.Encoder
	encoded   h2Buffer
	rewritten int // size of the fields of an oversize block up to now
	out       []byte
	begun     []*h2Stream // the sink has not heard of
	told      []func()    // events that it has not heard
	at        time.Time
	err       error // why the parser gave up: from then on bytes pass unseen
	passed    bool  // the part that it gave up on is in out
}

// An h2Buffer is an io.Writer that is cheap to empty.
type h2Buffer []byte

func (b *h2Buffer) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

func newH2Requests(streams *h2Streams, rewrite func(*RequestHead)) *h2Requests {
	limit := h2MaxBlock
	if rewrite != nil {
		limit = h2MaxPassed
	}
	r := &h2Requests{streams: streams, rewrite: rewrite, dec: newH2Decoder(limit)}
	r.enc = hpack.NewEncoder(&r.encoded)
	// Without a dynamic table our blocks are right whatever upstream settles on.
	r.enc.SetMaxDynamicTableSize(0)
	return r
}

// process takes the bytes that the scanner was filled with and returns those to
// send upstream. Nothing but the field blocks of requests is held back.
func (r *h2Requests) process(at time.Time) []byte {
	r.at, r.out = at, r.out[:0]
	if r.err == nil {
		if r.err = r.parse(); r.err != nil {
			r.streams.unread.begin(fmt.Errorf("request: %w", r.err))
			end := EndInfo{How: Malformed, Detail: "request: " + r.err.Error()}
			r.note(func() { r.streams.close(at, end) })
		}
	}
	b, typ, known := r.scan.rest()
	if r.err != nil {
		r.streams.unread.add(len(b))
		r.out = append(r.out, b[r.early:]...)
		r.scan.off, r.early = len(r.scan.buf), 0
	} else if known && !r.held(typ) {
		r.out = append(r.out, b[r.early:]...)
		r.early = len(b)
	}
	return r.out
}

// announce tells the sink of the requests that process saw, before they go upstream.
func (r *h2Requests) announce() {
	for _, s := range r.begun {
		s.begin()
	}
	clear(r.begun)
	r.begun = r.begun[:0]
}

// tell tells the sink of what else process saw.
func (r *h2Requests) tell() {
	for _, event := range r.told {
		event()
	}
	clear(r.told)
	r.told = r.told[:0]
}

// unsent returns the bytes that process held back, for a client that sends no more.
func (r *h2Requests) unsent() []byte {
	r.out = r.out[:0]
	r.flushBlock()
	b, _, _ := r.scan.rest()
	return append(r.out, b[r.early:]...)
}

// held tells frames that leave when their field block is complete.
func (r *h2Requests) held(t http2.FrameType) bool {
	return r.rewrite != nil && (t == http2.FrameHeaders || t == http2.FrameContinuation)
}

func (r *h2Requests) parse() error {
	for r.preface < len(http2.ClientPreface) {
		b, _, _ := r.scan.rest()
		if len(b) == 0 {
			return nil
		}
		if b[0] != http2.ClientPreface[r.preface] {
			return errors.New("no HTTP/2 client preface")
		}
		r.out = append(r.out, b[0])
		r.scan.off++
		r.preface++
	}
	for {
		before := r.scan
		p, ok, err := r.scan.next()
		if err != nil || !ok {
			return err
		}
		if err := r.part(p); err != nil {
			if !r.passed {
				r.flushBlock()
				r.scan = before // the part itself passes unseen
			}
			return err
		}
		if !r.held(p.Type) {
			r.out = append(r.out, p.wire[r.early:]...)
			r.early = 0
		}
	}
}

// flushBlock lets the frames of a field block go whose end will not be seen.
func (r *h2Requests) flushBlock() {
	if r.rewrite == nil || !r.block.open {
		return
	}
	r.block.open = false
	if !r.block.over {
		r.out = r.block.appendPiece(r.out, r.block.fragment, false)
	}
}

func (r *h2Requests) part(p h2Part) error {
	if mine, done, err := r.block.add(p); mine || err != nil {
		switch {
		case err == nil && r.block.over:
			return r.oversize(done)
		case err == nil && done:
			return r.fields()
		}
		return err
	}
	switch p.Type {
	case http2.FrameData:
		return r.chunk(p)
	case http2.FrameSettings:
		if p.Flags.Has(http2.FlagSettingsAck) {
			// The client agreed to upstream's settings; a smaller table must be
			// confirmed by the next field block (RFC 9113 section 4.3.1).
			r.enc.SetMaxDynamicTableSize(0)
		}
	case http2.FrameRSTStream:
		if len(p.payload) != 4 {
			return errH2Short
		}
		if s := r.streams.get(p.StreamID); s != nil {
			at, end := r.at, EndInfo{How: Cancelled, Code: binary.BigEndian.Uint32(p.payload), Detail: "the client reset the stream"}
			r.note(func() {
				r.streams.done(s, true, true)
				s.end(at, end)
			})
		}
	}
	return nil
}

func (r *h2Requests) chunk(p h2Part) error {
	c, ok, err := r.data.chunk(p)
	if err != nil {
		return err
	}
	s := r.streams.asked(p.StreamID)
	if s == nil {
		return nil
	}
	at := r.at
	if ok {
		r.note(func() { s.x.RequestChunk(at, c) })
	}
	if p.last && p.Flags.Has(http2.FlagDataEndStream) {
		r.requestEnd(s, nil)
	}
	return nil
}

// note keeps an event until tell is called.
func (r *h2Requests) note(event func()) { r.told = append(r.told, event) }

func (r *h2Requests) requestEnd(s *h2Stream, trailer Fields) {
	at := r.at
	r.note(func() { s.x.RequestEnd(at, trailer) })
	r.streams.done(s, true, false)
}

// fields takes a complete field block of the client: a request or its trailers.
func (r *h2Requests) fields() error {
	fields, err := r.dec.decode(r.block.fragment)
	if err == errH2TooLarge && r.rewrite == nil || err == nil && r.dec.size > h2MaxBlock {
		r.streams.unread.skip(errH2RequestTooLarge, len(r.block.fragment))
		r.forward(fields)
		r.unreadable(errH2TooLarge)
		return nil
	}
	if err != nil {
		if r.passed = r.rewrite != nil; r.passed {
			over := r.block.Flags.Has(http2.FlagHeadersEndStream)
			r.out = h2AppendBlock(r.out, r.block.fragment, r.block.priority, r.block.StreamID, over, h2MinFrame)
		}
		return err
	}
	id, over := r.block.StreamID, r.block.Flags.Has(http2.FlagHeadersEndStream)
	if !r.streams.opened(id) {
		r.forward(fields)
		if s := r.streams.asked(id); s != nil {
			trailer, err := h2Trailer(fields, over)
			if err != nil {
				r.malformed(s, err)
				return nil
			}
			r.requestEnd(s, trailer)
		}
		return nil
	}
	head, err := h2RequestHead(fields)
	if err != nil {
		// Upstream refuses this one stream; there is no request to tell of.
		r.streams.unread.skip(fmt.Errorf("request: %w", err), len(r.block.fragment))
		r.forward(fields)
		return nil
	}
	sent := fields
	if r.rewrite != nil {
		changed := *head
		changed.Header = append(Fields(nil), head.Header...)
		r.rewrite(&changed)
		sent = h2RequestFields(fields, head, &changed)
	}
	if s := r.streams.begin(id, r.at, head); s != nil {
		r.begun = append(r.begun, s)
		if over {
			r.requestEnd(s, nil)
		}
	}
	r.forward(sent)
	return nil
}

func (r *h2Requests) malformed(s *h2Stream, err error) {
	at := r.at
	r.note(func() {
		r.streams.done(s, true, true)
		s.end(at, EndInfo{How: Malformed, Detail: err.Error()})
	})
}

var errH2RequestTooLarge = fmt.Errorf("request: %w", errH2TooLarge)

// unreadable takes note of a field block that is not understood: of a request that
// can't be told of, or of trailers.
func (r *h2Requests) unreadable(why error) {
	if r.streams.opened(r.block.StreamID) {
		return
	}
	if s := r.streams.asked(r.block.StreamID); s != nil {
		r.malformed(s, why)
	}
}

// oversize passes on the next piece of a field block that is too large to be held.
// It is decoded all the same, or later blocks could not be.
func (r *h2Requests) oversize(done bool) error {
	piece := r.block.fragment
	r.streams.unread.skip(errH2RequestTooLarge, len(piece))
	var take func(hpack.HeaderField)
	if r.rewrite != nil {
		if !r.block.begun {
			r.rewritten = 0
		}
		r.encoded = r.encoded[:0]
		take = func(f hpack.HeaderField) {
			if r.rewritten += int(f.Size()); r.rewritten <= h2MaxPassed {
				_ = r.enc.WriteField(f) // an h2Buffer takes everything
			}
		}
	}
	err := r.dec.pipe(piece, done, take)
	if r.rewrite != nil {
		r.out = r.block.appendPiece(r.out, r.encoded, done)
		if r.passed = err != nil || r.rewritten > h2MaxPassed; r.passed && err == nil {
			err = errH2TooLarge
		}
	}
	if err == nil && done {
		r.unreadable(errH2TooLarge)
	}
	return err
}

// forward encodes the fields of the current block anew, if blocks are rewritten.
func (r *h2Requests) forward(fields []hpack.HeaderField) {
	if r.rewrite == nil {
		return
	}
	r.encoded = r.encoded[:0]
	for _, f := range fields {
		_ = r.enc.WriteField(f) // an h2Buffer takes everything
	}
	over := r.block.Flags.Has(http2.FlagHeadersEndStream)
	r.out = h2AppendBlock(r.out, r.encoded, r.block.priority, r.block.StreamID, over, h2MinFrame)
}
