package record

import (
	"bytes"

	"github.com/wiretape/wiretape/httpstream/secret"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

const (
	// maxVeiled is how many bytes of one exchange wait, at most, until it is known
	// whether there is a secret in them.
	maxVeiled = 64 << 10
	// maxVeiledMessage is how many do of a compressed message, which is kept as it was
	// on the wire only where all of it has none.
	maxVeiledMessage = 1 << 20
)

// A veil replaces the secrets in the lines of one exchange. A line in which one may
// begin waits for the next, and those of the other direction behind it, so that lines
// keep their order.
type veil struct {
	finder *secret.Finder
	with   *secret.StandIns
	emit   func(*tape.Line) error
	server side
	client side

	waiting []waiting
	size    int // bytes of those
}

// A side is what one direction sends.
type side struct {
	text   secret.Text
	read   bool // it is looked at
	stream *secret.Stream
	ready  []byte // what is known of the lines that wait

	messages tape.Messages // of a WebSocket
	packed   []tape.Line   // the lines of a compressed message, and their size
	size     int
}

// A waiting line is without its data, of which size bytes are to come, unless raw.
type waiting struct {
	line tape.Line
	side *side
	size int
	raw  bool // data was looked at
}

// heads takes what the heads say of the bodies.
func (v *veil) heads(x *tape.Exchange) {
	q := &x.Request
	v.client.text, v.client.read = secret.TextOf(q.Header.Get("Content-Type"), q.Header.Get("Content-Encoding"))
	if x.Response == nil {
		return
	}
	h := x.Response.Head.Header
	v.server.text, v.server.read = secret.TextOf(h.Get("Content-Type"), h.Get("Content-Encoding"))
	if x.Response.Head.Status == 101 || q.Method == "CONNECT" {
		v.client.text, v.client.read = secret.Text{Binary: true}, true
		v.server.text, v.server.read = v.client.text, true
	}
}

func (v *veil) side(l *tape.Line) *side {
	if l.FromClient {
		return &v.client
	}
	return &v.server
}

// add takes a line, which it may change, and emits those that are known by now.
func (v *veil) add(l *tape.Line) error {
	s := v.side(l)
	if !s.read || len(l.Data) == 0 {
		if len(v.waiting) == 0 {
			return v.emit(l)
		}
		return v.wait(l, s, true)
	}
	if s.stream == nil {
		s.stream = v.finder.Stream(s.text, v.with, nil)
	}
	known := s.stream.Write(l.Data)
	if len(v.waiting) == 0 && len(known) == len(l.Data) {
		defer s.stream.Rest()
		l.Data = known
		return v.emit(l)
	}
	s.ready = append(s.ready, known...)
	return v.wait(l, s, false)
}

// wait has a line wait for what is not known.
func (v *veil) wait(l *tape.Line, s *side, raw bool) error {
	w := waiting{line: *l, side: s, size: len(l.Data), raw: raw}
	w.line.Data, w.line.Deflated = nil, bytes.Clone(l.Deflated)
	if raw {
		w.line.Data = bytes.Clone(l.Data)
	}
	if l.Frame != nil {
		frame := *l.Frame
		w.line.Frame = &frame
	}
	v.waiting = append(v.waiting, w)
	if v.size += w.size; v.size > maxVeiled {
		return v.flush()
	}
	return v.drain()
}

// drain emits the lines that wait for nothing any more.
func (v *veil) drain() error {
	n := 0
	for ; n < len(v.waiting); n++ {
		w := &v.waiting[n]
		if !w.raw {
			if len(w.side.ready) < w.size {
				break
			}
			w.line.Data, w.side.ready = w.side.ready[:w.size:w.size], w.side.ready[w.size:]
		}
		v.size -= w.size
		if err := v.emit(&w.line); err != nil {
			return err
		}
	}
	if v.waiting = v.waiting[n:]; len(v.waiting) == 0 {
		v.waiting, v.client.ready, v.server.ready = nil, nil, nil
	}
	return nil
}

// flush emits all that waits: nothing more comes, or too much.
func (v *veil) flush() error {
	for _, s := range []*side{&v.client, &v.server} {
		v.flushSide(s)
	}
	return v.drain()
}

// flushSide ends the text of one direction.
func (v *veil) flushSide(s *side) {
	if s.stream != nil {
		s.ready = append(s.ready, s.stream.Close()...)
		s.stream.Rest()
		s.stream = nil
	}
}

// endOf emits what waits for the rest of a direction that is at its end.
func (v *veil) endOf(s *side) error {
	v.flushSide(s)
	return v.drain()
}

// addFrame takes a line of a WebSocket: a message is a text of its own.
func (v *veil) addFrame(l *tape.Line) error {
	s := v.side(l)
	if l.Frame == nil && !l.Rest {
		return v.add(l)
	}
	if l.Frame != nil && l.Frame.Op >= websocket.Close {
		v.finder.Replace(secret.Text{}, v.with, l.Data)
		if len(v.waiting) == 0 {
			return v.emit(l)
		}
		return v.wait(l, s, true)
	}
	if l.Frame != nil && l.Frame.Op != websocket.Continuation {
		s.text, s.read = secret.Text{Binary: l.Frame.Op == websocket.Binary}, true
	}
	last := s.messages.Next(l)
	if l.Compressed {
		return v.addPacked(s, l, last)
	}
	if err := v.add(l); err != nil || !last {
		return err
	}
	return v.endOf(s)
}

// addPacked takes a line of a compressed message, which is decided on as a whole: where
// it has a secret, what was on the wire has it, too, and is not kept.
func (v *veil) addPacked(s *side, l *tape.Line, last bool) error {
	held := *l
	held.Data, held.Deflated = bytes.Clone(l.Data), bytes.Clone(l.Deflated)
	if l.Frame != nil {
		frame := *l.Frame
		held.Frame = &frame
	}
	s.packed = append(s.packed, held)
	s.size += len(l.Data) + len(l.Deflated)
	if !last && s.size < maxVeiledMessage {
		return nil
	}
	return v.unpack(s)
}

// unpack emits the lines of a compressed message.
func (v *veil) unpack(s *side) error {
	lines := s.packed
	s.packed, s.size = nil, 0
	found := false
	stream := v.finder.Stream(s.text, v.with, func(secret.Finding) { found = true })
	var text []byte
	for i := range lines {
		text = append(text, stream.Write(lines[i].Data)...)
	}
	text = append(text, stream.Close()...)
	stream.Rest()
	for i := range lines {
		l := &lines[i]
		if !l.Unread {
			l.Data, text = text[:len(l.Data):len(l.Data)], text[len(l.Data):]
		}
		if found && !l.Unread {
			l.Compressed, l.Deflated = false, nil
		}
	}
	if found {
		measure(lines)
	}
	for i := range lines {
		var err error
		if len(v.waiting) == 0 {
			err = v.emit(&lines[i])
		} else {
			err = v.wait(&lines[i], s, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// measure says how long the frames are now that they are not compressed.
func measure(lines []tape.Line) {
	for i := range lines {
		if lines[i].Frame == nil {
			continue
		}
		size, pieces := int64(len(lines[i].Data)), 1
		for _, l := range lines[i+1:] {
			if l.Frame != nil {
				break
			}
			size += int64(len(l.Data))
			pieces++
		}
		if lines[i].Of = 0; pieces > 1 {
			lines[i].Of = size
		}
	}
}

// close emits all that is held.
func (v *veil) close() error {
	for _, s := range []*side{&v.client, &v.server} {
		if len(s.packed) > 0 {
			if err := v.unpack(s); err != nil {
				return err
			}
		}
	}
	return v.flush()
}
