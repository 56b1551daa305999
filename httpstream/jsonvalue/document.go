package jsonvalue

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may nest; what is deeper is no JSON here.
const MaxDepth = 1000

var errDepth = fmt.Errorf("nested deeper than %d", MaxDepth)

// A Document is a JSON text (RFC 8259). Its value is made of map[string]any,
// []any, string, json.Number, bool and nil, as the JSONPath library wants it.
// Unlike encoding/json it loses nothing: ill-formed UTF-8 and lone surrogates
// stay what they are instead of becoming U+FFFD, and repeated names are kept.
type Document struct {
	Value any
	// Repeats are the earlier values of names that occur more than once in an
	// object; the last value is in the map.
	Repeats []Repeat
}

// A Repeat is an earlier value of a name that occurs more than once.
type Repeat struct {
	At    *Place
	Value any
}

// Parse parses the whole of b. It keeps no reference to b.
func Parse(b []byte) (*Document, error) {
	p := parser{Scanner: Scanner{In: b}}
	v, err := p.value()
	if err == nil {
		err = p.End()
	}
	if err != nil {
		return nil, err
	}
	return &Document{Value: v, Repeats: p.repeats}, nil
}

// errNotExact is for JSON whose meaning depends on who reads it: repeated names,
// and strings that are not Unicode (RFC 8259 sections 4 and 8.2).
var errNotExact = errors.New("a name occurs twice, or a string is not Unicode")

// ParseExact returns the value of a text that means the same to every reader.
func ParseExact(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, errNotExact
	}
	p := parser{Scanner: Scanner{In: b, Strict: true}}
	v, err := p.value()
	if err == nil {
		err = p.End()
	}
	if err == nil && len(p.repeats) > 0 {
		err = errNotExact
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// A parser builds a document from what its Scanner reads.
type parser struct {
	Scanner
	buf     []byte
	path    []Place // where it is, from the root down; up is not set
	repeats []Repeat
}

func (p *parser) value() (any, error) {
	if len(p.path) > MaxDepth {
		return nil, errDepth
	}
	switch c := p.Peek(); {
	case c == '{':
		return p.object()
	case c == '[':
		return p.array()
	case c == '"':
		return p.text()
	case c == '-' || c >= '0' && c <= '9':
		n, err := p.Number()
		return json.Number(n), err
	case c == 't':
		return true, p.Literal("true")
	case c == 'f':
		return false, p.Literal("false")
	case c == 'n':
		return nil, p.Literal("null")
	}
	return nil, p.fail("expected a value")
}

func (p *parser) text() (string, error) {
	s, err := p.String(&p.buf)
	return string(s), err
}

func (p *parser) object() (any, error) {
	p.Pos++
	m := map[string]any{}
	for first := true; ; first = false {
		if done, err := p.Next('}', first); done || err != nil {
			return m, err
		}
		name, err := p.text()
		if err != nil {
			return nil, err
		}
		if err := p.Expect(':'); err != nil {
			return nil, err
		}
		p.path = append(p.path, Place{member: name, element: -1})
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if old, ok := m[name]; ok {
			p.repeats = append(p.repeats, Repeat{p.place(), old})
		}
		p.path = p.path[:len(p.path)-1]
		m[name] = v
	}
}

func (p *parser) array() (any, error) {
	p.Pos++
	a := []any{}
	for first := true; ; first = false {
		if done, err := p.Next(']', first); done || err != nil {
			return a, err
		}
		p.path = append(p.path, Place{element: len(a)})
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		a = append(a, v)
	}
}

// place is where the parser is. Only what repeats asks for it, so that walking a
// document makes no list.
func (p *parser) place() *Place {
	var at *Place
	for _, step := range p.path {
		at = &Place{at, step.member, step.element}
	}
	return at
}
