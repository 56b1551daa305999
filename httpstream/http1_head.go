package httpstream

import (
	"fmt"
	"net/http"
	"net/url"
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

// h1Framing reads the framing fields. What two readers could take differently is an error.
func h1Framing(proto string, h Fields, response bool) (h1BodyFraming, int64, error) {
	codings := h1List(h, "Transfer-Encoding")
	if h.Has("Transfer-Encoding") {
		if h.Has("Content-Length") {
			return 0, 0, malformed("both Transfer-Encoding and Content-Length")
		}
		if proto == "HTTP/1.0" {
			return 0, 0, malformed("Transfer-Encoding in HTTP/1.0")
		}
		for i, c := range codings {
			chunked, last := strings.EqualFold(c, "chunked"), i == len(codings)-1
			if chunked && !last || !chunked && last && !response {
				return 0, 0, malformed("Transfer-Encoding %q", strings.Join(codings, ", "))
			}
		}
		switch {
		case len(codings) == 0:
			return 0, 0, malformed("empty Transfer-Encoding")
		case strings.EqualFold(codings[len(codings)-1], "chunked"):
			return h1Chunked, 0, nil
		}
		return h1UntilClose, 0, nil
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

// h1ContentLength reads the length. A response may repeat the same one
// (RFC 9112 section 6.3, rule 5); a request may not.
func h1ContentLength(h Fields, response bool) (int64, error) {
	var values []string
	for _, v := range h.Values("Content-Length") {
		values = append(values, strings.Split(v, ",")...)
	}
	if len(values) > 1 && !response {
		return 0, malformed("more than one Content-Length")
	}
	length := int64(-1)
	for _, v := range values {
		v = strings.Trim(v, " \t")
		n, err := strconv.ParseUint(v, 10, 63) // takes digits only
		if err != nil {
			return 0, malformed("Content-Length %q", v)
		}
		if length >= 0 && length != int64(n) {
			return 0, malformed("Content-Length %d and %d", length, n)
		}
		length = int64(n)
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
		return nil, malformed("request line %.80q", line)
	case !h1IsToken(method):
		return nil, malformed("method %.40q", method)
	case !h1IsVersion(proto):
		return nil, malformed("version %.40q", proto)
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
		return nil, malformed("status line %.80q", line)
	}
	return &ResponseHead{Proto: proto, Status: int(status), Line: line}, nil
}

// h1ParseField reads a field line (RFC 9112 section 5). White space before the
// colon and folded lines are refused: readers differ on them.
func h1ParseField(line string) (Field, error) {
	if line[0] == ' ' || line[0] == '\t' {
		return Field{}, malformed("folded header line")
	}
	name, rest, ok := strings.Cut(line, ":")
	if !ok {
		return Field{}, malformed("header line without a colon: %.40q", line)
	}
	if !h1IsToken(name) {
		return Field{}, malformed("header name %.40q", name)
	}
	value := strings.TrimLeft(rest, " \t")
	sep := line[len(name) : len(line)-len(value)]
	if sep == ": " {
		sep = ""
	}
	trimmed := strings.TrimRight(value, " \t")
	return Field{Name: name, Value: trimmed, Sep: sep, After: value[len(trimmed):]}, nil
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
		return 0, false, malformed("chunk size %.40q", line)
	}
	if i > 1 && line[0] == '0' || i < len(line) {
		canonical = false
	}
	return size, canonical, nil
}

// h1CheckRequest refuses what readers route differently (RFC 9112 section 3.2).
func h1CheckRequest(req *RequestHead) error {
	if len(req.Header.Values("Host")) > 1 {
		return malformed("more than one Host")
	}
	return nil
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
		if err := h1CheckText([]byte(line)); err != nil {
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
