package httpstream

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// An h1BodyFraming is how a body's end is known (RFC 9112 section 6.3).
type h1BodyFraming uint8

const (
	h1NoBody h1BodyFraming = iota
	h1Length
	h1Chunked
	h1UntilClose
)

// errH1Unframed is wrapped by the error for a request whose body's length can't be
// determined: its server refuses it and closes the connection (RFC 9112 section
// 6.3, rule 4).
var errH1Unframed = malformed("a request whose Transfer-Encoding does not end in chunked")

// h1Framing reads the framing fields. What two readers could take differently is an error.
func h1Framing(proto string, h Fields, response bool) (h1BodyFraming, int64, error) {
	if h.Has("Transfer-Encoding") {
		framing, err := h1Codings(proto, h, response)
		if err == nil && h.Has("Content-Length") {
			err = h1BothFramings(h, response)
		}
		return framing, 0, err
	}
	if h.Has("Content-Length") {
		n, err := h1ContentLength(h, response)
		return h1Length, n, err
	}
	if response {
		return h1UntilClose, 0, nil
	}
	return h1NoBody, 0, nil
}

// h1Codings reads Transfer-Encoding (RFC 9112 section 6.1).
func h1Codings(proto string, h Fields, response bool) (h1BodyFraming, error) {
	codings := h1List(h, "Transfer-Encoding")
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
		return h1Chunked, nil
	case response:
		return h1UntilClose, nil
	}
	return 0, errH1Unframed
}

// h1BothFramings says whether Transfer-Encoding may override Content-Length (RFC
// 9112 section 6.3, rule 3): where each is as every reader expects it.
func h1BothFramings(h Fields, response bool) error {
	if _, err := h1ContentLength(h, response); err != nil {
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

// h1ContentLength reads the length, which may be repeated (RFC 9112 section 6.3,
// rule 5); in a request only as it was written the first time.
func h1ContentLength(h Fields, response bool) (int64, error) {
	first, length := "", int64(-1)
	for _, list := range h.Values("Content-Length") {
		for v := range strings.SplitSeq(list, ",") {
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

// h1List returns the members of a list field (RFC 9110 section 5.6.1).
func h1List(h Fields, name string) []string {
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

func h1HasToken(h Fields, name, token string) bool {
	for _, m := range h1List(h, name) {
		if strings.EqualFold(m, token) {
			return true
		}
	}
	return false
}

// h1ParseRequestLine reads "method SP request-target SP HTTP-version" (RFC 9112 section 3).
func h1ParseRequestLine(line string) (*RequestHead, error) {
	method, rest, ok1 := strings.Cut(line, " ")
	target, proto, ok2 := strings.Cut(rest, " ")
	switch {
	case !ok1 || !ok2 || target == "" || strings.ContainsAny(target, "\t") || strings.ContainsAny(proto, " \t"):
		return nil, malformed("a request line that is not method, target and version")
	case !h1IsToken(method):
		return nil, malformed("a method that is not a token")
	case !h1IsVersion(proto):
		return nil, malformed("a version other than HTTP/1")
	}
	return &RequestHead{Method: method, Target: target, Proto: proto}, nil
}

// h1ParseStatusLine reads "HTTP-version SP status-code SP [ reason-phrase ]"
// (RFC 9112 section 4); the second space may be missing, as it is in practice.
func h1ParseStatusLine(line string) (*ResponseHead, error) {
	proto, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.ParseUint(code, 10, 16)
	if !h1IsVersion(proto) || len(code) != 3 || err != nil || status < 100 {
		return nil, malformed("a status line that is not version and status")
	}
	return &ResponseHead{Proto: proto, Status: int(status), Line: line}, nil
}

// h1ParseField reads a field line (RFC 9112 section 5). White space before the
// colon is refused: readers differ on it. Control characters in a value stay (RFC
// 9110 section 5.5), but where the message's end or its way depends on it.
func h1ParseField(line string) (Field, error) {
	name, rest, ok := strings.Cut(line, ":")
	if !ok {
		return Field{}, malformed("a header line without a colon")
	}
	if !h1IsToken(name) {
		return Field{}, malformed("a header name that is not a token")
	}
	if h1Steers(name) && h1CheckText([]byte(line)) != nil {
		return Field{}, malformed("a control character in %s", name)
	}
	value := strings.TrimLeft(rest, " \t")
	sep := line[len(name) : len(line)-len(value)]
	if sep == ": " {
		sep = ""
	}
	trimmed := strings.TrimRight(value, " \t")
	return Field{Name: name, Value: trimmed, Sep: sep, After: value[len(trimmed):]}, nil
}

// h1Steers tells the fields that say where a message ends, where it goes, or what
// becomes of the connection.
func h1Steers(name string) bool {
	switch strings.ToLower(name) {
	case "content-length", "transfer-encoding", "host", "connection", "upgrade", "expect", "trailer", "te":
		return true
	}
	return false
}

// h1Fold appends a folded line to the field that it goes on (RFC 9112 section
// 5.2), as it came. It refuses what a reader that knows no folding would steer by.
func h1Fold(f *Field, line string) error {
	text := strings.Trim(line, " \t")
	name, _, _ := strings.Cut(text, ":")
	if text == "" || h1Steers(f.Name) || h1Steers(strings.TrimRight(name, " \t")) {
		return malformed("a folded header line that readers take differently")
	}
	value := f.Value + f.After + "\r\n" + line
	f.Value = strings.TrimRight(value, " \t")
	f.After = value[len(f.Value):]
	return nil
}

// h1Unfold returns the fields with a space in the place of each fold, as a
// recipient reads them (RFC 9112 section 5.2).
func h1Unfold(fs Fields) Fields {
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

// h1ParseChunkSize reads a chunk-size line (RFC 9112 section 7.1). White space
// behind the size is taken, since servers pad with it.
func h1ParseChunkSize(line []byte) (size int64, canonical bool, err error) {
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

func h1Authority(req *RequestHead) string {
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

// h1CheckValue refuses what no field value may hold (RFC 9110 section 5.5).
func h1CheckValue(line []byte) error {
	for _, c := range line {
		if c == 0 || c == '\r' || c == '\n' {
			return malformed("control character %#02x", c)
		}
	}
	return nil
}

// h1CheckText refuses control characters, a bare CR among them.
func h1CheckText(line []byte) error {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return malformed("control character %#02x", c)
		}
	}
	return nil
}

func h1IsVersion(s string) bool {
	return len(s) == len("HTTP/1.1") && strings.HasPrefix(s, "HTTP/1.") && '0' <= s[7] && s[7] <= '9'
}

// h1IsToken reports whether s is a token (RFC 9110 section 5.6.2).
func h1IsToken(s string) bool {
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
func AppendRequestHead(b []byte, head *RequestHead) []byte {
	b = append(b, head.Method...)
	b = append(b, ' ')
	b = append(b, head.Target...)
	b = append(b, ' ')
	b = append(b, head.Proto...)
	b = append(b, "\r\n"...)
	return append(AppendFields(b, head.Header), "\r\n"...)
}

// h1AppendResponse appends the head as it goes on the wire.
func h1AppendResponse(b []byte, head *ResponseHead) []byte {
	b = append(b, h1StatusLine(head)...)
	b = append(b, "\r\n"...)
	return append(AppendFields(b, head.Header), "\r\n"...)
}

// h1StatusLine returns the line as it came, unless there is none or it names another status.
func h1StatusLine(head *ResponseHead) string {
	if was, err := h1ParseStatusLine(head.Line); err == nil && was.Status == head.Status {
		return head.Line
	}
	proto := head.Proto
	if !h1IsVersion(proto) {
		proto = "HTTP/1.1"
	}
	return fmt.Sprintf("%s %03d %s", proto, head.Status, http.StatusText(head.Status))
}

// AppendFields appends the lines of a header or trailer section, without the empty
// line behind it.
func AppendFields(b []byte, fs Fields) []byte {
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

// h1CheckFields refuses fields that could not be read back as they are, such as
// a value with a line break in it.
func h1CheckFields(fs Fields) error {
	for i := range fs {
		line := strings.TrimSuffix(string(AppendFields(nil, fs[i:i+1])), "\r\n")
		if err := h1CheckValue([]byte(line)); err != nil {
			return fmt.Errorf("field %q: %w", fs[i].Name, err)
		}
		if line == "" {
			return malformed("field without a name")
		}
		if f, err := h1ParseField(line); err != nil || f.Name != fs[i].Name {
			return malformed("field %q cannot be sent", fs[i].Name)
		}
	}
	return nil
}
