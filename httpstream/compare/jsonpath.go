package compare

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/theory/jsonpath"
	"github.com/theory/jsonpath/spec"
)

// A place is where something is in a JSON document; nil is the root. It is a
// list from the leaf up, so that walking a document writes no text.
type place struct {
	up      *place
	member  string
	element int // -1 for a member
}

func (p *place) name(n string) *place { return &place{p, n, -1} }
func (p *place) index(i int) *place   { return &place{p, "", i} }

func (p *place) steps() []*place {
	var s []*place
	for ; p != nil; p = p.up {
		s = append(s, p)
	}
	slices.Reverse(s)
	return s
}

// String gives a JSONPath (RFC 9535) that selects just this place, with the
// shorthand $.name where the name allows it.
func (p *place) String() string {
	var b strings.Builder
	b.WriteByte('$')
	for _, s := range p.steps() {
		switch {
		case s.element >= 0:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s.element))
			b.WriteByte(']')
		case isShorthand(s.member):
			b.WriteByte('.')
			b.WriteString(s.member)
		default:
			b.WriteString("['")
			writeQuoted(&b, s.member)
			b.WriteString("']")
		}
	}
	return b.String()
}

// isShorthand tells whether a name needs no quotes (RFC 9535 section 2.5.1.1).
func isShorthand(s string) bool {
	for i, r := range s {
		digit := r >= '0' && r <= '9'
		alpha := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0x80 && r != utf8.RuneError
		if !alpha && (!digit || i == 0) {
			return false
		}
	}
	return s != ""
}

// writeQuoted escapes as a normalized path does (RFC 9535 section 2.7).
func writeQuoted(b *strings.Builder, s string) {
	for _, r := range s {
		switch {
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ':
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
}

// ignored stands for an array element that a rule leaves out of the comparison;
// its neighbours keep their index.
type ignored struct{}

// A trie holds the places that rules select in one document.
type trie struct {
	leaf     bool
	members  map[string]*trie
	elements map[int]*trie
}

func selectAll(paths []*jsonpath.Path, v any) *trie {
	t := &trie{}
	for _, p := range paths {
		for _, n := range p.SelectLocated(v) {
			t.insert(n.Path)
		}
	}
	return t
}

func (t *trie) insert(p spec.NormalizedPath) {
	for _, s := range p {
		var next *trie
		switch s := s.(type) {
		case spec.Name:
			if t.members == nil {
				t.members = map[string]*trie{}
			}
			if next = t.members[string(s)]; next == nil {
				next = &trie{}
				t.members[string(s)] = next
			}
		case spec.Index:
			if t.elements == nil {
				t.elements = map[int]*trie{}
			}
			if next = t.elements[int(s)]; next == nil {
				next = &trie{}
				t.elements[int(s)] = next
			}
		}
		t = next
	}
	t.leaf = true
}

func (t *trie) empty() bool { return !t.leaf && t.members == nil && t.elements == nil }

// covers tells whether the place, or one above it, was selected.
func (t *trie) covers(p *place) bool {
	for _, s := range p.steps() {
		if t.leaf {
			return true
		}
		if s.element >= 0 {
			t = t.elements[s.element]
		} else {
			t = t.members[s.member]
		}
		if t == nil {
			return false
		}
	}
	return t.leaf
}

// prune returns v without the selected places, with in place of array elements.
// v itself is not changed: what is on the way to a selected place is copied, the
// rest shared.
func (t *trie) prune(v, with any) any {
	if t.leaf {
		return with
	}
	switch v := v.(type) {
	case map[string]any:
		if t.members == nil {
			return v
		}
		out := maps.Clone(v)
		for name, sub := range t.members {
			if sub.leaf {
				delete(out, name)
			} else {
				out[name] = sub.prune(v[name], with)
			}
		}
		return out
	case []any:
		if t.elements == nil {
			return v
		}
		out := slices.Clone(v)
		for i, sub := range t.elements {
			out[i] = sub.prune(v[i], with)
		}
		return out
	}
	return v
}

// without returns the document less what the paths select.
func (d *document) without(paths []*jsonpath.Path) *document {
	if len(paths) == 0 {
		return d
	}
	t := selectAll(paths, d.value)
	if t.empty() {
		return d
	}
	out := &document{value: t.prune(d.value, ignored{})}
	for _, r := range d.repeats {
		if !t.covers(r.at) {
			out.repeats = append(out.repeats, r)
		}
	}
	return out
}
