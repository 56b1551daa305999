package http2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wiretape/wiretape/httpstream"
)

// A requestReader rewrites and notes what the client sends.
type requestReader struct {
	streams *streamTable
	rewrite func(*httpstream.RequestHead) // nil: all bytes pass unchanged

	scan      scanner
	preface   int // bytes of the client preface that were seen
	early     int // unparsed bytes of the scanner that are in an earlier out
	block     fieldBlock
	data      dataFrame
	dec       *decoder
	enc       *hpack.Encoder
	encoded   buffer
	rewritten int // size of the fields of an oversize block up to now
	out       []byte
	begun     []*stream // the sink has not heard of
	events    []func()  // events that it has not heard
	at        time.Time
	err       error // why the parser gave up: from then on bytes pass unseen
	passed    bool  // the part that it gave up on is in out
}

// A buffer is an io.Writer that is cheap to empty.
type buffer []byte

func (b *buffer) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

func newRequestReader(streams *streamTable, rewrite func(*httpstream.RequestHead)) *requestReader {
	limit := maxBlock
	if rewrite != nil {
		limit = maxPassed
	}
	r := &requestReader{streams: streams, rewrite: rewrite, dec: newDecoder(limit)}
	r.enc = hpack.NewEncoder(&r.encoded)
	// Without a dynamic table our blocks are right whatever upstream settles on.
	r.enc.SetMaxDynamicTableSize(0)
	return r
}

// process takes the bytes that the scanner was filled with and returns those to
// send upstream. Nothing but the field blocks of requests is held back.
func (r *requestReader) process(at time.Time) []byte {
	r.at, r.out = at, r.out[:0]
	if r.err == nil {
		if r.err = r.parse(); r.err != nil {
			r.streams.unread.Begin(fmt.Errorf("request: %w", r.err))
			end := httpstream.EndInfo{How: httpstream.Malformed, Detail: "request: " + r.err.Error()}
			r.note(func() { r.streams.close(at, end) })
		}
	}
	b, typ, known := r.scan.rest()
	if r.err != nil {
		r.streams.unread.Add(len(b))
		r.out = append(r.out, b[r.early:]...)
		r.scan.off, r.early = len(r.scan.buf), 0
	} else if known && !r.held(typ) {
		r.out = append(r.out, b[r.early:]...)
		r.early = len(b)
	}
	return r.out
}

// announce tells the sink of the requests that process saw, before they go upstream.
func (r *requestReader) announce() {
	for _, s := range r.begun {
		s.begin()
	}
	clear(r.begun)
	r.begun = r.begun[:0]
}

// report tells the sink of what else process saw.
func (r *requestReader) report() {
	for _, event := range r.events {
		event()
	}
	clear(r.events)
	r.events = r.events[:0]
}

// unsent returns the bytes that process held back, for a client that sends no more.
func (r *requestReader) unsent() []byte {
	r.out = r.out[:0]
	r.flushBlock()
	b, _, _ := r.scan.rest()
	return append(r.out, b[r.early:]...)
}

// held tells frames that leave when their field block is complete.
func (r *requestReader) held(t http2.FrameType) bool {
	return r.rewrite != nil && (t == http2.FrameHeaders || t == http2.FrameContinuation)
}

func (r *requestReader) parse() error {
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
func (r *requestReader) flushBlock() {
	if r.rewrite == nil || !r.block.open {
		return
	}
	r.block.open = false
	if !r.block.over {
		r.out = r.block.appendPiece(r.out, r.block.fragment, false)
	}
}

func (r *requestReader) part(p part) error {
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
			return errShort
		}
		if s := r.streams.get(p.StreamID); s != nil {
			at, end := r.at, httpstream.EndInfo{How: httpstream.Cancelled, Code: binary.BigEndian.Uint32(p.payload), Detail: "the client reset the stream"}
			r.note(func() {
				r.streams.done(s, true, true)
				s.end(at, end)
			})
		}
	}
	return nil
}

func (r *requestReader) chunk(p part) error {
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

// note keeps an event until report is called.
func (r *requestReader) note(event func()) { r.events = append(r.events, event) }

func (r *requestReader) requestEnd(s *stream, trailer httpstream.Fields) {
	at := r.at
	r.note(func() { s.x.RequestEnd(at, trailer) })
	r.streams.done(s, true, false)
}

// fields takes a complete field block of the client: a request or its trailers.
func (r *requestReader) fields() error {
	fields, err := r.dec.decode(r.block.fragment)
	if errors.Is(err, errTooLarge) && r.rewrite == nil || err == nil && r.dec.size > maxBlock {
		r.streams.unread.Skip(errRequestTooLarge, len(r.block.fragment))
		r.forward(fields)
		r.unreadable(errTooLarge)
		return nil
	}
	if err != nil {
		if r.passed = r.rewrite != nil; r.passed {
			over := r.block.Flags.Has(http2.FlagHeadersEndStream)
			r.out = appendBlock(r.out, r.block.fragment, r.block.priority, r.block.StreamID, over, minFrame)
		}
		return err
	}
	id, over := r.block.StreamID, r.block.Flags.Has(http2.FlagHeadersEndStream)
	if !r.streams.opened(id) {
		r.forward(fields)
		if s := r.streams.asked(id); s != nil {
			trailer, err := trailerOf(fields, over)
			if err != nil {
				r.malformed(s, err)
				return nil
			}
			r.requestEnd(s, trailer)
		}
		return nil
	}
	head, err := requestHead(fields)
	if err != nil {
		// Upstream refuses this one stream; there is no request to tell of.
		r.streams.unread.Skip(fmt.Errorf("request: %w", err), len(r.block.fragment))
		r.forward(fields)
		return nil
	}
	sent := fields
	if r.rewrite != nil {
		changed := *head
		changed.Header = append(httpstream.Fields(nil), head.Header...)
		r.rewrite(&changed)
		sent = requestFields(fields, head, &changed)
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

func (r *requestReader) malformed(s *stream, err error) {
	at := r.at
	r.note(func() {
		r.streams.done(s, true, true)
		s.end(at, httpstream.EndInfo{How: httpstream.Malformed, Detail: err.Error()})
	})
}

var errRequestTooLarge = fmt.Errorf("request: %w", errTooLarge)

// unreadable takes note of a field block that is not understood: of a request that
// can't be told of, or of trailers.
func (r *requestReader) unreadable(why error) {
	if r.streams.opened(r.block.StreamID) {
		return
	}
	if s := r.streams.asked(r.block.StreamID); s != nil {
		r.malformed(s, why)
	}
}

// oversize passes on the next piece of a field block that is too large to be held.
// It is decoded all the same, or later blocks could not be.
func (r *requestReader) oversize(done bool) error {
	piece := r.block.fragment
	r.streams.unread.Skip(errRequestTooLarge, len(piece))
	var take func(hpack.HeaderField)
	if r.rewrite != nil {
		if !r.block.begun {
			r.rewritten = 0
		}
		r.encoded = r.encoded[:0]
		take = func(f hpack.HeaderField) {
			if r.rewritten += int(f.Size()); r.rewritten <= maxPassed {
				_ = r.enc.WriteField(f) // a buffer takes everything
			}
		}
	}
	err := r.dec.pipe(piece, done, take)
	if r.rewrite != nil {
		r.out = r.block.appendPiece(r.out, r.encoded, done)
		if r.passed = err != nil || r.rewritten > maxPassed; r.passed && err == nil {
			err = errTooLarge
		}
	}
	if err == nil && done {
		r.unreadable(errTooLarge)
	}
	return err
}

// forward encodes the fields of the current block anew, if blocks are rewritten.
func (r *requestReader) forward(fields []hpack.HeaderField) {
	if r.rewrite == nil {
		return
	}
	r.encoded = r.encoded[:0]
	for _, f := range fields {
		_ = r.enc.WriteField(f) // a buffer takes everything
	}
	over := r.block.Flags.Has(http2.FlagHeadersEndStream)
	r.out = appendBlock(r.out, r.encoded, r.block.priority, r.block.StreamID, over, minFrame)
}
