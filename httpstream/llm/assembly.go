package llm

import (
	"fmt"
	"strings"

	"github.com/wiretape/wiretape/httpstream/jsonvalue"
)

const (
	MaxAnswer = 256 << 10 // bytes of an answer that are kept
	maxPieces = 256
)

// An Assembly is what a model said, put together from the events of one stream.
type Assembly struct {
	table  *Table
	format *format
	names  []string
	pieces map[string]*Piece
	usage  map[string]any
	size   int
	cut    bool
}

// A Piece is a text or a tool call.
type Piece struct {
	Kind     Kind
	Function string // of a tool call
	text     strings.Builder
}

// Text is the text so far, or the arguments of a tool call.
func (p *Piece) Text() string { return p.text.String() }

// NewAssembly begins an answer in one of the table's formats.
func NewAssembly(t *Table) *Assembly { return &Assembly{table: t} }

// Format is the answer's; empty while none was found.
func (a *Assembly) Format() string {
	if a.format == nil {
		return ""
	}
	return a.format.name
}

// OwnDeltas is where the events of the answer's format have deltas, if the format is
// not a built-in one, which any Table knows.
func (a *Assembly) OwnDeltas() []string {
	if a.format == nil || !a.format.own {
		return nil
	}
	return a.format.deltas
}

// Names are those of the pieces, in the order in which they began.
func (a *Assembly) Names() []string { return a.names }

// Piece is the piece of a name; nil if there is none.
func (a *Assembly) Piece(name string) *Piece { return a.pieces[name] }

// Cut tells whether the answer was too long to be kept whole.
func (a *Assembly) Cut() bool { return a.cut }

// Usage is the tokens that were counted, as JSON; empty if none were.
func (a *Assembly) Usage() string {
	if len(a.usage) == 0 {
		return ""
	}
	return jsonvalue.Show(a.usage)
}

// OnlyAdds tells whether all that was taken are pieces of text, or of the arguments
// of tool calls.
func (a *Assembly) OnlyAdds() bool {
	for _, p := range a.pieces {
		if p.Kind == Finish || p.Function != "" {
			return false
		}
	}
	return len(a.pieces) > 0
}

// Take adds what an event holds, if it is of a format that is known, and of the
// same as the events before it. The value is as jsonvalue.Parse makes it.
func (a *Assembly) Take(event any) {
	f := a.table.find(event)
	if f == nil {
		return
	}
	if a.format == nil {
		a.format = f
	}
	if a.format != f {
		return
	}
	for i := range f.parts {
		a.part(&f.parts[i], event, "")
	}
	for i := range f.usage {
		if v, ok := f.usage[i].first(event); ok && v != nil {
			if a.usage == nil {
				a.usage = map[string]any{}
			}
			a.count(f.usage[i].last(), v)
		}
	}
}

// TakeAll is Take for what came as one document: an event, or an array of them.
func (a *Assembly) TakeAll(document any) {
	if list, ok := document.([]any); ok {
		for _, event := range list {
			a.Take(event)
		}
		return
	}
	a.Take(document)
}

// count notes the latest counts; those of an object go by their own names.
func (a *Assembly) count(name string, v any) {
	if object, ok := v.(map[string]any); ok {
		for n, count := range object {
			a.usage[n] = count
		}
		return
	}
	a.usage[name] = v
}

// last is the last name of a path.
func (s *selector) last() string {
	if len(s.names) == 0 {
		return "usage"
	}
	return s.names[len(s.names)-1]
}

// part adds what a part has in a value. whose is a prefix of the pieces' names:
// "choice 2 ".
func (a *Assembly) part(p *part, in any, whose string) {
	if !p.when.holds(in) {
		return
	}
	if p.each == nil {
		a.value(p, in, 0, whose)
		return
	}
	for k := range p.each {
		i := 0
		p.each[k].each(in, func(v any) bool {
			if v != nil {
				a.value(p, v, i, whose)
			}
			i++
			return true
		})
	}
}

// value adds what a part has in one of the values that it is for, the i-th.
func (a *Assembly) value(p *part, v any, i int, whose string) {
	number := index(p.number, v, i)
	if p.Of != "" && number != 0 {
		whose = fmt.Sprintf("%s%s %d ", whose, p.Of, number+1)
	}
	for k := range p.nested {
		a.part(&p.nested[k], v, whose)
	}
	if p.Name == "" {
		return
	}
	name := whose + p.Name
	switch p.Counting {
	case ByIndex:
		name = fmt.Sprintf("%s %d", name, number+1)
	case Next:
		name = a.next(name)
	}
	if p.Kind != Tool {
		a.add(name, p.Kind, texts(p.text, v))
		return
	}
	function, arguments := texts([]selector{p.function}, v), texts(p.text, v)+p.arguments(v)
	if p.Optional && function == "" && arguments == "" {
		return
	}
	if piece := a.begin(name, Tool); piece != nil && function != "" {
		piece.Function = function
	}
	a.add(name, Tool, arguments)
}

// arguments is a tool call's arguments that are JSON and not text.
func (p *part) arguments(v any) string {
	found, ok := p.value.first(v)
	if !ok || found == nil {
		return ""
	}
	if text, ok := found.(string); ok {
		if p.text != nil { // it has been taken as such
			return ""
		}
		return text
	}
	if object, ok := found.(map[string]any); p.EmptyIsNone && (!ok || len(object) == 0) {
		return ""
	}
	return jsonvalue.Show(found)
}

// next is the name of the next piece that has a number and no index.
func (a *Assembly) next(name string) string {
	for i := 1; ; i++ {
		if n := fmt.Sprintf("%s %d", name, i); i > maxPieces || a.pieces[n] == nil {
			return n
		}
	}
}

// begin finds or begins a piece; nil once there are too many.
func (a *Assembly) begin(name string, kind Kind) *Piece {
	if p := a.pieces[name]; p != nil {
		return p
	}
	if len(a.names) == maxPieces {
		a.cut = true
		return nil
	}
	if a.pieces == nil {
		a.pieces = map[string]*Piece{}
	}
	p := &Piece{Kind: kind}
	a.pieces[name] = p
	a.names = append(a.names, name)
	return p
}

// add appends a delta to a piece. An empty delta begins none.
func (a *Assembly) add(name string, kind Kind, delta string) {
	if delta == "" {
		return
	}
	p := a.begin(name, kind)
	if p == nil {
		return
	}
	if a.size+len(delta) > MaxAnswer {
		a.cut = true
		return
	}
	a.size += len(delta)
	p.text.WriteString(delta)
}
