package match

import (
	"slices"
	"sync"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// An Index finds calls. It is safe for concurrent use.
//
// Identical calls are given out in recorded order, each once. A service gets its
// own calls, or, where it made none like it, those of the others; of these first
// the ones of the running case, then those that belong to no case, then any
// other. With Rules.Reuse they start over from the first when all are taken.
//
// While a case runs, what it asks can't take anything from another: a call of
// another case is lent to it, and only if it has none like it of its own.
type Index struct {
	rules Rules

	mu      sync.Mutex
	entries []*entry
	heads   map[string]*group // by head key
	calls   map[string]*group // by head, header and body key
	hashed  map[string]*group // the same, with the body's hash as its key
	hosts   map[string]*group // by host:port, calls that failed to connect included
	// cases has, for those with rules of their own, their calls by these. They
	// share the entries, and this index's lock.
	cases   map[int]*Index
	ordered []int // the keys of cases
}

// An entry is a recorded call and how often it was given out.
type entry struct {
	call  *tape.Exchange
	taken bool // in this round
	lent  bool // in this round, to another case
	used  int
	in    []*group
}

// A group holds calls that one key leads to, in recorded order.
type group struct {
	entries []*entry
	queues  map[Scope]*queue  // by service and case
	owned   map[string]*queue // by service
	all     queue
	twoWay  bool
	// failures counts the entries that failed to connect, by service.
	failures map[string]int
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
	for _, service := range []string{e.call.Service, anyService} {
		push(g.queues, Scope{service, e.call.Case}, e)
	}
	push(g.owned, e.call.Service, e)
	g.twoWay = g.twoWay || e.call.TwoWay
	e.in = append(e.in, g)
}

// anyService stands for all services in the key of a queue.
const anyService = "*"

func push[K comparable](queues map[K]*queue, key K, e *entry) {
	q := queues[key]
	if q == nil {
		q = &queue{}
		queues[key] = q
	}
	q.entries = append(q.entries, e)
}

// candidates are the entries that a service may get, in recorded order.
func (g *group) candidates(service string) (own *queue, key string) {
	if q := g.owned[service]; q != nil {
		return q, service
	}
	return &g.all, anyService
}

// first returns the entry that is next for a scope.
func (g *group) first(s Scope) *entry {
	own, service := g.candidates(s.Service)
	for _, n := range []int{s.Case, 0} {
		if q := g.queues[Scope{service, n}]; q != nil {
			if e := q.first(); e != nil {
				return e
			}
		}
	}
	return own.first()
}

// firstOfCase is first while a case runs: what other cases need stays theirs.
func (g *group) firstOfCase(s Scope) *entry {
	all, service := g.candidates(s.Service)
	own := g.queues[Scope{service, s.Case}]
	for _, q := range []*queue{own, g.queues[Scope{service, 0}]} {
		if q == nil {
			continue
		}
		if e := q.first(); e != nil {
			return e
		}
	}
	if own != nil {
		return nil // asked more often than when it was recorded
	}
	for _, e := range all.entries {
		if !e.taken && !e.lent {
			return e
		}
	}
	return nil
}

// free makes an entry available again.
func (e *entry) free() {
	e.taken, e.lent = false, false
	for _, g := range e.in {
		g.rewind()
	}
}

func (g *group) rewind() {
	g.all.next = 0
	for _, q := range g.queues {
		q.next = 0
	}
	for _, q := range g.owned {
		q.next = 0
	}
}

// startOver makes all calls that a service may get free again.
func (g *group) startOver(service string) {
	own, _ := g.candidates(service)
	for _, e := range own.entries {
		e.free()
	}
}

func addTo(m map[string]*group, key string, e *entry) *group {
	g := m[key]
	if g == nil {
		g = &group{queues: map[Scope]*queue{}, owned: map[string]*queue{}, failures: map[string]int{}}
		m[key] = g
	}
	g.add(e)
	return g
}

// NewIndex makes an index of calls, which are in recorded order and must not
// change afterwards.
func NewIndex(calls []*tape.Exchange, rules Rules) *Index {
	ix := emptyIndex(rules)
	for _, x := range calls {
		e := &entry{call: x}
		ix.add(e)
		if own := ix.ofCase(x.Case); own != nil {
			own.add(e)
		}
	}
	slices.Sort(ix.ordered)
	return ix
}

func emptyIndex(rules Rules) *Index {
	return &Index{
		rules:  rules,
		heads:  map[string]*group{},
		calls:  map[string]*group{},
		hashed: map[string]*group{},
		hosts:  map[string]*group{},
		cases:  map[int]*Index{},
	}
}

// ofCase returns the index of a case with rules of its own, or nil.
func (ix *Index) ofCase(number int) *Index {
	if number == 0 || ix.rules.OfCase == nil {
		return nil
	}
	if own, known := ix.cases[number]; known {
		return own
	}
	rules := ix.rules.OfCase(number)
	if rules == nil {
		ix.cases[number] = nil
		return nil
	}
	own := *rules
	own.Redact, own.Reuse, own.OfCase = ix.rules.Redact, ix.rules.Reuse, nil
	ix.cases[number] = emptyIndex(own)
	ix.ordered = append(ix.ordered, number)
	return ix.cases[number]
}

func (ix *Index) add(e *entry) {
	x, rules := e.call, &ix.rules
	ix.entries = append(ix.entries, e)
	q := rules.recorded(x)
	host := addTo(ix.hosts, q.addr.dialed(), e)
	if unconnected(x) {
		host.failures[x.Service]++
		host.failures[anyService]++
		return
	}
	head := q.headKey()
	whole := head + q.headerKey(rules)
	addTo(ix.heads, head, e)
	addTo(ix.calls, whole+q.body.key(rules), e)
	addTo(ix.hashed, whole+q.body.hashKey(), e)
}

// unconnected reports whether a call failed before a request could be sent.
func unconnected(x *tape.Exchange) bool { return x.Failed != "" && x.Request.Method == "" }

// Match takes the call that answers q. Where there is none it returns nil and why.
func (ix *Index) Match(q Query) (*tape.Exchange, *Miss) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	own := ix.cases[q.Case]
	var miss *Miss
	if own != nil {
		x, m := own.match(&q)
		if x != nil {
			return x, nil
		}
		miss = m
	}
	x, m := ix.match(&q)
	if x != nil {
		return x, nil
	}
	if q.Case == 0 { // it may be any case's
		for _, n := range ix.ordered {
			if x, _ := ix.cases[n].match(&q); x != nil {
				return x, nil
			}
		}
	}
	if miss == nil || miss.Closest == nil {
		miss = m
	}
	return nil, miss
}

// match is Match by these rules alone. The caller holds mu.
func (ix *Index) match(q *Query) (*tape.Exchange, *Miss) {
	r := ix.rules.query(q)
	g := ix.find(r, q.HeadOnly)
	if e := ix.take(g, q.Scope); e != nil {
		return e.call, nil
	}
	return nil, ix.miss(q, r, g)
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

func (ix *Index) take(g *group, s Scope) *entry {
	if g == nil {
		return nil
	}
	next := g.first
	if s.Case > 0 {
		next = g.firstOfCase
	}
	e := next(s)
	if e == nil && ix.rules.Reuse {
		g.startOver(s.Service)
		e = next(s)
	}
	if e == nil {
		return nil
	}
	if s.Case > 0 && e.call.Case > 0 && e.call.Case != s.Case {
		e.lent = true
	} else {
		e.taken = true
	}
	e.used++
	return e
}

// Release makes the calls of a case free again, those that were lent included:
// it is about to run once more.
func (ix *Index) Release(number int) {
	ix.release(func(e *entry) bool { return e.call.Case == number })
}

// ReleaseAll makes all calls free again.
func (ix *Index) ReleaseAll() { ix.release(func(*entry) bool { return true }) }

func (ix *Index) release(of func(*entry) bool) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for _, e := range ix.entries {
		if (e.taken || e.lent) && of(e) {
			e.free()
		}
	}
}

// TwoWay reports whether a request must be matched by its head, because a
// recorded call of that method and URL was answered before its request ended.
func (ix *Index) TwoWay(method, url string) bool {
	if g := ix.head(method, url); g != nil {
		return g.twoWay
	}
	for _, n := range ix.ordered {
		if g := ix.cases[n].head(method, url); g != nil && g.twoWay {
			return true
		}
	}
	return false
}

// Peek returns the call that the next request with that method and URL would
// get in a scope if it had the recorded body, without taking it. It returns nil
// if there is none at all.
func (ix *Index) Peek(method, url string, s Scope) *tape.Exchange {
	var g *group
	if own := ix.cases[s.Case]; own != nil {
		g = own.head(method, url)
	}
	if g == nil {
		g = ix.head(method, url)
	}
	if g == nil {
		return nil
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if e := g.first(s); e != nil {
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
func (ix *Index) Refused(authority string, s Scope) *tape.Exchange {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	g := ix.hosts[parseAddress("tcp://"+authority).dialed()]
	if g == nil {
		return nil
	}
	own, service := g.candidates(s.Service)
	if g.failures[service] == 0 {
		return nil
	}
	e := g.first(s)
	if e == nil && g.failures[service] == len(own.entries) {
		e = own.entries[len(own.entries)-1]
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
