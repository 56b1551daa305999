package tape

import (
	"encoding/binary"
	"time"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

// maxHeldFrame is how many bytes of a frame are held so that it is one line; of a
// longer one, each line has what has come.
const maxHeldFrame = 64 << 10

// IsWebSocket reports whether an exchange opened a WebSocket: by the upgrade of
// HTTP/1.1 (RFC 6455), or the extended CONNECT of HTTP/2 (RFC 8441).
func (x *Exchange) IsWebSocket() bool {
	if x.Response == nil {
		return false
	}
	head := &x.Response.Head
	if head.Status == 101 {
		return websocket.Opens(head.Header)
	}
	return x.Request.Method == "CONNECT" && x.Request.Protocol == "websocket" && head.Status/100 == 2
}

// Frames turns the bytes of one direction of a WebSocket into lines: one for each
// frame, unmasked and inflated, and pieces of long ones. What is no frame is given
// out as it is from there on. It holds a bounded number of bytes.
type Frames struct {
	client  bool
	deflate *inflater // nil without permessage-deflate

	at   time.Duration // of the bytes that came last
	held []byte        // of a header, or of the payload, not given out yet
	raw  bool          // what comes is not frames

	header websocket.Header // of the frame under way, if begun
	begun  bool
	piece  bool  // a line of that frame was given out
	left   int64 // bytes of its payload that were not given out
	packed bool  // the message is compressed
	text   bool  // the message is text
}

// FramesOf returns what turns the bytes of one direction of x into lines.
func FramesOf(x *Exchange, client bool) *Frames {
	f := &Frames{client: client}
	if agreed := websocket.ParseDeflate(x.Response.Head.Header); len(agreed) == 1 {
		d := agreed[0]
		f.deflate = &inflater{takeover: client && !d.ClientNoContext || !client && !d.ServerNoContext}
	}
	return f
}

// Add takes the bytes of a raw line and gives lines to emit, with its time. Their
// data is valid until emit returns.
func (f *Frames) Add(l *Line, emit func(*Line) error) error {
	b := l.Data
	f.at = l.At
	for len(b) > 0 {
		if f.raw {
			return emit(&Line{At: f.at, FromClient: f.client, Chunk: httpstream.Chunk{Data: b}})
		}
		n := f.take(b)
		b = b[n:]
		if !f.begun && !f.begin() {
			if f.raw {
				b, f.held = append(f.held, b...), nil
			}
			continue
		}
		if int64(len(f.held)) < f.left && len(f.held) < maxHeldFrame {
			continue
		}
		if err := f.emit(f.readable(), emit); err != nil {
			return err
		}
	}
	return nil
}

// take moves bytes to held: a header, or what the frame or its piece lacks.
func (f *Frames) take(b []byte) int {
	n := min(len(b), 1)
	if f.begun {
		n = int(min(int64(len(b)), f.left-int64(len(f.held)), maxHeldFrame-int64(len(f.held))))
	}
	f.held = append(f.held, b[:n]...)
	return n
}

// begin reads the header in held, and reports whether it is there.
func (f *Frames) begin() bool {
	h, n, err := websocket.ParseHeader(f.held)
	if err != nil || n > 0 && h.Masked != f.client {
		f.raw = true
		return false
	}
	if n == 0 {
		return false
	}
	f.held = f.held[:0]
	f.header, f.begun, f.piece, f.left = h, true, false, h.Length
	if h.Op == websocket.Text || h.Op == websocket.Binary {
		f.packed = f.deflate != nil && h.Reserved&websocket.Reserved1 != 0
		f.text = h.Op == websocket.Text
	}
	return true
}

// readable is how many of the held bytes can be a line: all that end the frame, and
// of a text that goes on, what does not end inside a character.
func (f *Frames) readable() int {
	n := len(f.held)
	if int64(n) == f.left || !f.text || f.packed {
		return n
	}
	masked := f.header.Length - f.left
	for size := 1; size <= min(n, utf8.UTFMax-1); size++ {
		last := [utf8.UTFMax]byte{}
		rest := last[:copy(last[:], f.held[n-size:])]
		f.header.Unmask(rest, masked+int64(n-size))
		if utf8.RuneStart(rest[0]) {
			if !utf8.FullRune(rest) {
				return n - size
			}
			break
		}
	}
	return n
}

// emit gives out n of the held bytes of a frame.
func (f *Frames) emit(n int, emit func(*Line) error) error {
	h := &f.header
	l := Line{At: f.at, FromClient: f.client}
	data := f.held[:n]
	h.Unmask(data, h.Length-f.left)
	f.left -= int64(n)
	control := h.Control()
	if f.piece {
		l.Rest = true
	} else {
		l.Frame = &Frame{Op: h.Op, More: !h.Final, Reserved: h.Reserved}
		if f.left > 0 {
			l.Of = h.Length
		}
	}
	last := f.left == 0 && h.Final
	switch {
	case f.packed && !control:
		if l.Frame != nil && h.Op != websocket.Continuation {
			l.Frame.Reserved &^= websocket.Reserved1
		}
		l.Compressed, l.Deflated = true, data
		text, ok := f.deflate.piece(data, last)
		l.Data, l.Unread = text, !ok
		if !ok {
			l.Data = nil
		}
	case h.Op == websocket.Close && len(data) >= 2 && binary.BigEndian.Uint16(data) != 0:
		l.Frame.Status = int(binary.BigEndian.Uint16(data))
		l.Data = data[2:]
	default:
		l.Data = data
	}
	f.piece = true
	f.begun = f.left > 0
	if last && !control {
		f.packed, f.text = false, false // a continuation that follows is of no message
	}
	err := emit(&l)
	f.held = f.held[:copy(f.held, f.held[n:])]
	return err
}

// Cut gives out what came of the payload of a frame under way, as a piece, so that
// what the other side says next stands behind it.
func (f *Frames) Cut(emit func(*Line) error) error {
	if !f.begun || f.header.Control() || len(f.held) == 0 {
		return nil
	}
	if n := f.readable(); n > 0 {
		return f.emit(n, emit)
	}
	return nil
}

// Close gives out what is held of a frame whose rest does not come.
func (f *Frames) Close(emit func(*Line) error) error {
	if f.deflate != nil {
		defer f.deflate.close()
	}
	switch {
	case f.begun && f.header.Control():
		// Half a control frame is never a line of its own: it is as it was on the wire.
		f.held = append(websocket.AppendHeader(nil, f.header), f.held...)
	case f.begun && f.piece && len(f.held) == 0:
		return nil
	case f.begun:
		return f.emit(len(f.held), emit)
	}
	if len(f.held) == 0 {
		return nil
	}
	return emit(&Line{At: f.at, FromClient: f.client, Chunk: httpstream.Chunk{Data: f.held}})
}

// Messages follows the lines of one direction of a WebSocket.
type Messages struct {
	left int64 // bytes of the frame that are still to come
	more bool  // the message goes on behind the frame
	data bool  // the frame is one of a message, and not a control frame
}

// Next takes the next line, and reports whether it ends a message.
func (m *Messages) Next(l *Line) bool {
	size := int64(len(l.Data))
	if l.Compressed {
		size = int64(len(l.Deflated))
	}
	switch {
	case l.Frame != nil:
		m.data, m.left = l.Frame.Op < websocket.Close, max(0, l.Of-size)
		if m.data {
			m.more = l.Frame.More
		}
	case l.Rest:
		m.left -= size
	default:
		return false
	}
	return m.data && m.left <= 0 && !m.more
}

// InFrame reports whether pieces of a frame are still to come.
func (m *Messages) InFrame() bool { return m.left > 0 }

// AppendFrame appends what a server's line was on the wire, as it is if it is no
// frame's.
func AppendFrame(b []byte, l *Line) []byte {
	payload := l.Data
	if l.Compressed {
		payload = l.Deflated
	}
	if l.Frame == nil {
		return append(b, payload...)
	}
	var status []byte
	if l.Frame.Status != 0 {
		status = binary.BigEndian.AppendUint16(nil, uint16(l.Frame.Status))
	}
	h := websocket.Header{Op: l.Frame.Op, Final: !l.Frame.More, Reserved: l.Frame.Reserved, Length: max(l.Of, int64(len(status)+len(payload)))}
	if l.Compressed && h.Op != websocket.Continuation {
		h.Reserved |= websocket.Reserved1
	}
	return append(append(websocket.AppendHeader(b, h), status...), payload...)
}
