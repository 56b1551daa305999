package body

import (
	"bytes"
	"mime"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// parts is multipart bodies of all kinds.
func parts() Format {
	return Format{
		Name: "multipart", Unit: Part, Whole: Bytes, Timed: true,
		Types: []string{"multipart/*"},
		New: func(contentType string, limit int, emit func(*Unit)) Parser {
			boundary := Boundary(contentType)
			if boundary == "" {
				return nil
			}
			return newMultipartParser(boundary, limit, emit)
		},
	}
}

// A multipartParser parses multipart bodies (RFC 2046 section 5.1): mixed,
// form-data and x-mixed-replace. Line ends may be LF alone. A boundary parameter
// that already begins with the two hyphens, as many cameras send it, is found
// with and without two more.
type multipartParser struct {
	delims []string
	limit  int
	emit   func(*Unit)

	inHeaders bool
	ended     bool // the close delimiter was read
	cur       Unit
	parts     int

	// Outside of headers, hold is what may turn out to be a delimiter line: a
	// line end, of eol bytes, and the line so far. Within a line that is none,
	// lineStart is false and hold is at most a CR.
	hold      []byte
	eol       int
	lineStart bool

	header     []byte // the present header line
	headerSize int
}

const (
	maxPadding     = 256 // white space behind a delimiter
	maxPartHeaders = 64 << 10
)

func newMultipartParser(boundary string, limit int, emit func(*Unit)) *multipartParser {
	m := &multipartParser{delims: []string{"--" + boundary}, limit: limit, emit: emit, lineStart: true}
	if strings.HasPrefix(boundary, "--") {
		m.delims = append(m.delims, boundary)
	}
	m.cur = Unit{Label: Preamble, HasBody: true}
	return m
}

func (m *multipartParser) Held() int64 {
	return m.cur.Body.Size + int64(len(m.hold)+m.headerSize)
}

func (m *multipartParser) Write(at time.Duration, p []byte) {
	for len(p) > 0 {
		switch {
		case m.inHeaders:
			p = m.headers(at, p)
		case m.ended:
			m.cur.Body.write(p, m.limit)
			return
		case m.lineStart:
			p = m.startOfLine(at, p)
		default:
			p = m.restOfLine(p)
		}
	}
}

// restOfLine takes content up to the end of a line that is no delimiter.
func (m *multipartParser) restOfLine(p []byte) []byte {
	if len(m.hold) > 0 {
		if p[0] == '\n' {
			m.newLine("\r\n")
			return p[1:]
		}
		m.flush()
	}
	lf := bytes.IndexByte(p, '\n')
	switch {
	case lf < 0 && p[len(p)-1] == '\r':
		m.cur.Body.write(p[:len(p)-1], m.limit)
		m.hold = append(m.hold, '\r')
		return nil
	case lf < 0:
		m.cur.Body.write(p, m.limit)
		return nil
	case lf > 0 && p[lf-1] == '\r':
		m.cur.Body.write(p[:lf-1], m.limit)
		m.newLine("\r\n")
	default:
		m.cur.Body.write(p[:lf], m.limit)
		m.newLine("\n")
	}
	return p[lf+1:]
}

func (m *multipartParser) newLine(eol string) {
	m.hold = append(m.hold[:0], eol...)
	m.eol, m.lineStart = len(eol), true
}

func (m *multipartParser) flush() {
	m.cur.Body.write(m.hold, m.limit)
	m.hold, m.eol = m.hold[:0], 0
}

// startOfLine holds a line back for as long as it can be a delimiter.
func (m *multipartParser) startOfLine(at time.Duration, p []byte) []byte {
	for i, c := range p {
		m.hold = append(m.hold, c)
		possible, complete, last := m.delimiter(m.hold[m.eol:])
		if complete {
			m.boundary(at, last)
			return p[i+1:]
		}
		if !possible {
			m.hold = m.hold[:len(m.hold)-1]
			m.flush()
			m.lineStart = false
			return p[i:]
		}
	}
	return nil
}

// delimiter tells whether line is, or can still become, a delimiter line.
func (m *multipartParser) delimiter(line []byte) (possible, complete, last bool) {
	for _, d := range m.delims {
		if len(line) <= len(d) {
			possible = possible || strings.HasPrefix(d, string(line))
			continue
		}
		if string(line[:len(d)]) != d {
			continue
		}
		tail := line[len(d):]
		last = false
		if tail[0] == '-' {
			if len(tail) == 1 {
				possible = true
				continue
			}
			if tail[1] != '-' {
				continue
			}
			last = true
			tail = tail[2:]
		}
		padding := bytes.TrimLeft(tail, " \t")
		switch string(padding) {
		case "\n", "\r\n":
			return true, true, last
		case "", "\r":
			possible = possible || len(tail) <= maxPadding
		}
	}
	return possible, false, false
}

// boundary ends the part, or the preamble, before it.
func (m *multipartParser) boundary(at time.Duration, last bool) {
	m.hold, m.eol = m.hold[:0], 0
	m.finish(at, false)
	if last {
		m.ended = true
		m.cur = Unit{Label: Epilogue, HasBody: true}
		return
	}
	m.inHeaders, m.header, m.headerSize = true, nil, 0
	m.cur = Unit{Label: Part, HasBody: true}
}

func (m *multipartParser) finish(at time.Duration, partial bool) {
	u := &m.cur
	u.At, u.Partial, u.Open = at, partial, partial
	switch u.Label {
	case Part:
		m.parts++
		u.Index = m.parts
		u.Kind = Of(u.Fields.Get("Content-Type")).Whole
	default:
		if u.Body.Size == 0 {
			return
		}
		u.Index, u.Partial = 1, false
	}
	m.emit(u)
}

// headers reads header lines up to the blank one.
func (m *multipartParser) headers(at time.Duration, p []byte) []byte {
	lf := bytes.IndexByte(p, '\n')
	line := p[:lf+1]
	if lf < 0 {
		line = p
	}
	m.headerSize += len(line)
	m.header = append(m.header, line...)
	if lf < 0 && m.headerSize <= maxPartHeaders {
		return nil
	}
	if m.headerSize > maxPartHeaders {
		// No header section: what is left is compared as content.
		held := m.header
		m.endHeaders()
		m.Write(at, held)
		return p[len(line):]
	}
	if _, complete, last := m.delimiter(m.header); complete {
		m.inHeaders = false
		m.boundary(at, last)
		return p[lf+1:]
	}
	m.headerLine(string(bytes.TrimRight(m.header, "\r\n")))
	return p[lf+1:]
}

func (m *multipartParser) headerLine(line string) {
	m.header = m.header[:0]
	fs := &m.cur.Fields
	switch {
	case line == "":
		m.endHeaders()
	case (line[0] == ' ' || line[0] == '\t') && len(*fs) > 0:
		(*fs)[len(*fs)-1].Value += " " + strings.TrimSpace(line)
	default:
		name, value, _ := strings.Cut(line, ":")
		*fs = append(*fs, httpstream.Field{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
}

// endHeaders begins the body; a delimiter may follow a blank line at once.
func (m *multipartParser) endHeaders() {
	m.inHeaders, m.header, m.headerSize = false, nil, 0
	m.hold, m.eol, m.lineStart = m.hold[:0], 0, true
}

func (m *multipartParser) Close(at time.Duration) {
	if m.inHeaders {
		if _, complete, last := m.delimiter(append(m.header, '\n')); complete {
			m.inHeaders = false
			m.boundary(at, last)
		} else if len(m.header) > 0 {
			m.headerLine(string(bytes.TrimRight(m.header, "\r")))
		}
	} else if m.lineStart && !m.ended {
		if _, complete, last := m.delimiter(append(m.hold[m.eol:], '\n')); complete {
			m.boundary(at, last)
		}
	}
	m.flush()
	m.finish(at, true)
}

// Boundary is the boundary of a multipart type; empty if there is none.
func Boundary(contentType string) string {
	if _, params, err := mime.ParseMediaType(contentType); err == nil {
		return params["boundary"]
	}
	// Cameras send unquoted boundaries that are no tokens (RFC 9110 section 5.6.2).
	_, params, _ := strings.Cut(contentType, ";")
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "boundary") {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// WithoutBoundary is the field's value less a multipart boundary, which most
// servers draw at random and which only frames.
func WithoutBoundary(f httpstream.Field) string {
	if !strings.EqualFold(f.Name, "Content-Type") || !strings.HasPrefix(MediaType(f.Value), "multipart/") {
		return f.Value
	}
	t, rest, _ := strings.Cut(f.Value, ";")
	kept := []string{t}
	for p := range strings.SplitSeq(rest, ";") {
		if name, _, _ := strings.Cut(p, "="); !strings.EqualFold(strings.TrimSpace(name), "boundary") && strings.TrimSpace(p) != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ";")
}
