package tape

import (
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/secret"
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
	// Members are further JSON members, fields of forms and parts whose values are
	// secret, and KeepMembers those that stay as they are.
	Members     []string
	KeepMembers []string
	KeepBodies  bool // nothing in a body is replaced
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

	finder   *secret.Finder
	standIns *secret.StandIns
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
	r := &Redactor{rules: RedactRules{
		Headers: lower(rules.Headers), Params: lower(rules.Params),
		KeepHeaders: lower(rules.KeepHeaders), KeepParams: lower(rules.KeepParams),
	}}
	if !rules.KeepBodies {
		r.finder = secret.NewFinder(secret.Rules{Names: rules.Members, Keep: rules.KeepMembers})
		r.standIns = secret.NewStandIns()
	}
	return r
}

// Bodies returns what finds the secrets in bodies, and what stands for them on one
// tape; nil where bodies stay as they are.
func (r *Redactor) Bodies() (*secret.Finder, *secret.StandIns) {
	if r == nil {
		r = byDefault()
	}
	return r.finder, r.standIns
}

// byDefault has the default rules.
var byDefault = sync.OnceValue(func() *Redactor { return NewRedactor(RedactRules{}) })

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
	case "www-authenticate", "proxy-authenticate":
		return redactChallenges(value)
	case "link":
		return r.links(value)
	case "location", "content-location", "referer":
		return r.URL(value)
	}
	if secret.IsHeader(written) || r.matches(name, func(x *RedactRules) []string { return x.Headers }) {
		return redactCredentials(value)
	}
	r.remember(written)
	return r.plainField(value)
}

// plainField is the value of a field of no kind that is redacted; one that holds a URL
// is redacted as that, and a token goes wherever it is.
func (r *Redactor) plainField(value string) string {
	if strings.Contains(value, "://") || strings.IndexByte(value, '?') >= 0 && strings.IndexByte(value, '=') >= 0 {
		return r.URL(value)
	}
	return redactTokens(value)
}

// redactTokens replaces what has the shape of a token.
func redactTokens(s string) string {
	found := secret.Tokens(s)
	if len(found) == 0 {
		return s
	}
	var b strings.Builder
	at := 0
	for _, f := range found {
		b.WriteString(s[at:f.Start])
		b.WriteString(Redacted)
		at = int(f.End)
	}
	b.WriteString(s[at:])
	return b.String()
}

// Credential reports whether a header field is one for credentials, whatever of it
// a tape keeps.
func (r *Redactor) Credential(name string) bool {
	if secret.IsHeader(name) {
		return true
	}
	name = strings.ToLower(name)
	return name == "cookie" || r.matches(name, func(x *RedactRules) []string { return x.Headers })
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
