package tape

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A yamlWriter writes the few forms of YAML that tape files use. It is written by
// hand because the library quotes, on one line, any text with a tab or a
// character beyond the basic plane, and such bodies are to stay readable.
type yamlWriter struct {
	b     []byte
	depth int
	dash  bool // the next line begins a list item
}

func (w *yamlWriter) pad(n int) {
	for range n {
		w.b = append(w.b, ' ')
	}
}

// begin starts a line at the present depth.
func (w *yamlWriter) begin() {
	if !w.dash {
		w.pad(2 * w.depth)
		return
	}
	w.dash = false
	w.pad(2*w.depth - 2)
	w.b = append(w.b, "- "...)
}

// raw writes a key with a value that needs no quotes.
func (w *yamlWriter) raw(key, value string) {
	w.begin()
	w.b = append(w.b, key...)
	w.b = append(w.b, ": "...)
	w.b = append(w.b, value...)
	w.b = append(w.b, '\n')
}

// text writes a key with a text value; bytes that are not UTF-8 go as key_base64.
func (w *yamlWriter) text(key, value string) {
	if !utf8.ValidString(value) {
		w.raw(key+"_base64", base64.StdEncoding.EncodeToString([]byte(value)))
		return
	}
	w.raw(key, scalar(value))
}

// textIf is text for a value that is left out when empty.
func (w *yamlWriter) textIf(key, value string) {
	if value != "" {
		w.text(key, value)
	}
}

func (w *yamlWriter) integer(key string, n int64) { w.raw(key, strconv.FormatInt(n, 10)) }

func (w *yamlWriter) flagIf(key string, on bool) {
	if on {
		w.raw(key, "true")
	}
}

// micros writes a duration in whole microseconds, rounded down.
func (w *yamlWriter) micros(key string, d time.Duration) { w.integer(key, floorMicros(d)) }

func floorMicros(d time.Duration) int64 {
	us := int64(d / time.Microsecond)
	if d%time.Microsecond < 0 {
		us--
	}
	return us
}

// mapping writes a key whose value is a mapping, written by fill.
func (w *yamlWriter) mapping(key string, fill func()) {
	w.begin()
	w.b = append(w.b, key...)
	w.b = append(w.b, ":\n"...)
	w.depth++
	fill()
	w.depth--
}

// item writes one list item inside a mapping; fill writes at least one line.
func (w *yamlWriter) item(fill func()) {
	w.depth++
	w.dash = true
	fill()
	w.depth--
}

// integers writes a list of whole numbers, or nothing if it is empty.
func (w *yamlWriter) integers(key string, values []int) {
	if len(values) == 0 {
		return
	}
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = strconv.Itoa(v)
	}
	w.raw(key, "["+strings.Join(list, ", ")+"]")
}

// texts writes a list of texts, or nothing if it is empty.
func (w *yamlWriter) texts(key string, values []string) {
	if len(values) == 0 {
		return
	}
	w.mapping(key, func() {
		for _, v := range values {
			w.pad(2 * w.depth)
			w.b = append(w.b, "- "...)
			w.b = append(w.b, scalar(strings.ToValidUTF8(v, "\uFFFD"))...)
			w.b = append(w.b, '\n')
		}
	})
}

// body writes a body so that people can read it: as a literal block, as one
// quoted line if a block would not keep or not show every byte, else as base64.
func (w *yamlWriter) body(key string, data []byte) {
	s := string(data)
	switch {
	case isLiteral(s):
		w.literal(key, s)
	case isText(s):
		w.raw(key, quoted(s))
	default:
		w.literal(key+"_base64", base64Lines(data))
	}
}

func (w *yamlWriter) literal(key, s string) {
	chomp := "-"
	switch {
	case strings.HasSuffix(s, "\n\n"):
		chomp = "+"
	case strings.HasSuffix(s, "\n"):
		chomp = ""
	}
	w.begin()
	w.b = append(w.b, key...)
	w.b = append(w.b, ": |"...)
	w.b = append(w.b, chomp...)
	w.b = append(w.b, '\n')
	for line := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
		if line != "" {
			w.pad(2*w.depth + 2)
			w.b = append(w.b, line...)
		}
		w.b = append(w.b, '\n')
	}
}

func base64Lines(data []byte) string {
	const width = 76
	s := base64.StdEncoding.EncodeToString(data)
	var b strings.Builder
	for len(s) > width {
		b.WriteString(s[:width])
		b.WriteByte('\n')
		s = s[width:]
	}
	b.WriteString(s)
	return b.String()
}

// isLiteral reports whether a literal block shows s as it is: nothing invisible,
// no white space at the end of a line, no line break but LF.
func isLiteral(s string) bool {
	if s == "" || s[0] == ' ' || s[0] == '\t' || s[0] == '\n' || !utf8.ValidString(s) {
		return false
	}
	last := rune(0)
	for _, r := range s {
		if r == '\n' && (last == ' ' || last == '\t') {
			return false
		}
		if r != '\n' && r != '\t' && !isVisible(r) {
			return false
		}
		last = r
	}
	return last != ' ' && last != '\t'
}

// isText reports whether s is worth showing in quotes.
func isText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return false
		}
	}
	return true
}

// isVisible reports whether a reader of the file sees the character. Joiners are
// let through as parts of visible ones; bidirectional controls are not.
func isVisible(r rune) bool {
	return unicode.IsPrint(r) || r == 0x200c || r == 0x200d
}

// scalar renders valid UTF-8 as a plain scalar, or quoted where that is not safe.
func scalar(s string) string {
	if isPlain(s) {
		return s
	}
	return quoted(s)
}

// isPlain reports whether every YAML reader takes the bare s for this very text.
func isPlain(s string) bool {
	if s == "" || s[len(s)-1] == ' ' || s[len(s)-1] == ':' {
		return false
	}
	if c := s[0]; c != '/' && c != '_' && !isAlphanumeric(c) {
		return false
	}
	if strings.Contains(s, ": ") || strings.Contains(s, " #") {
		return false
	}
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return false
	}
	for _, r := range s {
		if !isVisible(r) {
			return false
		}
	}
	looksLikeNumber := s[0] <= '9' && strings.Trim(s, "0123456789abcdefABCDEFxXoO_.:+-TZtz ") == ""
	return !looksLikeNumber
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// quoted renders valid UTF-8 in double quotes, on one line, with everything
// invisible escaped.
func quoted(s string) string {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case isVisible(r):
			b = utf8.AppendRune(b, r)
		case r <= 0xffff:
			b = append(b, `\u`...)
			b = appendHex(b, uint32(r), 4)
		default:
			b = append(b, `\U`...)
			b = appendHex(b, uint32(r), 8)
		}
	}
	return string(append(b, '"'))
}

func appendHex(b []byte, v uint32, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		b = append(b, "0123456789abcdef"[v>>(4*i)&15])
	}
	return b
}
