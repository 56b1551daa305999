package tape

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream"
	"go.yaml.in/yaml/v3"
)

// maxKey is how long a field name may be to stand as a YAML key, which has a
// limit of 1024 characters; longer ones take the long form.
const maxKey = 128

// HashBody returns what Body.SHA256 is for that body.
func HashBody(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// encodeExchange renders the exchange file. Durations are rounded down to microseconds.
func encodeExchange(x *Exchange) ([]byte, error) { return appendExchange(nil, x) }

// appendExchange is encodeExchange behind b.
func appendExchange(b []byte, x *Exchange) ([]byte, error) {
	if err := x.validate(); err != nil {
		return b, err
	}
	body, err := x.RequestBody()
	if err != nil {
		return b, err
	}
	lines, err := x.loadLines()
	if err != nil {
		return b, err
	}
	w := &yamlWriter{b: b}
	w.integer(string(x.Kind), int64(x.Number))
	if x.Case != 0 {
		w.integer("case", int64(x.Case))
	}
	w.integers("cases", x.Cases)
	w.textIf("service", x.Service)
	if x.Port != 0 {
		w.integer("port", int64(x.Port))
	}
	w.micros("started_us", x.Started)
	w.flagIf("two_way", x.TwoWay)
	w.textIf("failed", x.Failed)
	w.mapping("request", func() { w.request(&x.Request, body) })
	if len(x.Interim) > 0 {
		w.mapping("interim", func() {
			for i := range x.Interim {
				w.item(func() { w.response(&x.Interim[i], x.Request.Proto) })
			}
		})
	}
	if x.Response != nil {
		w.mapping("response", func() { w.response(x.Response, x.Request.Proto) })
	}
	w.textIf("stream", x.Stream)
	if len(lines) > 0 {
		w.literal("lines", string(lines))
	}
	return w.b, nil
}

// validate checks what the file format relies on.
func (x *Exchange) validate() error {
	switch {
	case x.Kind != Call && x.Kind != Case:
		return fmt.Errorf("an exchange is of the kind %q: expected call or case", x.Kind)
	case x.Number < 1:
		return fmt.Errorf("%s number %d: expected 1 or more", x.Kind, x.Number)
	case x.Case < 0 || x.Kind == Case && x.Case != 0:
		return fmt.Errorf("%s %d belongs to case %d", x.Kind, x.Number, x.Case)
	case len(x.Cases) > 0 && (x.Kind == Case || x.Case != 0):
		return fmt.Errorf("%s %d has both case and cases: expected one of them", x.Kind, x.Number)
	case len(x.Cases) == 1 || !risingFrom1(x.Cases):
		return fmt.Errorf("%s %d has cases %v: expected two or more numbers from 1, in rising order", x.Kind, x.Number, x.Cases)
	case x.Port < 0 || x.Port > math.MaxUint16:
		return fmt.Errorf("%s %d has port %d", x.Kind, x.Number, x.Port)
	case x.Port != 0 && x.Kind != Case:
		return fmt.Errorf("%s %d has a port: only a case has one", x.Kind, x.Number)
	case x.Request.URL == "":
		return errors.New("a request has no URL")
	case x.Failed == "" && (x.Request.Method == "" || x.Request.Proto == ""):
		return errors.New("a request has no method or no protocol")
	case x.Stream != "" && !validStream(x.Stream):
		return fmt.Errorf("stream %q: expected a file in %s/", x.Stream, streamsDir)
	case x.Stream != "" && x.Lines != nil:
		return fmt.Errorf("%s %d has both stream and lines: expected one of them", x.Kind, x.Number)
	}
	return nil
}

func risingFrom1(numbers []int) bool {
	last := 0
	for _, n := range numbers {
		if n <= last {
			return false
		}
		last = n
	}
	return true
}

func validStream(name string) bool {
	rest, ok := strings.CutPrefix(name, streamsDir+"/")
	return ok && fs.ValidPath(rest) && !strings.ContainsAny(rest, `/\:`) && rest != "."
}

func (w *yamlWriter) request(q *Request, body []byte) {
	w.textIf("method", q.Method)
	w.text("url", q.URL)
	w.textIf("proto", q.Proto)
	w.textIf("protocol", q.Protocol)
	if q.TLS != "" {
		w.raw("tls", quoted(strings.ToValidUTF8(q.TLS, "\uFFFD")))
	}
	w.micros("took_us", q.Took)
	w.fields("headers", q.Header)
	switch {
	case q.Body.InStream:
		w.mapping("body_in_stream", func() {
			w.integer("size", q.Body.Size)
			w.textIf("sha256", q.Body.SHA256)
		})
	case len(body) > 0:
		w.body("body", body)
	}
	w.fields("trailers", q.Trailer)
}

func (w *yamlWriter) response(p *Response, requestProto string) {
	w.micros("at_us", p.At)
	if p.Head.Proto != requestProto {
		w.text("proto", p.Head.Proto)
	}
	status, reason := strconv.Itoa(p.Head.Status), ""
	prefix := statusPrefix(p.Head.Proto, p.Head.Status)
	rest, canonical := strings.CutPrefix(p.Head.Line, prefix)
	if prefix == "" {
		canonical = p.Head.Line == ""
	} else if canonical && isReason(rest) {
		reason = rest
	} else {
		canonical = canonical && rest == ""
	}
	if reason != "" {
		status += " " + reason
	}
	w.raw("status", status)
	if !canonical {
		w.text("line", p.Head.Line)
	}
	w.fields("headers", p.Head.Header)
}

// statusPrefix is a status line up to its reason phrase (RFC 9112 section 4),
// empty for HTTP/2, which has no status line.
func statusPrefix(proto string, status int) string {
	if !strings.HasPrefix(proto, "HTTP/1.") {
		return ""
	}
	return proto + " " + strconv.Itoa(status) + " "
}

// isReason reports whether a reason phrase can stand unquoted behind the status.
func isReason(s string) bool {
	return s != "" && s[0] != ' ' && utf8.ValidString(s) && isPlain("200 "+s)
}

func (w *yamlWriter) fields(key string, fs httpstream.Fields) {
	if len(fs) == 0 {
		return
	}
	w.mapping(key, func() {
		for i := range fs {
			w.item(func() { w.field(&fs[i]) })
		}
	})
}

func (w *yamlWriter) field(f *httpstream.Field) {
	short := f.Sep == "" && f.After == "" && len(f.Name) <= maxKey &&
		isVisibleASCII(f.Name) && isText(f.Value)
	if short {
		name := scalar(f.Name)
		if strings.Contains(f.Name, ":") {
			name = quoted(f.Name)
		}
		w.raw(name, scalar(f.Value))
		return
	}
	w.text("name", f.Name)
	w.text("value", f.Value)
	w.textIf("sep", f.Sep)
	w.textIf("after", f.After)
}

func isVisibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// decodeExchange reads an exchange file; file names it in errors.
func decodeExchange(data []byte, file string) (*Exchange, error) {
	r := &yamlReader{file: file}
	root := r.document(data)
	if r.err != nil {
		return nil, r.err
	}
	f := r.mapping(root, "the exchange", "call", "case", "cases", "service", "port", "started_us", "two_way", "failed",
		"request", "interim", "response", "stream", "lines")
	x := &Exchange{
		Service: f.text("service"),
		Port:    int(f.integer("port", 1, math.MaxUint16)),
		Started: f.micros("started_us", 0),
		TwoWay:  f.flag("two_way"),
		Failed:  f.text("failed"),
		Stream:  f.text("stream"),
		File:    file,
	}
	for _, n := range f.integers("cases", 1, math.MaxInt32) {
		x.Cases = append(x.Cases, int(n))
	}
	r.identity(f, x)
	f.require("request")
	if n := f.node("request"); n != nil {
		x.Request = r.request(n, x.Failed == "")
	}
	for _, n := range f.list("interim") {
		x.Interim = append(x.Interim, *r.response(n, "an interim answer", x.Request.Proto))
	}
	if n := f.node("response"); n != nil {
		x.Response = r.response(n, "the response", x.Request.Proto)
	}
	if n := f.at["stream"]; n != nil && !validStream(x.Stream) {
		r.fail(n.Line, "stream is %q: expected a file in %s/", clip(x.Stream, 80), streamsDir)
	}
	if n := f.node("lines"); n != nil {
		r.lines(n, x)
	}
	if r.err == nil {
		if err := x.validate(); err != nil {
			r.fail(f.line, "%v", err)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return x, nil
}

// lines reads those of a small answer. In a literal block, and in no other form,
// each is a line of the file, which errors can name.
func (r *yamlReader) lines(n *yaml.Node, x *Exchange) {
	if n.Kind != yaml.ScalarNode || n.Style&yaml.LiteralStyle == 0 {
		r.fail(n.Line, "lines is %s: expected a literal block, as in lines: |", kindName(n))
		return
	}
	if n.Value == "" {
		r.fail(n.Line, "lines is empty: leave it out")
	}
	x.Lines, x.LinesAbove = []byte(n.Value), n.Line
	for i, line := range strings.Split(strings.TrimSuffix(n.Value, "\n"), "\n") {
		if !isLiteral(line) {
			r.fail(n.Line+1+i, "not a line of a stream: expected a JSON object without white space around it, and what is not visible escaped")
		}
	}
}

// identity reads which call or case it is. A call may have a case key as well:
// the case that it belongs to.
func (r *yamlReader) identity(f fields, x *Exchange) {
	call, cas := int(f.integer("call", 1, math.MaxInt32)), int(f.integer("case", 1, math.MaxInt32))
	switch {
	case f.at["call"] != nil:
		x.Kind, x.Number, x.Case = Call, call, cas
	case f.at["case"] != nil:
		x.Kind, x.Number = Case, cas
	default:
		r.fail(f.line, `the exchange has no key "call" or "case": expected its number`)
	}
}

func (r *yamlReader) request(n *yaml.Node, complete bool) Request {
	f := r.mapping(n, "the request", "method", "url", "proto", "protocol", "tls", "took_us",
		"headers", "body", "body_in_stream", "trailers")
	f.require("url")
	if complete {
		f.require("method", "proto")
	}
	q := Request{
		Method:   f.text("method"),
		URL:      f.text("url"),
		Proto:    f.text("proto"),
		Protocol: f.text("protocol"),
		TLS:      f.text("tls"),
		Took:     f.micros("took_us", 0),
		Header:   r.fields(f, "headers"),
		Trailer:  r.fields(f, "trailers"),
	}
	if body := f.text("body"); body != "" {
		q.Body = Body{Data: []byte(body), Size: int64(len(body))}
		q.Body.SHA256 = HashBody(q.Body.Data)
	}
	if n := f.node("body_in_stream"); n != nil {
		if f.has("body") {
			r.fail(n.Line, "the request has both body and body_in_stream: expected one of them")
		}
		b := r.mapping(n, "body_in_stream", "size", "sha256")
		b.require("size")
		q.Body = Body{InStream: true, Size: b.integer("size", 0, math.MaxInt64), SHA256: b.text("sha256")}
	}
	return q
}

func (r *yamlReader) response(n *yaml.Node, what, requestProto string) *Response {
	f := r.mapping(n, what, "at_us", "proto", "status", "line", "headers")
	f.require("at_us", "status")
	p := &Response{At: f.micros("at_us", -maxMicros)}
	p.Head.Proto = requestProto
	if f.has("proto") {
		p.Head.Proto = f.text("proto")
	}
	p.Head.Header = r.fields(f, "headers")
	code, reason, _ := strings.Cut(f.text("status"), " ")
	status, err := strconv.Atoi(code)
	if n := f.at["status"]; n != nil && (err != nil || len(code) != 3 || status < 100) {
		r.fail(n.Line, "status is %q: expected a number of three digits and the reason, as in 200 OK", clip(n.Value, 40))
	}
	p.Head.Status = status
	if prefix := statusPrefix(p.Head.Proto, status); prefix != "" {
		p.Head.Line = prefix + reason
	}
	if f.has("line") {
		p.Head.Line = f.text("line")
	}
	return p
}

// fields reads a list of fields, each "- Name: value" or a mapping with name, value, sep and after.
func (r *yamlReader) fields(f fields, key string) httpstream.Fields {
	var list httpstream.Fields
	for _, n := range f.list(key) {
		if n.Kind == yaml.MappingNode && len(n.Content) == 2 {
			name := r.scalar(n.Content[0], "a name in "+key)
			list = append(list, httpstream.Field{Name: name, Value: r.scalar(n.Content[1], name)})
			continue
		}
		if n.Kind != yaml.MappingNode {
			r.fail(n.Line, "an entry of %s is %s: expected - Name: value", key, kindName(n))
			continue
		}
		e := r.mapping(n, "an entry of "+key, "name", "value", "sep", "after")
		e.require("name", "value")
		list = append(list, httpstream.Field{
			Name: e.text("name"), Value: e.text("value"), Sep: e.text("sep"), After: e.text("after"),
		})
	}
	return list
}
