package compare

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/legible"
	"github.com/wiretape/wiretape/httpstream/jsonvalue"
)

// A bodyKind is how the bytes of a body or of a unit are compared.
type bodyKind int

const (
	asBytes     bodyKind = iota
	asText               // exactly, less what the response.text rules match
	asJSON               // by value if it is JSON, else as text
	asContainer          // by value if it is a JSON object or array, else as text
)

// A unit is what an answer is made of: an event, a comment, a line, a part.
type unit struct {
	label   string
	index   int // from 1, among units of its label
	at      time.Duration
	partial bool // its format says that it is not complete
	open    bool // the end of the stream ended it, so there could have been more
	fields  httpstream.Fields
	hasBody bool // an event may have no data
	body    blob
	kind    bodyKind

	content *content // decoded on demand
	sign    string   // key, once it is known
}

// A content is a body as it is compared: with the rules applied.
type content struct {
	doc  *jsonvalue.Document // nil if it is not JSON
	text string
}

func newContent(kind bodyKind, body *blob, rules *Rules) *content {
	c := &content{}
	if kind >= asJSON && !body.cut() {
		trimmed := bytes.TrimLeft(body.data, jsonSpace)
		container := len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[')
		if kind == asJSON || container {
			if doc, err := jsonvalue.Parse(body.data); err == nil {
				c.doc = doc.Without(rules.all.responseBody)
				return c
			}
		}
	}
	c.text = body.text()
	if kind != asBytes {
		c.text = rules.ignoreText(c.text)
	}
	return c
}

// decoded is the unit's content, or nil if it has none.
func (u *unit) decoded(rules *Rules) *content {
	if u.content == nil && u.hasBody && !u.ignores("data", rules) {
		u.content = newContent(u.kind, &u.body, rules)
	}
	return u.content
}

// ignores tells whether a field of the unit, or "data" for its body, is left out.
func (u *unit) ignores(field string, rules *Rules) bool {
	switch u.label {
	case unitEvent:
		return rules.ignoreSSE(field)
	case unitPart:
		return field != "data" && ignoredByDefault(field, false) || rules.IgnoreResponseHeader(field)
	}
	return false
}

// key is equal for two units if, and only if, they are equal under the rules.
func (u *unit) key(rules *Rules) string {
	if u.sign != "" {
		return u.sign
	}
	b := jsonvalue.AppendCounted(nil, 'u', u.label)
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
	if u.partial {
		b = append(b, '!') // last, so that likeness sees how units begin
	}
	u.sign = string(b)
	return u.sign
}

// compared is the fields that are not left out, in an order in which equal sets
// are equal: that of different fields says nothing, neither in a part's header
// nor in an event (WHATWG HTML section 9.2.6 looks at each by itself).
func (u *unit) compared(rules *Rules) httpstream.Fields {
	fs := make(httpstream.Fields, 0, len(u.fields))
	for _, f := range u.fields {
		if u.ignores(f.Name, rules) {
			continue
		}
		if u.label == unitPart {
			f = httpstream.Field{Name: strings.ToLower(f.Name), Value: withoutBoundary(f)}
		}
		fs = append(fs, f)
	}
	slices.SortStableFunc(fs, func(a, b httpstream.Field) int { return strings.Compare(a.Name, b.Name) })
	return fs
}

// same tells quickly whether two units are byte for byte the same.
func (u *unit) same(o *unit) bool {
	return u.label == o.label && u.partial == o.partial && u.hasBody == o.hasBody &&
		u.body.equal(&o.body) && slices.Equal(u.fields, o.fields)
}

// size is what the unit takes in memory, about.
func (u *unit) size() int {
	n := 64 + len(u.body.data)
	for _, f := range u.fields {
		n += 32 + len(f.Name) + len(f.Value)
	}
	return n
}

// summary shows a whole unit in one line.
func (u *unit) summary() string {
	var parts []string
	for _, f := range u.fields {
		sep := ": "
		parts = append(parts, f.Name+sep+f.Value)
	}
	switch {
	case !u.hasBody:
	case u.kind == asBytes:
		parts = append(parts, legible.Bytes(u.body.data, u.body.size))
	case u.label == unitEvent:
		parts = append(parts, "data: "+u.body.text())
	default:
		parts = append(parts, strings.TrimRight(u.body.text(), "\r\n"))
	}
	s := strings.Join(parts, ", ")
	if u.partial {
		s += " (unfinished)"
	}
	return legible.Excerpt(s, 0, maxShown)
}

func (u *unit) name() string { return fmt.Sprintf("%s %d", u.label, u.index) }

// Labels of units.
const (
	unitEvent    = "event"
	unitComment  = "comment"
	unitLine     = "line"
	unitPart     = "part"
	unitPreamble = "preamble"
	unitEpilogue = "epilogue"
)
