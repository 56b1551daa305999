package tape

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"
)

// text reads a text on one line. It is valid until the next one is read.
func (q *quickReader) text(v []byte) []byte {
	if len(v) > 1 && v[0] == '"' {
		return q.quoted(v[1:])
	}
	if q.plain(v) == nil {
		q.giveUp()
	}
	return v
}

// plain returns v if every YAML reader takes it for this very text; else nil.
func (q *quickReader) plain(v []byte) []byte {
	if len(v) == 0 || v[0] != '/' && v[0] != '_' && !isAlphanumeric(v[0]) {
		return nil
	}
	for i, c := range v {
		switch {
		case c < ' ' || c > '~':
			return nil
		case c == ' ' && (i+1 == len(v) || v[i+1] == '#'),
			c == ':' && (i+1 == len(v) || v[i+1] == ' '):
			return nil
		}
	}
	if len(v) <= len("false") && !isPlain(string(v)) && !isNumeric(v) {
		return nil // null, true, yes …
	}
	return v
}

// isNumeric reports whether v begins as a number does: whatever it is, it is no word.
func isNumeric(v []byte) bool { return '0' <= v[0] && v[0] <= '9' }

// quoted reads what stands behind an opening quote, to the end of the line.
func (q *quickReader) quoted(v []byte) []byte {
	end := len(v) - 1
	if v[end] != '"' {
		q.giveUp()
		return nil
	}
	v = v[:end]
	out := q.unfold[:0]
	for i := 0; i < len(v); {
		switch c := v[i]; {
		case c == '"' || c < ' ' || c == 0x7f:
			q.giveUp()
			return nil
		case c < utf8.RuneSelf && c != '\\':
			out = append(out, c)
			i++
		case c == '\\':
			r, n := unescapeYAML(v[i+1:])
			if n == 0 {
				q.giveUp()
				return nil
			}
			out = utf8.AppendRune(out, r)
			i += 1 + n
		default:
			r, n := utf8.DecodeRune(v[i:])
			if r == utf8.RuneError || !isVisible(r) {
				q.giveUp()
				return nil
			}
			out = append(out, v[i:i+n]...)
			i += n
		}
	}
	q.unfold = out
	return out
}

// unescapeYAML reads what follows a backslash, n bytes, as yamlWriter writes it.
func unescapeYAML(v []byte) (r rune, n int) {
	if len(v) == 0 {
		return 0, 0
	}
	digits := 0
	switch v[0] {
	case '"', '\\':
		return rune(v[0]), 1
	case 'n':
		return '\n', 1
	case 'r':
		return '\r', 1
	case 't':
		return '\t', 1
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	}
	if digits == 0 || len(v) <= digits {
		return 0, 0
	}
	u, err := strconv.ParseUint(string(v[1:1+digits]), 16, 32)
	if err != nil || !utf8.ValidRune(rune(u)) || u > utf8.MaxRune {
		return 0, 0
	}
	return rune(u), 1 + digits
}

// A lineRule says what a literal block may hold.
type lineRule bool

const (
	asItIs    lineRule = false
	eachALine lineRule = true // of a stream: none is empty or begins with white space
)

// literal reads a block that is indented by n spaces. It is valid until the next text
// is read.
func (q *quickReader) literal(v []byte, n int, rule lineRule) []byte {
	out, length, ok := appendLiteral(q.unfold[:0], q.b[q.i:], v, n, rule)
	if !ok {
		q.giveUp()
	}
	q.i += length
	q.unfold = out
	return out
}

// quickLines returns the lines of a small answer below so many lines of its file, in
// the room that data has.
func quickLines(data []byte, above int) (lines []byte, ok bool) {
	if len(data) == 0 || data[len(data)-1] != '\n' {
		return nil, false
	}
	var header []byte
	for range above {
		if header, data, ok = bytes.Cut(data, []byte{'\n'}); !ok {
			return nil, false
		}
	}
	v, ok := bytes.CutPrefix(header, []byte("lines: "))
	if !ok {
		return nil, false
	}
	lines, _, ok = appendLiteral(data[:0], data, v, 2, eachALine)
	return lines, ok
}

// appendLiteral reads a block that is indented by n spaces, from b, which ends in a
// line feed. It returns how long the block is.
func appendLiteral(out, b, v []byte, n int, rule lineRule) (_ []byte, length int, ok bool) {
	i := 0
	for first := true; i < len(b); first = false {
		line := b[i:]
		line = line[:bytes.IndexByte(line, '\n')]
		indent := 0
		for indent < n && indent < len(line) && line[indent] == ' ' {
			indent++
		}
		if len(line) > 0 && indent == len(line) {
			return out, 0, false // white space alone
		}
		if len(line) > 0 && indent < n {
			break
		}
		text := line[indent:]
		if (first || rule == eachALine) && (len(text) == 0 || text[0] == ' ' || text[0] == '\t') || !isBlockLine(text) {
			return out, 0, false
		}
		i += len(line) + 1
		out = append(append(out, text...), '\n')
	}
	trailing := 0 // line feeds behind the last line with text
	for trailing < len(out) && out[len(out)-1-trailing] == '\n' {
		trailing++
	}
	switch {
	case string(v) == "|" && trailing == 1, string(v) == "|+" && trailing > 1:
		return out, i, true
	case string(v) == "|-" && trailing == 1:
		return out[:len(out)-1], i, true
	}
	return out, 0, false
}

// isBlockLine is what isLiteral asks of a line.
func isBlockLine(text []byte) bool {
	if len(text) == 0 {
		return true
	}
	if c := text[len(text)-1]; c == ' ' || c == '\t' {
		return false
	}
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c < 0x7f || c == '\t' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError || !isVisible(r) {
			return false
		}
		i += size
	}
	return true
}

// integer reads a whole number as it is written at its shortest.
func (q *quickReader) integer(v []byte, low, high int64) int64 {
	digits, negative := v, false
	if len(v) > 0 && v[0] == '-' {
		digits, negative = v[1:], true
	}
	if len(digits) == 0 || len(digits) > 18 || digits[0] == '0' && (len(digits) > 1 || negative) {
		q.giveUp()
		return 0
	}
	n := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' {
			q.giveUp()
			return 0
		}
		n = 10*n + int64(c-'0')
	}
	if negative {
		n = -n
	}
	if n < low || n > high {
		q.giveUp()
	}
	return n
}

func (q *quickReader) micros(v []byte, low int64) time.Duration {
	return time.Duration(q.integer(v, low, maxMicros)) * time.Microsecond
}

func (q *quickReader) yes(v []byte) bool {
	if string(v) != "true" {
		q.giveUp()
	}
	return true
}
