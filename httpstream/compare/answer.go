package compare

import (
	"slices"

	"github.com/wiretape/wiretape/httpstream/jsonvalue"
	"github.com/wiretape/wiretape/httpstream/llm"
	"github.com/wiretape/wiretape/httpstream/noise"
)

// An AnswerDifference is what a language model said, put together from the
// deltas of the recorded stream and of the present one. It explains, it never
// decides: whether the answer passes is decided by the events.
type AnswerDifference struct {
	// Format is the name of an llm.Format.
	Format string `json:"format"`
	// Deltas is where the events of a format of the user's own have deltas.
	Deltas []string `json:"deltas,omitempty"`
	// Same is set where the deltas differ, but not what they make.
	Same bool `json:"same,omitempty"`
	// Cut is set where an answer was too long to be kept whole.
	Cut    bool              `json:"cut,omitempty"`
	Pieces []PieceDifference `json:"pieces,omitempty"`
	// RecordedUsage and NowUsage are the tokens that were counted, as JSON, where the
	// two differ.
	RecordedUsage string `json:"recorded_usage,omitempty"`
	NowUsage      string `json:"now_usage,omitempty"`
}

// A PieceDifference is one text or tool call that differs.
type PieceDifference struct {
	// Name is what it is and whose: "text", "choice 2 text", "tool call 1".
	Name     string   `json:"name"`
	Kind     llm.Kind `json:"kind"`
	Recorded string   `json:"recorded"`
	Now      string   `json:"now"`
	Words    Words    `json:"words,omitempty"`
	// RecordedTool and NowTool are a tool call's function; Recorded and Now its arguments.
	RecordedTool string `json:"recorded_tool,omitempty"`
	NowTool      string `json:"now_tool,omitempty"`
	// Arguments are the paths at which a tool call's arguments differ.
	Arguments []Difference `json:"arguments,omitempty"`
}

// tryDocument is after how many JSON documents without a delta a stream is none.
const tryDocument = 64

// answers are what both sides said. A nil *answers takes nothing.
type answers struct {
	formats  func() *llm.Table
	rec, now *llm.Assembly
	tried    int
	off      bool
}

// both takes two units that are equal: one is decoded for both.
func (a *answers) both(r, _ *unit, rules *noise.Rules) {
	if a == nil || a.off {
		return
	}
	a.take(r, rules, true, true)
}

// apart takes units that don't go together.
func (a *answers) apart(rec, now []*unit, rules *noise.Rules) {
	if a == nil {
		return
	}
	for _, u := range rec {
		a.take(u, rules, true, false)
	}
	for _, u := range now {
		a.take(u, rules, false, true)
	}
}

func (a *answers) take(u *unit, rules *noise.Rules, rec, now bool) {
	if a.off {
		return
	}
	c := u.decoded(rules)
	if c == nil || c.doc == nil {
		return
	}
	if a.rec == nil {
		table := a.formats()
		a.rec, a.now = llm.NewAssembly(table), llm.NewAssembly(table)
	}
	if rec {
		a.rec.Take(c.doc.Value)
	}
	if now {
		a.now.Take(c.doc.Value)
	}
	a.tried++
	a.off = a.tried >= tryDocument && a.rec.Format() == "" && a.now.Format() == ""
}

func (a *answers) difference() *AnswerDifference {
	if a == nil || a.rec == nil {
		return nil
	}
	return diffAnswers(a.rec, a.now)
}

// answersOfDocuments puts together what was sent as one JSON document: an array
// of deltas, as Gemini streams it, or a whole answer.
func answersOfDocuments(formats *llm.Table, rec, now any) *AnswerDifference {
	r, n := llm.NewAssembly(formats), llm.NewAssembly(formats)
	r.TakeAll(rec)
	n.TakeAll(now)
	return diffAnswers(r, n)
}

func diffAnswers(rec, now *llm.Assembly) *AnswerDifference {
	side := rec
	if rec.Format() == "" {
		side = now
	}
	if side.Format() == "" {
		return nil
	}
	d := &AnswerDifference{Format: side.Format(), Deltas: side.OwnDeltas(), Cut: rec.Cut() || now.Cut()}
	names := slices.Clone(rec.Names())
	for _, name := range now.Names() {
		if rec.Piece(name) == nil {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if p := diffPiece(name, rec.Piece(name), now.Piece(name)); p != nil {
			d.Pieces = append(d.Pieces, *p)
		}
	}
	if r, n := rec.Usage(), now.Usage(); r != n {
		d.RecordedUsage, d.NowUsage = r, n
	}
	d.Same = len(d.Pieces) == 0 && !d.Cut
	return d
}

func diffPiece(name string, rec, now *llm.Piece) *PieceDifference {
	var empty llm.Piece
	if rec == nil {
		rec = &empty
	}
	if now == nil {
		now = &empty
	}
	r, n := rec.Text(), now.Text()
	if r == n && rec.Function == now.Function {
		return nil
	}
	d := &PieceDifference{Name: name, Kind: rec.Kind, Recorded: r, Now: n, RecordedTool: rec.Function, NowTool: now.Function}
	if rec == &empty {
		d.Kind = now.Kind
	}
	if d.Kind == llm.Tool {
		if d.Arguments = diffArguments(r, n); d.Arguments != nil || r == n {
			return d
		}
		a, errA := jsonvalue.Parse([]byte(r))
		b, errB := jsonvalue.Parse([]byte(n))
		if errA == nil && errB == nil && string(a.Canonical()) == string(b.Canonical()) && rec.Function == now.Function {
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
	c.diffJSON(spot{inside: true}, a, b)
	for i := range c.log.list {
		c.log.list[i].Rule = nil // a path in the arguments is none in the stream
	}
	return c.log.list
}

// InAnswer tells which differences are a part of what Answer shows.
func (v *Verdict) InAnswer() func(*Difference) bool {
	var deltas []string
	if v.Answer != nil {
		if deltas = v.Answer.Deltas; deltas == nil {
			deltas = llm.Standard().Deltas(v.Answer.Format)
		}
	}
	return func(d *Difference) bool {
		path, ok := d.Where.Path()
		return d.Delta || ok && llm.IsDelta(deltas, path)
	}
}

// isDelta tells whether all that a unit adds to an answer is a piece of text or
// of a tool call.
func (c *Comparer) isDelta(u *unit) bool {
	content := u.decoded(&c.opt.Rules)
	if content == nil || content.doc == nil {
		return false
	}
	a := llm.NewAssembly(c.formats())
	a.Take(content.doc.Value)
	return a.OnlyAdds()
}

// formats are those that the answer may have.
func (c *Comparer) formats() *llm.Table {
	if c.table == nil {
		if c.table = c.opt.Formats; c.table == nil {
			c.table = llm.Standard()
		}
		c.table = c.table.For(c.rec.Path)
	}
	return c.table
}
