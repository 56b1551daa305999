package jsonvalue

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/theory/jsonpath"
	"github.com/theory/jsonpath/spec"
)

// A Place is where something is in a JSON document; nil is the root. It is a
// list from the leaf up, so that walking a document writes no text.
type Place struct {
	up      *Place
	member  string
	element int // -1 for a member
}

// Member is the place of a member of the object at p.
func (p *Place) Member(name string) *Place { return &Place{p, name, -1} }

// Element is the place of an element of the array at p; i counts from 0.
func (p *Place) Element(i int) *Place { return &Place{p, "", i} }

func (p *Place) steps() []*Place {
	var s []*Place
	for ; p != nil; p = p.up {
		s = append(s, p)
	}
	slices.Reverse(s)
	return s
}

// String gives a JSONPath (RFC 9535) that selects just this place, with the
// shorthand $.name where the name allows it.
func (p *Place) String() string {
	var b strings.Builder
	b.WriteByte('$')
	for _, s := range p.steps() {
		if s.element >= 0 {
			b.WriteString(ElementSegment(s.element))
		} else {
			b.WriteString(MemberSegment(s.member))
		}
	}
	return b.String()
}

// ElementSegment writes an index as a segment of a JSONPath.
func ElementSegment(i int) string { return "[" + strconv.Itoa(i) + "]" }

// MemberSegment writes a name as a segment of a JSONPath: .name, or ['name'] where
// the name needs quotes, as a normalized path has them (RFC 9535 sections 2.5.1.1
// and 2.7).
func MemberSegment(name string) string {
	if isShorthand(name) {
		return "." + name
	}
	var b strings.Builder
	b.WriteString("['")
	writeQuoted(&b, name)
	b.WriteString("']")
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

// A Path selects values of a document: a JSONPath (RFC 9535).
type Path struct{ *jsonpath.Path }

// ParsePath parses a JSONPath. Its error is the reason alone.
func ParsePath(text string) (Path, error) {
	p, err := jsonpath.Parse(text)
	if err != nil {
		return Path{}, errors.New(strings.TrimPrefix(err.Error(), jsonpath.ErrPathParse.Error()+": "))
	}
	return Path{p}, nil
}

// Ignored stands for an array element that is left out of a document; its
// neighbours keep their index.
type Ignored struct{}

// Prune returns v without what the paths select, with in place of array elements,
// and of v itself. v is not changed.
func Prune(paths []Path, v, with any) any {
	if len(paths) == 0 {
		return v
	}
	return selectAll(paths, v).prune(v, with)
}

// Without returns the document less what the paths select.
func (d *Document) Without(paths []Path) *Document {
	if len(paths) == 0 {
		return d
	}
	t := selectAll(paths, d.Value)
	if t.empty() {
		return d
	}
	out := &Document{Value: t.prune(d.Value, Ignored{})}
	for _, r := range d.Repeats {
		if !t.covers(r.At) {
			out.Repeats = append(out.Repeats, r)
		}
	}
	return out
}

// MapIndices replaces each index of a JSONPath, but not what stands in quotes.
func MapIndices(path string, f func(index string) string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		b.WriteByte(path[i])
		if path[i] != '[' || i+1 == len(path) {
			continue
		}
		if path[i+1] != '\'' {
			end := i + strings.IndexByte(path[i:], ']')
			if end < i {
				continue
			}
			b.WriteString(f(path[i+1 : end]))
			i = end - 1
			continue
		}
		for i++; i < len(path); i++ { // a quoted name, to its closing quote
			b.WriteByte(path[i])
			if path[i] == '\\' && i+1 < len(path) {
				i++
				b.WriteByte(path[i])
			} else if path[i] == '\'' && strings.HasPrefix(path[i+1:], "]") {
				break
			}
		}
	}
	return b.String()
}

// A trie holds the places that rules select in one document.
type trie struct {
	leaf     bool
	members  map[string]*trie
	elements map[int]*trie
}

func selectAll(paths []Path, v any) *trie {
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
func (t *trie) covers(p *Place) bool {
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
