package tape

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

// parseLine reads one line strictly: known keys, each once, with their own types,
// and strings that stand for exact bytes, which is why encoding/json, which puts
// U+FFFD where a string is broken, does not do. The chunk's data is appended to
// buf[:0], and the grown buffer is returned to be used again.
func parseLine(b []byte, buf []byte) (l Line, grown []byte, err error) {
	if !utf8.Valid(b) {
		return l, buf, errors.New("not valid UTF-8")
	}
	p := &lineParser{b: b, data: buf[:0]}
	seen := keySet{}
	p.object(func(key string) {
		seen.add(p, strings.TrimSuffix(key, "_base64"))
		p.lineValue(&l, key, seen)
	})
	if p.space(); p.err == nil && p.i < len(p.b) {
		p.failf("something follows the object")
	}
	if p.err == nil {
		p.checkLine(&l, seen)
	}
	if len(p.data) > 0 {
		l.Data = p.data
	}
	return l, p.data, p.err
}

type keySet map[string]bool

func (s keySet) add(p *lineParser, key string) {
	if s[key] {
		p.failf("the key %q is there twice", key)
	}
	s[key] = true
}

func (p *lineParser) lineValue(l *Line, key string, seen keySet) {
	switch key {
	case "t":
		l.At = time.Duration(p.integer(0, maxMicros)) * time.Microsecond
	case "from":
		l.FromClient = true
		if from := p.text(); from != "client" {
			p.failf(`"from" is %q: expected "client"`, clip(from, 40))
		}
	case "of":
		l.Of = p.integer(1, math.MaxInt64)
	case "rest":
		l.Rest = p.boolean()
	case "size_line":
		l.SizeLine = p.text()
	case "size_line_base64":
		l.SizeLine = p.base64Text()
	case "text":
		p.data = p.appendString(p.data)
	case "base64":
		seen.add(p, "text")
		p.data = p.appendBase64(p.data)
	case "ws", "fin", "rsv", "status":
		if l.Frame == nil {
			l.Frame = &Frame{}
		}
		p.frameValue(l.Frame, key)
	case "deflated":
		l.Compressed = true
		l.Deflated = p.appendBase64(nil)
	case "end":
		end := &httpstream.EndInfo{}
		if l.End != nil {
			*end = *l.End
		}
		end.How = httpstream.End(p.text())
		l.End = end
	case "trailers", "code", "detail", "detail_base64":
		if l.End == nil {
			l.End = &httpstream.EndInfo{}
		}
		p.endValue(l.End, key)
	default:
		p.failf("unknown key %q: expected one of t, from, of, rest, size_line, ws, fin, rsv, status, text, base64, deflated, end, trailers, code, detail", clip(key, 40))
	}
}

func (p *lineParser) frameValue(f *Frame, key string) {
	switch key {
	case "ws":
		name := p.text()
		for op, known := range frameNames {
			if known == name {
				f.Op = op
				return
			}
		}
		p.failf(`"ws" is %q: expected text, binary, continuation, close, ping or pong`, clip(name, 40))
	case "fin":
		if f.More = !p.boolean(); !f.More {
			p.failf(`"fin" is true: leave it out`)
		}
	case "rsv":
		f.Reserved = int(p.integer(1, 7))
	case "status":
		f.Status = int(p.integer(1, math.MaxUint16))
	}
}

// checkFrame holds what belongs to the lines of a WebSocket.
func (p *lineParser) checkFrame(l *Line, seen keySet) {
	l.Unread = l.Compressed && !seen["text"]
	switch {
	case (seen["fin"] || seen["rsv"] || seen["status"]) && !seen["ws"]:
		p.failf(`"fin", "rsv" and "status" belong to a line with "ws"`)
	case l.Compressed && !seen["ws"] && !l.Rest:
		p.failf(`"deflated" belongs to a line with "ws" or "rest"`)
	case l.Frame == nil:
	case l.Rest || l.SizeLine != "":
		p.failf(`a line with "ws" begins a frame: it has neither "rest" nor "size_line"`)
	case l.Frame.Op >= websocket.Close && (l.Frame.More || l.Of != 0 || l.Compressed || len(l.Data) > 125):
		p.failf("a control frame is whole, not compressed, and has at most 125 bytes")
	case l.Frame.Op != websocket.Close && l.Frame.Status != 0:
		p.failf(`"status" belongs to a close frame`)
	}
}

func (p *lineParser) endValue(e *httpstream.EndInfo, key string) {
	switch key {
	case "trailers":
		p.array(func() { e.Trailer = append(e.Trailer, p.field()) })
	case "code":
		e.Code = uint32(p.integer(0, math.MaxUint32))
	case "detail":
		e.Detail = p.text()
	case "detail_base64":
		e.Detail = p.base64Text()
	}
}

// checkLine holds what a line must and must not have besides each other.
func (p *lineParser) checkLine(l *Line, seen keySet) {
	switch {
	case !seen["t"]:
		p.failf(`the line has no "t": expected the microseconds`)
	case l.End == nil && !seen["text"] && !seen["deflated"]:
		p.failf(`the line has neither "text", "base64" nor "end"`)
	case l.End == nil:
		p.checkFrame(l, seen)
	case !seen["end"]:
		p.failf(`"trailers", "code" and "detail" belong to a line with "end"`)
	case seen["text"] || seen["of"] || seen["rest"] || seen["size_line"] || seen["from"] || l.Frame != nil || l.Compressed:
		p.failf(`the end line has keys of a chunk: expected t, end, trailers, code and detail`)
	default:
		switch l.End.How {
		case httpstream.EOF, httpstream.Reset, httpstream.Closed, httpstream.Cancelled, httpstream.Open, httpstream.Malformed:
		default:
			p.failf(`"end" is %q: expected eof, reset, closed, cancelled, open or malformed`, clip(string(l.End.How), 40))
		}
	}
}

// field reads {"Name":"value"}, or the long form with name, value, sep and after.
func (p *lineParser) field() (f httpstream.Field) {
	type entry struct{ key, value string }
	var entries []entry
	p.object(func(key string) { entries = append(entries, entry{key, p.text()}) })
	if len(entries) == 1 {
		return httpstream.Field{Name: entries[0].key, Value: entries[0].value}
	}
	seen := keySet{}
	for _, e := range entries {
		name, coded := strings.CutSuffix(e.key, "_base64")
		seen.add(p, name)
		if coded {
			raw, err := base64.StdEncoding.Strict().DecodeString(e.value)
			if err != nil {
				p.failf("%s: %v", e.key, err)
			}
			e.value = string(raw)
		}
		switch name {
		case "name":
			f.Name = e.value
		case "value":
			f.Value = e.value
		case "sep":
			f.Sep = e.value
		case "after":
			f.After = e.value
		default:
			p.failf("unknown key %q in a trailer: expected name, value, sep, after", clip(e.key, 40))
		}
	}
	if !seen["name"] || !seen["value"] {
		p.failf(`a trailer without name or value: expected {"Name":"value"}`)
	}
	return f
}

// A lineParser reads JSON (RFC 8259) from valid UTF-8 and keeps its first error.
type lineParser struct {
	b    []byte
	i    int
	data []byte
	err  error
}

func (p *lineParser) failf(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
		p.i = len(p.b)
	}
}

func (p *lineParser) space() {
	for p.i < len(p.b) && (p.b[p.i] == ' ' || p.b[p.i] == '\t' || p.b[p.i] == '\r' || p.b[p.i] == '\n') {
		p.i++
	}
}

// take skips white space and then c, if it is there.
func (p *lineParser) take(c byte) bool {
	p.space()
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *lineParser) expect(c byte) {
	if !p.take(c) {
		p.failf("not valid JSON at column %d: expected %q", p.i+1, c)
	}
}

func (p *lineParser) object(value func(key string)) {
	p.expect('{')
	for first := true; p.err == nil && !p.take('}'); first = false {
		if !first {
			p.expect(',')
		}
		key := p.text()
		p.expect(':')
		if p.err == nil {
			value(key)
		}
	}
}

func (p *lineParser) array(value func()) {
	p.expect('[')
	for first := true; p.err == nil && !p.take(']'); first = false {
		if !first {
			p.expect(',')
		}
		value()
	}
}

func (p *lineParser) word() string {
	p.space()
	start := p.i
	for p.i < len(p.b) && strings.IndexByte(",}] \t\r\n", p.b[p.i]) < 0 {
		p.i++
	}
	return string(p.b[start:p.i])
}

func (p *lineParser) integer(low, high int64) int64 {
	w := p.word()
	n, err := strconv.ParseInt(w, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != w {
		p.failf("%q: expected a whole number", clip(w, 40))
	} else if n < low || n > high {
		p.failf("%d: expected a number from %d to %d", n, low, high)
	}
	return n
}

func (p *lineParser) boolean() bool {
	w := p.word()
	if w != "true" && w != "false" {
		p.failf("%q: expected true or false", clip(w, 40))
	}
	return w == "true"
}

func (p *lineParser) text() string { return string(p.appendString(nil)) }

func (p *lineParser) base64Text() string { return string(p.appendBase64(nil)) }

// appendBase64 decodes in place of the encoded bytes, so a line is held twice at most.
func (p *lineParser) appendBase64(dst []byte) []byte {
	start := len(dst)
	dst = p.appendString(dst)
	n, err := base64.StdEncoding.Strict().Decode(dst[start:], dst[start:])
	if err != nil {
		p.failf("base64: %v", err)
	}
	return dst[:start+n]
}

func (p *lineParser) appendString(dst []byte) []byte {
	p.expect('"')
	start := p.i
	for p.i < len(p.b) {
		switch c := p.b[p.i]; {
		case c == '"':
			dst = append(dst, p.b[start:p.i]...)
			p.i++
			return dst
		case c == '\\':
			dst = append(dst, p.b[start:p.i]...)
			dst = p.appendEscaped(dst)
			start = p.i
		case c < ' ':
			p.failf("not valid JSON at column %d: a control character in a string", p.i+1)
		default:
			p.i++
		}
	}
	p.failf("not valid JSON: a string has no end")
	return dst
}

// appendEscaped reads one escape; the backslash is at p.i.
func (p *lineParser) appendEscaped(dst []byte) []byte {
	if p.i+1 >= len(p.b) {
		p.failf("not valid JSON: a string has no end")
		return dst
	}
	c := p.b[p.i+1]
	if c != 'u' {
		plain := strings.IndexByte(`"\/bfnrt`, c)
		if plain < 0 {
			p.failf("not valid JSON at column %d: unknown escape \\%c", p.i+1, rune(c))
			return dst
		}
		p.i += 2
		return append(dst, "\"\\/\b\f\n\r\t"[plain])
	}
	r := p.hex4()
	if utf16.IsSurrogate(r) {
		low := rune(-1)
		if p.i+1 < len(p.b) && p.b[p.i] == '\\' && p.b[p.i+1] == 'u' {
			low = p.hex4()
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			p.failf("not valid JSON at column %d: half of a surrogate pair", p.i+1)
			return dst
		}
	}
	return utf8.AppendRune(dst, r)
}

// hex4 reads \uXXXX at p.i.
func (p *lineParser) hex4() rune {
	if p.i+6 <= len(p.b) {
		if v, err := strconv.ParseUint(string(p.b[p.i+2:p.i+6]), 16, 16); err == nil {
			p.i += 6
			return rune(v)
		}
	}
	p.failf("not valid JSON at column %d: expected \\u and four hexadecimal digits", p.i+1)
	return 0
}
