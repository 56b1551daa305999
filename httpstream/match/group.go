package match

import (
	"math/bits"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// An entry is a recorded call and how often it was given out.
type entry struct {
	call  *tape.Exchange
	slots []slot
	by    int32 // the case that it was given to last; 0 for none
	taken bool  // in this round
	lent  bool  // in this round, to another case
	used  bool
}

// A slot is an entry's place in a queue.
type slot struct {
	queue *queue
	i     int
}

// take notes that an entry is given out: lent, if another case has it that is still
// to ask for it.
func (e *entry) take(s Scope, begun map[int]bool) {
	lend := e.strangeTo(s) && !begun[e.call.Case]
	e.used = true
	e.by = int32(s.Case)
	if lend {
		e.lent = true
	} else {
		e.taken = true
	}
	for _, s := range e.slots {
		s.queue.given.set(s.i)
		if !lend {
			s.queue.taken.set(s.i)
		}
	}
}

// strangeTo reports whether the entry is another case's.
func (e *entry) strangeTo(s Scope) bool {
	x := e.call
	return s.Case > 0 && (x.Case > 0 || len(x.Cases) > 0) && !x.MayBelongTo(s.Case)
}

// free makes an entry available again.
func (e *entry) free() {
	e.taken, e.lent = false, false
	for _, s := range e.slots {
		s.queue.taken.clear(s.i)
		s.queue.given.clear(s.i)
	}
}

// A group holds calls that one key leads to, in recorded order. Most have one call,
// and need no queues.
type group struct {
	only *entry // nil in a crowd
	*crowd
}

// A crowd is the calls of a group that has more than one.
type crowd struct {
	all    queue
	queues map[Scope]*queue  // by service and case
	shared map[Scope]*queue  // of each case that they may belong to
	owned  map[string]*queue // by service
	// failures counts the entries that failed to connect, by service.
	failures map[string]int
}

// anyService stands for all services in the key of a queue.
const anyService = "*"

func addTo[K comparable](groups map[K]*group, key K, e *entry) *group {
	g := groups[key]
	if g == nil {
		g = &group{only: e}
		groups[key] = g
		return g
	}
	g.expand()
	g.add(e)
	return g
}

// expand makes a group one with queues.
func (g *group) expand() {
	if g.crowd != nil {
		return
	}
	g.crowd = &crowd{queues: map[Scope]*queue{}, shared: map[Scope]*queue{}, owned: map[string]*queue{}}
	g.add(g.only)
	g.only = nil
}

// entries are all of the group's.
func (g *group) entries() []*entry {
	if g.crowd == nil {
		return []*entry{g.only}
	}
	return g.all.entries
}

// recordedFirst is the first of all entries.
func (g *group) recordedFirst() *entry {
	if g.crowd == nil {
		return g.only
	}
	return g.all.entries[0]
}

func (c *crowd) add(e *entry) {
	c.all.add(e)
	for _, service := range []string{e.call.Service, anyService} {
		for _, n := range e.call.Cases {
			push(c.shared, Scope{service, n}, e)
		}
		if len(e.call.Cases) == 0 {
			push(c.queues, Scope{service, e.call.Case}, e)
		}
	}
	push(c.owned, e.call.Service, e)
}

func push[K comparable](queues map[K]*queue, key K, e *entry) {
	q := queues[key]
	if q == nil {
		q = &queue{}
		queues[key] = q
	}
	q.add(e)
}

// candidates are the entries that a service may get, in recorded order.
func (c *crowd) candidates(service string) (own *queue, key string) {
	if q := c.owned[service]; q != nil {
		return q, service
	}
	return &c.all, anyService
}

// of are the entries that a service may get, in recorded order.
func (g *group) of(service string) []*entry {
	if g.crowd == nil {
		return g.entries()
	}
	own, _ := g.candidates(service)
	return own.entries
}

// failed counts an entry that failed to connect.
func (g *group) failed(service string) {
	g.expand()
	if g.failures == nil {
		g.failures = map[string]int{}
	}
	g.failures[service]++
	g.failures[anyService]++
}

// first returns the entry that is next for a scope.
func (g *group) first(s Scope, begun map[int]bool) *entry {
	if g.crowd == nil {
		if e := g.only; !e.taken && !(e.lent && e.strangeTo(s)) {
			return e
		}
		return nil
	}
	if s.Case > 0 {
		return g.firstOfCase(s, begun)
	}
	own, service := g.candidates(s.Service)
	if e := g.queues[Scope{service, 0}].first(); e != nil {
		return e
	}
	return own.first()
}

// firstOfCase is first while a case runs: what other cases need stays theirs. Those
// in begun have asked for what they need, so what they have not got is late, and free.
func (c *crowd) firstOfCase(s Scope, begun map[int]bool) *entry {
	all, service := c.candidates(s.Service)
	own, shared := c.queues[Scope{service, s.Case}], c.shared[Scope{service, s.Case}]
	for _, q := range []*queue{own, shared, c.queues[Scope{service, 0}]} {
		if e := q.first(); e != nil {
			return e
		}
	}
	if own == nil && shared == nil {
		return all.firstLendable()
	}
	// It asks more often than when it was recorded.
	for _, e := range all.entries {
		if !e.taken && !e.lent && begun[e.call.Case] {
			return e
		}
	}
	return nil
}

// startOver makes all calls that a service may get free again.
func (g *group) startOver(service string) {
	if g.crowd == nil {
		g.only.free()
		return
	}
	own, _ := g.candidates(service)
	for _, e := range own.entries {
		e.free()
	}
}

// A queue holds entries in recorded order, and knows in few steps which of them
// is next, however many there are and whichever of them become free again. A nil
// queue is empty.
type queue struct {
	entries []*entry
	taken   marks
	given   marks // taken or lent
}

func (q *queue) add(e *entry) {
	e.slots = append(e.slots, slot{q, len(q.entries)})
	q.entries = append(q.entries, e)
	q.taken.grow(len(q.entries))
	q.given.grow(len(q.entries))
}

// first returns the first entry that is not taken.
func (q *queue) first() *entry {
	if q == nil {
		return nil
	}
	return q.at(q.taken.firstClear())
}

// firstLendable returns the first entry that is neither taken nor lent.
func (q *queue) firstLendable() *entry { return q.at(q.given.firstClear()) }

func (q *queue) at(i int) *entry {
	if i < len(q.entries) {
		return q.entries[i]
	}
	return nil
}

// last is the entry that was recorded last; a queue in a map has one.
func (q *queue) last() *entry { return q.entries[len(q.entries)-1] }

// marks are a set of places in a queue.
type marks struct {
	words []uint64
	from  int // all words before it are full
}

func (m *marks) grow(n int) {
	if n > 64*len(m.words) {
		m.words = append(m.words, 0)
	}
}

func (m *marks) set(i int) { m.words[i/64] |= 1 << (i % 64) }

func (m *marks) clear(i int) {
	m.words[i/64] &^= 1 << (i % 64)
	m.from = min(m.from, i/64)
}

// firstClear returns the first place without a mark; behind the last if all have one.
func (m *marks) firstClear() int {
	for ; m.from < len(m.words); m.from++ {
		if w := m.words[m.from]; w != ^uint64(0) {
			return 64*m.from + bits.TrailingZeros64(^w)
		}
	}
	return 64 * len(m.words)
}
