package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
)

// maxName is the longest name of a JSON member that is judged, in bytes.
const maxName = 80

// levels is how deep JSON in strings of JSON is read.
const levels = 4

// members follows the names and values of JSON. What it knows is a quote, how deep it
// is in strings of strings (by the backslashes before it), and whether what stands
// between it and the one before is a name, since a colon follows.
type members struct {
	state   memberState
	quotes  [levels]int64 // the last quote of each level
	level   int           // of the value
	named   int           // bytes of its name
	how     strength
	start   int64 // of the value
	line    int64 // where the white space's line begins, behind a line end
	partial bool  // the value's beginning was given out
	array   bool  // it is one of an array
}

type memberState uint8

const (
	betweenQuotes memberState = iota
	behindName                // a colon should follow
	behindColon               // the value should follow
	inString
	inNumber
	inArray // of values, outside of strings
)

func (m *members) reset() {
	*m = members{}
	for i := range m.quotes {
		m.quotes[i] = never
	}
}

// held is the offset from which the value under way is held, or never.
func (m *members) held() int64 {
	if m.state == inString || m.state == inNumber {
		return m.start
	}
	return never
}

// quoteLevel is how deep a quote is with n backslashes before it, or -1: at depth d
// there are 2^d-1 of its own, behind those of the text, which come 2^(d+1) at a time.
func quoteLevel(n int) int {
	for d := range levels {
		if n%(2<<d) == 1<<d-1 {
			return d
		}
	}
	return -1
}

func (s *Scan) lookForMembers() {
	m := &s.members
	for at := s.seen; at < s.end(); {
		c := s.buf[at-s.base]
		switch m.state {
		case betweenQuotes:
			if at = s.skipMembers(at); at < s.end() {
				at = s.nextQuote(at)
			}
		case inString, inArray:
			at = s.nextQuote(at)
		case behindName, behindColon:
			at = s.behind(at, c)
		case inNumber:
			if c >= '0' && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-' {
				at++
				continue
			}
			s.member(at, number)
			m.state = betweenQuotes
		}
	}
	if s.closed {
		switch m.state {
		case inString:
			s.member(s.end(), value)
		case inNumber:
			s.member(s.end(), number)
		}
		m.state = betweenQuotes
	}
}

// skipMembers passes over what is no secret: nearly all that there is. It stops before
// a quote that has to be looked at.
func (s *Scan) skipMembers(at int64) int64 {
	m := &s.members
	b := s.buf
	last := -1 // the last quote, if it is in b
	if q := m.quotes[0]; q != never && q >= s.base {
		last = int(q - s.base)
	}
	i := int(at - s.base)
	for ; i < len(b); i++ {
		// The next quote is near, or far.
		for near := min(i+16, len(b)); i < near && b[i] != '"'; i++ {
		}
		if i < len(b) && b[i] != '"' {
			far := bytes.IndexByte(b[i:], '"')
			if far < 0 {
				i = len(b)
			} else {
				i += far
			}
		}
		if i == len(b) {
			break
		}
		if i+1 >= len(b) || i > 0 && b[i-1] == '\\' || last < 0 {
			break
		}
		if c := b[i+1]; c <= ' ' || c == ':' && (i-last-1 > maxName || s.lent.known.judge(b[last+1:i]) != no) {
			break
		}
		last = i
		i++ // no quote is behind one that is not looked at, but an empty text's
		if b[i] == '"' {
			i--
		}
	}
	if last >= 0 {
		m.quotes[0] = s.base + int64(last)
	}
	return s.base + int64(i)
}

// judged are the names that were met last: few come again and again.
type judged struct {
	of    *Finder
	names [16]struct {
		name string
		how  strength
	}
}

func (j *judged) judge(name []byte) strength {
	if len(name) == 0 {
		return no
	}
	first, middle, last := int(name[0]), int(name[len(name)/2]), int(name[len(name)-1])
	entry := &j.names[(len(name)+first+3*middle+7*last)%len(j.names)]
	if entry.name != string(name) {
		entry.name, entry.how = string(name), j.of.written(name)
	}
	return entry.how
}

// nextQuote goes on behind the next quote.
func (s *Scan) nextQuote(at int64) int64 {
	m := &s.members
	rest := s.from(at)
	i := bytes.IndexByte(rest, '"')
	if m.state == inString {
		inside := rest
		if i >= 0 {
			inside = rest[:i]
		}
		if line := bytes.IndexByte(inside, '\n'); line >= 0 {
			i = line // no string goes on there
		}
		if i < 0 && s.end()-m.start > maxHeld {
			s.member(s.end(), value)
			m.start, m.partial = s.end(), true
		}
	}
	if i < 0 {
		if m.state == inArray && bytes.IndexByte(rest, ']') >= 0 {
			m.state = betweenQuotes
		}
		return s.end()
	}
	q := at + int64(i)
	if s.buf[q-s.base] == '\n' {
		s.member(q, value)
		m.state = betweenQuotes
		return q + 1
	}
	n := 0
	for j := int(q-s.base) - 1; j >= 0 && s.buf[j] == '\\'; j-- {
		n++
	}
	level := quoteLevel(n)
	switch m.state {
	case inString:
		if level < 0 || level > m.level {
			return q + 1 // of a string in the string
		}
		s.member(q-(1<<level-1), value)
		m.state = betweenQuotes
		if m.array {
			m.state = inArray
		}
		m.quotes[level] = q
		return q + 1
	case inArray:
		if bytes.IndexByte(rest[:i], ']') >= 0 {
			m.state = betweenQuotes
			return q // once more: it may begin a name
		}
		if level == m.level {
			m.state, m.start, m.partial = inString, q+1, false
		}
		return q + 1
	}
	if level < 0 {
		return q + 1
	}
	before := m.quotes[level]
	m.quotes[level] = q
	end := q - (1<<level - 1)
	if before == never || before+1 < s.base || end-before-1 > maxName || end <= before {
		return q + 1
	}
	name := s.between(before+1, end)
	if q+1 < s.end() {
		switch s.buf[q+1-s.base] {
		case ':':
			if m.how = s.lent.known.judge(name); m.how == no {
				return q + 2
			}
		case ' ', '\t', '\r', '\n':
		case '\\':
			if level == 0 {
				return q + 1
			}
		default:
			return q + 1 // the usual case, behind a value
		}
	}
	m.state, m.level = behindName, level
	m.named = copy(s.lent.name[:], name)
	return q + 1
}

// behind goes on behind a name, up to its value.
func (s *Scan) behind(at int64, c byte) int64 {
	m := &s.members
	switch {
	case c == ' ' || c == '\t' || c == '\r':
		return at + 1
	case c == '\n':
		m.line = at + 1
		return at + 1
	case c == '\\' && m.level > 0:
		// Of an escaped line end, or before the value's quote.
		return at + 1
	case m.state == behindName:
		m.state = betweenQuotes
		if c != ':' {
			return at
		}
		if m.how = s.f.written(s.lent.name[:m.named]); m.how != no {
			m.state, m.line, m.array = behindColon, never, false
		}
		return at + 1
	case m.line != never && at-m.line < int64(len("data:")) && c == "data:"[at-m.line]:
		return at + 1 // of an event in several lines
	case c == '"':
		m.state, m.start, m.partial = inString, at+1, false
		return at + 1
	case c == '-' || c >= '0' && c <= '9':
		m.state, m.start, m.partial = inNumber, at, false
		return at + 1
	case c == '[':
		m.state, m.array = inArray, true
		return at + 1
	}
	m.state = betweenQuotes
	return at
}

// member keeps the value that ends there, if it is a secret.
func (s *Scan) member(end int64, k kind) {
	m := &s.members
	if m.start >= end || m.how == likely && !m.partial && (k == number || !plausible(s.between(m.start, end))) {
		return
	}
	s.add(Finding{Start: m.start, End: end, Rule: "member " + unescapedMember(s.lent.name[:m.named]), from: m.start, kind: k})
}

// unescapedMember is the name that a string of JSON has.
func unescapedMember(name []byte) string {
	var plain string
	if bytes.IndexByte(name, '\\') >= 0 && json.Unmarshal(fmt.Appendf(nil, `"%s"`, name), &plain) == nil {
		return plain
	}
	return string(name)
}

// unescaped is the name that a form has.
func unescaped(name []byte) string {
	if plain, err := url.QueryUnescape(string(name)); err == nil {
		return plain
	}
	return string(name)
}
