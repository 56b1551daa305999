package compare

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
)

type flusher interface {
	io.WriteCloser
	Flush() error
}

// encoded compresses each piece of a reply, flushed, as a server that streams does.
func encoded(r reply, coding string) reply {
	var buf bytes.Buffer
	var w flusher = gzip.NewWriter(&buf)
	if coding == "deflate" {
		w = zlib.NewWriter(&buf)
	}
	r.header = append(headers("Content-Encoding", coding), r.header...)
	out := r
	out.pieces = nil
	for _, p := range r.pieces {
		_, _ = io.WriteString(w, p.data)
		_ = w.Flush()
		out.pieces = append(out.pieces, timed{p.at, buf.String()})
		buf.Reset()
	}
	_ = w.Close()
	out.pieces = append(out.pieces, timed{r.duration(), buf.String()})
	return out
}

func TestEncodedBodiesAreComparedByWhatTheyHold(t *testing.T) {
	for _, coding := range []string{"gzip", "deflate"} {
		rec := encoded(events("a", "b", "c"), coding)
		whole := answer(sseType, "data: a\n\ndata: b\n\ndata: c\n\n")
		wantPass(t, verdict(rec, encoded(whole, coding), Options{}))
		wantFail(t, verdict(rec, encoded(events("a", "c"), coding), Options{}), "[missing] event 2 is missing: data: b")
		wantFail(t, verdict(rec, events("a", "b", "c"), Options{}), "[header] header Content-Encoding is missing: "+coding)

		n := 0
		c := New(rec.recorded(), Options{OnDifference: func(Difference) { n++ }})
		now := encoded(events("a", "x", "y", "z"), coding)
		c.Head(0, &httpstream.ResponseHead{Status: 200, Header: now.header})
		for _, p := range now.pieces[:1] {
			c.Chunk(p.at, []byte(p.data))
		}
		if c.recTiming.Count == 0 || c.nowTiming.Count != 1 {
			t.Error("an event that was flushed waits for the next one")
		}
		if v := c.Failed(0, "cut"); v.Pass {
			t.Error("passed")
		}
	}
}

func TestBrokenEncodings(t *testing.T) {
	rec := encoded(events("a", "b"), "gzip")
	cut := rec
	cut.pieces = rec.pieces[:2]
	if v := verdict(rec, cut, Options{}); v.Pass || !strings.Contains(messages(v), "[content] body: it can't be decoded: unexpected EOF") {
		t.Error(messages(v))
	}
	if v := verdict(cut, rec, Options{}); v.Pass || !strings.Contains(messages(v), "[recording] the recording can't be read: the recorded body") {
		t.Error(messages(v))
	}
	garbage := events("not compressed")
	garbage.header = rec.header
	if v := verdict(rec, garbage, Options{}); v.Pass || !strings.Contains(messages(v), "[content] body: it can't be decoded: gzip: invalid header") {
		t.Error(messages(v))
	}
	empty := events()
	empty.header = rec.header
	wantPass(t, verdict(empty, empty, Options{}))

	brotli := events("a")
	brotli.header = append(headers("Content-Encoding", "br"), brotli.header...)
	wantPass(t, verdict(brotli, brotli, Options{}))
	other := events("b")
	other.header = brotli.header
	wantFail(t, verdict(brotli, other, Options{}),
		`[bytes] body: byte 6: recorded 0x61 "a\n\n", now 0x62 "b\n\n" (encoded, so compared as it is)`)
}
