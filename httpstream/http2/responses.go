package http2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"

	"github.com/wiretape/wiretape/httpstream"
)

// A responseReader notes what the server sent.
type responseReader struct {
	streams *streamTable
	scan    scanner
	block   fieldBlock
	data    dataFrame
	dec     *decoder
	at      time.Time
	err     error // why the parser gave up
}

func newResponseReader(streams *streamTable) *responseReader {
	return &responseReader{streams: streams, dec: newDecoder(maxBlock)}
}

// process tells the sink of the bytes that the scanner was filled with.
func (r *responseReader) process(at time.Time) {
	r.at = at
	for r.err == nil {
		p, ok, err := r.scan.next()
		if err == nil && !ok {
			return
		}
		if err == nil {
			err = r.part(p)
		}
		if r.err = err; err != nil {
			r.streams.close(at, httpstream.EndInfo{How: httpstream.Malformed, Detail: "response: " + err.Error()})
			r.streams.unread.Begin(fmt.Errorf("response: %w", err))
		}
	}
	r.streams.unread.Add(len(r.scan.buf) - r.scan.off)
	r.scan.off = len(r.scan.buf)
}

func (r *responseReader) part(p part) error {
	if mine, done, err := r.block.add(p); mine || err != nil {
		switch {
		case err == nil && r.block.over:
			err = r.dec.pipe(r.block.fragment, done, nil)
			r.streams.unread.Skip(errResponseTooLarge, len(r.block.fragment))
			if err == nil && done {
				r.unreadable()
			}
		case err == nil && done:
			return r.fields()
		}
		return err
	}
	switch p.Type {
	case http2.FrameData:
		return r.chunk(p)
	case http2.FrameRSTStream:
		if len(p.payload) != 4 {
			return errShort
		}
		if s := r.streams.get(p.StreamID); s != nil {
			r.streams.done(s, true, true)
			s.end(r.at, httpstream.EndInfo{How: httpstream.Reset, Code: binary.BigEndian.Uint32(p.payload), Detail: "the server reset the stream"})
		}
	case http2.FrameGoAway:
		if p.first {
			return r.goAway(p.payload)
		}
	}
	return nil
}

// goAway ends the exchanges that the server says it never looked at (RFC 9113
// section 6.8): to their clients that is the same as a refused stream.
func (r *responseReader) goAway(payload []byte) error {
	if len(payload) < 8 {
		return errShort
	}
	last := binary.BigEndian.Uint32(payload) & (1<<31 - 1)
	code := http2.ErrCode(binary.BigEndian.Uint32(payload[4:]))
	r.streams.refuse(last, r.at, httpstream.EndInfo{
		How: httpstream.Reset, Code: uint32(http2.ErrCodeRefusedStream), Detail: fmt.Sprintf("GOAWAY %v", code),
	})
	return nil
}

func (r *responseReader) chunk(p part) error {
	c, ok, err := r.data.chunk(p)
	if err != nil {
		return err
	}
	s := r.streams.get(p.StreamID)
	if s == nil {
		return nil
	}
	if !s.final {
		r.malformed(s, errors.New("DATA before the response's HEADERS"))
		return nil
	}
	if ok {
		s.respond(func(x httpstream.Exchange) { x.ResponseChunk(r.at, c) })
	}
	if p.last && p.Flags.Has(http2.FlagDataEndStream) {
		r.responseEnd(s, nil)
	}
	return nil
}

func (r *responseReader) responseEnd(s *stream, trailer httpstream.Fields) {
	r.streams.done(s, false, true)
	s.end(r.at, httpstream.EndInfo{How: httpstream.EOF, Trailer: trailer})
}

var errResponseTooLarge = fmt.Errorf("response: %w", errTooLarge)

// unreadable ends the exchange whose field block is too large.
func (r *responseReader) unreadable() {
	if s := r.streams.get(r.block.StreamID); s != nil && r.block.Type != http2.FramePushPromise {
		r.malformed(s, errTooLarge)
	}
}

func (r *responseReader) malformed(s *stream, err error) {
	r.streams.done(s, false, true)
	s.end(r.at, httpstream.EndInfo{How: httpstream.Malformed, Detail: err.Error()})
}

// fields takes a complete field block of the server: an interim or final
// response head, trailers, or the request of a pushed response.
func (r *responseReader) fields() error {
	fields, err := r.dec.decode(r.block.fragment)
	if errors.Is(err, errTooLarge) {
		r.streams.unread.Skip(errResponseTooLarge, len(r.block.fragment))
		r.unreadable()
		return nil
	}
	if err != nil {
		return err
	}
	if r.block.Type == http2.FramePushPromise {
		if head, err := requestHead(fields); err == nil {
			if s := r.streams.begin(r.block.promised, r.at, head); s != nil {
				r.streams.done(s, true, false)
				s.begin()
				s.x.RequestEnd(r.at, nil)
			}
		}
		return nil
	}
	s := r.streams.get(r.block.StreamID)
	if s == nil {
		return nil
	}
	over := r.block.Flags.Has(http2.FlagHeadersEndStream)
	if s.final {
		trailer, err := trailerOf(fields, over)
		if err != nil {
			r.malformed(s, err)
			return nil
		}
		r.responseEnd(s, trailer)
		return nil
	}
	head, err := responseHead(fields)
	switch {
	case err != nil:
		r.malformed(s, err)
	case head.Status < 200 && over:
		r.malformed(s, errors.New("interim response that ends the stream"))
	case head.Status < 200:
		s.respond(func(x httpstream.Exchange) { x.Interim(r.at, head) })
	default:
		s.final = true
		s.respond(func(x httpstream.Exchange) { x.Response(r.at, head) })
		if over {
			r.responseEnd(s, nil)
		}
	}
	return nil
}
