package compare

import (
	"bytes"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// An sseParser parses text/event-stream as the WHATWG HTML standard says,
// section 9.2.6 "Interpreting an event stream", with what a comparison needs
// besides: comments are units of their own, a block without data is a unit
// although it dispatches no event, unknown fields are kept, and an event that
// the end of the stream cuts off, which is never dispatched, is emitted as partial.
type sseParser struct {
	limit int
	emit  func(*unit)

	bom      int  // bytes of a byte order mark so far; -1 once it can't come any more
	afterCR  bool // an LF now would belong to the line end before it
	inValue  bool // the colon was seen
	atValue  bool // the next byte is the value's first, so maybe a space to skip
	name     blob
	value    blob
	block    *unit
	events   int
	comments int
	pending  int64 // bytes since the last complete unit
}

const byteOrderMark = "\xef\xbb\xbf"

func (s *sseParser) held() int64 { return s.pending }

func (s *sseParser) write(at time.Duration, p []byte) {
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
		s.inValue, s.atValue = true, s.name.size > 0
		if string(s.name.data) == "data" {
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
	if string(s.name.data) == "data" {
		s.block.body.write(p, s.limit)
	} else {
		s.value.write(p, s.limit)
	}
}

func (s *sseParser) open() *unit {
	if s.block == nil {
		s.block = &unit{label: unitEvent, kind: asContainer}
	}
	return s.block
}

func (s *sseParser) beginData() {
	u := s.open()
	if u.hasBody {
		u.body.write([]byte{'\n'}, s.limit)
	}
	u.hasBody = true
}

func (s *sseParser) endLine(at time.Duration) {
	switch {
	case !s.inValue && s.name.size == 0:
		s.dispatch(at)
		return
	case s.name.size == 0:
		s.comments++
		s.emit(&unit{label: unitComment, index: s.comments, at: at, hasBody: true, kind: asText, body: s.value})
		if s.block == nil {
			s.pending = 0
		}
	default:
		s.field()
	}
	s.name, s.value = blob{data: s.name.data[:0]}, blob{}
	s.inValue, s.atValue = false, false
}

func (s *sseParser) field() {
	switch name := s.name.text(); name {
	case "data":
		if !s.inValue {
			s.beginData()
		}
	case "event":
		s.open().set(name, s.value.text())
	case "id":
		if bytes.IndexByte(s.value.data, 0) < 0 {
			s.open().set(name, s.value.text())
		}
	case "retry":
		if isDigits(s.value.data) {
			s.open().set(name, s.value.text())
		}
	default:
		u := s.open()
		line := name
		if s.inValue {
			line += ": " + s.value.text()
		}
		u.fields = append(u.fields, httpstream.Field{Name: "unknown", Value: line})
	}
}

// set gives a field its last value.
func (u *unit) set(name, value string) {
	for i := range u.fields {
		if u.fields[i].Name == name {
			u.fields[i].Value = value
			return
		}
	}
	u.fields = append(u.fields, httpstream.Field{Name: name, Value: value})
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
	if s.block == nil {
		return
	}
	s.events++
	s.block.index, s.block.at = s.events, at
	s.emit(s.block)
	s.block = nil
}

func (s *sseParser) close(at time.Duration) {
	if s.bom > 0 {
		s.notBOM()
	}
	if s.inValue && s.name.size == 0 {
		s.comments++
		s.emit(&unit{label: unitComment, index: s.comments, at: at, hasBody: true, kind: asText, body: s.value, partial: true, open: true})
	} else if s.inValue || s.name.size > 0 {
		s.field()
	}
	s.name, s.value, s.inValue = blob{}, blob{}, false
	if s.block != nil {
		s.block.partial, s.block.open = true, true
		s.dispatch(at)
	}
}
