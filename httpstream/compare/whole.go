package compare

import (
	"bytes"
	"fmt"
	"time"

	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/internal/legible"
)

// A bytesBody compares bodies byte by byte, in whatever pieces they come.
type bytesBody struct {
	c     *Comparer
	rec   *recording
	ahead []byte // recorded bytes that have no counterpart yet
	note  string // why bytes are compared, for messages

	at     int64 // bytes compared
	differ int64
	last   int64 // offset of the last byte that differs
	extra  int64 // present bytes beyond the recorded ones
}

func newBytesBody(c *Comparer, rec *recording, ahead []byte, note string) *bytesBody {
	b := &bytesBody{c: c, rec: rec, ahead: ahead, note: note}
	rec.sink = func(_ time.Duration, p []byte) { b.ahead = append(b.ahead, p...) }
	return b
}

// more makes sure of recorded bytes; false at the recording's end.
func (b *bytesBody) more() bool {
	for len(b.ahead) == 0 {
		if !b.rec.pull() && len(b.ahead) == 0 {
			return false
		}
	}
	return true
}

func (b *bytesBody) chunk(_ time.Duration, p []byte) {
	for len(p) > 0 {
		if !b.more() {
			b.extra += int64(len(p))
			return
		}
		n := min(len(p), len(b.ahead))
		b.compare(b.ahead, p, n)
		b.at += int64(n)
		p, b.ahead = p[n:], b.ahead[n:]
	}
}

// compare compares n bytes; what follows them is only shown.
func (b *bytesBody) compare(rec, now []byte, n int) {
	if bytes.Equal(rec[:n], now[:n]) {
		return
	}
	for i := range n {
		if rec[i] == now[i] {
			continue
		}
		if b.differ == 0 {
			b.first(rec[i:], now[i:], b.at+int64(i))
		}
		b.differ++
		b.last = b.at + int64(i)
	}
}

const shownBytes = 40 // of each side in the message

// first reports the first byte that differs, as soon as it comes.
func (b *bytesBody) first(rec, now []byte, offset int64) {
	b.c.log.add(func() Difference {
		return Difference{
			Kind: Bytes, Where: InBody, Offset: offset,
			Recorded: legible.Bytes(rec, int64(len(rec))), Now: legible.Bytes(now, int64(len(now))),
		}.titled(fmt.Sprintf("body: byte %d", offset), fmt.Sprintf(": recorded 0x%02x %q, now 0x%02x %q%s",
			rec[0], rec[:min(shownBytes, len(rec))], now[0], now[:min(shownBytes, len(now))], b.note))
	})
}

func (b *bytesBody) enough() bool { return !b.more() }

func (b *bytesBody) finish(time.Duration) {
	var missing int64
	for b.more() {
		missing += int64(len(b.ahead))
		b.ahead = b.ahead[:0]
	}
	if b.differ > 1 {
		b.c.log.add(func() Difference {
			return Difference{
				Kind: Bytes, Where: InBody, Offset: b.last,
				Message: fmt.Sprintf("body: %d bytes differ, the last at offset %d%s", b.differ, b.last, b.note),
			}
		})
	}
	rec, now := b.at+missing, b.at+b.extra
	if missing == 0 && (b.extra == 0 || b.rec.interrupted()) {
		return
	}
	b.c.log.add(func() Difference {
		return Difference{
			Kind: Bytes, Where: AtLength, Offset: b.at, Recorded: fmt.Sprint(rec), Now: fmt.Sprint(now),
			Message: fmt.Sprintf("body: %d bytes recorded, %d now%s", rec, now, b.note),
		}
	})
}

// A jsonBody compares two JSON documents once both are complete. What is longer
// than MaxJSON is compared by bytes instead.
type jsonBody struct {
	c     *Comparer
	rec   *recording
	old   []byte
	new   []byte
	bytes *bytesBody
}

func newJSONBody(c *Comparer, rec *recording) *jsonBody {
	b := &jsonBody{c: c, rec: rec}
	rec.sink = func(_ time.Duration, p []byte) { b.old = append(b.old, p...) }
	for len(b.old) <= c.opt.MaxJSON && rec.pull() {
	}
	if len(b.old) > c.opt.MaxJSON {
		b.byBytes(fmt.Sprintf(" (more than %d bytes, so noise rules don't apply)", c.opt.MaxJSON))
	}
	return b
}

func (b *jsonBody) byBytes(note string) {
	b.bytes = newBytesBody(b.c, b.rec, b.old, note)
	b.bytes.chunk(0, b.new)
	b.old, b.new = nil, nil
}

func (b *jsonBody) chunk(at time.Duration, p []byte) {
	if b.bytes == nil && len(b.new)+len(p) > b.c.opt.MaxJSON {
		b.byBytes(fmt.Sprintf(" (more than %d bytes, so noise rules don't apply)", b.c.opt.MaxJSON))
	}
	if b.bytes != nil {
		b.bytes.chunk(at, p)
		return
	}
	b.new = append(b.new, p...)
}

func (b *jsonBody) enough() bool {
	if b.bytes != nil {
		return b.bytes.enough()
	}
	return b.rec.done && len(b.new) >= len(b.old)
}

func (b *jsonBody) finish(at time.Duration) {
	if b.bytes == nil && b.rec.interrupted() {
		b.byBytes(" (the recording stops inside the document, so noise rules don't apply; record the case again)")
	}
	if b.bytes != nil {
		b.bytes.finish(at)
		return
	}
	if bytes.Equal(b.old, b.new) {
		return
	}
	old, now := body.BlobOf(b.old), body.BlobOf(b.new)
	r, n := newContent(body.JSON, &old, &b.c.opt.Rules), newContent(body.JSON, &now, &b.c.opt.Rules)
	before := b.c.log.count()
	b.c.diffContents(spot{}, body.JSON, r, n, &old, &now)
	if b.c.log.count() > before && r.doc != nil && n.doc != nil {
		b.c.answer = answersOfDocuments(b.c.formats(), r.doc.Value, n.doc.Value)
	}
}
