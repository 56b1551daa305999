package replay

import (
	"bytes"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// open opens the stream of an exchange; that of a WebSocket as frames, also where
// the tape has the bytes as they were on the wire, as format 1 has.
func (p *Player) open(x *tape.Exchange) (LineReader, error) {
	r, err := p.Lines(x)
	if err != nil || !x.IsWebSocket() {
		return r, err
	}
	return &socketReader{LineReader: r, x: x}, nil
}

// A socketReader gives the lines of a WebSocket as frames.
type socketReader struct {
	LineReader
	x     *tape.Exchange
	sides [2]socketSide // the server's, the client's
	ready []tape.Line
	err   error
}

type socketSide struct {
	framed bool         // the tape has frames
	frames *tape.Frames // else
}

// Next implements LineReader.
func (r *socketReader) Next() (tape.Line, error) {
	for len(r.ready) == 0 && r.err == nil {
		l, err := r.LineReader.Next()
		if err != nil {
			r.err = err
			break
		}
		r.err = r.add(&l)
	}
	if len(r.ready) == 0 {
		return tape.Line{}, r.err
	}
	l := r.ready[0]
	r.ready = r.ready[1:]
	return l, nil
}

func (r *socketReader) add(l *tape.Line) error {
	keep := func(l *tape.Line) error {
		kept := *l
		kept.Data, kept.Deflated = bytes.Clone(l.Data), bytes.Clone(l.Deflated)
		r.ready = append(r.ready, kept)
		return nil
	}
	if l.End != nil {
		r.finish(keep)
		return keep(l)
	}
	side := &r.sides[0]
	if l.FromClient {
		side = &r.sides[1]
	}
	if side.framed = side.framed || l.Frame != nil; side.framed {
		return keep(l)
	}
	if side.frames == nil {
		side.frames = tape.FramesOf(r.x, l.FromClient)
	}
	return side.frames.Add(l, keep)
}

// finish gives out what the sides hold.
func (r *socketReader) finish(keep func(*tape.Line) error) {
	for i := range r.sides {
		if f := r.sides[i].frames; f != nil {
			f.Close(keep)
			r.sides[i].frames = nil
		}
	}
}

// Close implements LineReader.
func (r *socketReader) Close() error {
	r.finish(func(*tape.Line) error { return nil })
	return r.LineReader.Close()
}

// A messageCounter counts the messages and close frames of a WebSocket (RFC 6455
// section 5.2). Pings and pongs run on timers of the client's own.
type messageCounter struct {
	frames   *tape.Frames
	messages tape.Messages
}

// line takes a line that stands on the tape, or that Frames gave out.
func (c *messageCounter) line(l *tape.Line) int64 {
	if c.messages.Next(l) || l.Frame != nil && l.Frame.Op == httpstream.WSClose {
		return 1
	}
	return 0
}

func (c *messageCounter) count(p []byte) (n int64) {
	c.frames.Add(&tape.Line{Chunk: httpstream.Chunk{Data: p}}, func(l *tape.Line) error {
		n += c.line(l)
		return nil
	})
	return n
}
