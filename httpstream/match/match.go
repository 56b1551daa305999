// Package match finds the recorded call that answers a request, and, where
// there is none, says which one comes closest and what differs.
//
// A request is compared, in this order, by method, scheme, host, port, path,
// query (a multiset of values for each name), the header fields that choose an
// answer, and body by its kind. All of it goes into one key, so a look-up costs
// the same in a tape of ten calls and of a million; only a miss looks at the whole
// tape, after it was given up, and while nobody waits for it.
package match

import (
	"strings"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A Scope says whose request it is.
type Scope struct {
	Service string // which asks; empty if there are no services
	Case    int    // the number of the case that runs; 0 for none
}

// A Query is a request that wants an answer.
type Query struct {
	Method string
	URL    string // absolute
	// OtherURLs are what the request may be for as well, where it names no origin.
	OtherURLs []string
	Header    httpstream.Fields
	// Protocol is the :protocol of an extended CONNECT (RFC 8441), else empty.
	Protocol string
	// Body is the whole body. Where it was too large to hold, Body is nil and
	// BodySHA256 (hex) and BodySize describe it.
	Body       []byte
	BodySHA256 string
	BodySize   int64
	Scope
	// HeadOnly leaves the body out of the comparison, see Index.TwoWay.
	HeadOnly bool
}

// Rules say what counts in a comparison.
type Rules struct {
	// Headers name further fields that count, beside those that choose an answer by
	// their specification and the presence of credentials. They may have '*' and '?'.
	Headers []string
	// Redact takes credentials out of both sides. Nil has the default rules.
	Redact *tape.Redactor
	// Reuse answers from the first call again when identical calls are used up.
	Reuse bool

	// IgnoreQuery and IgnoreHeader, if set, tell which names do not count.
	IgnoreQuery, IgnoreHeader func(name string) bool
	// IgnorePath, if set, returns what counts of a path.
	IgnorePath func(path string) string
	// IgnoreBody, if set, returns what counts of a JSON body. It may change x,
	// which holds map[string]any, []any, string, json.Number, bool and nil.
	IgnoreBody func(x any) any
	// IgnoreText, if set, returns what counts of a text: of a line of a body in text, a
	// string in JSON, or a value of a form.
	IgnoreText func(s string) string
	// OfCase, if set, returns the rules for a case's calls in place of these, or nil
	// where the case has none of its own. Cases with the same rules should get the
	// same pointer. Redact, Reuse and Headers stay as they are here.
	OfCase func(number int) *Rules

	lexicon *lexicon // how the fields of the tape count; nil decides each anew
}

// A request is one side of a comparison, redacted and taken apart.
type request struct {
	method, protocol string
	addr             address
	query            []pair // sorted, without ignored names
	fields           []field
	body             requestBody

	scratch []byte // empty; for its keys
}

func (r *Rules) query(q *Query) *request {
	p := r.head(q.Method, q.Protocol, q.URL, q.Header, nil)
	r.setBody(&p, q.Header, bodyOf(q))
	return &p
}

func bodyOf(q *Query) requestBody {
	return requestBody{data: q.Body, sha256: q.BodySHA256, size: q.BodySize}
}

func (r *Rules) recorded(x *tape.Exchange) *request {
	p := r.head(x.Request.Method, x.Request.Protocol, x.Request.URL, x.Request.Header, nil)
	b := x.Request.Body
	data, err := x.RequestBody()
	if err != nil {
		data = nil // its hash is known all the same
	}
	r.setBody(&p, x.Request.Header, requestBody{data: data, sha256: b.SHA256, size: b.Size})
	return &p
}

// head is a request without its body. Its fields are put into room, as far as it goes.
func (r *Rules) head(method, protocol, url string, header httpstream.Fields, room []field) request {
	q := request{method: method, protocol: protocol, fields: r.fields(header, room)}
	r.locate(&q, url)
	return q
}

func (r *Rules) setBody(q *request, header httpstream.Fields, b requestBody) {
	b.contentType = header.Get("Content-Type")
	if b.data != nil {
		b.size = int64(len(b.data))
		encoding := header.Get("Content-Encoding")
		if b.decoded = body.Decode(encoding, b.data, maxDecoded); b.decoded != nil {
			b.veiled = r.veil(b.contentType, b.decoded)
		} else if encoding == "" || strings.EqualFold(encoding, "identity") {
			b.veiled = r.veil(b.contentType, b.data)
		}
	}
	q.body = b
}

// locate has the request be for url.
func (r *Rules) locate(q *request, url string) {
	q.addr = parseAddress(r.Redact.URL(url))
	if q.method == "OPTIONS" && !hasPath(url) {
		q.addr.path = "*" // asks the server, not a resource (RFC 9112 section 3.2.4)
	}
	if r.IgnorePath != nil {
		q.addr.path = r.IgnorePath(q.addr.path)
	}
	q.query = r.pairs(q.addr.query)
}
