package jsonvalue

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/wiretape/wiretape/httpstream/internal/legible"
)

// AppendCanonical writes a value so that equal values, and only they, are
// written alike. It is for comparing, not JSON.
func AppendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 'n')
	case bool:
		if v {
			return append(b, 't')
		}
		return append(b, 'f')
	case json.Number:
		return append(append(b, CanonicalNumber(string(v))...), ' ')
	case string:
		return AppendCounted(b, '"', v)
	case []any:
		b = append(b, '[')
		for _, e := range v {
			b = append(AppendCanonical(b, e), ',')
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b = AppendCanonical(AppendCounted(b, '"', k), v[k])
		}
		return append(b, '}')
	case Ignored:
		return append(b, '~')
	}
	return b
}

// AppendCounted writes a mark, the length and the text, so that no text can be
// taken for what follows it.
func AppendCounted(b []byte, mark byte, s string) []byte {
	b = strconv.AppendInt(append(b, mark), int64(len(s)), 10)
	return append(append(b, ':'), s...)
}

// Canonical is AppendCanonical for a document, repeated names and all.
func (d *Document) Canonical() []byte {
	b := AppendCanonical(nil, d.Value)
	if len(d.Repeats) == 0 {
		return b
	}
	byPath := d.RepeatsByPath()
	for _, p := range slices.Sorted(maps.Keys(byPath)) {
		b = append(AppendCounted(b, '+', p), byPath[p]...)
	}
	return b
}

// RepeatsByPath gives, for each name that occurs more than once, the earlier values in order.
func (d *Document) RepeatsByPath() map[string][]byte {
	m := map[string][]byte{}
	for _, r := range d.Repeats {
		p := r.At.String()
		m[p] = append(AppendCanonical(m[p], r.Value), ',')
	}
	return m
}

// Show writes a value as compact JSON for people.
func Show(v any) string {
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
			b.WriteString(Quote(k))
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
		b.WriteString(Quote(v))
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case Ignored:
		b.WriteString("(ignored)")
	default:
		b.WriteString("null")
	}
}

// Quote quotes as JSON does but shows bytes that are not UTF-8 as \xNN, so
// that two strings that differ are never shown alike.
func Quote(s string) string {
	r := strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	return `"` + legible.UTF8(r.Replace(s)) + `"`
}
