package match

import (
	"sync"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// An Index finds calls. It is safe for concurrent use.
//
// Identical calls are given out in recorded order, each once: first those of
// the running case, then those that belong to no case, then any other. With
// Rules.Reuse they start over from the first when all are taken.
type Index struct {
	rules Rules

	mu      sync.Mutex
	entries []*entry
	heads   map[string]*group // by head key
	calls   map[string]*group // by head, header and body key
	hashed  map[string]*group // the same, with the body's hash as its key
	hosts   map[string]*group // by host:port, calls that failed to connect included
}

// An entry is a recorded call and how often it was given out.
type entry struct {
	call  *tape.Exchange
	taken bool // in this round
	used  int
	in    []*group
}

// A group holds calls that one key leads to, in recorded order.
type group struct {
	entries []*entry
	byCase  map[int]*queue
	all     queue
	twoWay  bool
	// failures counts the entries that failed to connect.
	failures int
}

// A queue holds entries; those before next are taken.
type queue struct {
	entries []*entry
	next    int
}

// first returns the first entry that is not taken.
func (q *queue) first() *entry {
	for ; q.next < len(q.entries); q.next++ {
		if e := q.entries[q.next]; !e.taken {
			return e
		}
	}
	return nil
}

func (g *group) add(e *entry) {
	g.entries = append(g.entries, e)
	g.all.entries = append(g.all.entries, e)
	q := g.byCase[e.call.Case]
	if q == nil {
		q = &queue{}
		g.byCase[e.call.Case] = q
	}
	q.entries = append(q.entries, e)
	g.twoWay = g.twoWay || e.call.TwoWay
	e.in = append(e.in, g)
}

// first returns the entry that is next for a case.
func (g *group) first(number int) *entry {
	for _, n := range []int{number, 0} {
		if q := g.byCase[n]; q != nil {
			if e := q.first(); e != nil {
				return e
			}
		}
	}
	return g.all.first()
}

func (g *group) rewind() {
	g.all.next = 0
	for _, q := range g.byCase {
		q.next = 0
	}
}

// startOver makes all calls of the group free again.
func (g *group) startOver() {
	for _, e := range g.entries {
		e.taken = false
		for _, other := range e.in {
			other.rewind()
		}
	}
}

func addTo(m map[string]*group, key string, e *entry) *group {
	g := m[key]
	if g == nil {
		g = &group{byCase: map[int]*queue{}}
		m[key] = g
	}
	g.add(e)
	return g
}

// NewIndex makes an index of calls, which are in recorded order and must not
// change afterwards.
func NewIndex(calls []*tape.Exchange, rules Rules) *Index {
	ix := &Index{
		rules:   rules,
		entries: make([]*entry, 0, len(calls)),
		heads:   map[string]*group{},
		calls:   map[string]*group{},
		hashed:  map[string]*group{},
		hosts:   map[string]*group{},
	}
	for _, x := range calls {
		e := &entry{call: x}
		ix.entries = append(ix.entries, e)
		q := rules.recorded(x)
		host := addTo(ix.hosts, q.addr.dialed(), e)
		if unconnected(x) {
			host.failures++
			continue
		}
		head := q.headKey()
		whole := head + q.headerKey(&rules)
		addTo(ix.heads, head, e)
		addTo(ix.calls, whole+q.body.key(&rules), e)
		addTo(ix.hashed, whole+q.body.hashKey(), e)
	}
	return ix
}

// unconnected reports whether a call failed before a request could be sent.
func unconnected(x *tape.Exchange) bool { return x.Failed != "" && x.Request.Method == "" }

// Match takes the call that answers q. Where there is none it returns nil and why.
func (ix *Index) Match(q Query) (*tape.Exchange, *Miss) {
	r := ix.rules.query(&q)
	ix.mu.Lock()
	defer ix.mu.Unlock()
	g := ix.find(r, q.HeadOnly)
	if e := ix.take(g, q.Case); e != nil {
		return e.call, nil
	}
	return nil, ix.miss(&q, r, g)
}

// find returns the calls that q is identical to; nil if there are none.
func (ix *Index) find(r *request, headOnly bool) *group {
	head := r.headKey()
	if headOnly || ix.heads[head] == nil {
		return ix.heads[head]
	}
	whole := head + r.headerKey(&ix.rules)
	if g := ix.calls[whole+r.body.key(&ix.rules)]; g != nil {
		return g
	}
	return ix.hashed[whole+r.body.hashKey()]
}

func (ix *Index) take(g *group, number int) *entry {
	if g == nil {
		return nil
	}
	e := g.first(number)
	if e == nil && ix.rules.Reuse {
		g.startOver()
		e = g.first(number)
	}
	if e != nil {
		e.taken = true
		e.used++
	}
	return e
}

// TwoWay reports whether a request must be matched by its head, because a
// recorded call of that method and URL was answered before its request ended.
func (ix *Index) TwoWay(method, url string) bool {
	g := ix.head(method, url)
	return g != nil && g.twoWay
}

// Peek returns the call that the next request with that method and URL would
// get in a case if it had the recorded body, without taking it. It returns nil
// if there is none at all.
func (ix *Index) Peek(method, url string, number int) *tape.Exchange {
	g := ix.head(method, url)
	if g == nil {
		return nil
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if e := g.first(number); e != nil {
		return e.call
	}
	return g.entries[0].call
}

// head returns the calls of a method and URL. Its result is fixed but for the
// queues, which need the lock.
func (ix *Index) head(method, url string) *group {
	return ix.heads[ix.rules.query(&Query{Method: method, URL: url}).headKey()]
}

// Refused returns the call that says why a connection to an authority
// (host:port) fails now, and takes it: the next free call to that authority, if
// it is one that failed before a request could be sent. Where nothing else was
// recorded for the authority it keeps failing. It returns nil if the connection
// is to succeed.
func (ix *Index) Refused(authority string, number int) *tape.Exchange {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	g := ix.hosts[parseAddress("tcp://"+authority).dialed()]
	if g == nil || g.failures == 0 {
		return nil
	}
	e := g.first(number)
	if e == nil && g.failures == len(g.entries) {
		e = g.entries[len(g.entries)-1]
	}
	if e == nil || !unconnected(e.call) {
		return nil
	}
	e.taken = true
	e.used++
	return e.call
}

// Unused returns the calls that were never given out, in recorded order.
func (ix *Index) Unused() []*tape.Exchange {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	var unused []*tape.Exchange
	for _, e := range ix.entries {
		if e.used == 0 {
			unused = append(unused, e.call)
		}
	}
	return unused
}
