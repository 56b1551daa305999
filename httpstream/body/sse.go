package body

import (
	"bytes"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// sse is server-sent events.
func sse() Format {
	return Format{
		Name: "sse", Unit: Event, Whole: Text, Timed: true, Records: true,
		Types: []string{"text/event-stream"},
		New:   func(_ string, limit int, emit func(*Unit)) Parser { return &sseParser{limit: limit, emit: emit} },
	}
}

// An sseParser parses text/event-stream as the WHATWG HTML standard says,
// section 9.2.6 "Interpreting an event stream", with what a comparison needs
// besides: comments are units of their own, a block without data is a unit
// although it dispatches no event, unknown fields are kept, and an event that
// the end of the stream cuts off, which is never dispatched, is emitted as partial.
type sseParser struct {
	limit int
	emit  func(*Unit)

	bom      int  // bytes of a byte order mark so far; -1 once it can't come any more
	afterCR  bool // an LF now would belong to the line end before it
	inValue  bool // the colon was seen
	atValue  bool // the next byte is the value's first, so maybe a space to skip
	name     Blob
	value    Blob
	block    Unit
	begun    bool // block is
	comment  Unit
	events   int
	comments int
	pending  int64 // bytes since the last complete unit
}

const byteOrderMark = "\xef\xbb\xbf"

func (s *sseParser) Held() int64 { return s.pending }

func (s *sseParser) Write(at time.Duration, p []byte) {
	for s.bom >= 0 && len(p) > 0 {
		if p[0] == byteOrderMark[s.bom] {
			s.bom++
			p = p[1:]
			if s.bom == len(byteOrderMark) {
				s.bom = -1
			}
			continue
		}
		s.notBOM()
	}
	for len(p) > 0 {
		if s.afterCR {
			s.afterCR = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		end := bytes.IndexAny(p, "\r\n")
		if end < 0 {
			s.pending += int64(len(p))
			s.line(p)
			return
		}
		s.pending += int64(end + 1)
		s.line(p[:end])
		s.afterCR = p[end] == '\r'
		s.endLine(at)
		p = p[end+1:]
	}
}

// notBOM gives back the bytes that could have begun a byte order mark.
func (s *sseParser) notBOM() {
	seen := s.bom
	s.bom = -1
	s.line([]byte(byteOrderMark[:seen]))
	s.pending += int64(seen)
}

// line takes more of the present line.
func (s *sseParser) line(p []byte) {
	if !s.inValue {
		colon := bytes.IndexByte(p, ':')
		if colon < 0 {
			s.name.write(p, s.limit)
			return
		}
		s.name.write(p[:colon], s.limit)
		p = p[colon+1:]
		// A comment, which has no name, keeps its first space.
		s.inValue, s.atValue = true, s.name.Size > 0
		if string(s.name.Data) == "data" {
			s.beginData()
		}
	}
	if len(p) == 0 {
		return
	}
	if s.atValue && p[0] == ' ' {
		p = p[1:]
	}
	s.atValue = false
	if string(s.name.Data) == "data" {
		s.block.Body.write(p, s.limit)
	} else {
		s.value.write(p, s.limit)
	}
}

func (s *sseParser) open() *Unit {
	if !s.begun {
		s.begun = true
		s.block = Unit{Label: Event, Kind: Container}
	}
	return &s.block
}

func (s *sseParser) beginData() {
	u := s.open()
	if u.HasBody {
		u.Body.write([]byte{'\n'}, s.limit)
	}
	u.HasBody = true
}

func (s *sseParser) endLine(at time.Duration) {
	switch {
	case !s.inValue && s.name.Size == 0:
		s.dispatch(at)
		return
	case s.name.Size == 0:
		s.remark(at, false)
		if !s.begun {
			s.pending = 0
		}
	default:
		s.field()
	}
	s.name, s.value = Blob{Data: s.name.Data[:0]}, Blob{}
	s.inValue, s.atValue = false, false
}

func (s *sseParser) field() {
	switch name := s.name.Text(); name {
	case "data":
		if !s.inValue {
			s.beginData()
		}
	case "event":
		s.open().set(name, s.value.Text())
	case "id":
		if bytes.IndexByte(s.value.Data, 0) < 0 {
			s.open().set(name, s.value.Text())
		}
	case "retry":
		if isDigits(s.value.Data) {
			s.open().set(name, s.value.Text())
		}
	default:
		u := s.open()
		line := name
		if s.inValue {
			line += ": " + s.value.Text()
		}
		u.Fields = append(u.Fields, httpstream.Field{Name: "unknown", Value: line})
	}
}

// set gives a field its last value.
func (u *Unit) set(name, value string) {
	for i := range u.Fields {
		if u.Fields[i].Name == name {
			u.Fields[i].Value = value
			return
		}
	}
	u.Fields = append(u.Fields, httpstream.Field{Name: name, Value: value})
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

func (s *sseParser) dispatch(at time.Duration) {
	s.pending = 0
	if !s.begun {
		return
	}
	s.events++
	s.block.Index, s.block.At = s.events, at
	s.begun = false
	s.emit(&s.block)
}

// remark emits a comment.
func (s *sseParser) remark(at time.Duration, cut bool) {
	s.comments++
	s.comment = Unit{Label: Comment, Index: s.comments, At: at, HasBody: true, Kind: Text, Body: s.value, Partial: cut, Open: cut}
	s.emit(&s.comment)
}

func (s *sseParser) Close(at time.Duration) {
	if s.bom > 0 {
		s.notBOM()
	}
	if s.inValue && s.name.Size == 0 {
		s.remark(at, true)
	} else if s.inValue || s.name.Size > 0 {
		s.field()
	}
	s.name, s.value, s.inValue = Blob{}, Blob{}, false
	if s.begun {
		s.block.Partial, s.block.Open = true, true
		s.dispatch(at)
	}
}
