package compare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream/jsonvalue"
	"github.com/wiretape/wiretape/httpstream/noise"
)

// An AnswerDifference is what a language model said, put together from the
// deltas of the recorded stream and of the present one. It explains, it never
// decides: whether the answer passes is decided by the events.
type AnswerDifference struct {
	// Format is "openai-chat", "openai-responses", "anthropic", "gemini" or "ollama".
	Format string `json:"format"`
	// Same is set where the deltas differ, but not what they make.
	Same bool `json:"same,omitempty"`
	// Cut is set where an answer was too long to be kept whole.
	Cut    bool              `json:"cut,omitempty"`
	Pieces []PieceDifference `json:"pieces,omitempty"`
}

// A PieceDifference is one text or tool call that differs.
type PieceDifference struct {
	// Name is what it is and whose: "text", "choice 2 text", "tool call 1".
	Name     string `json:"name"`
	Kind     string `json:"kind"` // "text", "reasoning", "refusal", "tool", "finish"
	Recorded string `json:"recorded"`
	Now      string `json:"now"`
	Words    Words  `json:"words,omitempty"`
	// RecordedTool and NowTool are a tool call's function; Recorded and Now its arguments.
	RecordedTool string `json:"recorded_tool,omitempty"`
	NowTool      string `json:"now_tool,omitempty"`
	// Arguments are the paths at which a tool call's arguments differ.
	Arguments []Difference `json:"arguments,omitempty"`
}

const (
	maxAnswer   = 256 << 10 // bytes of an answer that are kept
	maxPieces   = 256
	tryDocument = 64 // JSON documents without a delta after which a stream is none
)

// An assembly is one side's answer so far.
type assembly struct {
	format string
	order  []string
	pieces map[string]*piece
	size   int
	cut    bool
}

type piece struct {
	kind string
	tool string
	text strings.Builder
}

// piece finds or begins a piece; nil once there are too many.
func (a *assembly) piece(name, kind string) *piece {
	if p := a.pieces[name]; p != nil {
		return p
	}
	if len(a.order) == maxPieces {
		a.cut = true
		return nil
	}
	if a.pieces == nil {
		a.pieces = map[string]*piece{}
	}
	p := &piece{kind: kind}
	a.pieces[name] = p
	a.order = append(a.order, name)
	return p
}

// add appends a delta to a piece. An empty delta begins none.
func (a *assembly) add(name, kind, delta string) {
	if delta == "" {
		return
	}
	p := a.piece(name, kind)
	if p == nil {
		return
	}
	if a.size+len(delta) > maxAnswer {
		a.cut = true
		return
	}
	a.size += len(delta)
	p.text.WriteString(delta)
}

// call begins a tool call, or adds to it.
func (a *assembly) call(name, tool, arguments string) {
	if p := a.piece(name, "tool"); p != nil && tool != "" {
		p.tool = tool
	}
	a.add(name, "tool", arguments)
}

// answers are both sides' assemblies. A nil *answers takes nothing.
type answers struct {
	rec, now assembly
	tried    int
	off      bool
}

// both takes two units that are equal: one is decoded for both.
func (a *answers) both(r, _ *unit, rules *noise.Rules) {
	if a == nil || a.off {
		return
	}
	a.take(r, rules, &a.rec, &a.now)
}

// apart takes units that don't go together.
func (a *answers) apart(rec, now []*unit, rules *noise.Rules) {
	if a == nil {
		return
	}
	for _, u := range rec {
		a.take(u, rules, &a.rec)
	}
	for _, u := range now {
		a.take(u, rules, &a.now)
	}
}

func (a *answers) take(u *unit, rules *noise.Rules, to ...*assembly) {
	if a.off {
		return
	}
	c := u.decoded(rules)
	if c == nil || c.doc == nil {
		return
	}
	for _, s := range to {
		s.take(c.doc.Value)
	}
	a.tried++
	a.off = a.tried >= tryDocument && a.rec.format == "" && a.now.format == ""
}

func (a *answers) difference() *AnswerDifference {
	if a == nil {
		return nil
	}
	return diffAnswers(&a.rec, &a.now)
}

// answersOfDocuments puts together what was sent as one JSON document: an array
// of deltas, as Gemini streams it, or a whole answer.
func answersOfDocuments(rec, now any) *AnswerDifference {
	var r, n assembly
	r.takeAll(rec)
	n.takeAll(now)
	return diffAnswers(&r, &n)
}

func (a *assembly) takeAll(v any) {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			a.take(e)
		}
		return
	}
	a.take(v)
}

func diffAnswers(rec, now *assembly) *AnswerDifference {
	if rec.format == "" && now.format == "" {
		return nil
	}
	d := &AnswerDifference{Format: rec.format, Cut: rec.cut || now.cut}
	if d.Format == "" {
		d.Format = now.format
	}
	names := slices.Clone(rec.order)
	for _, name := range now.order {
		if rec.pieces[name] == nil {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if p := diffPiece(name, rec.pieces[name], now.pieces[name]); p != nil {
			d.Pieces = append(d.Pieces, *p)
		}
	}
	d.Same = len(d.Pieces) == 0 && !d.Cut
	return d
}

func diffPiece(name string, rec, now *piece) *PieceDifference {
	var empty piece
	if rec == nil {
		rec = &empty
	}
	if now == nil {
		now = &empty
	}
	r, n := rec.text.String(), now.text.String()
	if r == n && rec.tool == now.tool {
		return nil
	}
	d := &PieceDifference{Name: name, Kind: rec.kind, Recorded: r, Now: n, RecordedTool: rec.tool, NowTool: now.tool}
	if rec == &empty {
		d.Kind = now.kind
	}
	if d.Kind == "tool" {
		if d.Arguments = diffArguments(r, n); d.Arguments != nil || r == n {
			return d
		}
		a, errA := jsonvalue.Parse([]byte(r))
		b, errB := jsonvalue.Parse([]byte(n))
		if errA == nil && errB == nil && string(a.Canonical()) == string(b.Canonical()) && rec.tool == now.tool {
			return nil // the same arguments, written otherwise
		}
	}
	d.Words = DiffWords(r, n)
	return d
}

// diffArguments names the paths at which a tool call's arguments differ; nil if
// they are not both JSON.
func diffArguments(rec, now string) []Difference {
	a, errA := jsonvalue.Parse([]byte(rec))
	b, errB := jsonvalue.Parse([]byte(now))
	if errA != nil || errB != nil {
		return nil
	}
	c := &Comparer{log: log{max: 100}}
	c.diffJSON(spot{}, a, b)
	for i := range c.log.list {
		d := &c.log.list[i]
		d.Rule = nil // a path in the arguments is none in the stream
		d.Title, d.Message = strings.TrimPrefix(d.Title, "body "), strings.TrimPrefix(d.Message, "body ")
	}
	return c.log.list
}

// numbered is the name of a piece, with whose it is where there are several.
func numbered(what string, index int, name string) string {
	if index == 0 {
		return name
	}
	return fmt.Sprintf("%s %d %s", what, index+1, name)
}
