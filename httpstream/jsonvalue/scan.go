// Package jsonvalue reads JSON (RFC 8259) without losing anything of it: numbers
// as exact decimals, strings by their code units, names that occur twice. It has
// the scanner that every strict reader of JSON shares, and JSONPath (RFC 9535).
package jsonvalue

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// A Scanner reads the tokens of one JSON text, one after another. It holds no
// memory of its own. After an error it must not be used any further.
type Scanner struct {
	In  []byte
	Pos int // offset of the next byte
	// Strict refuses half of a surrogate pair (RFC 8259 section 8.2). Without it,
	// one becomes the three bytes that it would have if it were a character (WTF-8),
	// so that different strings stay different.
	Strict bool
}

// A SyntaxError says why a text is not JSON.
type SyntaxError struct {
	Offset int    // of the byte that is wrong, from 0
	Reason string // "expected ':'", "a control character in a string"
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.Reason) }

func (s *Scanner) fail(reason string) error { return &SyntaxError{s.Pos, reason} }

const (
	unclosed = "a string has no end"
	badHex   = `expected \u and four hexadecimal digits`
)

// Space skips insignificant white space (RFC 8259 section 2).
func (s *Scanner) Space() {
	for s.Pos < len(s.In) {
		switch s.In[s.Pos] {
		case ' ', '\t', '\n', '\r':
			s.Pos++
		default:
			return
		}
	}
}

// Peek skips white space and returns the byte after it; 0 at the end.
func (s *Scanner) Peek() byte {
	if s.Space(); s.Pos < len(s.In) {
		return s.In[s.Pos]
	}
	return 0
}

// Take skips white space, and then c if it comes next.
func (s *Scanner) Take(c byte) bool {
	if s.Peek() != c || s.Pos == len(s.In) {
		return false
	}
	s.Pos++
	return true
}

// Expect is Take for what must come next.
func (s *Scanner) Expect(c byte) error {
	if s.Take(c) {
		return nil
	}
	return s.fail(fmt.Sprintf("expected %q", c))
}

// Next reads what stands between the elements of an array or the members of an
// object: a comma, or end. first is set before the first of them.
func (s *Scanner) Next(end byte, first bool) (done bool, err error) {
	switch {
	case s.Take(end):
		return true, nil
	case first:
		return false, nil
	}
	return false, s.Expect(',')
}

// End makes sure that nothing but white space is left.
func (s *Scanner) End() error {
	if s.Space(); s.Pos < len(s.In) {
		return s.fail("expected the end")
	}
	return nil
}

// Literal reads a word: true, false or null.
func (s *Scanner) Literal(word string) error {
	s.Space()
	if len(s.In)-s.Pos < len(word) || string(s.In[s.Pos:s.Pos+len(word)]) != word {
		return s.fail("expected " + word)
	}
	s.Pos += len(word)
	return nil
}

// Number reads a number (RFC 8259 section 6) and returns it as it stands in In.
func (s *Scanner) Number() ([]byte, error) {
	s.Space()
	start := s.Pos
	if s.at('-') {
		s.Pos++
	}
	if s.at('0') {
		s.Pos++
	} else if !s.digits() {
		return nil, s.fail("expected a digit")
	}
	if s.at('.') {
		s.Pos++
		if !s.digits() {
			return nil, s.fail("expected a digit")
		}
	}
	if s.at('e') || s.at('E') {
		s.Pos++
		if s.at('+') || s.at('-') {
			s.Pos++
		}
		if !s.digits() {
			return nil, s.fail("expected a digit")
		}
	}
	return s.In[start:s.Pos], nil
}

func (s *Scanner) at(c byte) bool { return s.Pos < len(s.In) && s.In[s.Pos] == c }

func (s *Scanner) digits() bool {
	start := s.Pos
	for s.Pos < len(s.In) && s.In[s.Pos] >= '0' && s.In[s.Pos] <= '9' {
		s.Pos++
	}
	return s.Pos > start
}

// String reads a string. What it returns is a part of In if the string has no
// escapes; else it is in *buf, which is overwritten.
func (s *Scanner) String(buf *[]byte) ([]byte, error) {
	if err := s.Expect('"'); err != nil {
		return nil, err
	}
	start := s.Pos
	s.Pos = plain(s.In, start)
	if s.at('"') {
		s.Pos++
		return s.In[start : s.Pos-1 : s.Pos-1], nil
	}
	out, err := s.rest(append((*buf)[:0], s.In[start:s.Pos]...))
	*buf = out
	return out, err
}

// AppendString reads a string and appends what it stands for to dst.
func (s *Scanner) AppendString(dst []byte) ([]byte, error) {
	if err := s.Expect('"'); err != nil {
		return dst, err
	}
	return s.rest(dst)
}

// rest reads a string from behind its opening quote, or from somewhere inside it.
func (s *Scanner) rest(dst []byte) ([]byte, error) {
	in, i := s.In, s.Pos
	for {
		start := i
		i = plain(in, i)
		dst = append(dst, in[start:i]...)
		if i == len(in) {
			s.Pos = i
			return dst, s.fail(unclosed)
		}
		switch c := in[i]; {
		case c == '"':
			s.Pos = i + 1
			return dst, nil
		case c != '\\':
			s.Pos = i
			return dst, s.fail("a control character in a string")
		case i+1 < len(in) && escapes[in[i+1]] != 0:
			dst = append(dst, escapes[in[i+1]])
			i += 2
		default:
			s.Pos = i
			var err error
			if dst, err = s.unicode(dst); err != nil {
				return dst, err
			}
			i = s.Pos
		}
	}
}

// plain skips what stands for itself in a string: up to a quote, a backslash or a
// control character. Long runs are skipped eight bytes at a time.
func plain(in []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	const short = 16
	for end := min(i+short, len(in)); i < end; i++ {
		if in[i] == '"' || in[i] == '\\' || in[i] < ' ' {
			return i
		}
	}
	for ; i+8 <= len(in); i += 8 {
		w := binary.LittleEndian.Uint64(in[i:])
		quote, backslash := w^(ones*'"'), w^(ones*'\\')
		// The high bit of a byte is set where it is below ' ', '"' or '\\', and only
		// behind such a byte where it is not.
		if ((w-ones*' ')&^w|(quote-ones)&^quote|(backslash-ones)&^backslash)&highs != 0 {
			break
		}
	}
	for i < len(in) && in[i] != '"' && in[i] != '\\' && in[i] >= ' ' {
		i++
	}
	return i
}

// escapes are what the escapes of one character stand for (RFC 8259 section 7).
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unicode reads the \uXXXX at Pos, and a second one where the two make a
// surrogate pair.
func (s *Scanner) unicode(dst []byte) ([]byte, error) {
	switch {
	case s.Pos+1 >= len(s.In):
		return dst, s.fail(unclosed)
	case s.In[s.Pos+1] != 'u':
		return dst, s.fail(fmt.Sprintf(`unknown escape \%c`, rune(s.In[s.Pos+1])))
	}
	r, ok := s.hex4(s.Pos)
	if !ok {
		return dst, s.fail(badHex)
	}
	s.Pos += 6
	if r < 0xd800 || r > 0xdfff {
		return utf8.AppendRune(dst, r), nil
	}
	low := rune(0)
	if s.Pos+1 < len(s.In) && s.In[s.Pos] == '\\' && s.In[s.Pos+1] == 'u' {
		if low, ok = s.hex4(s.Pos); !ok {
			return dst, s.fail(badHex)
		}
	}
	switch {
	case r < 0xdc00 && low >= 0xdc00 && low < 0xe000:
		s.Pos += 6
		return utf8.AppendRune(dst, 0x10000+(r-0xd800)<<10+(low-0xdc00)), nil
	case s.Strict:
		return dst, s.fail("half of a surrogate pair")
	}
	return append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f), nil
}

// hex4 reads the digits of the \uXXXX at i.
func (s *Scanner) hex4(i int) (r rune, ok bool) {
	if i+6 > len(s.In) {
		return 0, false
	}
	for _, c := range s.In[i+2 : i+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
