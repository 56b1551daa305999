package compare

import (
	"bytes"
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/jsonvalue"
	"github.com/wiretape/wiretape/httpstream/noise"
)

// A unit is one of an answer's, as it is compared.
type unit struct {
	body.Unit

	content *content // decoded on demand
	sign    string   // key, once it is known
}

// A content is a body as it is compared: with the rules applied.
type content struct {
	doc  *jsonvalue.Document // nil if it is not JSON
	text string
}

func newContent(kind body.Kind, b *body.Blob, rules *noise.Rules) *content {
	c := &content{}
	if kind >= body.JSON && !b.Cut() {
		trimmed := bytes.TrimLeft(b.Data, " \t\r\n")
		container := len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[')
		if kind == body.JSON || container {
			if doc, err := jsonvalue.Parse(b.Data); err == nil {
				c.doc = rules.IgnoreResponse(doc)
				return c
			}
		}
	}
	c.text = b.Text()
	if kind != body.Bytes {
		c.text = rules.IgnoreText(c.text)
	}
	return c
}

// decoded is the unit's content, or nil if it has none.
func (u *unit) decoded(rules *noise.Rules) *content {
	if u.content == nil && u.HasBody && !u.ignores("data", rules) {
		u.content = newContent(u.Kind, &u.Body, rules)
	}
	return u.content
}

// ignores tells whether a field of the unit, or "data" for its body, is left out.
func (u *unit) ignores(field string, rules *noise.Rules) bool {
	switch u.Label {
	case body.Event:
		return rules.IgnoreSSE(field)
	case body.Part:
		return field != "data" && ignoredByDefault(field, false) || rules.IgnoreResponseHeader(field)
	}
	return false
}

// key is equal for two units if, and only if, they are equal under the rules.
func (u *unit) key(rules *noise.Rules) string {
	if u.sign != "" {
		return u.sign
	}
	b := jsonvalue.AppendCounted(nil, 'u', u.Label)
	for _, f := range u.compared(rules) {
		b = jsonvalue.AppendCounted(jsonvalue.AppendCounted(b, 'f', f.Name), '=', f.Value)
	}
	switch c := u.decoded(rules); {
	case c == nil:
	case c.doc != nil:
		b = append(append(b, 'j'), c.doc.Canonical()...)
	default:
		b = jsonvalue.AppendCounted(b, 't', c.text)
	}
	if u.Partial {
		b = append(b, '!') // last, so that likeness sees how units begin
	}
	u.sign = string(b)
	return u.sign
}

// compared is the fields that are not left out, in an order in which equal sets
// are equal: that of different fields says nothing, neither in a part's header
// nor in an event (WHATWG HTML section 9.2.6 looks at each by itself).
func (u *unit) compared(rules *noise.Rules) httpstream.Fields {
	fs := make(httpstream.Fields, 0, len(u.Fields))
	for _, f := range u.Fields {
		if u.ignores(f.Name, rules) {
			continue
		}
		if u.Label == body.Part {
			f = httpstream.Field{Name: strings.ToLower(f.Name), Value: body.WithoutBoundary(f)}
		}
		fs = append(fs, f)
	}
	slices.SortStableFunc(fs, func(a, b httpstream.Field) int { return strings.Compare(a.Name, b.Name) })
	return fs
}

// same tells quickly whether two units are byte for byte the same.
func (u *unit) same(o *unit) bool {
	return u.Label == o.Label && u.Partial == o.Partial && u.HasBody == o.HasBody &&
		u.Body.Equal(&o.Body) && slices.Equal(u.Fields, o.Fields)
}

// size is what the unit takes in memory, about.
func (u *unit) size() int {
	n := 64 + len(u.Body.Data)
	for _, f := range u.Fields {
		n += 32 + len(f.Name) + len(f.Value)
	}
	return n
}
