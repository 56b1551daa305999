package secret

import (
	"bytes"
	"mime"
)

// parts follows the lines of a multipart body (RFC 2046 section 5.1), to know the
// fields of a form in it (RFC 7578).
type parts struct {
	line  int64 // where the line under way begins
	head  bool  // it is one of a part's head
	how   strength
	name  string
	start int64 // of the value of a secret field, or never
}

func (p *parts) reset() { *p = parts{start: never} }

func (p *parts) held() int64 { return p.start }

// maxHeadLine is the longest line of a part's head that is read.
const maxHeadLine = 1 << 10

func (s *Scan) lookForParts() {
	p := &s.parts
	for at := s.seen; at < s.end(); {
		i := bytes.IndexByte(s.from(at), '\n')
		if i < 0 {
			break
		}
		s.partLine(at + int64(i))
		at += int64(i) + 1
		p.line = at
	}
	if p.start != never && (s.closed || s.end()-p.start > maxHeld) {
		s.field(s.end())
		if !s.closed {
			p.start = s.end()
		}
	}
}

// partLine takes a line, up to its LF.
func (s *Scan) partLine(end int64) {
	p := &s.parts
	start := max(p.line, s.base)
	line := bytes.TrimSuffix(s.between(start, end), []byte("\r"))
	whole := start == p.line
	switch {
	case whole && bytes.HasPrefix(line, []byte("--")):
		if p.start != never {
			// The line end before a boundary is the boundary's.
			value := bytes.TrimSuffix(bytes.TrimSuffix(s.between(p.start, max(p.start, start)), []byte("\n")), []byte("\r"))
			s.field(p.start + int64(len(value)))
		}
		p.head, p.how, p.start = true, no, never
	case !p.head:
	case len(line) == 0:
		p.head = false
		if p.how != no {
			p.start = end + 1
		}
	case len(line) <= maxHeadLine:
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte("Content-Disposition")) {
			return
		}
		if _, params, err := mime.ParseMediaType(string(value)); err == nil {
			p.name = params["name"]
			p.how = s.f.parameter(p.name)
		}
	}
}

// field keeps the value of a secret field.
func (s *Scan) field(end int64) {
	p := &s.parts
	if p.start < end && (p.how == surely || plausible(s.between(p.start, end))) {
		s.add(Finding{Start: p.start, End: end, Rule: "part " + p.name, from: p.start})
	}
}
