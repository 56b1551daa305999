package http1

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
)

// A bodyFraming is how a body's end is known (RFC 9112 section 6.3).
type bodyFraming uint8

const (
	noBody bodyFraming = iota
	byLength
	chunked
	untilClose
)

// errUnframed is wrapped by the error for a request whose body's length can't be
// determined: its server refuses it and closes the connection (RFC 9112 section
// 6.3, rule 4).
var errUnframed = malformed("a request whose Transfer-Encoding does not end in chunked")

// framingOf reads the framing fields. What two readers could take differently is an error.
func framingOf(proto string, h httpstream.Fields, response bool) (bodyFraming, int64, error) {
	if h.Has("Transfer-Encoding") {
		framing, err := framingOfCodings(proto, h, response)
		if err == nil && h.Has("Content-Length") {
			err = checkBothFramings(h, response)
		}
		return framing, 0, err
	}
	if h.Has("Content-Length") {
		n, err := contentLength(h, response)
		return byLength, n, err
	}
	if response {
		return untilClose, 0, nil
	}
	return noBody, 0, nil
}

// framingOfCodings reads Transfer-Encoding (RFC 9112 section 6.1).
func framingOfCodings(proto string, h httpstream.Fields, response bool) (bodyFraming, error) {
	codings := listOf(h, "Transfer-Encoding")
	if proto == "HTTP/1.0" {
		return 0, malformed("Transfer-Encoding in HTTP/1.0")
	}
	if len(codings) == 0 {
		return 0, malformed("empty Transfer-Encoding")
	}
	last := len(codings) - 1
	for _, c := range codings[:last] {
		if strings.EqualFold(c, "chunked") {
			return 0, malformed("Transfer-Encoding with chunked before the last")
		}
	}
	switch {
	case strings.EqualFold(codings[last], "chunked"):
		return chunked, nil
	case response:
		return untilClose, nil
	}
	return 0, errUnframed
}

// checkBothFramings says whether Transfer-Encoding may override Content-Length (RFC
// 9112 section 6.3, rule 3): where each is as every reader expects it.
func checkBothFramings(h httpstream.Fields, response bool) error {
	if _, err := contentLength(h, response); err != nil {
		return err
	}
	for i, n := 0, 0; i < len(h); i++ {
		if f := &h[i]; strings.EqualFold(f.Name, "Transfer-Encoding") {
			if n++; n > 1 || !strings.EqualFold(f.Value, "chunked") || f.Sep != "" && f.Sep != ":" || f.After != "" {
				return malformed("Content-Length beside an unusual Transfer-Encoding")
			}
		}
	}
	return nil
}

// contentLength reads the length, which may be repeated (RFC 9112 section 6.3,
// rule 5); in a request only as it was written the first time.
func contentLength(h httpstream.Fields, response bool) (int64, error) {
	first, length := "", int64(-1)
	for i := range h {
		if !strings.EqualFold(h[i].Name, "Content-Length") {
			continue
		}
		for v := range strings.SplitSeq(h[i].Value, ",") {
			v = strings.Trim(v, " \t")
			n, err := strconv.ParseUint(v, 10, 63) // takes digits only
			switch {
			case err != nil:
				return 0, malformed("a Content-Length that is not a number")
			case length >= 0 && (length != int64(n) || !response && v != first):
				return 0, malformed("different Content-Length")
			}
			first, length = v, int64(n)
		}
	}
	return length, nil
}

// listOf returns the members of a list field (RFC 9110 section 5.6.1).
func listOf(h httpstream.Fields, name string) []string {
	var list []string
	for _, v := range h.Values(name) {
		for m := range strings.SplitSeq(v, ",") {
			if m = strings.Trim(m, " \t"); m != "" {
				list = append(list, m)
			}
		}
	}
	return list
}

func hasToken(h httpstream.Fields, name, token string) bool {
	for i := range h {
		if !strings.EqualFold(h[i].Name, name) {
			continue
		}
		for m := range strings.SplitSeq(h[i].Value, ",") {
			if strings.EqualFold(strings.Trim(m, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// parseRequestLine reads "method SP request-target SP HTTP-version" (RFC 9112 section 3).
func parseRequestLine(line string) (*httpstream.RequestHead, error) {
	method, rest, ok1 := strings.Cut(line, " ")
	target, proto, ok2 := strings.Cut(rest, " ")
	switch {
	case !ok1 || !ok2 || target == "" || strings.ContainsAny(target, "\t") || strings.ContainsAny(proto, " \t"):
		return nil, malformed("a request line that is not method, target and version")
	case !isToken(method):
		return nil, malformed("a method that is not a token")
	case !isVersion(proto):
		return nil, malformed("a version other than HTTP/1")
	}
	return &httpstream.RequestHead{Method: method, Target: target, Proto: proto}, nil
}

// parseStatusLine reads "HTTP-version SP status-code SP [ reason-phrase ]"
// (RFC 9112 section 4); the second space may be missing, as it is in practice.
func parseStatusLine(line string) (*httpstream.ResponseHead, error) {
	proto, status, ok := splitStatusLine(line)
	if !ok {
		return nil, malformed("a status line that is not version and status")
	}
	return &httpstream.ResponseHead{Proto: proto, Status: status, Line: line}, nil
}

func splitStatusLine(line string) (proto string, status int, ok bool) {
	proto, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(code, 10, 16)
	return proto, int(n), isVersion(proto) && len(code) == 3 && err == nil && n >= 100
}

// parseField reads a field line (RFC 9112 section 5). White space before the
// colon is refused: readers differ on it. Control characters in a value stay (RFC
// 9110 section 5.5), but where the message's end or its way depends on it.
func parseField(line string) (httpstream.Field, error) {
	name, rest, ok := strings.Cut(line, ":")
	if !ok {
		return httpstream.Field{}, malformed("a header line without a colon")
	}
	if !isToken(name) {
		return httpstream.Field{}, malformed("a header name that is not a token")
	}
	if steers(name) && checkText([]byte(line)) != nil {
		return httpstream.Field{}, malformed("a control character in %s", name)
	}
	value := strings.TrimLeft(rest, " \t")
	sep := line[len(name) : len(line)-len(value)]
	if sep == ": " {
		sep = ""
	}
	trimmed := strings.TrimRight(value, " \t")
	return httpstream.Field{Name: name, Value: trimmed, Sep: sep, After: value[len(trimmed):]}, nil
}

// steers tells the fields that say where a message ends, where it goes, or what
// becomes of the connection.
func steers(name string) bool {
	for _, n := range [...]string{"content-length", "transfer-encoding", "host", "connection", "upgrade", "expect", "trailer", "te"} {
		if len(n) == len(name) && strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// fold appends a folded line to the field that it goes on (RFC 9112 section
// 5.2), as it came. It refuses what a reader that knows no folding would steer by.
func fold(f *httpstream.Field, line string) error {
	text := strings.Trim(line, " \t")
	name, _, _ := strings.Cut(text, ":")
	if text == "" || steers(f.Name) || steers(strings.TrimRight(name, " \t")) {
		return malformed("a folded header line that readers take differently")
	}
	value := f.Value + f.After + "\r\n" + line
	f.Value = strings.TrimRight(value, " \t")
	f.After = value[len(f.Value):]
	return nil
}

// unfold returns the fields with a space in the place of each fold, as a
// recipient reads them (RFC 9112 section 5.2).
func unfold(fs httpstream.Fields) httpstream.Fields {
	fs = slices.Clone(fs)
	for i := range fs {
		if !strings.Contains(fs[i].Value, "\n") {
			continue
		}
		parts := strings.Split(fs[i].Value, "\r\n")
		for j := range parts {
			parts[j] = strings.Trim(parts[j], " \t")
		}
		fs[i].Value = strings.TrimLeft(strings.Join(parts, " "), " ")
		if fs[i].Sep == ":" && parts[0] == "" {
			fs[i].Sep = ""
		}
	}
	return fs
}

// parseChunkSize reads a chunk-size line (RFC 9112 section 7.1). White space
// behind the size is taken, since servers pad with it.
func parseChunkSize(line []byte) (size int64, canonical bool, err error) {
	i := 0
	canonical = true
	for ; i < len(line); i++ {
		c := line[i]
		var digit byte
		switch {
		case '0' <= c && c <= '9':
			digit = c - '0'
		case 'a' <= c && c <= 'f':
			digit = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			digit = c - 'A' + 10
			canonical = false
		default:
			digit = 255
		}
		if digit == 255 {
			break
		}
		if size >= 1<<59 {
			return 0, false, malformed("chunk size too large")
		}
		size = size<<4 | int64(digit)
	}
	rest := strings.TrimLeft(string(line[i:]), " \t")
	if i == 0 || rest != "" && rest[0] != ';' {
		return 0, false, malformed("a chunk size that is not hexadecimal")
	}
	if i > 1 && line[0] == '0' || i < len(line) {
		canonical = false
	}
	return size, canonical, nil
}

func authorityOf(req *httpstream.RequestHead) string {
	if host := req.Header.Get("Host"); host != "" {
		return host
	}
	if req.Method == "CONNECT" {
		return req.Target
	}
	if strings.Contains(req.Target, "://") {
		if u, err := url.Parse(req.Target); err == nil {
			return u.Host
		}
	}
	return ""
}

// checkValue refuses what no field value may hold (RFC 9110 section 5.5).
func checkValue(line []byte) error {
	for _, c := range line {
		if c == 0 || c == '\r' || c == '\n' {
			return malformed("control character %#02x", c)
		}
	}
	return nil
}

// checkText refuses control characters, a bare CR among them.
func checkText(line []byte) error {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return malformed("control character %#02x", c)
		}
	}
	return nil
}

func isVersion(s string) bool {
	return len(s) == len("HTTP/1.1") && strings.HasPrefix(s, "HTTP/1.") && '0' <= s[7] && s[7] <= '9'
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') &&
			strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// AppendRequestHead appends an HTTP/1 head as it goes on the wire (RFC 9112 section 3).
func AppendRequestHead(b []byte, head *httpstream.RequestHead) []byte {
	b = append(b, head.Method...)
	b = append(b, ' ')
	b = append(b, head.Target...)
	b = append(b, ' ')
	b = append(b, head.Proto...)
	b = append(b, "\r\n"...)
	return append(AppendFields(b, head.Header), "\r\n"...)
}

// appendResponse appends the head as it goes on the wire.
func appendResponse(b []byte, head *httpstream.ResponseHead) []byte {
	b = append(b, statusLine(head)...)
	b = append(b, "\r\n"...)
	return append(AppendFields(b, head.Header), "\r\n"...)
}

// statusLine returns the line as it came, unless there is none or it names another status.
func statusLine(head *httpstream.ResponseHead) string {
	if _, status, ok := splitStatusLine(head.Line); ok && status == head.Status {
		return head.Line
	}
	proto := head.Proto
	if !isVersion(proto) {
		proto = "HTTP/1.1"
	}
	return fmt.Sprintf("%s %03d %s", proto, head.Status, http.StatusText(head.Status))
}

// AppendFields appends the lines of a header or trailer section, without the empty
// line behind it.
func AppendFields(b []byte, fs httpstream.Fields) []byte {
	for i := range fs {
		f := &fs[i]
		b = append(b, f.Name...)
		if f.Sep == "" {
			b = append(b, ": "...)
		} else {
			b = append(b, f.Sep...)
		}
		b = append(b, f.Value...)
		b = append(b, f.After...)
		b = append(b, "\r\n"...)
	}
	return b
}

// checkFields refuses fields that could not be read back as they are, such as
// a value with a line break in it.
func checkFields(fs httpstream.Fields) error {
	for i := range fs {
		if isPlainField(&fs[i]) {
			continue
		}
		line := strings.TrimSuffix(string(AppendFields(nil, fs[i:i+1])), "\r\n")
		if err := checkValue([]byte(line)); err != nil {
			return fmt.Errorf("field %q: %w", fs[i].Name, err)
		}
		if line == "" {
			return malformed("field without a name")
		}
		if f, err := parseField(line); err != nil || f.Name != fs[i].Name {
			return malformed("field %q cannot be sent", fs[i].Name)
		}
	}
	return nil
}

// isPlainField reports whether a field is written as "Name: value" and can be read
// back: as most are, so that these cost nothing to check.
func isPlainField(f *httpstream.Field) bool {
	if f.Sep != "" || f.After != "" || !isToken(f.Name) {
		return false
	}
	steers := steers(f.Name)
	for i := 0; i < len(f.Value); i++ {
		switch c := f.Value[i]; {
		case c == 0 || c == '\r' || c == '\n':
			return false
		case steers && (c < ' ' && c != '\t' || c == 0x7f):
			return false
		}
	}
	return true
}
