package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// maxDocument is how long a document may be to be shown as one.
const maxDocument = 4 << 20

// streamLines shows the lines of a stream, each direction in its own way.
type streamLines struct {
	s              *shower
	client, server reading
	last           time.Duration
	ended          bool
}

// A reading shows what comes in one direction.
type reading interface {
	line(l *tape.Line) error
	// end shows what has no end; broken is set if the body was cut off, too.
	end(at time.Duration, broken bool) error
}

func (s *shower) lines(v view) *streamLines {
	chunks := &chunkReading{s: s}
	out := &streamLines{s: s, client: chunks, server: chunks}
	switch {
	case v == chunkView:
	case s.x.IsWebSocket():
		out.client, out.server = &messageReading{s: s, mark: fromClient}, &messageReading{s: s, mark: fromServer}
	default:
		out.client = s.bodyReading(s.x.Request.Header, fromClient)
		if s.x.Response != nil {
			out.server = s.bodyReading(s.x.Response.Head.Header, fromServer)
		}
	}
	return out
}

func (l *streamLines) line(line tape.Line) error {
	l.last = line.At
	switch {
	case line.FromClient:
		return l.client.line(&line)
	case line.End == nil:
		return l.server.line(&line)
	}
	l.ended = true
	err := errors.Join(l.client.end(line.At, true), l.server.end(line.At, line.End.How != httpstream.EOF))
	if err != nil {
		return err
	}
	text := strings.TrimRight(fmt.Sprintf("%12s  end: %s %s", micros(line.At), line.End.How, line.End.Detail), " ")
	_, err = fmt.Fprintln(l.s.w, text)
	l.s.fields(line.End.Trailer)
	return err
}

// stop shows what a stream that can't be read to its end left.
func (l *streamLines) stop() error {
	if l.ended {
		return nil
	}
	return errors.Join(l.client.end(l.last, true), l.server.end(l.last, true))
}

// The marks of the two directions.
const (
	fromClient = ">"
	fromServer = " "
)

// print prints what was complete at a time. There is room for a mark where both sides speak.
func (s *shower) print(at time.Duration, mark, text string) error {
	if s.twoSides() {
		text = " " + text
	}
	_, err := fmt.Fprintf(s.w, "%12s %s%s\n", micros(at), mark, text)
	return err
}

// twoSides reports whether the stream has what the client sent as well.
func (s *shower) twoSides() bool { return s.x.Request.Body.InStream || s.x.IsWebSocket() }

// A chunkReading shows chunks as they came, with every byte.
type chunkReading struct{ s *shower }

func (r *chunkReading) line(l *tape.Line) error {
	mark := fromServer
	if l.FromClient {
		mark = fromClient
	}
	text := strconv.Quote(string(l.Data))
	if l.Unread {
		text = compressed(l)
	}
	if f := l.Frame; f != nil {
		text = frameName(f) + "  " + text
	}
	return r.s.print(l.At, mark, text)
}

func (r *chunkReading) end(time.Duration, bool) error { return nil }

func compressed(l *tape.Line) string {
	return "(compressed, " + report.Size(int64(len(l.Deflated))) + ")"
}

// frameName is what kind of frame it is.
func frameName(f *tape.Frame) string {
	name := f.Name()
	if f.Status != 0 {
		name += " " + strconv.Itoa(f.Status)
	}
	if f.More {
		name += " (goes on)"
	}
	return name
}

// A messageReading shows the messages of one direction of a WebSocket, each when it was
// whole, and the other frames.
type messageReading struct {
	s        *shower
	mark     string
	messages tape.Messages
	first    *tape.Frame // of the message that goes on
	control  *tape.Frame
	data     []byte
	size     int64
	unread   bool
}

func (r *messageReading) line(l *tape.Line) error {
	whole := r.messages.Next(l)
	if f := l.Frame; f != nil {
		r.control = nil
		if f.Op >= 8 { // RFC 6455 section 5.5: control frames may stand within a message
			r.control = f
		} else if r.first == nil {
			r.first = f
		}
	}
	if r.control != nil || r.first == nil {
		text := body.Style{}.Show(l.Data, kindOf("", l.Data))
		if r.control != nil {
			text = strings.TrimRight(frameName(r.control)+"  "+text, " ")
		}
		return r.s.print(l.At, r.mark, text)
	}
	r.unread = r.unread || l.Unread
	r.size += int64(max(len(l.Data), len(l.Deflated)))
	if len(r.data)+len(l.Data) <= maxDocument {
		r.data = append(r.data, l.Data...)
	}
	if !whole {
		return nil
	}
	return r.message(l.At, "")
}

func (r *messageReading) message(at time.Duration, remark string) error {
	text := r.s.style().Show(r.data, kindOf("application/json", r.data))
	if r.unread {
		text = "(compressed, " + report.Size(r.size) + ")"
	}
	name := r.first.Name()
	r.first, r.data, r.size, r.unread = nil, r.data[:0], 0, false
	return r.s.print(at, r.mark, name+"  "+text+remark)
}

func (r *messageReading) end(at time.Duration, _ bool) error {
	if r.first == nil {
		return nil
	}
	return r.message(at, "  (unfinished)")
}

// A bodyReading shows the units of a body; of one that has none, the whole if it means
// something only then, else its chunks.
type bodyReading struct {
	s       *shower
	mark    string
	kind    string // the content type
	decoder *body.Decoder
	parser  body.Parser
	whole   bool
	data    []byte
	failed  error
	known   bool // the Content-Encoding is
}

func (s *shower) bodyReading(header httpstream.Fields, mark string) *bodyReading {
	r := &bodyReading{s: s, mark: mark, kind: header.Get("Content-Type")}
	r.decoder, r.known = body.NewDecoder(header.Get("Content-Encoding"))
	f := body.Of(r.kind)
	r.whole = f.Whole == body.JSON && f.New == nil
	if f.New != nil && r.known {
		const kept = 256 << 10 // bytes of a unit, of which most are not shown
		r.parser = f.New(r.kind, kept, func(u *body.Unit) {
			r.failed = errors.Join(r.failed, s.print(u.At, mark, s.style().Unit(u)))
		})
	}
	return r
}

func (r *bodyReading) line(l *tape.Line) error {
	if r.decoder == nil {
		return r.take(l.At, l.Data)
	}
	err := r.decoder.Write(l.Data, func(b []byte) { r.failed = errors.Join(r.failed, r.take(l.At, b)) })
	return errors.Join(undecoded(err), r.failed)
}

// undecoded is what a Content-Encoding is not as it says.
func undecoded(err error) error {
	if err == nil {
		return nil
	}
	return usagef("wiretape tape show --chunks shows its chunks", "the body: %w", err)
}

func (r *bodyReading) take(at time.Duration, data []byte) error {
	switch {
	case r.parser != nil:
		r.parser.Write(at, data)
		return r.failed
	case r.whole && len(r.data)+len(data) <= maxDocument:
		r.data = append(r.data, data...)
		return nil
	case r.whole: // too long to be read as one
		r.whole = false
		data, r.data = append(r.data, data...), nil
	}
	if len(data) == 0 {
		return nil
	}
	return r.s.print(at, r.mark, r.s.style().Show(data, kindOf(r.kind, data)))
}

func (r *bodyReading) end(at time.Duration, broken bool) error {
	if r.decoder != nil {
		err := r.decoder.Close(func(b []byte) { r.failed = errors.Join(r.failed, r.take(at, b)) })
		r.decoder = nil
		switch {
		case err != nil && broken:
			r.failed = errors.Join(r.failed, r.s.print(at, r.mark, "(the rest can't be decoded: --chunks shows it)"))
		case err != nil:
			return undecoded(err)
		}
	}
	if r.parser != nil {
		r.parser.Close(at)
	}
	if r.whole && len(r.data) > 0 {
		style := r.s.style()
		style.Width = 100
		r.failed = errors.Join(r.failed, r.s.print(at, r.mark, cutLines(style.Show(r.data, body.JSON), "--raw")))
	}
	return r.failed
}

// kindOf is what data is to be shown as: what its type says, or what it looks like.
func kindOf(contentType string, data []byte) body.Kind {
	kind := body.Of(contentType).Whole
	if !utf8.Valid(data) || kind == body.Bytes && !isText(data) {
		return body.Bytes
	}
	if kind == body.Bytes {
		return body.Text
	}
	return kind
}
