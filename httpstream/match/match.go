// Package match finds the recorded call that answers a request, and, where
// there is none, says which one comes closest and what differs.
//
// A request is compared, in this order, by method, scheme, host, port, path,
// query (a multiset of values for each name), chosen header fields, and body by
// its kind. All of it goes into one key, so a look-up costs the same in a tape
// of ten calls and of a million; only a miss looks at the whole tape.
package match

import (
	"strings"

	"github.com/wiretape/wiretape/httpstream"
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
	Header httpstream.Fields
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
	// Headers are the names of the fields whose values must be equal. Nil means
	// Content-Type, where there is a body. Of Content-Type only the media type counts.
	Headers []string
	// Redact takes credentials out of both sides. Nil has the default rules.
	Redact *tape.Redactor
	// Reuse answers from the first call again when identical calls are used up.
	Reuse bool

	// IgnoreQuery and IgnoreHeader, if set, tell which names do not count.
	IgnoreQuery, IgnoreHeader func(name string) bool
	// IgnoreBody, if set, returns what counts of a JSON body. It may change x,
	// which holds map[string]any, []any, string, json.Number, bool and nil.
	IgnoreBody func(x any) any
	// OfCase, if set, returns the rules for a case's calls in place of these, or nil
	// where the case has none of its own. Redact and Reuse stay as they are here.
	OfCase func(number int) *Rules
}

// headers returns the names of the fields that count for a request.
func (r *Rules) headers(hasBody bool) []string {
	names := r.Headers
	if names == nil {
		if !hasBody {
			return nil
		}
		names = []string{"Content-Type"}
	}
	if r.IgnoreHeader == nil {
		return names
	}
	var kept []string
	for _, n := range names {
		if !r.IgnoreHeader(n) {
			kept = append(kept, n)
		}
	}
	return kept
}

// A request is one side of a comparison, redacted and taken apart.
type request struct {
	method string
	addr   address
	query  []pair // sorted, without ignored names
	header httpstream.Fields
	body   body
}

func (r *Rules) query(q *Query) *request {
	return r.request(q.Method, q.URL, q.Header, body{
		data: q.Body, sha256: q.BodySHA256, size: q.BodySize,
	})
}

func (r *Rules) recorded(x *tape.Exchange) *request {
	b := x.Request.Body
	return r.request(x.Request.Method, x.Request.URL, x.Request.Header, body{
		data: b.Data, sha256: b.SHA256, size: b.Size,
	})
}

func (r *Rules) request(method, url string, header httpstream.Fields, b body) *request {
	url = r.Redact.URL(url)
	header = r.Redact.Fields(header)
	b.contentType = header.Get("Content-Type")
	if b.data != nil {
		b.size = int64(len(b.data))
	}
	addr := parseAddress(url)
	return &request{
		method: method,
		addr:   addr,
		query:  r.pairs(addr.query),
		header: header,
		body:   b,
	}
}

// headKey identifies everything but body and header fields.
func (q *request) headKey() string {
	var k keyWriter
	k.add(q.method)
	k.add(q.addr.scheme)
	k.add(q.addr.host)
	k.add(q.addr.port)
	k.add(q.addr.path)
	k.addPairs(q.query)
	return k.String()
}

// headerKey identifies the values of the fields that count.
func (q *request) headerKey(r *Rules) string {
	var k keyWriter
	for _, name := range r.headers(!q.body.empty()) {
		k.add(strings.ToLower(name))
		for _, v := range headerValues(q.header, name) {
			k.add(v)
		}
		k.end()
	}
	return k.String()
}
