package http2

import (
	"errors"
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wiretape/wiretape/httpstream"
)

// maxGather is how much an answer gathers before it is flushed unasked, and the
// largest DATA frame that is put together again from pieces.
const maxGather = 1 << 20

// A responseWriter is the ResponseWriter of one stream.
type responseWriter struct {
	c      *serverConn
	s      *serverStream
	items  []item
	data   []byte // of the items
	proto  string // of the head that was given
	headed bool
	ended  bool
}

// An item is a field section, a chunk, or the reset at the end.
type item struct {
	fields []hpack.HeaderField
	off, n int // of a chunk in the writer's data
	want   int // what n will be once all pieces of the frame are there
	end    bool
	reset  bool
	code   uint32
}

var errEnded = errors.New("httpstream: the answer has ended already")

func (w *responseWriter) Interim(head *httpstream.ResponseHead) error {
	if head.Status == 101 {
		return errors.New("httpstream: HTTP/2 has no status 101")
	}
	return w.add(item{fields: responseFields(head)})
}

func (w *responseWriter) Head(head *httpstream.ResponseHead) error {
	w.proto, w.headed = head.Proto, true
	return w.add(item{fields: responseFields(head)})
}

func (w *responseWriter) add(it item) error {
	if w.ended {
		return errEnded
	}
	w.endFrame()
	w.items = append(w.items, it)
	return w.err()
}

// endFrame lets a frame go as it is whose last pieces don't come.
func (w *responseWriter) endFrame() {
	if len(w.items) > 0 {
		w.items[len(w.items)-1].want = 0
	}
}

func (w *responseWriter) err() error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.s.err
}

// Chunk gathers one DATA frame. The pieces of a larger one become one frame again
// if the client takes frames of that size, else each is a frame of its own.
func (w *responseWriter) Chunk(c httpstream.Chunk) error {
	switch {
	case w.ended:
		return errEnded
	case !w.headed:
		return errors.New("httpstream: chunk before the head")
	case len(c.Data) == 0:
		return w.err()
	}
	off := len(w.data)
	w.data = append(w.data, c.Data...)
	if last := len(w.items) - 1; c.Rest && last >= 0 && w.items[last].want > 0 {
		w.items[last].n += len(c.Data)
		if w.items[last].n >= w.items[last].want {
			w.endFrame()
		}
	} else {
		w.endFrame()
		w.items = append(w.items, item{off: off, n: len(c.Data), want: w.want(c)})
	}
	if len(w.data) >= maxGather {
		return w.Flush()
	}
	return w.err()
}

// want returns how long the frame is that c begins, if it can be sent whole.
func (w *responseWriter) want(c httpstream.Chunk) int {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if c.Of <= int64(len(c.Data)) || c.Of > int64(min(w.c.maxFrame, maxGather)) {
		return 0
	}
	return int(c.Of)
}

// End ends the answer and flushes.
func (w *responseWriter) End(end httpstream.EndInfo) error {
	if w.ended {
		return errEnded
	}
	w.endFrame()
	w.ended = true
	if end.How != httpstream.EOF || !w.headed {
		code := end.Code
		if code == 0 {
			code = uint32(http2.ErrCodeInternal)
		}
		w.items = append(w.items, item{reset: true, code: code})
		return w.Flush()
	}
	if trailer := fieldSection(nil, end.Trailer, w.proto); len(trailer) > 0 {
		w.items = append(w.items, item{fields: trailer})
	} else if len(w.items) == 0 {
		w.items = append(w.items, item{})
	}
	w.items[len(w.items)-1].end = true
	return w.Flush()
}

// Flush writes what was gathered, in one write as far as the windows allow.
func (w *responseWriter) Flush() error {
	for {
		blocked, err := w.write()
		if err != nil {
			w.items, w.data = nil, nil
			return err
		}
		if !blocked {
			return nil
		}
		w.c.mu.Lock()
		for w.s.err == nil && (w.s.sendWindow <= 0 || w.c.sendWindow <= 0) {
			w.s.sendable.Wait()
		}
		w.c.mu.Unlock()
	}
}

// write writes what fits in the windows now.
func (w *responseWriter) write() (blocked bool, err error) {
	c := w.c
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.mu.Lock()
	if err := w.s.err; err != nil {
		c.mu.Unlock()
		return false, err
	}
	c.out = c.takeReplies(c.out[:0])
	done := 0
	for done < len(w.items) && !blocked && w.items[done].want == 0 {
		if blocked = !w.frame(&w.items[done]); !blocked {
			done++
		}
	}
	c.mu.Unlock()

	w.items = slices.Delete(w.items, 0, done)
	if len(w.items) == 0 {
		w.data = w.data[:0]
	}
	if len(c.out) > 0 {
		if _, err = c.conn.Write(c.out); err != nil {
			c.fail(err)
		}
	}
	if cap(c.out) > keepSize {
		c.out = nil
	}
	return blocked, err
}

// frame appends the frames of an item, and reports whether the windows allowed
// all of it. It needs wmu and mu.
func (w *responseWriter) frame(it *item) bool {
	c, id := w.c, w.s.id
	switch {
	case it.reset:
		c.out = appendCode(c.out, http2.FrameRSTStream, id, it.code)
		w.s.over = true
		return true
	case it.fields != nil:
		c.block.Reset()
		for _, f := range it.fields {
			_ = c.enc.WriteField(f) // a bytes.Buffer takes everything
		}
		c.out = appendBlock(c.out, c.block.Bytes(), nil, id, it.end, c.maxFrame)
		w.s.answered = it.end
		return true
	}
	for {
		n := int(max(0, min(int64(it.n), int64(c.maxFrame), c.sendWindow, w.s.sendWindow)))
		if n == 0 && it.n > 0 {
			return false
		}
		var flags http2.Flags
		if it.end && n == it.n {
			flags = http2.FlagDataEndStream
		}
		c.out = appendHeader(c.out, n, http2.FrameData, flags, id)
		c.out = append(c.out, w.data[it.off:it.off+n]...)
		it.off, it.n = it.off+n, it.n-n
		c.sendWindow -= int64(n)
		w.s.sendWindow -= int64(n)
		if it.n == 0 {
			w.s.answered = it.end
			return true
		}
	}
}
