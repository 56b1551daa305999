package tape

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/jsonvalue"
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
	p := &lineParser{Scanner: jsonvalue.Scanner{In: b, Strict: true}, data: buf[:0]}
	p.object(func(key []byte) { p.lineValue(&l, key) })
	if p.err == nil && p.End() != nil {
		p.failf("something follows the object")
	}
	if p.err == nil {
		p.checkLine(&l)
	}
	if len(p.data) > 0 {
		l.Data = p.data
	}
	return l, p.data, p.err
}

// A keySet is the keys that a line has.
type keySet uint32

const (
	keyT keySet = 1 << iota
	keyFrom
	keyOf
	keyRest
	keySizeLine
	keyText // or base64
	keyBase64
	keyWS
	keyFin
	keyRSV
	keyStatus
	keyDeflated
	keyEnd
	keyTrailers
	keyCode
	keyDetail
)

func (s keySet) has(keys keySet) bool { return s&keys != 0 }

// add notes a key that may be there once.
func (p *lineParser) add(k keySet, key []byte) {
	if p.seen.has(k) {
		p.failf("the key %q is there twice", strings.TrimSuffix(string(key), "_base64"))
	}
	p.seen |= k
}

func (p *lineParser) lineValue(l *Line, key []byte) {
	known := p.chunkValue(l, key) || p.frameValue(l, key) || p.endValue(l, key)
	if !known {
		p.failf("unknown key %q: expected one of t, from, of, rest, size_line, ws, fin, rsv, status, text, base64, deflated, end, trailers, code, detail", clip(string(key), 40))
	}
}

// chunkValue reads what a line of a chunk has; false for another key.
func (p *lineParser) chunkValue(l *Line, key []byte) bool {
	switch string(key) {
	case "t":
		p.add(keyT, key)
		l.At = time.Duration(p.integer(0, maxMicros)) * time.Microsecond
	case "from":
		p.add(keyFrom, key)
		l.FromClient = true
		if from := p.text(); from != "client" {
			p.failf(`"from" is %q: expected "client"`, clip(from, 40))
		}
	case "of":
		p.add(keyOf, key)
		l.Of = p.integer(1, math.MaxInt64)
	case "rest":
		p.add(keyRest, key)
		l.Rest = p.boolean()
	case "size_line":
		p.add(keySizeLine, key)
		l.SizeLine = p.text()
	case "size_line_base64":
		p.add(keySizeLine, key)
		l.SizeLine = p.base64Text()
	case "text":
		p.add(keyText, key)
		p.data = p.appendString(p.data)
	case "base64":
		p.add(keyBase64, key)
		p.add(keyText, []byte("text"))
		p.data = p.appendBase64(p.data)
	case "deflated":
		p.add(keyDeflated, key)
		l.Compressed = true
		l.Deflated = p.appendBase64(nil)
	default:
		return false
	}
	return true
}

// frameValue reads what a frame of a WebSocket has beside its data.
func (p *lineParser) frameValue(l *Line, key []byte) bool {
	var f Frame
	if l.Frame != nil {
		f = *l.Frame
	}
	switch string(key) {
	case "ws":
		p.add(keyWS, key)
		name := p.text()
		op, ok := opcodeOf(name)
		if f.Op = op; !ok {
			p.failf(`"ws" is %q: expected text, binary, continuation, close, ping or pong`, clip(name, 40))
		}
	case "fin":
		p.add(keyFin, key)
		if f.More = !p.boolean(); !f.More {
			p.failf(`"fin" is true: leave it out`)
		}
	case "rsv":
		p.add(keyRSV, key)
		f.Reserved = int(p.integer(1, 7))
	case "status":
		p.add(keyStatus, key)
		f.Status = int(p.integer(1, math.MaxUint16))
	default:
		return false
	}
	frame := f
	l.Frame = &frame
	return true
}

// checkFrame holds what belongs to the lines of a WebSocket.
func (p *lineParser) checkFrame(l *Line) {
	seen := p.seen
	l.Unread = l.Compressed && !seen.has(keyText)
	switch {
	case seen.has(keyFin|keyRSV|keyStatus) && !seen.has(keyWS):
		p.failf(`"fin", "rsv" and "status" belong to a line with "ws"`)
	case l.Compressed && !seen.has(keyWS) && !l.Rest:
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

func opcodeOf(name string) (op int, ok bool) {
	for op, known := range frameNames {
		if known == name {
			return op, true
		}
	}
	return 0, false
}

// endValue reads what the end line has.
func (p *lineParser) endValue(l *Line, key []byte) bool {
	var e httpstream.EndInfo
	if l.End != nil {
		e = *l.End
	}
	switch string(key) {
	case "end":
		p.add(keyEnd, key)
		e.How = httpstream.End(p.text())
	case "trailers":
		p.add(keyTrailers, key)
		p.array(func() { e.Trailer = append(e.Trailer, p.field()) })
	case "code":
		p.add(keyCode, key)
		e.Code = uint32(p.integer(0, math.MaxUint32))
	case "detail":
		p.add(keyDetail, key)
		e.Detail = p.text()
	case "detail_base64":
		p.add(keyDetail, key)
		e.Detail = p.base64Text()
	default:
		return false
	}
	end := e
	l.End = &end
	return true
}

// checkLine holds what a line must and must not have besides each other.
func (p *lineParser) checkLine(l *Line) {
	seen := p.seen
	switch {
	case !seen.has(keyT):
		p.failf(`the line has no "t": expected the microseconds`)
	case l.End == nil && !seen.has(keyText) && !seen.has(keyDeflated):
		p.failf(`the line has neither "text", "base64" nor "end"`)
	case l.End == nil:
		p.checkFrame(l)
	case !seen.has(keyEnd):
		p.failf(`"trailers", "code" and "detail" belong to a line with "end"`)
	case seen.has(keyText|keyOf|keyRest|keySizeLine|keyFrom) || l.Frame != nil || l.Compressed:
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
	p.object(func(key []byte) {
		name := string(key) // before the value is read
		entries = append(entries, entry{name, p.text()})
	})
	if len(entries) == 1 {
		return httpstream.Field{Name: entries[0].key, Value: entries[0].value}
	}
	seen := map[string]bool{}
	for _, e := range entries {
		name, coded := strings.CutSuffix(e.key, "_base64")
		if seen[name] {
			p.failf("the key %q is there twice", name)
		}
		seen[name] = true
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

// A lineParser reads a line with the strict scanner and keeps its first error.
type lineParser struct {
	jsonvalue.Scanner
	data []byte // the chunk's
	buf  []byte // for keys and texts
	seen keySet
	err  error
}

func (p *lineParser) failf(format string, args ...any) {
	p.fail(fmt.Errorf(format, args...))
}

func (p *lineParser) fail(err error) {
	if p.err != nil {
		return
	}
	if s := (*jsonvalue.SyntaxError)(nil); errors.As(err, &s) {
		err = fmt.Errorf("not valid JSON at column %d: %s", s.Offset+1, s.Reason)
	}
	p.err = err
	p.Pos = len(p.In)
}

// object calls value for each member, with the scanner before its value. The key
// is valid only until value reads on.
func (p *lineParser) object(value func(key []byte)) {
	p.expect('{')
	for first := true; p.err == nil; first = false {
		if done, err := p.Next('}', first); done || err != nil {
			if err != nil {
				p.fail(err)
			}
			return
		}
		key := p.raw()
		p.expect(':')
		if p.err == nil {
			value(key)
		}
	}
}

func (p *lineParser) array(value func()) {
	p.expect('[')
	for first := true; p.err == nil; first = false {
		if done, err := p.Next(']', first); done || err != nil {
			if err != nil {
				p.fail(err)
			}
			return
		}
		value()
	}
}

func (p *lineParser) expect(c byte) {
	if err := p.Expect(c); err != nil {
		p.fail(err)
	}
}

// word reads up to what ends a number or a literal.
func (p *lineParser) word() []byte {
	p.Space()
	start := p.Pos
	for p.Pos < len(p.In) && strings.IndexByte(",}] \t\r\n", p.In[p.Pos]) < 0 {
		p.Pos++
	}
	return p.In[start:p.Pos]
}

func (p *lineParser) integer(low, high int64) int64 {
	w := p.word()
	n, err := strconv.ParseInt(string(w), 10, 64)
	if err != nil || w[0] == '+' || w[0] == '0' && len(w) > 1 || w[0] == '-' && (n == 0 || w[1] == '0') {
		p.failf("%q: expected a whole number", clip(string(w), 40))
	} else if n < low || n > high {
		p.failf("%d: expected a number from %d to %d", n, low, high)
	}
	return n
}

func (p *lineParser) boolean() bool {
	w := string(p.word())
	if w != "true" && w != "false" {
		p.failf("%q: expected true or false", clip(w, 40))
	}
	return w == "true"
}

// raw reads a string; what it returns is valid until the next one is read.
func (p *lineParser) raw() []byte {
	s, err := p.String(&p.buf)
	if err != nil {
		p.fail(err)
	}
	return s
}

func (p *lineParser) text() string { return string(p.raw()) }

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
	dst, err := p.AppendString(dst)
	if err != nil {
		p.fail(err)
	}
	return dst
}
