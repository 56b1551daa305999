package tape

import (
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream"
)

// Redacted stands on a tape where a secret was.
const Redacted = "REDACTED"

// RedactRules add to what is redacted by default, and take from it. Names are
// compared without case and may have '*' and '?' in them.
type RedactRules struct {
	Headers     []string // further header and trailer fields
	Params      []string // further query parameters
	KeepHeaders []string // fields that stay as they are
	KeepParams  []string
}

// A Redactor takes secrets out of heads and URLs. Redacting what is redacted
// changes nothing, and two requests that differ only in their secrets come out
// alike, so a tape matches requests that are redacted by the same rules. A nil
// Redactor has the default rules.
type Redactor struct {
	rules RedactRules
	// plain are names of fields that are of no kind that is redacted, as they were
	// written: the same few are asked for in every head. The map is never changed.
	plain atomic.Pointer[map[string]struct{}]
}

// maxPlain bounds how many names a Redactor remembers, and maxPlainName their length.
const (
	maxPlain     = 256
	maxPlainName = 64
)

// isPlain reports whether a field is known to be of no kind that is redacted.
func (r *Redactor) isPlain(name string) bool {
	if r == nil {
		return false
	}
	known := r.plain.Load()
	if known == nil {
		return false
	}
	_, ok := (*known)[name]
	return ok
}

// remember keeps a name for isPlain. Of two that are told at once, one may be lost.
func (r *Redactor) remember(name string) {
	if r == nil || len(name) > maxPlainName {
		return
	}
	names := map[string]struct{}{strings.Clone(name): {}}
	if known := r.plain.Load(); known != nil {
		if len(*known) >= maxPlain {
			return
		}
		maps.Copy(names, *known)
	}
	r.plain.Store(&names)
}

// NewRedactor returns a Redactor with the default rules and these.
func NewRedactor(rules RedactRules) *Redactor {
	lower := func(names []string) []string {
		out := make([]string, len(names))
		for i, n := range names {
			out[i] = strings.ToLower(n)
		}
		return out
	}
	return &Redactor{rules: RedactRules{
		Headers: lower(rules.Headers), Params: lower(rules.Params),
		KeepHeaders: lower(rules.KeepHeaders), KeepParams: lower(rules.KeepParams),
	}}
}

// Exchange redacts all heads, the URL, the trailers and the failure of x; it leaves
// what x shares with others alone.
func (r *Redactor) Exchange(x *Exchange) {
	x.Failed = r.Text(x.Failed)
	x.Request.URL = r.URL(x.Request.URL)
	x.Request.Header = r.Fields(x.Request.Header)
	x.Request.Trailer = r.Fields(x.Request.Trailer)
	if x.Response != nil {
		response := *x.Response
		response.Head.Header = r.Fields(response.Head.Header)
		x.Response = &response
	}
	x.Interim = slices.Clone(x.Interim)
	for i := range x.Interim {
		x.Interim[i].Head.Header = r.Fields(x.Interim[i].Head.Header)
	}
}

// Fields returns fs with the values of secret fields replaced; fs itself if there are none.
func (r *Redactor) Fields(fs httpstream.Fields) httpstream.Fields {
	out, copied := fs, false
	for i := range fs {
		v := r.Field(fs[i].Name, fs[i].Value)
		if v == fs[i].Value {
			continue
		}
		if !copied {
			out, copied = slices.Clone(fs), true
		}
		out[i].Value = v
	}
	return out
}

// Field returns the value that a tape keeps of a header or trailer field.
func (r *Redactor) Field(name, value string) string {
	if r.isPlain(name) {
		return r.plainField(value)
	}
	written := name
	name = strings.ToLower(name)
	if value == "" || r.matches(name, func(x *RedactRules) []string { return x.KeepHeaders }) {
		return value
	}
	switch name {
	case "cookie":
		return redactCookie(value)
	case "set-cookie":
		return redactSetCookie(value)
	case "sec-websocket-protocol":
		return redactSubprotocols(value)
	case "link":
		return r.links(value)
	case "location", "content-location", "referer":
		return r.URL(value)
	}
	if isCredentialName(name) || r.matches(name, func(x *RedactRules) []string { return x.Headers }) {
		return redactCredentials(value)
	}
	r.remember(written)
	return r.plainField(value)
}

// plainField is the value of a field of no kind that is redacted; one that holds a URL
// is redacted as that.
func (r *Redactor) plainField(value string) string {
	if strings.Contains(value, "://") {
		return r.URL(value)
	}
	return value
}

// Credential reports whether a header field is one for credentials, whatever of it
// a tape keeps.
func (r *Redactor) Credential(name string) bool {
	name = strings.ToLower(name)
	return name == "cookie" || isCredentialName(name) || r.matches(name, func(x *RedactRules) []string { return x.Headers })
}

// RedactCredential replaces credentials, but for the authentication scheme. No
// credentials stay none.
func RedactCredential(value string) string {
	if value == "" {
		return ""
	}
	return redactCredentials(value)
}

func (r *Redactor) matches(name string, list func(*RedactRules) []string) bool {
	if r == nil {
		return false
	}
	for _, pattern := range list(&r.rules) {
		if ok, err := path.Match(pattern, name); ok || err != nil && pattern == name {
			return true
		}
	}
	return false
}

// redactCredentials keeps the authentication scheme (RFC 9110 section 11.4) where
// it is a known one: the first word of anything else may be the secret.
func redactCredentials(value string) string {
	scheme, _, found := strings.Cut(value, " ")
	if found && isScheme(scheme) {
		return scheme + " " + Redacted
	}
	return Redacted
}

func isScheme(s string) bool {
	switch strings.ToLower(s) {
	case "basic", "bearer", "digest", "dpop", "gnap", "hoba", "mutual", "negotiate", "ntlm", "oauth",
		"privatetoken", "scram-sha-1", "scram-sha-256", "vapid", "concealed", // the IANA registry
		"token", "key", "apikey", "api-key", "hawk", "mac", "jwt", "signature", "sharedkey", "sharedkeylite",
		"sharedaccesssignature", "googlelogin", "aws", "aws4-hmac-sha256", "aws4-ecdsa-p256-sha256",
		"goog4-hmac-sha256", "goog4-rsa-sha256":
		return true
	}
	return false
}

// redactCookie keeps the names (RFC 6265 section 4.2).
func redactCookie(value string) string {
	pairs := strings.Split(value, ";")
	for i, p := range pairs {
		pairs[i] = redactPair(p)
	}
	return strings.Join(pairs, ";")
}

// redactPair keeps the name of " name=value" and its leading space; a value
// without a name is a secret as well.
func redactPair(p string) string {
	text := strings.TrimLeft(p, " \t")
	space := p[:len(p)-len(text)]
	name, v, found := strings.Cut(text, "=")
	switch {
	case found && v == "" || text == "":
		return p
	case found:
		return space + name + "=" + Redacted
	default:
		return space + Redacted
	}
}

// redactSetCookie keeps the name and the known attributes (RFC 6265 section 4.1);
// an unknown one may be a part of a value that has a semicolon in it.
func redactSetCookie(value string) string {
	parts := strings.Split(value, ";")
	for i, p := range parts {
		name, _, _ := strings.Cut(p, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "expires", "max-age", "domain", "path", "secure", "httponly", "samesite", "partitioned",
			"priority", "version", "comment":
			if i > 0 {
				continue
			}
		}
		parts[i] = redactPair(p)
	}
	return strings.Join(parts, ";")
}

// redactSubprotocols handles keys that browsers can only send as a WebSocket
// subprotocol: OpenAI's realtime API and Kubernetes take them there.
func redactSubprotocols(value string) string {
	items := strings.Split(value, ",")
	for i, item := range items {
		for _, prefix := range []string{"openai-insecure-api-key.", "base64url.bearer.authorization.k8s.io."} {
			if j := strings.Index(strings.ToLower(item), prefix); j >= 0 {
				items[i] = item[:j+len(prefix)] + Redacted
			}
		}
	}
	return strings.Join(items, ",")
}

// links redacts the targets in <…> of a Link field (RFC 8288).
func (r *Redactor) links(value string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(value, "<")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		target, after, closed := strings.Cut(rest, ">")
		b.WriteString("<" + r.URL(target))
		if !closed {
			return b.String()
		}
		b.WriteByte('>')
		value = after
	}
}

// URL returns what a tape keeps of an absolute or relative URL: the user
// information goes, and so do the values of secret parameters in query and
// fragment. It works on text that is no proper URL, too.
func (r *Redactor) URL(raw string) string {
	rest, fragment, hasFragment := strings.Cut(raw, "#")
	rest, query, hasQuery := strings.Cut(rest, "?")
	out := redactUserinfo(rest)
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
		return s
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
			b.WriteString(word)
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
		if found && r.secretParam(name) {
			if value == "" && !more {
				return p
			}
			return p[:start] + name + "=" + Redacted
		}
		if !more {
			return p
		}
		start += len(part) + 1
	}
}

func (r *Redactor) secretParam(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	lower := strings.ToLower(name)
	if r.matches(lower, func(x *RedactRules) []string { return x.KeepParams }) {
		return false
	}
	return isSecretParam(lower) || isCredentialName(name) ||
		r.matches(lower, func(x *RedactRules) []string { return x.Params })
}

// isSecretParam knows the short names that mean a secret in a query, where they
// would not in a header.
func isSecretParam(lower string) bool {
	switch lower {
	case "key", "sig", "signature", "auth", "jwt", "pass", "pwd", "hmac", "assertion", "client_assertion",
		"awsaccesskeyid", "x-amz-signature", "x-amz-credential", "x-goog-signature", "x-goog-credential":
		return true
	}
	return false
}

// isCredentialName tells names of credentials by their words: API keys, tokens,
// secrets, passwords. Counts and limits of tokens, and the tokens of pages, are
// no secrets, and tests need them.
func isCredentialName(name string) bool {
	words := splitWords(name)
	for i, w := range words {
		next, last := "", ""
		if i+1 < len(words) {
			next = words[i+1]
		}
		if i > 0 {
			last = words[i-1]
		}
		switch {
		case w == "authorization", w == "authentication" && len(words) <= 2 && last == "x":
			return true
		case w == "auth" && last == "x" && next == "":
			return true
		case hasAnySuffix(w, "secret", "password", "passwd", "passphrase", "apikey", "accesskey", "authkey"):
			return true
		case w == "key" && slices.Contains([]string{"api", "access", "auth", "private", "subscription", "functions", "app", "admin"}, last):
			return true
		case strings.HasSuffix(w, "token") && !isHarmlessToken(w, last, next):
			return true
		}
	}
	return false
}

func hasAnySuffix(s string, suffixes ...string) bool {
	for _, x := range suffixes {
		if strings.HasSuffix(s, x) {
			return true
		}
	}
	return false
}

func isHarmlessToken(word, last, next string) bool {
	switch next {
	case "count", "limit", "usage", "type", "budget", "remaining", "expires", "expiry", "expiration", "ttl":
		return true
	}
	if word != "token" {
		last = strings.TrimSuffix(word, "token")
	}
	switch last {
	case "page", "next", "prev", "previous", "continuation", "cursor", "sync", "start":
		return true
	}
	return false
}

// splitWords cuts at everything that is no letter or digit, and before the
// capital in camelCase, and makes the words lower case.
func splitWords(name string) []string {
	var words []string
	start, last := 0, rune(0)
	flush := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(name[start:end]))
		}
	}
	for i := 0; i < len(name); {
		c, size := utf8.DecodeRuneInString(name[i:])
		switch {
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			flush(i)
			start = i + size
		case unicode.IsUpper(c) && unicode.IsLower(last):
			flush(i)
			start = i
		}
		last = c
		i += size
	}
	flush(len(name))
	return words
}
