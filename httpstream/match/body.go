package match

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/jsonvalue"
	"github.com/wiretape/wiretape/httpstream/secret"
)

// A kind is how a body is compared.
type kind string

const (
	kindNone      kind = "none"
	kindJSON      kind = "json"
	kindLines     kind = "json lines"
	kindForm      kind = "form"
	kindMultipart kind = "multipart"
	kindBytes     kind = "bytes"
	kindHash      kind = "sha256" // only size and hash are known
)

// A requestBody is the body of a request: data, or a hash where it is too large.
type requestBody struct {
	contentType string
	data        []byte
	sha256      string
	size        int64
	decoded     []byte // data without its Content-Encoding; nil if it has none
	veiled      []byte // that, with one word for each secret; nil if it has none

	keyed string // the result of key
}

func (b *requestBody) empty() bool { return b.size == 0 && len(b.data) == 0 }

// key identifies the body by its kind and what counts of it.
func (b *requestBody) key(r *Rules) string {
	if b.empty() {
		return string(kindNone)
	}
	if b.data == nil {
		return b.hashKey()
	}
	if b.keyed == "" {
		k, canon := r.canonical(b.contentType, b.content())
		sum := sha256.Sum256(canon)
		b.keyed = string(k) + string(sum[:])
	}
	return b.keyed
}

// content is what the body means: encoders write times and choices of their own
// into what is the same content.
func (b *requestBody) content() []byte {
	if b.veiled != nil {
		return b.veiled
	}
	if b.decoded != nil {
		return b.decoded
	}
	return b.data
}

// veil puts one word in the place of each secret of a body that can be read, so that
// the app may have another than when it was recorded; nil if there is none.
func (r *Rules) veil(contentType string, data []byte) []byte {
	finder, _ := r.Redact.Bodies()
	text, ok := secret.TextOf(contentType, "")
	if finder == nil || !ok {
		return nil
	}
	return finder.Veil(text, data)
}

// maxDecoded bounds a decoded body; a larger one is compared as it was encoded.
const maxDecoded = 16 << 20

// hashKey identifies the body by its very bytes.
func (b *requestBody) hashKey() string {
	if b.empty() {
		return string(kindNone)
	}
	hash := strings.ToLower(b.sha256)
	if b.data != nil {
		sum := sha256.Sum256(b.data)
		hash = hex.EncodeToString(sum[:])
	}
	return string(kindHash) + hash + ":" + strconv.FormatInt(b.size, 10)
}

// canonical returns a body's kind, by its content type, and a form that is equal
// for bodies that count as equal. A body that is not what its type says is bytes.
func (r *Rules) canonical(contentType string, data []byte) (kind, []byte) {
	switch k := kindOf(contentType); k {
	case kindJSON:
		if x, err := r.json(data); err == nil {
			return k, jsonvalue.AppendCanonical(nil, x)
		}
	case kindLines:
		if values, ok := r.jsonLines(contentType, data); ok {
			return k, jsonvalue.AppendCanonical(nil, values)
		}
	case kindForm:
		if ps, clean := parsePairs(string(data)); clean {
			var w keyWriter
			w.addPairs(r.formPairs(ps))
			return k, w.b
		}
	case kindMultipart:
		if parts, err := parseParts(contentType, data); err == nil {
			return k, r.canonicalParts(parts)
		}
	}
	return kindBytes, r.text(data)
}

// jsonLines parses a body of a JSON text a line, and drops what does not count.
func (r *Rules) jsonLines(contentType string, data []byte) (values []any, ok bool) {
	ok = true
	cutter := body.Of(contentType).New(contentType, len(data), func(u *body.Unit) {
		x, err := r.json(u.Body.Data)
		values, ok = append(values, x), ok && err == nil
	})
	cutter.Write(0, data)
	cutter.Close(0)
	return values, ok
}

// json parses data and drops what does not count.
func (r *Rules) json(data []byte) (any, error) {
	x, err := jsonvalue.ParseExact(data)
	if err == nil && r.IgnoreBody != nil {
		x = r.IgnoreBody(x)
	}
	if err == nil && r.IgnoreText != nil {
		x = r.strings(x)
	}
	return x, err
}

// strings drops what does not count from the strings in x.
func (r *Rules) strings(x any) any {
	switch x := x.(type) {
	case map[string]any:
		for name, v := range x {
			x[name] = r.strings(v)
		}
	case []any:
		for i, v := range x {
			x[i] = r.strings(v)
		}
	case string:
		return r.lines(x)
	}
	return x
}

// text drops what does not count from a body that is text.
func (r *Rules) text(data []byte) []byte {
	if r.IgnoreText == nil || !isText(data) {
		return data
	}
	return []byte(r.lines(string(data)))
}

func (r *Rules) lines(s string) string {
	if !strings.Contains(s, "\n") {
		return r.IgnoreText(s)
	}
	var b strings.Builder
	for line := range strings.Lines(s) {
		line, ended := strings.CutSuffix(line, "\n")
		b.WriteString(r.IgnoreText(line))
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// formPairs drops what does not count from the values of a form.
func (r *Rules) formPairs(ps []pair) []pair {
	if r.IgnoreText != nil {
		for i := range ps {
			ps[i].value = r.lines(ps[i].value)
		}
		sortPairs(ps)
	}
	return ps
}

func isText(data []byte) bool { return utf8.Valid(data) && bytes.IndexByte(data, 0) < 0 }

func kindOf(contentType string) kind {
	switch t := body.MediaType(contentType); {
	case t == "application/json", t == "text/json", strings.HasSuffix(t, "+json"):
		return kindJSON
	case t == "application/x-www-form-urlencoded":
		return kindForm
	case strings.HasPrefix(t, "multipart/"):
		return kindMultipart
	}
	if f := body.Of(contentType); f.Whole == body.JSON && f.Records {
		return kindLines
	}
	return kindBytes
}

// A part is one part of a multipart body (RFC 2046 section 5.1).
type part struct {
	name   string // of the form field, else empty
	header textproto.MIMEHeader
	data   []byte
}

// parseParts reads the parts in their order. The boundary is lost: clients
// make up a new one for each request.
func parseParts(contentType string, data []byte) ([]part, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	if params["boundary"] == "" {
		return nil, errors.New("multipart: no boundary")
	}
	mr := multipart.NewReader(bytes.NewReader(data), params["boundary"])
	var parts []part
	for {
		p, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{p.FormName(), p.Header, content})
	}
}

func (r *Rules) canonicalParts(parts []part) []byte {
	var w keyWriter
	for _, p := range parts {
		names := make([]string, 0, len(p.header))
		for name := range p.header {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if name == "Content-Type" {
				continue // a part's own boundary may differ; its kind is below
			}
			w.add(name)
			for _, v := range p.header[name] {
				w.add(v)
			}
			w.end()
		}
		contentType := p.header.Get("Content-Type")
		k, canon := r.canonical(contentType, p.data)
		w.add(body.MediaType(contentType))
		w.add(string(k))
		w.add(string(canon))
	}
	return w.b
}
