package httpstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/net/http2"
)

const (
	h2HeaderLen = 9         // of a frame header, RFC 9113 section 4.1
	h2MinFrame  = 16 << 10  // the least SETTINGS_MAX_FRAME_SIZE, so every peer takes it
	h2MaxPiece  = 64 << 10  // of a DATA frame that is held before it is reported
	h2MaxBlock  = 1 << 20   // of one field block and of the fields in it, to be understood
	h2MaxPassed = 16 << 20  // of the fields in one that is encoded anew and passed on
	h2MaxString = 4 << 20   // of one name or value in it
	h2MaxFrames = 1024      // that one field block may be spread over
	h2ReadSize  = 32 << 10  // of one read from a connection
	h2KeepSize  = 256 << 10 // of a buffer that is kept for the next read
)

// An h2Part is a frame, or a piece of one that is larger than need be held.
type h2Part struct {
	http2.FrameHeader
	payload     []byte // without the frame header; valid until the scanner's next space call
	wire        []byte // the same with the frame header, if first
	first, last bool
}

// An h2Scanner cuts the bytes of one direction into frames. It holds at most one
// field block fragment or one piece of DATA, however large the frames are.
type h2Scanner struct {
	buf  []byte
	off  int // of the first byte that no part has returned
	cur  http2.FrameHeader
	left int // payload bytes of cur that no part has returned; only between pieces
	open bool
}

// space returns where the next bytes may be read to. It invalidates earlier parts.
func (s *h2Scanner) space() []byte {
	switch {
	case s.off == len(s.buf) && cap(s.buf) > h2KeepSize:
		s.buf = nil
	case s.off > 0:
		s.buf = s.buf[:copy(s.buf, s.buf[s.off:])]
	}
	s.off = 0
	if cap(s.buf)-len(s.buf) < h2ReadSize/2 {
		s.buf = slices.Grow(s.buf, h2ReadSize)
	}
	return s.buf[len(s.buf):cap(s.buf)]
}

// filled says that n bytes were read to what space returned.
func (s *h2Scanner) filled(n int) { s.buf = s.buf[:len(s.buf)+n] }

// rest returns the bytes that no part has returned yet and, once its header is
// there, the type of the frame that they belong to.
func (s *h2Scanner) rest() (b []byte, typ http2.FrameType, known bool) {
	b = s.buf[s.off:]
	switch {
	case s.open:
		return b, s.cur.Type, true
	case len(b) >= h2HeaderLen:
		return b, http2.FrameType(b[3]), true
	}
	return b, 0, false
}

// next returns the next part, if it is complete.
func (s *h2Scanner) next() (p h2Part, ok bool, err error) {
	b := s.buf[s.off:]
	start := 0
	h, left := s.cur, s.left
	if !s.open {
		if len(b) < h2HeaderLen {
			return p, false, nil
		}
		start = h2HeaderLen
		h = h2ParseHeader(b)
		left = int(h.Length)
	}
	have := len(b) - start
	n, err := h2Hold(h, left, have, !s.open)
	if err != nil {
		return p, false, err
	}
	if have < n || have == 0 && left > 0 {
		return p, false, nil
	}
	p = h2Part{
		FrameHeader: h, payload: b[start : start+n], wire: b[:start+n],
		first: !s.open, last: n == left,
	}
	s.off += start + n
	s.cur, s.left, s.open = h, left-n, n < left
	return p, true, nil
}

// h2Hold returns how many payload bytes the next part of a frame needs, of which
// left have not been seen and have are at hand.
func h2Hold(h http2.FrameHeader, left, have int, first bool) (int, error) {
	switch h.Type {
	case http2.FrameHeaders, http2.FrameContinuation, http2.FramePushPromise, http2.FrameSettings:
		if left > h2MaxBlock {
			return 0, fmt.Errorf("%v frame of %d bytes", h.Type, left)
		}
		return left, nil
	case http2.FrameData:
		if first && h.Flags.Has(http2.FlagDataPadded) {
			return min(left, h2MaxPiece+1), nil
		}
		return min(left, h2MaxPiece), nil
	case http2.FrameRSTStream, http2.FrameGoAway:
		return min(left, h2MaxPiece), nil
	}
	return min(left, have), nil
}

func h2ParseHeader(b []byte) http2.FrameHeader {
	return http2.FrameHeader{
		Length:   uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
		Type:     http2.FrameType(b[3]),
		Flags:    http2.Flags(b[4]),
		StreamID: binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1),
	}
}

// h2AppendHeader appends a frame header for a payload of n bytes.
func h2AppendHeader(dst []byte, n int, t http2.FrameType, f http2.Flags, stream uint32) []byte {
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), byte(t), byte(f))
	return binary.BigEndian.AppendUint32(dst, stream)
}

// h2AppendBlock appends HEADERS with a field block, and CONTINUATION for what is
// over frameMax. The priority fields are empty or five bytes (RFC 9113 section 6.2).
func h2AppendBlock(dst, block, priority []byte, stream uint32, endStream bool, frameMax int) []byte {
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
		dst = h2AppendHeader(dst, len(priority)+n, typ, flags, stream)
		dst = append(dst, priority...)
		dst = append(dst, block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return dst
		}
		typ, flags, priority = http2.FrameContinuation, 0, nil
	}
}

// h2AppendCode appends RST_STREAM or WINDOW_UPDATE, which both carry one number.
func h2AppendCode(dst []byte, t http2.FrameType, stream, code uint32) []byte {
	return binary.BigEndian.AppendUint32(h2AppendHeader(dst, 4, t, 0, stream), code)
}

var (
	errH2Padding  = errors.New("padding longer than the frame")
	errH2Short    = errors.New("frame too short")
	errH2Order    = errors.New("field block interrupted or not begun")
	errH2TooLarge = errors.New("a field block over 1 MiB")
)

// h2Unpad takes the padding off a whole payload (RFC 9113 section 6.1).
func h2Unpad(h http2.FrameHeader, p []byte) ([]byte, error) {
	if !h.Flags.Has(http2.FlagHeadersPadded) {
		return p, nil
	}
	if len(p) == 0 {
		return nil, errH2Short
	}
	pad := int(p[0])
	if pad > len(p)-1 {
		return nil, errH2Padding
	}
	return p[1 : len(p)-pad], nil
}

// An h2Data follows one DATA frame through its parts.
type h2Data struct {
	total int // data bytes in the frame, without padding
	seen  int
}

// chunk returns the data in the next part of a DATA frame; none in padding.
func (d *h2Data) chunk(p h2Part) (c Chunk, ok bool, err error) {
	data := p.payload
	if p.first {
		d.total, d.seen = int(p.Length), 0
		if p.Flags.Has(http2.FlagDataPadded) {
			if len(data) == 0 {
				return c, false, errH2Short
			}
			d.total -= 1 + int(data[0])
			data = data[1:]
		}
		if d.total < 0 {
			return c, false, errH2Padding
		}
	}
	data = data[:min(len(data), d.total-d.seen)]
	c = Chunk{Data: data, Rest: !p.first}
	if p.first && len(data) < d.total {
		c.Of = int64(d.total)
	}
	d.seen += len(data)
	return c, len(data) > 0, nil
}

// An h2Block collects a field block: HEADERS or PUSH_PROMISE, and the
// CONTINUATION frames that follow (RFC 9113 section 4.3).
type h2Block struct {
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
func (b *h2Block) add(p h2Part) (mine, done bool, err error) {
	switch p.Type {
	case http2.FrameHeaders, http2.FramePushPromise:
		if b.open {
			return true, false, errH2Order
		}
		if err := b.begin(p); err != nil {
			return true, false, err
		}
	case http2.FrameContinuation:
		if !b.open || p.StreamID != b.StreamID {
			return true, false, errH2Order
		}
		switch {
		case b.over:
			b.fragment = b.fragment[:0]
		case len(b.fragment)+len(p.payload) > h2MaxBlock || b.frames >= h2MaxFrames:
			b.over = true
		}
		b.fragment = append(b.fragment, p.payload...)
		b.frames++
	default:
		if b.open {
			return false, false, errH2Order
		}
		return false, false, nil
	}
	b.open = !p.Flags.Has(http2.FlagHeadersEndHeaders)
	return true, !b.open, nil
}

func (b *h2Block) begin(p h2Part) error {
	data, err := h2Unpad(p.FrameHeader, p.payload)
	if err != nil {
		return err
	}
	b.FrameHeader, b.frames, b.over, b.begun = p.FrameHeader, 1, false, false
	b.priority, b.promised = b.priority[:0], 0
	switch {
	case p.Type == http2.FramePushPromise:
		if len(data) < 4 {
			return errH2Short
		}
		b.promised = binary.BigEndian.Uint32(data) & (1<<31 - 1)
		data = data[4:]
	case p.Flags.Has(http2.FlagHeadersPriority):
		if len(data) < 5 {
			return errH2Short
		}
		b.priority = append(b.priority, data[:5]...)
		data = data[5:]
	}
	b.fragment = append(b.fragment[:0], data...)
	return nil
}

// appendPiece appends HEADERS, the first time, or CONTINUATION, for a piece of the
// block that is encoded anew as it comes.
func (b *h2Block) appendPiece(dst, piece []byte, last bool) []byte {
	for len(piece) > 0 || last {
		typ, flags, priority := http2.FrameContinuation, http2.Flags(0), []byte(nil)
		if !b.begun {
			typ, flags, priority = http2.FrameHeaders, b.Flags&(http2.FlagHeadersEndStream|http2.FlagHeadersPriority), b.priority
			b.begun = true
		}
		n := min(len(piece), h2MinFrame-len(priority))
		done := last && n == len(piece)
		if done {
			flags |= http2.FlagHeadersEndHeaders
		}
		dst = append(h2AppendHeader(dst, len(priority)+n, typ, flags, b.StreamID), priority...)
		dst = append(dst, piece[:n]...)
		if piece = piece[n:]; done {
			break
		}
	}
	return dst
}
