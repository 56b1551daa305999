package tape

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream/secret"
)

// URL returns what a tape keeps of an absolute or relative URL: the user
// information goes, and so do the values of secret parameters in query and
// fragment. It works on text that is no proper URL, too.
func (r *Redactor) URL(raw string) string {
	rest, fragment, hasFragment := strings.Cut(raw, "#")
	rest, query, hasQuery := strings.Cut(rest, "?")
	out := redactTokens(r.pathParams(redactUserinfo(rest)))
	if hasQuery {
		out += "?" + r.Query(query)
	}
	if hasFragment {
		head, tail, found := strings.Cut(fragment, "?")
		out += "#" + r.Query(head)
		if found {
			out += "?" + r.Query(tail)
		}
	}
	return out
}

// Text returns a text for people, such as an error, with the secrets taken out of
// the URLs and request targets in it.
func (r *Redactor) Text(s string) string {
	if !strings.ContainsAny(s, "?#@") {
		return redactTokens(s)
	}
	var b strings.Builder
	for len(s) > 0 {
		end := strings.IndexFunc(s, func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune("\"'`<>(){}", c) })
		if end < 0 {
			end = len(s)
		}
		if word := s[:end]; strings.ContainsAny(word, "/?") {
			b.WriteString(r.URL(word))
		} else {
			b.WriteString(redactTokens(word))
		}
		_, size := utf8.DecodeRuneInString(s[end:])
		b.WriteString(s[end : end+size])
		s = s[end+size:]
	}
	return b.String()
}

// redactUserinfo replaces the user information of an authority (RFC 3986 section 3.2.1).
func redactUserinfo(s string) string {
	i := strings.Index(s, "//")
	if i < 0 || i > 0 && s[i-1] != ':' {
		return s
	}
	authority, path, hasPath := strings.Cut(s[i+2:], "/")
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return s
	}
	s = s[:i+2] + Redacted + authority[at:]
	if hasPath {
		s += "/" + path
	}
	return s
}

// Query returns a query with the values of secret parameters replaced. Everything
// else stays as it was sent, byte for byte.
func (r *Redactor) Query(raw string) string {
	parts := strings.Split(raw, "&")
	for i, p := range parts {
		parts[i] = r.params(p)
	}
	return strings.Join(parts, "&")
}

// params redacts one name=value. Some servers take ';' for a separator as well;
// from the first secret among such parts on, all is replaced, because a secret
// may have a semicolon in it.
func (r *Redactor) params(p string) string {
	for start := 0; ; {
		part, _, more := strings.Cut(p[start:], ";")
		name, value, found := strings.Cut(part, "=")
		if found && r.secretParam(name, value) {
			if value == "" && !more {
				return p
			}
			return p[:start] + name + "=" + Redacted
		}
		if nested := r.nested(value); nested != value {
			p = p[:start] + name + "=" + nested + p[start+len(part):]
			part = name + "=" + nested
		}
		if !more {
			return p
		}
		start += len(part) + 1
	}
}

// nested redacts the value of a parameter that is a URL itself, escaped or not, or has
// the shape of a token.
func (r *Redactor) nested(value string) string {
	if value = redactTokens(value); strings.IndexByte(value, '=') >= 0 {
		return r.URL(value)
	}
	if !strings.Contains(value, "%3D") && !strings.Contains(value, "%3d") && !strings.Contains(value, "%40") {
		return value
	}
	plain, err := url.QueryUnescape(value)
	if err != nil || plain == value {
		return value
	}
	if redacted := r.URL(plain); redacted != plain {
		return url.QueryEscape(redacted)
	}
	return value
}

// pathParams redacts the parameters of a path's segments (RFC 3986 section 3.3), such
// as ";jsessionid=".
func (r *Redactor) pathParams(s string) string {
	if !strings.Contains(s, ";") {
		return s
	}
	segments := strings.Split(s, "/")
	for i, segment := range segments {
		parts := strings.Split(segment, ";")
		for j, p := range parts[1:] {
			if name, value, found := strings.Cut(p, "="); found && value != "" && r.secretParam(name, value) {
				parts[j+1] = name + "=" + Redacted
			}
		}
		segments[i] = strings.Join(parts, ";")
	}
	return strings.Join(segments, "/")
}

func (r *Redactor) secretParam(name, value string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	lower := strings.ToLower(name)
	if r.matches(lower, func(x *RedactRules) []string { return x.KeepParams }) {
		return false
	}
	return secret.IsParameter(lower) || secret.IsName(name) || secret.IsLikelyParameter(lower) && secret.LooksLikeToken(value) ||
		r.matches(lower, func(x *RedactRules) []string { return x.Params })
}
