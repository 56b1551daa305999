package match

import (
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A counting is how the values of a request field count.
type counting uint8

const (
	notAtAll   counting = iota
	asText              // a list over several lines is one (RFC 9110 section 5.3)
	asTokens            // a list of tokens without case
	asWeights           // a list of tokens with weights (RFC 9110 section 12.4.2)
	asDate              // a date in any of its three forms, or text
	asUpgrade           // protocols, but for HTTP/2, which changes no answer
	asCoding            // of the body, if there is one
	asType              // of the body, if there is one; parameters do not count
	credential          // that it is there, and its scheme
)

// fieldCounts are the fields that choose an answer, by their specifications, in
// lower case. Credentials are told by the redactor.
var fieldCounts = map[string]counting{
	// RFC 9110, what is asked for: sections 10.1.1, 10.1.4, 12.5, 13.1, 14.
	"expect": asTokens, "te": asTokens,
	"accept": asWeights, "accept-charset": asWeights, "accept-language": asWeights,
	"if-match": asText, "if-none-match": asText, "if-range": asDate,
	"if-modified-since": asDate, "if-unmodified-since": asDate,
	"range": asTokens, "upgrade": asUpgrade,
	// What the body is: sections 8.3, 8.4, 14.5.
	"content-type": asType, "content-encoding": asCoding, "content-range": asTokens,
	"grpc-encoding": asCoding,

	"last-event-id":          asText,   // the HTML standard, server-sent events
	"prefer":                 asText,   // RFC 7240
	"sec-websocket-protocol": asText,   // RFC 6455 section 1.9
	"depth":                  asTokens, // RFC 4918 section 10
	"destination":            asText,
	"overwrite":              asTokens,

	// Operations that are not in method and URL.
	"soapaction": asText, "x-amz-target": asText,
	"x-http-method": asTokens, "x-http-method-override": asTokens, "x-method-override": asTokens,
	"upload-offset": asText, "upload-length": asText,

	// Versions of an API.
	"git-protocol": asText,
	"api-version":  asText, "x-api-version": asText, "x-github-api-version": asText, "stripe-version": asText,
	"notion-version": asText, "anthropic-version": asText, "anthropic-beta": asText, "openai-beta": asText,

	// Credentials that come and go in healthy runs: cookies expire, and a session
	// token belongs to keys that are valid for hours.
	"cookie": notAtAll, "x-amz-security-token": notAtAll,
	// For the next hop alone (RFC 9110 section 11.7.2).
	"proxy-authorization": notAtAll,
}

// A naming is how a field of one name counts.
type naming struct {
	lower string // the name
	counting
	// values are those that the tape has, at most maxValues of them.
	values map[string]normal
}

// normal is a field's value as it counts.
type normal struct{ sent, value string }

const (
	maxValues = 64
	// maxUnheard is how many names that the tape has not are remembered.
	maxUnheard = 1000
)

// A lexicon knows how fields count, by their names as they are written, so that no
// request decides it anew. A nil lexicon knows none.
type lexicon struct {
	known map[string]*naming // those of the tape

	mu      sync.RWMutex
	unheard map[string]*naming
}

// newLexicon knows the names and values of the calls.
func newLexicon(r *Rules, calls []*tape.Exchange) *lexicon {
	l := &lexicon{known: map[string]*naming{}, unheard: map[string]*naming{}}
	var last *httpstream.Field
	for _, x := range calls {
		header := x.Request.Header
		if len(header) == 0 || last == &header[0] { // calls share what is the same
			continue
		}
		last = &header[0]
		for i := range header {
			f := &header[i]
			n := l.known[f.Name]
			if n == nil {
				n = r.newNaming(f.Name)
				l.known[f.Name] = n
			}
			if n.counting == notAtAll || len(n.values) >= maxValues {
				continue
			}
			if _, known := n.values[f.Value]; !known {
				if n.values == nil {
					n.values = map[string]normal{}
				}
				n.values[f.Value] = r.normal(n, f.Value)
			}
		}
	}
	return l
}

func (r *Rules) newNaming(name string) *naming {
	lower := strings.ToLower(name)
	return &naming{lower: lower, counting: r.decide(lower)}
}

// naming tells how a field of that name counts.
func (r *Rules) naming(name string) *naming {
	l := r.lexicon
	if l == nil {
		return r.newNaming(name)
	}
	if n := l.known[name]; n != nil {
		return n
	}
	l.mu.RLock()
	n := l.unheard[name]
	l.mu.RUnlock()
	if n != nil {
		return n
	}
	n = r.newNaming(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.unheard) < maxUnheard {
		l.unheard[strings.Clone(name)] = n
	}
	return n
}

// normal is what counts of a value.
func (r *Rules) normal(n *naming, value string) normal {
	if v, known := n.values[value]; known {
		return v
	}
	v := normal{sent: strings.Trim(value, " \t")}
	if n.counting == credential {
		v.sent = tape.RedactCredential(v.sent)
	} else {
		v.sent = r.Redact.Field(n.lower, v.sent)
	}
	v.value = normalValue(n.lower, v.sent, n.counting)
	return v
}

func (r *Rules) decide(lower string) counting {
	c, known := fieldCounts[lower]
	switch {
	case r.IgnoreHeader != nil && r.IgnoreHeader(lower):
		return notAtAll
	case c != notAtAll:
		return c
	case matchesAny(r.Headers, lower) && lower == "accept-encoding":
		return asWeights
	case matchesAny(r.Headers, lower):
		return asText
	case !known && !ofCookie(lower) && r.Redact.Credential(lower):
		return credential
	}
	return notAtAll
}

// ofCookie reports whether a field repeats a cookie, against forged requests.
func ofCookie(lower string) bool {
	return strings.Contains(lower, "csrf") || strings.Contains(lower, "xsrf")
}

func matchesAny(patterns []string, lower string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(strings.ToLower(p), lower)
		return ok
	})
}

// A field is a request field as it counts.
type field struct {
	name     string // lower case
	shown    string // the name as it was sent
	sent     string // redacted; of one of credentials, that there is a value
	value    string // the same, so that equal meanings are equal text
	counting counting
}

// fields are the fields that count, by name, in room as far as it goes.
func (r *Rules) fields(header httpstream.Fields, room []field) []field {
	fs := room[:0]
	for i := range header {
		f := &header[i]
		n := r.naming(f.Name)
		if n.counting == notAtAll {
			continue
		}
		v := r.normal(n, f.Value)
		if i := slices.IndexFunc(fs, func(x field) bool { return x.name == n.lower }); i >= 0 {
			fs[i].sent += ", " + v.sent
			fs[i].value = normalValue(n.lower, fs[i].sent, n.counting)
			continue
		}
		fs = append(fs, field{name: n.lower, shown: f.Name, sent: v.sent, value: v.value, counting: n.counting})
	}
	fs = slices.DeleteFunc(fs, func(f field) bool { return f.value == "" && emptyMeansNone(f.counting) })
	slices.SortFunc(fs, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return fs
}

// emptyMeansNone reports whether a field without a value asks for nothing.
func emptyMeansNone(c counting) bool {
	return c == asTokens || c == asWeights || c == asCoding || c == asUpgrade
}

// ofBody reports whether the field is about the body, and counts where there is one.
func (f *field) ofBody() bool { return f.counting == asType || f.counting == asCoding }

// normalValue writes a value so that equal meanings are equal text.
func normalValue(name, value string, c counting) string {
	switch c {
	case asText:
		return strings.Join(listItems(value), ", ")
	case asTokens:
		return strings.ToLower(strings.Join(listItems(value), ", "))
	case asWeights:
		return normalWeights(name, value)
	case asDate:
		if t, err := http.ParseTime(value); err == nil {
			return t.UTC().Format(http.TimeFormat)
		}
	case asUpgrade:
		return strings.ToLower(strings.Join(without(listItems(value), "h2c", "h2"), ", "))
	case asCoding:
		return strings.ToLower(strings.Join(without(listItems(value), "identity"), ", "))
	case asType:
		return body.MediaType(value)
	case credential:
		if scheme, rest, found := strings.Cut(value, " "); found {
			return strings.ToLower(scheme) + " " + rest // RFC 9110 section 11.1
		}
	}
	return value
}

func without(items []string, names ...string) []string {
	return slices.DeleteFunc(items, func(item string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, item) })
	})
}

// listItems splits a list (RFC 9110 section 5.6.1) outside of quotes; empty
// items go.
func listItems(value string) []string { return split(value, ',') }

func split(value string, separator byte) []string {
	var items []string
	quoted, start := false, 0
	add := func(end int) {
		if item := strings.Trim(value[start:end], " \t"); item != "" {
			items = append(items, item)
		}
		start = end + 1
	}
	for i := 0; i < len(value); i++ {
		switch {
		case value[i] == '"':
			quoted = !quoted
		case value[i] == '\\' && quoted:
			i++
		case value[i] == separator && !quoted:
			add(i)
		}
	}
	if start < len(value) {
		add(len(value))
	}
	return items
}

// normalWeights writes a list of ranges with weights and without case and needless
// weights. To accept anything is to say nothing (RFC 9110 section 12.5). The
// order stays: servers break ties by it.
func normalWeights(name, value string) string {
	var items []string
	for _, item := range listItems(value) {
		parts := split(item, ';')
		kept := parts[:0]
		for _, p := range parts {
			p = lowerName(p)
			if weight, isWeight := strings.CutPrefix(p, "q="); isWeight && len(kept) > 0 {
				q, err := strconv.ParseFloat(weight, 64)
				if err == nil && q == 1 {
					continue
				}
				if err == nil {
					p = "q=" + strconv.FormatFloat(q, 'f', -1, 64)
				}
			}
			kept = append(kept, p)
		}
		if len(kept) > 0 {
			items = append(items, strings.Join(kept, ";"))
		}
	}
	joined := strings.Join(items, ", ")
	if joined == "*" || name == "accept" && joined == "*/*" {
		return ""
	}
	return joined
}

// lowerName writes NAME = VALUE with the name in lower case and without space; a
// value in quotes stays.
func lowerName(parameter string) string {
	name, value, found := strings.Cut(parameter, "=")
	if !found {
		return strings.ToLower(parameter)
	}
	value = strings.Trim(value, " \t")
	if !strings.HasPrefix(value, `"`) {
		value = strings.ToLower(value)
	}
	return strings.ToLower(strings.Trim(name, " \t")) + "=" + value
}
