package compare

import (
	"bytes"
	"time"

	"github.com/aymanbagabas/go-udiff/lcs"

	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/noise"
)

// A unitBody compares bodies that are made of units. Recorded units are pulled
// as they are needed, present ones pushed as they arrive. While the two go
// together nothing waits; where they part, it looks ahead until they go together
// again, for a whole window at most, and then explains what lies between.
type unitBody struct {
	c      *Comparer
	rec    *recording
	recIn  body.Parser
	nowIn  body.Parser
	recQ   queue
	nowQ   queue
	closed bool // the recorded parser is

	lost, found []stray
	answers     *answers
}

// A queue is units that are read and not yet settled.
type queue struct {
	units []*unit
	bytes int
}

func (q *queue) add(u *unit) {
	q.units = append(q.units, u)
	q.bytes += u.size()
}

func (q *queue) drop(n int) {
	for i, u := range q.units[:n] {
		q.bytes -= u.size()
		q.units[i] = nil // the array lives on
	}
	q.units = q.units[n:]
}

// A stray is a unit that was reported missing or extra, remembered for a while
// in case that it turns up far from its place.
type stray struct {
	key   string
	index int
}

const (
	window      = 256     // units that are looked ahead
	windowBytes = 4 << 20 // and what they may take together
	together    = 4       // so many equal units in a row mean that the two go together again
	maxStrays   = 256
)

func newUnitBody(c *Comparer, rec *recording, f *body.Format) *unitBody {
	b := &unitBody{c: c, rec: rec}
	if f.Records { // else no language model answers so
		b.answers = &answers{formats: c.formats}
	}
	return b
}

// parse makes the parsers of both sides; false if one of the content types lacks
// what that takes.
func (b *unitBody) parse(f *body.Format, recType, nowType string) bool {
	c := b.c
	b.recIn = f.New(recType, c.opt.MaxUnit, func(u *body.Unit) {
		// What the recording cuts off can't be compared as a whole; text and
		// parts are compared as far as they go.
		if u.Open && b.rec.interrupted() && f.Records {
			return
		}
		if u := (&unit{Unit: *u}); b.matters(u) {
			c.count(&c.recTiming, u)
			b.recQ.add(u)
		}
	})
	b.nowIn = f.New(nowType, c.opt.MaxUnit, func(u *body.Unit) {
		if u := (&unit{Unit: *u}); b.matters(u) {
			c.count(&c.nowTiming, u)
			b.nowQ.add(u)
			b.advance(false)
		}
	})
	if b.recIn == nil || b.nowIn == nil {
		return false
	}
	b.rec.sink = b.recIn.Write
	return true
}

// matters is false for a unit of which the rules leave nothing.
func (b *unitBody) matters(u *unit) bool {
	rules := &b.c.opt.Rules
	switch u.Label {
	case body.Comment:
		return !rules.IgnoreSSE("comment")
	case body.Event:
		return u.HasBody && !rules.IgnoreSSE("data") || len(u.compared(rules)) > 0
	}
	return true
}

func (b *unitBody) chunk(at time.Duration, p []byte) { b.nowIn.Write(at, p) }

// fill looks n recorded units ahead. It tells whether there is one at all.
func (b *unitBody) fill(n int) bool {
	for len(b.recQ.units) < n && (b.recQ.bytes < windowBytes || len(b.recQ.units) == 0) && !b.closed {
		if !b.rec.pull() {
			b.closed = true
			b.recIn.Close(b.rec.timing.End)
		}
	}
	return len(b.recQ.units) > 0
}

// exhausted tells whether all recorded units are settled or in the queue.
func (b *unitBody) exhausted() bool { return b.closed }

func (b *unitBody) advance(final bool) {
	for {
		b.inStep()
		switch {
		case len(b.nowQ.units) == 0 && !final:
			return
		case !b.fill(1):
			b.explain(0, len(b.nowQ.units))
			return
		case len(b.nowQ.units) == 0:
			b.explain(len(b.recQ.units), 0)
			continue
		}
		b.fill(window)
		if i, j, ok := b.resync(); ok {
			b.explain(i, j)
			continue
		}
		if !final && len(b.nowQ.units) < window && b.nowQ.bytes < windowBytes {
			return
		}
		b.explain(b.cut(final))
	}
}

// inStep drops units from both queues for as long as they are equal.
func (b *unitBody) inStep() {
	for len(b.nowQ.units) > 0 && b.fill(1) {
		r, n := b.recQ.units[0], b.nowQ.units[0]
		if !b.equal(r, n) {
			return
		}
		b.answers.both(r, n, &b.c.opt.Rules)
		b.c.pair(r, n)
		b.recQ.drop(1)
		b.nowQ.drop(1)
	}
}

func (b *unitBody) equal(r, n *unit) bool {
	if r.same(n) || r.key(&b.c.opt.Rules) == n.key(&b.c.opt.Rules) {
		return true
	}
	return r.Open && b.rec.interrupted() && r.begins(n, &b.c.opt.Rules)
}

// begins tells whether u, which the recording cut off, is how n begins.
func (u *unit) begins(n *unit, rules *noise.Rules) bool {
	if u.Label != n.Label || u.Label == body.Part && !u.headersBegin(n, rules) {
		return false
	}
	if bytes.HasPrefix(n.Body.Data, u.Body.Data) {
		return true
	}
	if u.Kind == body.Bytes {
		return false
	}
	return bytes.HasPrefix([]byte(rules.IgnoreText(n.Body.Text())), []byte(rules.IgnoreText(u.Body.Text())))
}

// headersBegin compares a part's headers, all of them if its body had begun.
func (u *unit) headersBegin(n *unit, rules *noise.Rules) bool {
	a, b := u.compared(rules), n.compared(rules)
	if u.Body.Size == 0 {
		return true
	}
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// resync finds where the newest units go with recorded ones again.
func (b *unitBody) resync() (i, j int, ok bool) {
	rules := &b.c.opt.Rules
	j = len(b.nowQ.units) - together
	if j < 0 {
		return 0, 0, false
	}
	best := -1
	for i := 0; i+together <= len(b.recQ.units); i++ {
		if i == 0 && j == 0 || best >= 0 && distance(i, j) >= distance(best, j) {
			continue
		}
		equal := true
		for k := 0; k < together && equal; k++ {
			equal = b.recQ.units[i+k].key(rules) == b.nowQ.units[j+k].key(rules)
		}
		if equal {
			best = i
		}
	}
	return best, j, best >= 0
}

func distance(i, j int) int { return max(i-j, j-i) }

// cut tells how much of both queues to explain when no more can be looked ahead:
// up to the last units that are equal, or all if these are the last.
func (b *unitBody) cut(final bool) (i, j int) {
	if final && b.exhausted() {
		return len(b.recQ.units), len(b.nowQ.units)
	}
	rec, now := b.keys(b.recQ.units), b.keys(b.nowQ.units)
	for range 2 {
		gaps := lcs.DiffLines(rec, now)
		if len(gaps) == 0 {
			return len(rec), len(now)
		}
		last := gaps[len(gaps)-1]
		switch {
		case last.End < len(rec):
			return len(rec), len(now)
		case last.Start > 0 && last.ReplStart > 0:
			return last.Start, last.ReplStart
		}
		rec, now = looseKeys(rec), looseKeys(now) // where each has a number of its own
	}
	n := min(len(b.recQ.units), len(b.nowQ.units))
	return n, n
}

func (b *unitBody) keys(us []*unit) []string {
	keys := make([]string, len(us))
	for i, u := range us {
		keys[i] = u.key(&b.c.opt.Rules)
	}
	return keys
}

// explain compares the first i recorded and j present units and drops them.
func (b *unitBody) explain(i, j int) {
	rec, now := b.recQ.units[:i], b.nowQ.units[:j]
	b.answers.apart(rec, now, &b.c.opt.Rules)
	steps := alignKeys(b.keys(rec), b.keys(now))
	if b.exhausted() && i == len(b.recQ.units) && b.rec.interrupted() {
		// The answer goes on where the recording stopped.
		for len(steps) > 0 && steps[len(steps)-1].kind == Extra {
			steps = steps[:len(steps)-1]
		}
	}
	for _, s := range steps {
		switch s.kind {
		case Missing:
			b.missing(rec[s.rec])
		case Extra:
			b.extra(now[s.now])
		case Reordered:
			b.c.reordered(rec[s.rec].Label, rec[s.rec].Index, now[s.now].Index)
		case Changed:
			if r, n := rec[s.rec], now[s.now]; r.Label == n.Label {
				b.c.pair(r, n)
				b.c.diffUnits(r, n)
			} else {
				b.missing(r)
				b.extra(n)
			}
		}
	}
	b.recQ.drop(i)
	b.nowQ.drop(j)
}

func (b *unitBody) missing(u *unit) {
	if index := take(&b.found, u.key(&b.c.opt.Rules)); index > 0 {
		b.c.reordered(u.Label, u.Index, index)
		return
	}
	remember(&b.lost, u, &b.c.opt.Rules)
	b.c.log.add(func() Difference {
		return Difference{
			Kind: Missing, Unit: u.Label, Index: u.Index, Recorded: u.Summary(maxShown), Rule: u.rule(), Delta: b.c.isDelta(u),
		}.isMissing(u.Name(), u.Summary(maxShown))
	})
}

func (b *unitBody) extra(u *unit) {
	if index := take(&b.lost, u.key(&b.c.opt.Rules)); index > 0 {
		b.c.reordered(u.Label, index, u.Index)
		return
	}
	remember(&b.found, u, &b.c.opt.Rules)
	b.c.log.add(func() Difference {
		return Difference{
			Kind: Extra, Unit: u.Label, Index: u.Index, NowIndex: u.Index, Now: u.Summary(maxShown), Rule: u.rule(), Delta: b.c.isDelta(u),
		}.isExtra(u.Name(), u.Summary(maxShown))
	})
}

// rule would ignore the unit as a whole: only comments can be, which servers
// send when nothing else comes.
func (u *unit) rule() *noise.Rule {
	if u.Label == body.Comment {
		return &noise.Rule{Key: noise.ResponseSSE, Value: "comment"}
	}
	return nil
}

func remember(in *[]stray, u *unit, rules *noise.Rules) {
	if len(u.key(rules)) > 4<<10 {
		return
	}
	if len(*in) == maxStrays {
		*in = append((*in)[:0], (*in)[1:]...)
	}
	*in = append(*in, stray{u.key(rules), u.Index})
}

func take(from *[]stray, key string) (index int) {
	for i, s := range *from {
		if s.key == key {
			*from = append((*from)[:i], (*from)[i+1:]...)
			return s.index
		}
	}
	return 0
}

// enough tells whether all that an interrupted recording holds has come.
func (b *unitBody) enough() bool {
	if len(b.nowQ.units) > 0 {
		return false
	}
	if !b.fill(1) {
		return true
	}
	b.fill(2)
	r := b.recQ.units[0]
	return b.exhausted() && len(b.recQ.units) == 1 && r.Open && b.nowIn.Held() >= r.Body.Size
}

func (b *unitBody) finish(at time.Duration) {
	b.nowIn.Close(at)
	b.advance(true)
}
