// Package noise knows what changes by itself: rules that leave it out of a
// comparison, how they are written in wiretape.yaml, and which ones a difference
// suggests.
package noise

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream/jsonvalue"
)

// The keys under noise.
const (
	ResponseBody   = "response.body"
	ResponseHeader = "response.header"
	ResponseSSE    = "response.sse"
	ResponseText   = "response.text"
	RequestBody    = "request.body"
	RequestHeader  = "request.header"
	RequestQuery   = "request.query"
	RequestPath    = "request.path"
	RequestText    = "request.text"
)

// ruleKeys is every key under noise beside cases, in the order of the documentation.
func ruleKeys() []string {
	return []string{
		ResponseBody, ResponseHeader, ResponseSSE, ResponseText,
		RequestBody, RequestHeader, RequestQuery, RequestPath, RequestText,
	}
}

// A Rule is one entry under noise.
type Rule struct {
	Key   string `json:"key"` // ResponseBody, ResponseHeader, …
	Value string `json:"value"`
}

// Rules are what a comparison leaves out. A Rules is immutable: every method
// that changes something returns a new one, and none shares a list with
// another, so that nothing can leak from one case into the next. The zero value
// has no rules.
type Rules struct {
	all   ruleSet
	cases []caseRules
}

type caseRules struct {
	glob string
	set  ruleSet
}

type ruleSet struct {
	responseBody   []jsonvalue.Path
	requestBody    []jsonvalue.Path
	responseHeader []string // lower case, with * and ? as in path.Match
	requestHeader  []string
	requestQuery   []string // as written, with * and ?
	requestPath    []*regexp.Regexp
	requestText    []*regexp.Regexp
	sse            []string
	text           []*regexp.Regexp
}

// New compiles rules for all cases. It reports every rule that is malformed.
func New(rules ...Rule) (Rules, error) {
	var r Rules
	var errs []error
	for _, rule := range rules {
		if err := r.all.add(rule); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Rules{}, err
	}
	return r, nil
}

// With returns the rules of both.
func (r Rules) With(other Rules) Rules {
	return Rules{all: r.all.with(other.all), cases: slices.Concat(r.cases, other.cases)}
}

// For returns the rules for one case: those for all, and those of every glob
// (path.Match) that its name matches. The name is that of the case's file
// without folder and extension: "0003-post-chat".
func (r Rules) For(name string) Rules {
	out := Rules{all: r.all.with(ruleSet{})}
	for _, c := range r.cases {
		if ok, _ := path.Match(c.glob, name); ok {
			out.all = out.all.with(c.set)
		}
	}
	return out
}

// OwnRequests returns the patterns by which a case has rules for requests beside
// those for all, empty if it has none. Cases with the same patterns have the same rules.
func (r Rules) OwnRequests(name string) string {
	var globs strings.Builder
	for _, c := range r.cases {
		if ok, _ := path.Match(c.glob, name); ok && c.set.aboutRequests() {
			globs.WriteString(c.glob + "\n")
		}
	}
	return globs.String()
}

func (s *ruleSet) aboutRequests() bool {
	return len(s.requestBody)+len(s.requestHeader)+len(s.requestQuery)+len(s.requestPath)+len(s.requestText) > 0
}

func (s ruleSet) with(o ruleSet) ruleSet {
	return ruleSet{
		responseBody:   slices.Concat(s.responseBody, o.responseBody),
		requestBody:    slices.Concat(s.requestBody, o.requestBody),
		responseHeader: slices.Concat(s.responseHeader, o.responseHeader),
		requestHeader:  slices.Concat(s.requestHeader, o.requestHeader),
		requestQuery:   slices.Concat(s.requestQuery, o.requestQuery),
		requestPath:    slices.Concat(s.requestPath, o.requestPath),
		requestText:    slices.Concat(s.requestText, o.requestText),
		sse:            slices.Concat(s.sse, o.sse),
		text:           slices.Concat(s.text, o.text),
	}
}

// add compiles one rule into a set that is not yet in use.
func (s *ruleSet) add(r Rule) error {
	if strings.TrimSpace(r.Value) == "" {
		return fmt.Errorf("%s: an empty rule ignores nothing; remove it", r.Key)
	}
	switch r.Key {
	case ResponseBody:
		return addPath(&s.responseBody, r)
	case RequestBody:
		return addPath(&s.requestBody, r)
	case ResponseHeader:
		return addHeader(&s.responseHeader, r)
	case RequestHeader:
		return addHeader(&s.requestHeader, r)
	case RequestQuery:
		return addGlob(&s.requestQuery, r, r.Value)
	case ResponseSSE:
		if !slices.Contains(sseFields(), r.Value) {
			return fmt.Errorf("%s: %q is no part of an event; use one of %s", r.Key, r.Value, strings.Join(sseFields(), ", "))
		}
		s.sse = append(s.sse, r.Value)
	case ResponseText:
		return addPattern(&s.text, r)
	case RequestText:
		return addPattern(&s.requestText, r)
	case RequestPath:
		return addPattern(&s.requestPath, r)
	default:
		return fmt.Errorf("unknown key %q; use one of %s", r.Key, strings.Join(ruleKeys(), ", "))
	}
	return nil
}

func addPath(to *[]jsonvalue.Path, r Rule) error {
	p, err := jsonvalue.ParsePath(r.Value)
	if err != nil {
		return fmt.Errorf("%s: %q is no JSONPath (RFC 9535): %w; write it like $.choices[*].id", r.Key, r.Value, err)
	}
	*to = append(*to, p)
	return nil
}

func addPattern(to *[]*regexp.Regexp, r Rule) error {
	re, err := regexp.Compile(r.Value)
	if err != nil {
		return fmt.Errorf("%s: %w; see https://pkg.go.dev/regexp/syntax", r.Key, err)
	}
	if re.MatchString("") {
		return fmt.Errorf("%s: %q matches the empty text, so it would hide more than it says; write + for *", r.Key, r.Value)
	}
	*to = append(*to, re)
	return nil
}

func addHeader(to *[]string, r Rule) error {
	if strings.ContainsAny(r.Value, " \t:,;") {
		return fmt.Errorf("%s: %q is no header name; write the name alone, like Date or X-Request-*", r.Key, r.Value)
	}
	return addGlob(to, r, strings.ToLower(r.Value))
}

func addGlob(to *[]string, r Rule, glob string) error {
	if _, err := path.Match(glob, ""); err != nil {
		return fmt.Errorf("%s: %q: %w; only * and ? and [a-z] are special", r.Key, r.Value, err)
	}
	*to = append(*to, glob)
	return nil
}

func matchesAny(globs []string, name string) bool {
	for _, g := range globs {
		if ok, _ := path.Match(g, name); ok {
			return true
		}
	}
	return false
}

// IgnoreResponseHeader tells whether a response header or trailer is left out by a rule.
func (r Rules) IgnoreResponseHeader(name string) bool {
	return matchesAny(r.all.responseHeader, strings.ToLower(name))
}

// IgnoreRequestHeader tells whether a request header is left out.
func (r Rules) IgnoreRequestHeader(name string) bool {
	return matchesAny(r.all.requestHeader, strings.ToLower(name))
}

// IgnoreRequestQuery tells whether a query parameter, decoded, is left out.
func (r Rules) IgnoreRequestQuery(name string) bool {
	return matchesAny(r.all.requestQuery, name)
}

// RequestPath returns what replaces, in a path, what the request.path rules match;
// nil if there are none.
func (r Rules) RequestPath() func(string) string { return replacer(r.all.requestPath) }

// RequestText returns what replaces, in a line, what the request.text rules match;
// nil if there are none.
func (r Rules) RequestText() func(string) string { return replacer(r.all.requestText) }

func replacer(patterns []*regexp.Regexp) func(string) string {
	if len(patterns) == 0 {
		return nil
	}
	return func(s string) string { return replaceAll(patterns, s) }
}

// IgnoreResponse is the document of an answer without what the response.body
// rules select.
func (r Rules) IgnoreResponse(d *jsonvalue.Document) *jsonvalue.Document {
	return d.Without(r.all.responseBody)
}

// IgnoreRequestBody returns a JSON value, as encoding/json decodes it into any,
// without what the request.body rules select. Numbers may be json.Number. v is
// not changed; where a rule selects an element of an array, or all of v, a fixed
// text that no real body holds takes its place, so that the others keep their index.
func (r Rules) IgnoreRequestBody(v any) any {
	return jsonvalue.Prune(r.all.requestBody, v, Ignored)
}

// IgnoreResponseBody does the same with the response.body rules.
func (r Rules) IgnoreResponseBody(v any) any {
	return jsonvalue.Prune(r.all.responseBody, v, Ignored)
}

// IgnoreSSE tells whether a part of an event is left out: event, data, id, retry,
// comment or unknown.
func (r Rules) IgnoreSSE(field string) bool { return slices.Contains(r.all.sse, field) }

// Ignored takes the place of what a rule matches in a text.
const Ignored = "\x00…\x00"

// IgnoreText replaces with Ignored what the response.text rules match.
func (r Rules) IgnoreText(s string) string { return replaceAll(r.all.text, s) }

func replaceAll(patterns []*regexp.Regexp, s string) string {
	for _, re := range patterns {
		s = re.ReplaceAllLiteralString(s, Ignored)
	}
	return s
}

// sseFields are the parts of an event that response.sse can name.
func sseFields() []string { return []string{"event", "data", "id", "retry", "comment", "unknown"} }
