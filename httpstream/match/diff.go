package match

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/jsonvalue"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// differences compares a recorded request with one of now, in the order in
// which they are matched.
func (r *Rules) differences(recorded, now *request, headOnly bool) []event.Difference {
	var ds []event.Difference
	compare := func(kind event.PlaceKind, was, is string) {
		if was != is {
			ds = append(ds, event.Difference{Where: event.Place{Kind: kind}, Recorded: was, Now: is})
		}
	}
	compare(event.Method, recorded.method, now.method)
	compare(event.Protocol, recorded.protocol, now.protocol)
	compare(event.Scheme, recorded.addr.scheme, now.addr.scheme)
	compare(event.Host, recorded.addr.hostPort(), now.addr.hostPort())
	compare(event.Path, recorded.addr.path, now.addr.path)
	ds = append(ds, pairDifferences(event.Query, recorded.query, now.query)...)
	noBody := !headOnly && recorded.body.empty() && now.body.empty()
	ds = append(ds, fieldDifferences(recorded.fields, now.fields, noBody)...)
	if headOnly {
		return ds
	}
	return append(ds, r.bodyDifferences(&recorded.body, &now.body)...)
}

// fieldDifferences compares the header fields that count; noBody leaves out those
// about the body.
func fieldDifferences(recorded, now []field, noBody bool) []event.Difference {
	var ds []event.Difference
	for len(recorded) > 0 || len(now) > 0 {
		var was, is *field
		if len(now) == 0 || len(recorded) > 0 && recorded[0].name <= now[0].name {
			was = &recorded[0]
		}
		if len(recorded) == 0 || len(now) > 0 && now[0].name <= recorded[0].name {
			is = &now[0]
		}
		if was != nil {
			recorded = recorded[1:]
		}
		if is != nil {
			now = now[1:]
		}
		f := cmp.Or(was, is)
		if was != nil && is != nil && was.value == is.value || noBody && f.ofBody() {
			continue
		}
		ds = append(ds, fieldDifference(f, was, is))
	}
	return ds
}

// fieldDifference says in words what differs; was or is may be nil.
func fieldDifference(f, was, is *field) event.Difference {
	d := event.Difference{Where: event.At(event.Header, f.shown), Recorded: event.None, Now: event.None, Credential: f.counting == credential}
	if was != nil {
		d.Recorded = shownValue(was)
	}
	if is != nil {
		d.Now = shownValue(is)
	}
	what := "header " + f.shown
	if d.Credential {
		what = "credentials in header " + f.shown
	}
	switch {
	case is == nil:
		d.Message = "the request has no " + what + " now"
	case was == nil:
		d.Message = "the request has " + what + " now, and had none when it was recorded"
	case d.Credential && is.value == "":
		d.Message = "the request's header " + f.shown + " is empty now: its credentials are missing"
	}
	return d
}

func shownValue(f *field) string { return cmp.Or(f.sent, event.Empty) }

// pairDifferences compares sorted pairs name by name.
func pairDifferences(kind event.PlaceKind, recorded, now []pair) []event.Difference {
	was, is := valuesByName(recorded), valuesByName(now)
	var ds []event.Difference
	for _, name := range unionOfNames(was, is) {
		if !slices.Equal(was[name], is[name]) {
			ds = append(ds, event.Difference{Where: event.At(kind, name), Recorded: listed(was[name]), Now: listed(is[name])})
		}
	}
	return ds
}

// hideFields takes the values of credentials out of differences in a form.
func (r *Rules) hideFields(ds []event.Difference) []event.Difference {
	for i := range ds {
		if d := &ds[i]; r.Redact.Credential(d.Where.Name) {
			d.Recorded, d.Now = hidden(d.Recorded), hidden(d.Now)
		}
	}
	return ds
}

// hidden is what may be shown of a credential: whether there is one.
func hidden(s string) string {
	if s == event.None || s == event.Empty || s == "" {
		return s
	}
	return tape.Redacted
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

func (r *Rules) bodyDifferences(recorded, now *requestBody) []event.Difference {
	if recorded.key(r) == now.key(r) || recorded.hashKey() == now.hashKey() {
		return nil
	}
	if recorded.data != nil && now.data != nil {
		if ds := r.contentDifferences(recorded.contentType, recorded.content(), now.contentType, now.content()); ds != nil {
			return ds
		}
	}
	return []event.Difference{{Where: event.Place{Kind: event.Body}, Recorded: describe(recorded), Now: describe(now)}}
}

// contentDifferences looks into two bodies of the same kind. It returns nil
// where all that can be said is that they differ.
func (r *Rules) contentDifferences(wasType string, was []byte, isType string, is []byte) []event.Difference {
	k := kindOf(wasType)
	if k != kindOf(isType) {
		return nil
	}
	switch k {
	case kindJSON:
		x, err1 := r.json(was)
		y, err2 := r.json(is)
		if err1 == nil && err2 == nil {
			return r.jsonDifferences("$", x, y)
		}
	case kindLines:
		x, ok1 := r.jsonLines(wasType, was)
		y, ok2 := r.jsonLines(isType, is)
		if ok1 && ok2 && len(x) == len(y) {
			var ds []event.Difference
			for i := range x { // the path is in the line, as noise rules for it are
				ds = append(ds, r.jsonDifferences("$", x[i], y[i])...)
			}
			return ds
		}
	case kindForm:
		x, clean1 := parsePairs(string(was))
		y, clean2 := parsePairs(string(is))
		if clean1 && clean2 {
			return r.hideFields(pairDifferences(event.FormField, r.formPairs(x), r.formPairs(y)))
		}
	case kindMultipart:
		x, err1 := parseParts(wasType, was)
		y, err2 := parseParts(isType, is)
		if err1 == nil && err2 == nil {
			return r.partDifferences(x, y)
		}
	}
	return nil
}

func (r *Rules) partDifferences(was, is []part) []event.Difference {
	var ds []event.Difference
	for i := range max(len(was), len(is)) {
		switch {
		case i >= len(is):
			ds = append(ds, event.Difference{Where: partName(was, i), Recorded: r.describePart(&was[i]), Now: event.None})
		case i >= len(was):
			ds = append(ds, event.Difference{Where: partName(is, i), Recorded: event.None, Now: r.describePart(&is[i])})
		case !bytes.Equal(r.canonicalParts(was[i:i+1]), r.canonicalParts(is[i:i+1])):
			ds = append(ds, r.onePartDifferences(partName(is, i), &was[i], &is[i])...)
		}
	}
	return ds
}

func (r *Rules) onePartDifferences(where event.Place, was, is *part) []event.Difference {
	wasType, isType := was.header.Get("Content-Type"), is.header.Get("Content-Type")
	wasDisposition, isDisposition := was.header.Get("Content-Disposition"), is.header.Get("Content-Disposition")
	switch {
	case wasDisposition != isDisposition:
		return []event.Difference{{Where: event.At(where.Kind, where.Name+" Content-Disposition"), Recorded: wasDisposition, Now: isDisposition}}
	case body.MediaType(wasType) != body.MediaType(isType):
		return []event.Difference{{Where: event.At(where.Kind, where.Name+" Content-Type"), Recorded: wasType, Now: isType}}
	}
	if ds := within(where, r.contentDifferences(wasType, was.data, isType, is.data)); ds != nil {
		return ds
	}
	return []event.Difference{{Where: where, Recorded: r.describePart(was), Now: r.describePart(is)}}
}

func (r *Rules) describePart(p *part) string {
	if r.Redact.Credential(p.name) {
		return hidden(string(p.data))
	}
	return describeBytes(p.data)
}

// within are differences of a body that stands in a part or a message.
func within(where event.Place, ds []event.Difference) []event.Difference {
	for i := range ds {
		ds[i].Where = ds[i].Where.In(where)
	}
	return ds
}

func partName(parts []part, i int) event.Place {
	return event.At(event.Part, cmp.Or(parts[i].name, strconv.Itoa(i+1)))
}

// describe shows a body as text, or by its size where it is not text.
func describe(b *requestBody) string {
	switch {
	case b.empty():
		return event.None
	case b.data == nil:
		return fmt.Sprintf("%d bytes, sha256 %.12s…", b.size, b.sha256)
	}
	return describeBytes(b.content())
}

func describeBytes(data []byte) string {
	if bytes.IndexByte(data, 0) >= 0 {
		return fmt.Sprintf("%d bytes", len(data))
	}
	return string(data)
}

// jsonDifferences walks two JSON values along their paths.
func (r *Rules) jsonDifferences(path string, was, is any) []event.Difference {
	switch x := was.(type) {
	case map[string]any:
		if y, ok := is.(map[string]any); ok {
			return r.objectDifferences(path, x, y)
		}
	case []any:
		if y, ok := is.([]any); ok {
			return r.arrayDifferences(path, x, y)
		}
	}
	if bytes.Equal(jsonvalue.AppendCanonical(nil, was), jsonvalue.AppendCanonical(nil, is)) {
		return nil
	}
	return []event.Difference{{Where: event.At(event.Body, path), Recorded: r.jsonText(was), Now: r.jsonText(is)}}
}

func (r *Rules) objectDifferences(path string, was, is map[string]any) []event.Difference {
	var ds []event.Difference
	for _, name := range unionOfNames(was, is) {
		x, inWas := was[name]
		y, inIs := is[name]
		at := len(ds)
		ds = append(ds, r.memberDifferences(path+jsonvalue.MemberSegment(name), x, inWas, y, inIs)...)
		if r.Redact.Credential(name) {
			for i := at; i < len(ds); i++ {
				ds[i].Recorded, ds[i].Now = hidden(ds[i].Recorded), hidden(ds[i].Now)
			}
		}
	}
	return ds
}

func (r *Rules) arrayDifferences(path string, was, is []any) []event.Difference {
	var ds []event.Difference
	for i := range max(len(was), len(is)) {
		var x, y any
		if i < len(was) {
			x = was[i]
		}
		if i < len(is) {
			y = is[i]
		}
		ds = append(ds, r.memberDifferences(path+jsonvalue.ElementSegment(i), x, i < len(was), y, i < len(is))...)
	}
	return ds
}

func (r *Rules) memberDifferences(path string, was any, inWas bool, is any, inIs bool) []event.Difference {
	switch {
	case !inIs:
		return []event.Difference{{Where: event.At(event.Body, path), Recorded: r.jsonText(was), Now: event.None}}
	case !inWas:
		return []event.Difference{{Where: event.At(event.Body, path), Recorded: event.None, Now: r.jsonText(is)}}
	}
	return r.jsonDifferences(path, was, is)
}

// hideMembers returns x without the values of credentials in it.
func (r *Rules) hideMembers(x any) any {
	switch x := x.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for name, v := range x {
			if out[name] = r.hideMembers(v); r.Redact.Credential(name) {
				out[name] = tape.Redacted
			}
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, v := range x {
			out[i] = r.hideMembers(v)
		}
		return out
	}
	return x
}

func (r *Rules) jsonText(x any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r.hideMembers(x)); err != nil {
		return fmt.Sprint(x) // only what IgnoreBody put there could fail
	}
	return strings.TrimSuffix(b.String(), "\n")
}
