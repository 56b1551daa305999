package compare

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// appendCanonical writes a value so that equal values, and only they, are
// written alike. It is for comparing, not JSON.
func appendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 'n')
	case bool:
		if v {
			return append(b, 't')
		}
		return append(b, 'f')
	case json.Number:
		return append(append(b, canonicalNumber(string(v))...), ' ')
	case string:
		return appendCounted(b, '"', v)
	case []any:
		b = append(b, '[')
		for _, e := range v {
			b = append(appendCanonical(b, e), ',')
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b = appendCanonical(appendCounted(b, '"', k), v[k])
		}
		return append(b, '}')
	case ignored:
		return append(b, '~')
	}
	return b
}

// appendCounted writes a mark, the length and the text, so that no text can be
// taken for what follows it.
func appendCounted(b []byte, mark byte, s string) []byte {
	b = strconv.AppendInt(append(b, mark), int64(len(s)), 10)
	return append(append(b, ':'), s...)
}

func (d *document) canonical() []byte {
	b := appendCanonical(nil, d.value)
	if len(d.repeats) == 0 {
		return b
	}
	byPath := d.repeatsByPath()
	for _, p := range slices.Sorted(maps.Keys(byPath)) {
		b = append(appendCounted(b, '+', p), byPath[p]...)
	}
	return b
}

// repeatsByPath gives, for each name that occurs more than once, the earlier values in order.
func (d *document) repeatsByPath() map[string][]byte {
	m := map[string][]byte{}
	for _, r := range d.repeats {
		p := r.at.String()
		m[p] = append(appendCanonical(m[p], r.value), ',')
	}
	return m
}

// show writes a value as compact JSON for people.
func show(v any) string {
	var b strings.Builder
	writeJSON(&b, v)
	return b.String()
}

func writeJSON(b *strings.Builder, v any) {
	switch v := v.(type) {
	case map[string]any:
		b.WriteByte('{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quoteJSON(k))
			b.WriteByte(':')
			writeJSON(b, v[k])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, e)
		}
		b.WriteByte(']')
	case json.Number:
		b.WriteString(string(v))
	case string:
		b.WriteString(quoteJSON(v))
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case ignored:
		b.WriteString("(ignored)")
	default:
		b.WriteString("null")
	}
}

// quoteJSON quotes as JSON does but shows bytes that are not UTF-8 as \xNN, so
// that two strings that differ are never shown alike.
func quoteJSON(s string) string {
	r := strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	return `"` + legible(r.Replace(s)) + `"`
}

// A jsonChange is one difference between two documents. To is the place in the
// second document of an element that moved.
type jsonChange struct {
	kind     Kind
	at, to   *place
	rec, now any
	note     string
}

// diffDocuments tells every difference of value, those of repeated names last.
func diffDocuments(rec, now *document, tell func(jsonChange)) {
	diffValues(rec.value, now.value, nil, tell)
	a, b := rec.repeatsByPath(), now.repeatsByPath()
	places := map[string]*place{}
	for _, r := range slices.Concat(rec.repeats, now.repeats) {
		places[r.at.String()] = r.at
	}
	for _, p := range slices.Sorted(maps.Keys(places)) {
		if string(a[p]) == string(b[p]) {
			continue
		}
		note := "the name occurs more than once, with other values than recorded"
		kind := Changed
		switch {
		case a[p] == nil:
			note, kind = "the name occurs more than once now", Extra
		case b[p] == nil:
			note, kind = "the name occurred more than once when recorded", Missing
		}
		tell(jsonChange{kind: kind, at: places[p], note: note})
	}
}

func diffValues(rec, now any, at *place, tell func(jsonChange)) {
	switch r := rec.(type) {
	case map[string]any:
		if n, ok := now.(map[string]any); ok {
			diffObjects(r, n, at, tell)
			return
		}
	case []any:
		if n, ok := now.([]any); ok {
			diffArrays(r, n, at, tell)
			return
		}
	case json.Number:
		if n, ok := now.(json.Number); ok && (r == n || canonicalNumber(string(r)) == canonicalNumber(string(n))) {
			return
		}
	default: // string, bool, nil, ignored
		switch now.(type) {
		case map[string]any, []any:
		default:
			if rec == now {
				return
			}
		}
	}
	tell(jsonChange{kind: Changed, at: at, rec: rec, now: now})
}

func diffObjects(rec, now map[string]any, at *place, tell func(jsonChange)) {
	for _, k := range slices.Sorted(maps.Keys(rec)) {
		if n, ok := now[k]; ok {
			diffValues(rec[k], n, at.name(k), tell)
		} else {
			tell(jsonChange{kind: Missing, at: at.name(k), rec: rec[k]})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(now)) {
		if _, ok := rec[k]; !ok {
			tell(jsonChange{kind: Extra, at: at.name(k), now: now[k]})
		}
	}
}

func diffArrays(rec, now []any, at *place, tell func(jsonChange)) {
	if len(rec) == 1 && len(now) == 1 {
		diffValues(rec[0], now[0], at.index(0), tell)
		return
	}
	for _, s := range alignKeys(canonicals(rec), canonicals(now)) {
		switch s.kind {
		case Changed:
			diffValues(rec[s.rec], now[s.now], at.index(s.rec), tell)
		case Missing:
			tell(jsonChange{kind: Missing, at: at.index(s.rec), rec: rec[s.rec]})
		case Extra:
			tell(jsonChange{kind: Extra, at: at.index(s.now), now: now[s.now]})
		case Reordered:
			tell(jsonChange{kind: Reordered, at: at.index(s.rec), to: at.index(s.now), rec: rec[s.rec], now: now[s.now]})
		}
	}
}

func canonicals(vs []any) []string {
	keys := make([]string, len(vs))
	for i, v := range vs {
		keys[i] = string(appendCanonical(nil, v))
	}
	return keys
}
