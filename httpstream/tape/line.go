package tape

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream"
)

// AppendLine appends the line as it stands in a stream file, without the line
// end: a JSON object whose strings hold exactly the bytes of the chunk.
func AppendLine(b []byte, l *Line) []byte {
	b = append(b, `{"t":`...)
	b = strconv.AppendInt(b, floorMicros(l.At), 10)
	if l.FromClient {
		b = append(b, `,"from":"client"`...)
	}
	if l.End != nil {
		return append(appendEnd(b, l.End), '}')
	}
	if l.Of != 0 {
		b = append(b, `,"of":`...)
		b = strconv.AppendInt(b, l.Of, 10)
	}
	if l.Rest {
		b = append(b, `,"rest":true`...)
	}
	if l.SizeLine != "" {
		b = appendText(b, "size_line", l.SizeLine)
	}
	if l.Frame != nil {
		b = appendFrame(b, l.Frame)
	}
	if l.Unread {
		return append(appendDeflated(b, l.Deflated), '}')
	}
	if isReadable(l.Data) {
		b = append(b, `,"text":`...)
		b = appendString(b, l.Data)
	} else {
		b = append(b, `,"base64":"`...)
		b = appendBase64(b, l.Data)
		b = append(b, '"')
	}
	if l.Compressed {
		b = appendDeflated(b, l.Deflated)
	}
	return append(b, '}')
}

func appendFrame(b []byte, f *Frame) []byte {
	b = appendText(b, "ws", f.Name())
	if f.More {
		b = append(b, `,"fin":false`...)
	}
	if f.Reserved != 0 {
		b = append(b, `,"rsv":`...)
		b = strconv.AppendInt(b, int64(f.Reserved), 10)
	}
	if f.Status != 0 {
		b = append(b, `,"status":`...)
		b = strconv.AppendInt(b, int64(f.Status), 10)
	}
	return b
}

func appendDeflated(b, data []byte) []byte {
	b = append(b, `,"deflated":"`...)
	b = appendBase64(b, data)
	return append(b, '"')
}

func appendEnd(b []byte, e *httpstream.EndInfo) []byte {
	b = append(b, `,"end":`...)
	b = appendString(b, string(e.How))
	if len(e.Trailer) > 0 {
		b = append(b, `,"trailers":[`...)
		for i := range e.Trailer {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendField(b, &e.Trailer[i])
		}
		b = append(b, ']')
	}
	if e.Code != 0 {
		b = append(b, `,"code":`...)
		b = strconv.AppendUint(b, uint64(e.Code), 10)
	}
	if e.Detail != "" {
		b = appendText(b, "detail", e.Detail)
	}
	return b
}

// appendField writes {"Name":"value"}, or the long form if that would not say all.
func appendField(b []byte, f *httpstream.Field) []byte {
	if f.Sep == "" && f.After == "" && utf8.ValidString(f.Name) && utf8.ValidString(f.Value) {
		b = append(b, '{')
		b = appendString(b, f.Name)
		b = append(b, ':')
		b = appendString(b, f.Value)
		return append(b, '}')
	}
	start := len(b)
	b = appendText(b, "name", f.Name)
	b = appendText(b, "value", f.Value)
	if f.Sep != "" {
		b = appendText(b, "sep", f.Sep)
	}
	if f.After != "" {
		b = appendText(b, "after", f.After)
	}
	b[start] = '{' // in place of the first comma
	return append(b, '}')
}

// isReadable reports whether a chunk is written as text: bytes that are UTF-8, unless
// so many are control characters that nobody could read it and base64 is shorter.
func isReadable(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	controls := 0
	for _, c := range data {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			controls++
		}
	}
	return controls <= 8 || controls < len(data)/8
}

// appendText writes a further key with a string; bytes that are not UTF-8 go as key_base64.
func appendText(b []byte, key, value string) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	if utf8.ValidString(value) {
		b = append(b, `":`...)
		return appendString(b, value)
	}
	b = append(b, `_base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, []byte(value))
	return append(b, '"')
}

// appendString writes valid UTF-8 as a JSON string (RFC 8259 section 7) and
// escapes, beside what must be, everything that a reviewer would not see.
func appendString[S string | []byte](b []byte, s S) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[start:i]...)
			b = appendEscape(b, rune(c))
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if !isVisible(r) {
			b = append(b, s[start:i]...)
			b = appendEscape(b, r)
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendEscape(b []byte, r rune) []byte {
	switch {
	case r == '"' || r == '\\':
		return append(b, '\\', byte(r))
	case r == '\n':
		return append(b, `\n`...)
	case r == '\r':
		return append(b, `\r`...)
	case r == '\t':
		return append(b, `\t`...)
	case r <= 0xffff:
		return appendHex(append(b, `\u`...), uint32(r), 4)
	}
	r -= 0x10000
	b = appendHex(append(b, `\u`...), uint32(0xd800+r>>10), 4)
	return appendHex(append(b, `\u`...), uint32(0xdc00+r&0x3ff), 4)
}
