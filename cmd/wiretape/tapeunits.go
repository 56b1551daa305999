package main

import (
	"fmt"
	"io"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A unitView shows an answer's events, lines or parts instead of its chunks.
type unitView struct {
	w       io.Writer
	parser  body.Parser
	decoder *body.Decoder // of a Content-Encoding; nil if there is none
	err     error         // of w
}

// newUnitView returns nil for an answer that has no units, or whose encoding is
// not known.
func newUnitView(w io.Writer, x *tape.Exchange) *unitView {
	if x.Response == nil || x.IsWebSocket() {
		return nil
	}
	header := x.Response.Head.Header
	contentType := header.Get("Content-Type")
	f := body.Of(contentType)
	decoder, ok := body.NewDecoder(header.Get("Content-Encoding"))
	if f.New == nil || !ok {
		return nil
	}
	v := &unitView{w: w, decoder: decoder}
	const kept = 64 << 10 // bytes of a unit, of which most are not shown
	if v.parser = f.New(contentType, kept, v.show); v.parser == nil {
		return nil
	}
	return v
}

func (v *unitView) show(u *body.Unit) {
	const most = 2000
	if _, err := fmt.Fprintf(v.w, "%12s  %s\n", micros(u.At), u.Shown(most)); v.err == nil {
		v.err = err
	}
}

// line takes a line of the stream, the last one as well.
func (v *unitView) line(l *tape.Line) error {
	var err error
	switch {
	case l.FromClient:
		return nil
	case l.End != nil:
		if v.decoder != nil {
			err = v.decoder.Close(func(b []byte) { v.parser.Write(l.At, b) })
		}
		v.parser.Close(l.At)
	case v.decoder != nil:
		err = v.decoder.Write(l.Data, func(b []byte) { v.parser.Write(l.At, b) })
	default:
		v.parser.Write(l.At, l.Data)
	}
	if err != nil && (l.End == nil || l.End.How == httpstream.EOF) {
		return fmt.Errorf("the answer's body: %w; leave out --units to see its chunks", err)
	}
	return v.err
}

// stop ends what a stream that can't be read left behind.
func (v *unitView) stop() {
	if v.decoder != nil {
		v.decoder.Stop()
	}
}
