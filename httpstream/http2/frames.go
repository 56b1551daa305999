package http2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/net/http2"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
)

const (
	headerLen = 9         // of a frame header, RFC 9113 section 4.1
	minFrame  = 16 << 10  // the least SETTINGS_MAX_FRAME_SIZE, so every peer takes it
	maxPiece  = 64 << 10  // of a DATA frame that is held before it is reported
	maxBlock  = 1 << 20   // of one field block and of the fields in it, to be understood
	maxPassed = 16 << 20  // of the fields in one that is encoded anew and passed on
	maxString = 4 << 20   // of one name or value in it
	maxFrames = 1024      // that one field block may be spread over
	readSize  = 32 << 10  // of one read from a connection
	keepSize  = 256 << 10 // of a buffer that is kept for the next read
)

// A part is a frame, or a piece of one that is larger than need be held.
type part struct {
	http2.FrameHeader
	payload     []byte // without the frame header; valid until the scanner's next space call
	wire        []byte // the same with the frame header, if first
	first, last bool
}

// A scanner cuts the bytes of one direction into frames. It holds at most one
// field block fragment or one piece of DATA, however large the frames are.
type scanner struct {
	pooled transport.Buffer // what buf begins with
	buf    []byte
	off    int // of the first byte that no part has returned
	cur    http2.FrameHeader
	left   int // payload bytes of cur that no part has returned; only between pieces
	open   bool
}

// space returns where the next bytes may be read to. It invalidates earlier parts.
func (s *scanner) space() []byte {
	switch {
	case s.off == len(s.buf) && cap(s.buf) > keepSize:
		s.buf = nil
	case s.off > 0:
		s.buf = s.buf[:copy(s.buf, s.buf[s.off:])]
	}
	s.off = 0
	if s.buf == nil {
		s.buf = s.pooled.Space()[:0]
	}
	if cap(s.buf)-len(s.buf) < readSize/2 {
		s.buf = slices.Grow(s.buf, readSize)
		s.pooled.Idle() // its bytes are copied
	}
	return s.buf[len(s.buf):cap(s.buf)]
}

// Space implements transport.Space.
func (s *scanner) Space() []byte { return s.space() }

// Idle implements transport.Space: a buffer without bytes in it is not kept.
func (s *scanner) Idle() {
	if s.off == len(s.buf) {
		s.buf, s.off = nil, 0
		s.pooled.Idle()
	}
}

// filled says that n bytes were read to what space returned.
func (s *scanner) filled(n int) { s.buf = s.buf[:len(s.buf)+n] }

// rest returns the bytes that no part has returned yet and, once its header is
// there, the type of the frame that they belong to.
func (s *scanner) rest() (b []byte, typ http2.FrameType, known bool) {
	b = s.buf[s.off:]
	switch {
	case s.open:
		return b, s.cur.Type, true
	case len(b) >= headerLen:
		return b, http2.FrameType(b[3]), true
	}
	return b, 0, false
}

// next returns the next part, if it is complete.
func (s *scanner) next() (p part, ok bool, err error) {
	b := s.buf[s.off:]
	start := 0
	h, left := s.cur, s.left
	if !s.open {
		if len(b) < headerLen {
			return p, false, nil
		}
		start = headerLen
		h = parseHeader(b)
		left = int(h.Length)
	}
	have := len(b) - start
	n, err := partSize(h, left, have, !s.open)
	if err != nil {
		return p, false, err
	}
	if have < n || have == 0 && left > 0 {
		return p, false, nil
	}
	p = part{
		FrameHeader: h, payload: b[start : start+n], wire: b[:start+n],
		first: !s.open, last: n == left,
	}
	s.off += start + n
	s.cur, s.left, s.open = h, left-n, n < left
	return p, true, nil
}

// partSize returns how many payload bytes the next part of a frame needs, of which
// left have not been seen and have are at hand.
func partSize(h http2.FrameHeader, left, have int, first bool) (int, error) {
	switch h.Type {
	case http2.FrameHeaders, http2.FrameContinuation, http2.FramePushPromise, http2.FrameSettings:
		if left > maxBlock {
			return 0, fmt.Errorf("%v frame of %d bytes", h.Type, left)
		}
		return left, nil
	case http2.FrameData:
		if first && h.Flags.Has(http2.FlagDataPadded) {
			return min(left, maxPiece+1), nil
		}
		return min(left, maxPiece), nil
	case http2.FrameRSTStream, http2.FrameGoAway:
		return min(left, maxPiece), nil
	}
	return min(left, have), nil
}

func parseHeader(b []byte) http2.FrameHeader {
	return http2.FrameHeader{
		Length:   uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
		Type:     http2.FrameType(b[3]),
		Flags:    http2.Flags(b[4]),
		StreamID: binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1),
	}
}

// appendHeader appends a frame header for a payload of n bytes.
func appendHeader(dst []byte, n int, t http2.FrameType, f http2.Flags, stream uint32) []byte {
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), byte(t), byte(f))
	return binary.BigEndian.AppendUint32(dst, stream)
}

// appendBlock appends HEADERS with a field block, and CONTINUATION for what is
// over frameMax. The priority fields are empty or five bytes (RFC 9113 section 6.2).
func appendBlock(dst, block, priority []byte, stream uint32, endStream bool, frameMax int) []byte {
	typ, flags := http2.FrameHeaders, http2.Flags(0)
	if endStream {
		flags |= http2.FlagHeadersEndStream
	}
	if len(priority) > 0 {
		flags |= http2.FlagHeadersPriority
	}
	for {
		n := min(len(block), frameMax-len(priority))
		if n == len(block) {
			flags |= http2.FlagHeadersEndHeaders
		}
		dst = appendHeader(dst, len(priority)+n, typ, flags, stream)
		dst = append(dst, priority...)
		dst = append(dst, block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return dst
		}
		typ, flags, priority = http2.FrameContinuation, 0, nil
	}
}

// appendCode appends RST_STREAM or WINDOW_UPDATE, which both carry one number.
func appendCode(dst []byte, t http2.FrameType, stream, code uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(dst, 4, t, 0, stream), code)
}

var (
	errPadding  = errors.New("padding longer than the frame")
	errShort    = errors.New("frame too short")
	errOrder    = errors.New("field block interrupted or not begun")
	errTooLarge = errors.New("a field block over 1 MiB")
)

// unpad takes the padding off a whole payload (RFC 9113 section 6.1).
func unpad(h http2.FrameHeader, p []byte) ([]byte, error) {
	if !h.Flags.Has(http2.FlagHeadersPadded) {
		return p, nil
	}
	if len(p) == 0 {
		return nil, errShort
	}
	pad := int(p[0])
	if pad > len(p)-1 {
		return nil, errPadding
	}
	return p[1 : len(p)-pad], nil
}

// A dataFrame follows one DATA frame through its parts.
type dataFrame struct {
	total int // data bytes in the frame, without padding
	seen  int
}

// chunk returns the data in the next part of a DATA frame; none in padding.
func (d *dataFrame) chunk(p part) (c httpstream.Chunk, ok bool, err error) {
	data := p.payload
	if p.first {
		d.total, d.seen = int(p.Length), 0
		if p.Flags.Has(http2.FlagDataPadded) {
			if len(data) == 0 {
				return c, false, errShort
			}
			d.total -= 1 + int(data[0])
			data = data[1:]
		}
		if d.total < 0 {
			return c, false, errPadding
		}
	}
	data = data[:min(len(data), d.total-d.seen)]
	c = httpstream.Chunk{Data: data, Rest: !p.first}
	if p.first && len(data) < d.total {
		c.Of = int64(d.total)
	}
	d.seen += len(data)
	return c, len(data) > 0, nil
}

// A fieldBlock collects a field block: HEADERS or PUSH_PROMISE, and the
// CONTINUATION frames that follow (RFC 9113 section 4.3).
type fieldBlock struct {
	http2.FrameHeader // of the frame that began it
	open              bool
	priority          []byte
	promised          uint32
	fragment          []byte
	frames            int
	// over is set once the block is larger than is held: fragment then has what was
	// not there the last time.
	over  bool
	begun bool // appendPiece was called
}

// add takes the next frame of a direction. It reports whether the frame belongs
// to a field block, and whether that is complete now.
func (b *fieldBlock) add(p part) (mine, done bool, err error) {
	switch p.Type {
	case http2.FrameHeaders, http2.FramePushPromise:
		if b.open {
			return true, false, errOrder
		}
		if err := b.begin(p); err != nil {
			return true, false, err
		}
	case http2.FrameContinuation:
		if !b.open || p.StreamID != b.StreamID {
			return true, false, errOrder
		}
		switch {
		case b.over:
			b.fragment = b.fragment[:0]
		case len(b.fragment)+len(p.payload) > maxBlock || b.frames >= maxFrames:
			b.over = true
		}
		b.fragment = append(b.fragment, p.payload...)
		b.frames++
	default:
		if b.open {
			return false, false, errOrder
		}
		return false, false, nil
	}
	b.open = !p.Flags.Has(http2.FlagHeadersEndHeaders)
	return true, !b.open, nil
}

func (b *fieldBlock) begin(p part) error {
	data, err := unpad(p.FrameHeader, p.payload)
	if err != nil {
		return err
	}
	b.FrameHeader, b.frames, b.over, b.begun = p.FrameHeader, 1, false, false
	b.priority, b.promised = b.priority[:0], 0
	switch {
	case p.Type == http2.FramePushPromise:
		if len(data) < 4 {
			return errShort
		}
		b.promised = binary.BigEndian.Uint32(data) & (1<<31 - 1)
		data = data[4:]
	case p.Flags.Has(http2.FlagHeadersPriority):
		if len(data) < 5 {
			return errShort
		}
		b.priority = append(b.priority, data[:5]...)
		data = data[5:]
	}
	b.fragment = append(b.fragment[:0], data...)
	return nil
}

// appendPiece appends HEADERS, the first time, or CONTINUATION, for a piece of the
// block that is encoded anew as it comes.
func (b *fieldBlock) appendPiece(dst, piece []byte, last bool) []byte {
	for len(piece) > 0 || last {
		typ, flags, priority := http2.FrameContinuation, http2.Flags(0), []byte(nil)
		if !b.begun {
			typ, flags, priority = http2.FrameHeaders, b.Flags&(http2.FlagHeadersEndStream|http2.FlagHeadersPriority), b.priority
			b.begun = true
		}
		n := min(len(piece), minFrame-len(priority))
		done := last && n == len(piece)
		if done {
			flags |= http2.FlagHeadersEndHeaders
		}
		dst = append(appendHeader(dst, len(priority)+n, typ, flags, b.StreamID), priority...)
		dst = append(dst, piece[:n]...)
		if piece = piece[n:]; done {
			break
		}
	}
	return dst
}
