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
)

// A kind is how a body is compared.
type kind string

const (
	kindNone      kind = "none"
	kindJSON      kind = "json"
	kindForm      kind = "form"
	kindMultipart kind = "multipart"
	kindBytes     kind = "bytes"
	kindHash      kind = "sha256" // only size and hash are known
)

// A body is a request body: data, or a hash where it is too large.
type body struct {
	contentType string
	data        []byte
	sha256      string
	size        int64
}

func (b *body) empty() bool { return b.size == 0 && len(b.data) == 0 }

// key identifies the body by its kind and what counts of it.
func (b *body) key(r *Rules) string {
	if b.empty() {
		return string(kindNone)
	}
	if b.data == nil {
		return b.hashKey()
	}
	k, canon := r.canonical(b.contentType, b.data)
	sum := sha256.Sum256(canon)
	return string(k) + string(sum[:])
}

// hashKey identifies the body by its very bytes.
func (b *body) hashKey() string {
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
			return k, appendCanonical(nil, x)
		}
	case kindForm:
		if ps, clean := parsePairs(string(data)); clean {
			var w keyWriter
			w.addPairs(ps)
			return k, []byte(w.String())
		}
	case kindMultipart:
		if parts, err := parseParts(contentType, data); err == nil {
			return k, r.canonicalParts(parts)
		}
	}
	return kindBytes, data
}

// json parses data and drops what does not count.
func (r *Rules) json(data []byte) (any, error) {
	x, err := parseJSON(data)
	if err == nil && r.IgnoreBody != nil {
		x = r.IgnoreBody(x)
	}
	return x, err
}

func kindOf(contentType string) kind {
	switch t := mediaType(contentType); {
	case t == "application/json", t == "text/json", strings.HasSuffix(t, "+json"):
		return kindJSON
	case t == "application/x-www-form-urlencoded":
		return kindForm
	case strings.HasPrefix(t, "multipart/"):
		return kindMultipart
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
		if err == io.EOF {
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
		w.add(mediaType(contentType))
		w.add(string(k))
		w.add(string(canon))
	}
	return []byte(w.String())
}
