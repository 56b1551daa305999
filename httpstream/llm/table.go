package llm

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/wiretape/wiretape/httpstream/jsonvalue"
)

// A Table is formats that are ready for use. It never changes.
type Table struct{ formats []format }

// A format is a Format with its paths parsed.
type format struct {
	name, path string
	own        bool // the user's
	is         []when
	parts      []part
	usage      []selector
	deltas     []string
}

type when []cond

type cond struct {
	at selector
	Cond
}

type part struct {
	Part
	when     when
	each     []selector
	number   []selector
	text     []selector
	function selector
	value    selector
	nested   []part
}

// NewTable makes a table of the user's formats, which go first, and of those that
// are built in. It fails if a path is no JSONPath.
func NewTable(own ...Format) (*Table, error) {
	t := &Table{}
	for i, f := range append(slices.Clone(own), Builtin()...) {
		c := compiler{}
		t.formats = append(t.formats, c.format(&f))
		t.formats[i].own = i < len(own)
		if c.err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, c.err)
		}
	}
	return t, nil
}

// Standard is the table of the formats that are built in.
func Standard() *Table {
	t, err := NewTable()
	if err != nil {
		panic(err) // a mistake in the table
	}
	return t
}

// For is the formats that an answer may have by the path of its request.
func (t *Table) For(requestPath string) *Table {
	out := &Table{}
	for _, f := range t.formats {
		if ok, _ := path.Match(f.path, requestPath); ok || f.path == "" {
			out.formats = append(out.formats, f)
		}
	}
	return out
}

// Deltas is where the events of a format have deltas: paths with * for each index.
func (t *Table) Deltas(name string) []string {
	for i := range t.formats {
		if t.formats[i].name == name {
			return t.formats[i].deltas
		}
	}
	return nil
}

// IsDelta tells whether a path in an event is one of the deltas.
func IsDelta(deltas []string, where string) bool {
	return slices.Contains(deltas, jsonvalue.MapIndices(where, func(string) string { return "*" }))
}

// find is the format of an event; nil if it has none.
func (t *Table) find(event any) *format {
	for i := range t.formats {
		f := &t.formats[i]
		if f.is == nil || slices.ContainsFunc(f.is, func(w when) bool { return w.holds(event) }) {
			return f
		}
	}
	return nil
}

func (w when) holds(v any) bool {
	for i := range w {
		if !w[i].holds(v) {
			return false
		}
	}
	return true
}

func (c *cond) holds(v any) bool {
	got, ok := c.at.first(v)
	if ok && c.In != nil {
		ok = slices.ContainsFunc(c.In, func(want any) bool { return like(got, want) })
	} else if ok {
		ok = got != ""
	}
	return ok != c.Not
}

// like compares a value with one that ends with * for all that begin so.
func like(got, want any) bool {
	text, ok := got.(string)
	pattern, ok2 := want.(string)
	if prefix, open := strings.CutSuffix(pattern, "*"); ok && ok2 && open {
		return len(text) > len(prefix) && strings.HasPrefix(text, prefix)
	}
	switch got.(type) {
	case map[string]any, []any:
		return false
	}
	return got == want
}

// A compiler parses the paths of a format and keeps its first error.
type compiler struct {
	err    error
	deltas []string
}

func (c *compiler) format(f *Format) format {
	out := format{name: f.Name, path: f.Path, usage: c.selectors(f.Usage)}
	for _, w := range f.Is {
		out.is = append(out.is, c.when(w))
	}
	out.parts = c.parts(f.Parts, []string{"$"})
	out.deltas = c.deltas
	return out
}

func (c *compiler) when(w When) when {
	var out when
	for _, cn := range w {
		out = append(out, cond{c.selector(cn.Path), cn})
	}
	return out
}

// parts parses the parts that are in the values at some paths.
func (c *compiler) parts(list []Part, at []string) []part {
	var out []part
	for _, p := range list {
		inside := at
		if p.Each != nil {
			inside = joined(at, p.Each)
		}
		if p.Kind != Finish && p.Name != "" {
			c.deltas = append(c.deltas, joined(inside, p.Text)...)
		}
		out = append(out, part{
			Part: p, when: c.when(p.When), each: c.selectors(p.Each), number: c.selectors(p.Number), text: c.selectors(p.Text),
			function: c.selector(p.Function), value: c.selector(p.Value), nested: c.parts(p.Parts, inside),
		})
	}
	return out
}

// joined puts each path behind each of some others.
func joined(at, paths []string) []string {
	var out []string
	for _, a := range at {
		for _, p := range paths {
			out = append(out, a+strings.TrimPrefix(p, "$"))
		}
	}
	return out
}

func (c *compiler) selectors(paths []string) []selector {
	var out []selector
	for _, p := range paths {
		out = append(out, c.selector(p))
	}
	return out
}

func (c *compiler) selector(text string) selector {
	if text == "" {
		return selector{}
	}
	p, err := jsonvalue.ParsePath(text)
	if err != nil {
		if c.err == nil {
			c.err = fmt.Errorf("%q is no JSONPath (RFC 9535): %w", text, err)
		}
		return selector{}
	}
	return selector{path: p, names: plainNames(text)}
}

// A selector is a path; one of names alone, which is most of them, is walked
// without the JSONPath library. The zero value selects nothing.
type selector struct {
	path  jsonvalue.Path
	names []string
}

// plainNames are the names of a path such as $.delta.content, and * for each
// element of an array; nil for any other path.
func plainNames(text string) []string {
	names := []string{}
	rest := strings.TrimPrefix(text, "$")
	for rest != "" {
		if strings.HasPrefix(rest, "[*]") {
			names, rest = append(names, "*"), rest[len("[*]"):]
			continue
		}
		end := len(rest)
		if i := strings.IndexAny(rest[1:], ".["); i >= 0 {
			end = i + 1
		}
		name := rest[1:end]
		if jsonvalue.MemberSegment(name) != rest[:end] {
			return nil
		}
		names, rest = append(names, name), rest[end:]
	}
	return names
}

// each calls f for what is selected, until f returns false.
func (s *selector) each(v any, f func(any) bool) {
	switch {
	case s.names != nil:
		walk(v, s.names, f)
	case s.path.Path != nil:
		for _, found := range s.path.Select(v) {
			if !f(found) {
				return
			}
		}
	}
}

func walk(v any, names []string, f func(any) bool) bool {
	if len(names) == 0 {
		return f(v)
	}
	if names[0] == "*" {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				if !walk(e, names[1:], f) {
					return false
				}
			}
		case map[string]any:
			for _, name := range sortedNames(v) {
				if !walk(v[name], names[1:], f) {
					return false
				}
			}
		}
		return true
	}
	object, _ := v.(map[string]any)
	member, ok := object[names[0]]
	return !ok || walk(member, names[1:], f)
}

func sortedNames(object map[string]any) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *selector) first(v any) (found any, ok bool) {
	s.each(v, func(x any) bool {
		found, ok = x, true
		return false
	})
	return found, ok
}

// texts joins all texts that are selected.
func texts(list []selector, v any) string {
	var out string
	for i := range list {
		list[i].each(v, func(x any) bool {
			if s, ok := x.(string); ok {
				out += s
			}
			return true
		})
	}
	return out
}

// index is the first whole number that is selected.
func index(list []selector, v any, missing int) int {
	for i := range list {
		found, _ := list[i].first(v)
		if n, ok := found.(json.Number); ok {
			if i, err := strconv.Atoi(string(n)); err == nil {
				return i
			}
		}
	}
	return missing
}
