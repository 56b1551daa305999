package websocket

import (
	"math"

	"github.com/wiretape/wiretape/httpstream"
)

// maxHeld is how many bytes of an incomplete message are held back so that it
// is reported as one chunk; a larger one is reported in pieces.
const maxHeld = 64 << 10

// A Splitter splits WebSocket frames (RFC 6455 section 5.2) into chunks of raw
// frame bytes. A message is one chunk. A message that is larger than maxHeld,
// or whose fragments arrive one by one, is reported in pieces as they come, the
// later ones with Rest set. A control frame is always a chunk of its own.
type Splitter struct {
	held  []byte // not reported yet: whole fragments, then the beginning of a frame
	whole int    // how many bytes of held are whole fragments
	rest  bool   // a piece of the message was reported
	out   []byte // what the last call reported

	passing bool  // the beginning of the frame was reported
	left    int64 // bytes of that frame that are still to come
	final   bool  // that frame ends its message
}

// next consumes n bytes of b and returns at most one chunk, which is empty if
// there is none and valid until the next call. It is called until it returns
// none and b is used up. ok is false when the bytes are no frames; the chunk
// is then all that is left.
func (w *Splitter) Next(b []byte) (n int, c httpstream.Chunk, ok bool) {
	if w.passing {
		return w.pass(b)
	}
	for {
		frame := w.held[w.whole:]
		h, header, err := ParseHeader(frame)
		if err != nil {
			if w.whole > 0 {
				return n, w.fragment(w.whole), true
			}
			w.held = append(w.held, b[n:]...)
			return len(b), httpstream.Chunk{Data: w.report(len(w.held)).Data}, false
		}
		want := int64(headerSize(frame) - len(frame))
		if header > 0 {
			control, final := h.Control(), h.Final
			want = h.Length - int64(len(frame)-header)
			switch {
			case w.whole > 0 && (control || want > maxHeld-int64(len(w.held))):
				return n, w.fragment(w.whole), true
			case want == 0 && control:
				return n, httpstream.Chunk{Data: w.report(len(w.held)).Data}, true
			case want == 0 && final:
				c = w.report(len(w.held))
				w.rest = false
				return n, c, true
			case want == 0:
				w.whole = len(w.held)
				continue
			case want > maxHeld-int64(len(w.held)):
				return w.large(b, n, want, final)
			}
		}
		if n == len(b) {
			break
		}
		m := int(min(want, int64(len(b)-n)))
		w.held = append(w.held, b[n:n+m]...)
		n += m
	}
	if w.whole > 0 {
		c = w.fragment(w.whole)
	}
	return n, c, true
}

// remainder is what was held of a message when its connection ended.
func (w *Splitter) Remainder() httpstream.Chunk { return httpstream.Chunk{Data: w.held, Rest: w.rest} }

// large reports the beginning of a frame that is too large to be held, with all that b has of it.
func (w *Splitter) large(b []byte, n int, want int64, final bool) (int, httpstream.Chunk, bool) {
	total := int64(len(w.held)) + min(want, math.MaxInt64-int64(len(w.held)))
	m := int(min(want, int64(len(b)-n)))
	w.held = append(w.held, b[n:n+m]...)
	c := w.report(len(w.held))
	if int64(m) < want {
		w.passing, w.left, w.final = true, want-int64(m), final
		if !c.Rest {
			c.Of = total
		}
	}
	w.rest = w.passing || !final
	return n + m, c, true
}

// pass reports what b has of a frame whose beginning was reported.
func (w *Splitter) pass(b []byte) (int, httpstream.Chunk, bool) {
	m := int(min(w.left, int64(len(b))))
	if w.left -= int64(m); w.left == 0 {
		w.passing, w.rest = false, !w.final
	}
	return m, httpstream.Chunk{Data: b[:m], Rest: true}, true
}

// fragment reports n bytes of a message that goes on.
func (w *Splitter) fragment(n int) httpstream.Chunk {
	c := w.report(n)
	w.rest = true
	return c
}

// report takes n bytes out of held.
func (w *Splitter) report(n int) httpstream.Chunk {
	w.out = append(w.out[:0], w.held[:n]...)
	w.held = w.held[:copy(w.held, w.held[n:])]
	w.whole = 0
	return httpstream.Chunk{Data: w.out, Rest: w.rest}
}
