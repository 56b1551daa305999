// Package body knows what the bytes of a body mean by their content type, and cuts
// them into units: events, lines, parts.
package body

import (
	"mime"
	"slices"
	"strings"
)

// A Format is how bodies of some content types are taken apart. A new one is a
// file with its row, and a line in Formats.
type Format struct {
	Name string
	// Unit is what people call a unit; empty for a body that has none.
	Unit string
	// Types are its media types in lower case: "text/csv", "text/*", "*+xml". One
	// that is written out goes before a pattern, and else the first format wins.
	Types []string
	// Whole is what a body means that is taken in one piece: that of a part.
	Whole Kind
	// Timed is set where servers send unit by unit, so that the time of a unit says
	// more than that of a chunk.
	Timed bool
	// Records is set where a unit means nothing before it is complete.
	Records bool
	// New makes a parser that keeps at most limit bytes of a unit. A unit that it
	// emits is valid until emit returns; its fields and data may be kept. It returns
	// nil if the content type lacks what it takes. New is nil for a body without units.
	New func(contentType string, limit int, emit func(*Unit)) Parser
}

// Formats is the table, in order of precedence.
func Formats() []Format {
	return []Format{sse(), ndjson(), parts(), text(), json(), bytesOnly()}
}

func json() Format {
	return Format{Name: "json", Whole: JSON, Types: []string{"application/json", "text/json", "*+json"}}
}

// bytesOnly is what is of no other format.
func bytesOnly() Format { return Format{Name: "bytes", Whole: Bytes} }

// Of finds the format of a Content-Type value.
func Of(contentType string) Format {
	t := MediaType(contentType)
	formats := Formats()
	for _, matches := range []func(string) bool{
		func(pattern string) bool { return pattern == t },
		func(pattern string) bool {
			prefix, suffix, ok := strings.Cut(pattern, "*")
			return ok && strings.HasPrefix(t, prefix) && strings.HasSuffix(t, suffix)
		},
	} {
		for _, f := range formats {
			if slices.ContainsFunc(f.Types, matches) {
				return f
			}
		}
	}
	return bytesOnly()
}

// MediaType is a Content-Type value without its parameters, in lower case; what
// is malformed is read as far as it goes.
func MediaType(contentType string) string {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil && t == "" {
		t, _, _ = strings.Cut(contentType, ";")
		t = strings.ToLower(strings.TrimSpace(t))
	}
	return t
}
