package compare

import (
	"mime"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
)

// A format is how a body is taken apart.
type format int

const (
	formatBytes format = iota
	formatText
	formatJSON
	formatNDJSON
	formatSSE
	formatMultipart
)

// kindOf tells the format of a Content-Type value.
func kindOf(contentType string) format {
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil && t == "" {
		t, _, _ = strings.Cut(contentType, ";")
		t = strings.ToLower(strings.TrimSpace(t))
	}
	switch t {
	case "text/event-stream":
		return formatSSE
	case "application/json", "text/json":
		return formatJSON
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl",
		"application/jsonlines", "application/json-lines", "application/x-jsonlines", "application/x-json-stream",
		"application/stream+json", "application/json-seq", "text/x-ndjson", "text/ndjson", "text/jsonl":
		return formatNDJSON
	case "application/xml", "application/javascript", "application/ecmascript", "application/yaml", "application/x-yaml",
		"application/toml", "application/graphql", "application/sql", "application/x-www-form-urlencoded":
		return formatText
	}
	switch {
	case strings.HasPrefix(t, "multipart/"):
		return formatMultipart
	case strings.HasPrefix(t, "text/"), strings.HasSuffix(t, "+xml"), strings.HasSuffix(t, "+yaml"):
		return formatText
	case strings.HasSuffix(t, "+json"):
		return formatJSON
	}
	return formatBytes
}

// single is how a body of the format is compared in one piece.
func (f format) single() bodyKind {
	switch f {
	case formatText, formatSSE:
		return asText
	case formatJSON, formatNDJSON:
		return asJSON
	}
	return asBytes
}

// boundaryOf is the boundary of a multipart type; empty if there is none.
func boundaryOf(contentType string) string {
	if _, params, err := mime.ParseMediaType(contentType); err == nil {
		return params["boundary"]
	}
	// Cameras send unquoted boundaries that are no tokens (RFC 9110 section 5.6.2).
	_, params, _ := strings.Cut(contentType, ";")
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "boundary") {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// withoutBoundary is the field's value less a multipart boundary, which most
// servers draw at random and which only frames.
func withoutBoundary(f httpstream.Field) string {
	if !strings.EqualFold(f.Name, "Content-Type") || kindOf(f.Value) != formatMultipart {
		return f.Value
	}
	t, rest, _ := strings.Cut(f.Value, ";")
	kept := []string{t}
	for p := range strings.SplitSeq(rest, ";") {
		if name, _, _ := strings.Cut(p, "="); !strings.EqualFold(strings.TrimSpace(name), "boundary") && strings.TrimSpace(p) != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ";")
}

// newParser makes the parser for a format, or nil if the format has no units.
func newParser(f format, contentType string, limit int, emit func(*unit)) parser {
	switch f {
	case formatSSE:
		return &sseParser{limit: limit, emit: emit}
	case formatNDJSON:
		return &lineParser{records: true, limit: limit, emit: emit}
	case formatText:
		return &lineParser{limit: limit, emit: emit}
	case formatMultipart:
		return newMultipartParser(boundaryOf(contentType), limit, emit)
	}
	return nil
}
