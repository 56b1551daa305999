package tape

import (
	"bytes"
	"errors"

	"github.com/wiretape/wiretape/httpstream/websocket"
)

// A FrameWriter turns a server's lines into what a client gets: the bytes that
// were recorded, as long as the client agreed to their compression and the text
// is what they stand for. Else the text counts, and is sent uncompressed, which
// any message may be (RFC 7692 section 6), a line a frame.
type FrameWriter struct {
	agreed  bool      // on compression
	check   *inflater // of what was recorded; nil without compression
	edited  bool      // messages refer to one that was not sent as it was recorded
	plain   bool      // the message under way is sent as its text
	compare bool      // it is sent as it was recorded, and compared with its text
	at      Messages
}

var (
	errUnread = errors.New("a compressed message that could not be made readable is sent only as it was recorded: to a client that takes permessage-deflate, and behind messages that were not edited")
	errEdited = errors.New(`the text of a compressed message was edited in a later line: remove "deflated" from all its lines`)
)

// WriterOf returns a writer for the server's lines of x; agreed says whether the
// client took the compression that was recorded.
func WriterOf(x *Exchange, agreed bool) *FrameWriter {
	return &FrameWriter{agreed: agreed, check: FramesOf(x, false).deflate}
}

// Append appends what goes on the wire for a line.
func (w *FrameWriter) Append(b []byte, l *Line) ([]byte, error) {
	control := l.Frame != nil && l.Frame.Op >= websocket.Close
	if control || l.Frame == nil && !l.Rest {
		return AppendFrame(b, l), nil
	}
	first := l.Frame != nil && l.Frame.Op != websocket.Continuation
	last := w.at.Next(l)
	if first {
		w.plain, w.compare = l.Compressed && !w.agreed, l.Compressed && !l.Unread && w.agreed
	}
	if first && l.Compressed && w.agreed && w.edited {
		w.plain, w.compare = true, false
	}
	if w.compare && l.Compressed && w.check != nil {
		text, ok := w.check.piece(l.Deflated, last)
		switch {
		case ok && bytes.Equal(text, l.Data):
		case !ok && l.Unread:
			w.compare = false // the rest of the message can't be read
			w.check.close()
		case first:
			w.plain, w.compare = true, false
			w.edited = w.check.takeover
			w.check.close()
		default:
			return b, errEdited
		}
	}
	if !w.plain {
		return AppendFrame(b, l), nil
	}
	if l.Unread {
		return b, errUnread
	}
	h := websocket.Header{Op: websocket.Continuation, Final: last, Length: int64(len(l.Data))}
	if first {
		h.Op, h.Reserved = l.Frame.Op, l.Frame.Reserved
	}
	return append(websocket.AppendHeader(b, h), l.Data...), nil
}

// Close frees what Append holds.
func (w *FrameWriter) Close() {
	if w.check != nil {
		w.check.close()
	}
}
