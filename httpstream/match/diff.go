package match

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// differences compares a recorded request with one of now, in the order in
// which they are matched.
func (r *Rules) differences(recorded, now *request, headOnly bool) []Difference {
	var ds []Difference
	compare := func(where, was, is string) {
		if was != is {
			ds = append(ds, Difference{where, shorten(was), shorten(is)})
		}
	}
	compare("method", recorded.method, now.method)
	compare("scheme", recorded.addr.scheme, now.addr.scheme)
	compare("host", recorded.addr.hostPort(), now.addr.hostPort())
	compare("path", recorded.addr.path, now.addr.path)
	ds = append(ds, pairDifferences("query ", recorded.query, now.query)...)
	if headOnly {
		return ds
	}
	for _, name := range r.headers(!recorded.body.empty() || !now.body.empty()) {
		was, is := headerValues(recorded.header, name), headerValues(now.header, name)
		if !slices.Equal(was, is) {
			ds = append(ds, Difference{"header " + name, listed(was), listed(is)})
		}
	}
	return append(ds, r.bodyDifferences(&recorded.body, &now.body)...)
}

// pairDifferences compares sorted pairs name by name.
func pairDifferences(prefix string, recorded, now []pair) []Difference {
	was, is := valuesByName(recorded), valuesByName(now)
	var ds []Difference
	for _, name := range unionOfNames(was, is) {
		if !slices.Equal(was[name], is[name]) {
			ds = append(ds, Difference{prefix + name, listed(was[name]), listed(is[name])})
		}
	}
	return ds
}

func valuesByName(ps []pair) map[string][]string {
	m := map[string][]string{}
	for _, p := range ps {
		m[p.name] = append(m[p.name], p.value)
	}
	return m
}

func unionOfNames[V any](a, b map[string]V) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}

func (r *Rules) bodyDifferences(recorded, now *body) []Difference {
	if recorded.key(r) == now.key(r) || recorded.hashKey() == now.hashKey() {
		return nil
	}
	if recorded.data != nil && now.data != nil {
		if ds := r.contentDifferences("body", recorded.contentType, recorded.data, now.contentType, now.data); ds != nil {
			return ds
		}
	}
	return []Difference{{"body", describe(recorded), describe(now)}}
}

// contentDifferences looks into two bodies of the same kind. It returns nil
// where all that can be said is that they differ.
func (r *Rules) contentDifferences(where, wasType string, was []byte, isType string, is []byte) []Difference {
	k := kindOf(wasType)
	if k != kindOf(isType) {
		return nil
	}
	switch k {
	case kindJSON:
		x, err1 := r.json(was)
		y, err2 := r.json(is)
		if err1 == nil && err2 == nil {
			return jsonDifferences(where+" $", x, y)
		}
	case kindForm:
		x, clean1 := parsePairs(string(was))
		y, clean2 := parsePairs(string(is))
		if clean1 && clean2 {
			return pairDifferences(where+" field ", x, y)
		}
	case kindMultipart:
		x, err1 := parseParts(wasType, was)
		y, err2 := parseParts(isType, is)
		if err1 == nil && err2 == nil {
			return r.partDifferences(where, x, y)
		}
	}
	return nil
}

func (r *Rules) partDifferences(where string, was, is []part) []Difference {
	var ds []Difference
	for i := range max(len(was), len(is)) {
		switch {
		case i >= len(is):
			ds = append(ds, Difference{partName(where, was, i), describeBytes(was[i].data), none})
		case i >= len(was):
			ds = append(ds, Difference{partName(where, is, i), none, describeBytes(is[i].data)})
		case !bytes.Equal(r.canonicalParts(was[i:i+1]), r.canonicalParts(is[i:i+1])):
			ds = append(ds, r.onePartDifferences(partName(where, is, i), &was[i], &is[i])...)
		}
	}
	return ds
}

func (r *Rules) onePartDifferences(where string, was, is *part) []Difference {
	wasType, isType := was.header.Get("Content-Type"), is.header.Get("Content-Type")
	wasDisposition, isDisposition := was.header.Get("Content-Disposition"), is.header.Get("Content-Disposition")
	switch {
	case wasDisposition != isDisposition:
		return []Difference{{where + " Content-Disposition", shorten(wasDisposition), shorten(isDisposition)}}
	case mediaType(wasType) != mediaType(isType):
		return []Difference{{where + " Content-Type", shorten(wasType), shorten(isType)}}
	}
	if ds := r.contentDifferences(where, wasType, was.data, isType, is.data); ds != nil {
		return ds
	}
	return []Difference{{where, describeBytes(was.data), describeBytes(is.data)}}
}

func partName(where string, parts []part, i int) string {
	if name := parts[i].name; name != "" {
		return where + " part " + name
	}
	return where + " part " + strconv.Itoa(i+1)
}

// describe shows a body as text, or by its size where it is not text.
func describe(b *body) string {
	switch {
	case b.empty():
		return none
	case b.data == nil:
		return fmt.Sprintf("%d bytes, sha256 %.12s…", b.size, b.sha256)
	}
	return describeBytes(b.data)
}

func describeBytes(data []byte) string {
	if bytes.IndexByte(data, 0) >= 0 {
		return fmt.Sprintf("%d bytes", len(data))
	}
	return shorten(string(data[:min(len(data), 1024)]))
}

// jsonDifferences walks two JSON values along their paths.
func jsonDifferences(path string, was, is any) []Difference {
	switch x := was.(type) {
	case map[string]any:
		if y, ok := is.(map[string]any); ok {
			return objectDifferences(path, x, y)
		}
	case []any:
		if y, ok := is.([]any); ok {
			return arrayDifferences(path, x, y)
		}
	}
	if bytes.Equal(appendCanonical(nil, was), appendCanonical(nil, is)) {
		return nil
	}
	return []Difference{{path, jsonText(was), jsonText(is)}}
}

func objectDifferences(path string, was, is map[string]any) []Difference {
	var ds []Difference
	for _, name := range unionOfNames(was, is) {
		x, inWas := was[name]
		y, inIs := is[name]
		ds = append(ds, memberDifferences(path+member(name), x, inWas, y, inIs)...)
	}
	return ds
}

func arrayDifferences(path string, was, is []any) []Difference {
	var ds []Difference
	for i := range max(len(was), len(is)) {
		var x, y any
		if i < len(was) {
			x = was[i]
		}
		if i < len(is) {
			y = is[i]
		}
		ds = append(ds, memberDifferences(fmt.Sprintf("%s[%d]", path, i), x, i < len(was), y, i < len(is))...)
	}
	return ds
}

func memberDifferences(path string, was any, inWas bool, is any, inIs bool) []Difference {
	switch {
	case !inIs:
		return []Difference{{path, jsonText(was), none}}
	case !inWas:
		return []Difference{{path, none, jsonText(is)}}
	}
	return jsonDifferences(path, was, is)
}

// member writes a name as a JSONPath segment (RFC 9535 section 2.5.1).
func member(name string) string {
	if simpleName(name) {
		return "." + name
	}
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name)
	return "['" + quoted + "']"
}

func simpleName(s string) bool {
	for i, c := range s {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func jsonText(x any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(x); err != nil {
		return fmt.Sprint(x) // only what IgnoreBody put there could fail
	}
	return shorten(strings.TrimSuffix(b.String(), "\n"))
}
