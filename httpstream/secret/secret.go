// Package secret finds credentials in what passes, and makes what stands on a tape in
// their place.
//
// A secret is known by its shape (the tokens of many vendors, private keys, JWTs,
// passwords in connection strings) or by the name of what it is the value of: a JSON
// member, a parameter of a form or a URL, a part of a multipart body. That something
// looks random is no reason. Nothing is parsed as JSON or SSE: the text is read as it
// passes, so that what is cut into chunks, events or messages, or is JSON in a string
// of JSON, is found in one way.
package secret

import (
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A Finding is a secret in a text.
type Finding struct {
	Start, End int64  // byte offsets; what is between them is replaced
	Rule       string // what it was known by, for people

	// from is where the token begins whose prefix stays; Start for any other.
	from int64
	kind kind
}

// kind is how a secret is written.
type kind uint8

const (
	token  kind = iota
	value       // of a JSON member, with its escapes
	number      // a JSON number, which must stay one
	signed      // a JWT
)

// Rules add to what is found by default, and take from it. Names are compared without
// case and may have '*' and '?' in them.
type Rules struct {
	Names []string // further JSON members, parameters and parts
	Keep  []string // names whose values stay as they are
}

// A Finder knows what a secret is. A nil Finder knows the default rules.
type Finder struct {
	rules Rules
	// judged are names of members that were judged: the same few come again and again.
	// The map is never changed.
	judged atomic.Pointer[map[string]strength]
}

// maxJudged bounds how many names a Finder remembers.
const maxJudged = 1024

// NewFinder returns a Finder with the default rules and these.
func NewFinder(rules Rules) *Finder {
	lower := func(names []string) []string {
		out := slices.Clone(names)
		for i := range out {
			out[i] = strings.ToLower(out[i])
		}
		return out
	}
	return &Finder{rules: Rules{Names: lower(rules.Names), Keep: lower(rules.Keep)}}
}

// strength is how much a name says about its value.
type strength int

const (
	no     strength = iota // it is no name of a secret
	likely                 // of one if the value looks like it: "token" is also what a model says
	surely                 // of one
)

// byDefault is the Finder of the default rules.
var byDefault = sync.OnceValue(func() *Finder { return NewFinder(Rules{}) })

// written judges the name of a JSON member as it is written, with its escapes.
func (f *Finder) written(name []byte) strength {
	known := f.judged.Load()
	if known != nil {
		if how, ok := (*known)[string(name)]; ok {
			return how
		}
	}
	how := f.member(unescapedMember(name))
	names := map[string]strength{string(name): how}
	if known != nil {
		if len(*known) >= maxJudged {
			return how
		}
		maps.Copy(names, *known)
	}
	f.judged.Store(&names) // of two at once, one may be lost
	return how
}

// member judges the name of a JSON member, or of a part.
func (f *Finder) member(name string) strength {
	lower := strings.ToLower(name)
	switch {
	case matches(f.rules.Keep, lower):
		return no
	case matches(f.rules.Names, lower):
		return surely
	}
	return memberStrength(name)
}

// parameter judges the name of a parameter of a form.
func (f *Finder) parameter(name string) strength {
	lower := strings.ToLower(name)
	if s := f.member(name); s != no || matches(f.rules.Keep, lower) || !IsParameter(lower) {
		return s
	}
	return surely
}

// whole lends a Scan for a text that is whole.
var whole = sync.Pool{New: func() any { return new(Scan) }}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok || err != nil && p == name
	})
}

// Find finds the secrets in a text that is whole. Findings come in the order of their
// beginnings and don't overlap.
func (f *Finder) Find(t Text, data []byte) []Finding {
	s := whole.Get().(*Scan)
	defer whole.Put(s)
	s.begin(f, t)
	s.Feed(data)
	s.Close()
	_, _, found := s.Take()
	s.Rest()
	return found
}
