package event

import (
	"fmt"
	"slices"
	"strings"
)

// A Place is a part of a message that can differ from the recorded one, and that a
// rule may leave out. Its text form, "header Accept" for example, is what JSON and
// people see; docs/cli.md lists them.
type Place struct {
	Kind PlaceKind
	// Name is that of a query parameter, a field, or a part. In a body it is a JSONPath
	// (RFC 9535), and in a part or a message it is what String writes behind the kind.
	// Empty means all there is of the kind.
	Name string
}

// PlaceKind is a kind of Place.
type PlaceKind string

// The kinds of places.
const (
	Method    PlaceKind = "method"
	Protocol  PlaceKind = ":protocol" // RFC 8441 section 4
	Scheme    PlaceKind = "scheme"
	Host      PlaceKind = "host" // with its port
	Path      PlaceKind = "path"
	Query     PlaceKind = "query"
	Header    PlaceKind = "header"
	Trailer   PlaceKind = "trailer"
	Body      PlaceKind = "body"
	FormField PlaceKind = "body field" // of a form
	Part      PlaceKind = "body part"  // of a multipart body
	Message   PlaceKind = "message"    // of a two-way stream
	InCase    PlaceKind = "case"       // in which a call was made
)

// placeKinds are all of them; one that begins like another stands before it.
var placeKinds = []PlaceKind{
	Method, Protocol, Scheme, Host, Path, Query, Header, Trailer, FormField, Part, Body, Message, InCase,
}

// At is the place of a kind and a name.
func At(kind PlaceKind, name string) Place { return Place{kind, name} }

// String is the text form.
func (p Place) String() string {
	if p.Name == "" {
		return string(p.Kind)
	}
	return string(p.Kind) + " " + p.Name
}

// In is a place in a body, as it is in the body of a part or in a message.
func (p Place) In(outer Place) Place {
	if outer.Kind == Body {
		return p
	}
	inside := strings.TrimPrefix(p.String(), string(Body))
	return Place{outer.Kind, strings.TrimPrefix(outer.Name+inside, " ")}
}

// Member reports whether the place is one value in a JSON body, not the whole of it.
func (p Place) Member() bool {
	return p.Kind == Body && strings.HasPrefix(p.Name, "$") && p.Name != "$"
}

// MarshalText implements encoding.TextMarshaler.
func (p Place) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Place) UnmarshalText(text []byte) error {
	s := string(text)
	i := slices.IndexFunc(placeKinds, func(k PlaceKind) bool { return s == string(k) || strings.HasPrefix(s, string(k)+" ") })
	if i < 0 {
		return fmt.Errorf("%q is no place in a message", s)
	}
	*p = Place{Kind: placeKinds[i]}
	if len(s) > len(p.Kind) {
		p.Name = s[len(p.Kind)+1:]
	}
	return nil
}
