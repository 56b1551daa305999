package match

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wiretape/wiretape/httpstream/event"
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
	main *view
	// own has, for the cases with rules of their own, their calls by these. The
	// cases that share rules share a view, and all views share the entries.
	own   map[int]*view
	views []*view // those in own

	entries []entry
	twoWay  bool              // some call is
	hosts   map[string]*group // by host:port, those with a call that failed to connect

	mu    sync.Mutex   // guards which entries are taken, and begun; all else is fixed
	begun map[int]bool // cases that were released by their number in this round
}

// A view is calls by one set of rules.
type view struct {
	rules  Rules
	places map[key]place  // by the key of the head
	headed map[key]*group // by head and fields
	calls  map[key]*group // by head, fields and body
	hashed map[key]*group // the same, with the body's hash as its key, where there is a body

	own []*entry // its calls, until they are grouped
}

// A place is what was asked of one URL with one method.
type place struct {
	first  *entry
	twoWay bool
}

// NewIndex makes an index of calls, which are in recorded order and must not
// change afterwards.
func NewIndex(calls []*tape.Exchange, rules Rules) *Index {
	ix := &Index{
		main: newView(rules, calls), own: map[int]*view{}, begun: map[int]bool{},
		entries: make([]entry, len(calls)), hosts: map[string]*group{},
	}
	byRules := map[*Rules]*view{}
	for i, x := range calls {
		e := &ix.entries[i]
		e.call = x
		ix.twoWay = ix.twoWay || x.TwoWay
		if unconnected(x) || x.Case == 0 || rules.OfCase == nil {
			continue
		}
		v, known := ix.own[x.Case]
		if !known {
			v = ix.viewFor(rules.OfCase(x.Case), byRules, calls)
			ix.own[x.Case] = v
		}
		if v != nil {
			v.own = append(v.own, e)
		}
	}
	for i := range ix.entries {
		if e := &ix.entries[i]; !unconnected(e.call) {
			ix.main.own = append(ix.main.own, e)
		}
	}
	for _, v := range append([]*view{ix.main}, ix.views...) {
		v.build()
	}
	ix.addHosts()
	return ix
}

// addHosts groups the calls to authorities that ever refused a connection.
func (ix *Index) addHosts() {
	for i := range ix.entries {
		if e := &ix.entries[i]; unconnected(e.call) {
			ix.hosts[parseAddress(e.call.Request.URL).dialed()] = nil
		}
	}
	if len(ix.hosts) == 0 {
		return
	}
	for i := range ix.entries {
		e := &ix.entries[i]
		dialed := parseAddress(e.call.Request.URL).dialed()
		if _, failing := ix.hosts[dialed]; !failing {
			continue
		}
		g := addTo(ix.hosts, dialed, e)
		if unconnected(e.call) {
			g.failed(e.call.Service)
		}
	}
}

// viewFor returns the view by a case's own rules; nil if it has none.
func (ix *Index) viewFor(rules *Rules, known map[*Rules]*view, calls []*tape.Exchange) *view {
	if rules == nil {
		return nil
	}
	v := known[rules]
	if v == nil {
		own, all := *rules, &ix.main.rules
		own.Redact, own.Reuse, own.Headers = all.Redact, all.Reuse, all.Headers
		v = newView(own, calls)
		known[rules] = v
		ix.views = append(ix.views, v)
	}
	return v
}

func newView(rules Rules, calls []*tape.Exchange) *view {
	rules.OfCase = nil
	rules.lexicon = newLexicon(&rules, calls)
	return &view{rules: rules}
}

// keys are those that lead to a call.
type keys struct{ head, headed, whole, hashed key }

// build groups the view's own calls.
func (v *view) build() {
	all := make([]keys, len(v.own))
	inParallel(len(v.own), func(i int) { all[i] = v.keysOf(v.own[i].call) })
	v.places = make(map[key]place, len(all))
	v.headed = make(map[key]*group, len(all))
	v.calls = make(map[key]*group, len(all))
	v.hashed = map[key]*group{}
	for i, e := range v.own {
		k := &all[i]
		p, known := v.places[k.head]
		if !known {
			p.first = e
		}
		if !known || e.call.TwoWay && !p.twoWay {
			p.twoWay = p.twoWay || e.call.TwoWay
			v.places[k.head] = p
		}
		addTo(v.headed, k.headed, e)
		addTo(v.calls, k.whole, e)
		if k.hashed != (key{}) {
			addTo(v.hashed, k.hashed, e)
		}
	}
	v.own = nil
}

func (v *view) keysOf(x *tape.Exchange) keys {
	q := v.rules.recorded(x)
	k := keys{head: q.headKey()}
	k.headed = q.fieldKey(k.head, allFields)
	whole := q.fieldKey(k.head, fieldsKept)
	k.whole = q.bodyKey(whole, q.body.key(&v.rules))
	if !q.body.empty() {
		k.hashed = q.bodyKey(whole, q.body.hashKey())
	}
	return k
}

// inParallel calls f for 0 to n-1 on all processors.
func inParallel(n int, f func(i int)) {
	const batch = 256
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+batch-1)/batch) {
		wg.Go(func() {
			for {
				from := int(next.Add(batch)) - batch
				if from >= n {
					return
				}
				for i := from; i < min(n, from+batch); i++ {
					f(i)
				}
			}
		})
	}
	wg.Wait()
}

// unconnected reports whether a call failed before a request could be sent.
func unconnected(x *tape.Exchange) bool { return x.Failed != "" && x.Request.Method == "" }

// Match is Inquiry.Match.
func (ix *Index) Match(q Query) (*tape.Exchange, *event.Miss) { return ix.Ask(&q).Match() }

// take takes the next call of groups.
func (ix *Index) take(groups []*group, s Scope) *tape.Exchange {
	if len(groups) == 0 {
		return nil
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	e := ix.earliest(groups, s)
	if e == nil && ix.main.rules.Reuse {
		for _, g := range groups {
			g.startOver(s.Service)
		}
		e = ix.earliest(groups, s)
	}
	if e == nil {
		return nil
	}
	e.take(s, ix.begun)
	return e.call
}

// earliest is the first in recorded order of what is next in each group.
func (ix *Index) earliest(groups []*group, s Scope) *entry {
	var first *entry
	for _, g := range groups {
		if e := g.first(s, ix.begun); e != nil && (first == nil || e.call.Number < first.call.Number) {
			first = e
		}
	}
	return first
}

// Release makes the calls of a case free again, those that were lent included, and
// what it took of calls that may be another's: it is about to run.
func (ix *Index) Release(number int) {
	ix.release(func(e *entry) bool { return e.call.Case == number || len(e.call.Cases) > 0 && int(e.by) == number })
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.begun[number] = true
}

// ReleaseAll makes all calls free again.
func (ix *Index) ReleaseAll() {
	ix.release(func(*entry) bool { return true })
	ix.mu.Lock()
	defer ix.mu.Unlock()
	clear(ix.begun)
}

// Collisions are the sets of cases that have identical calls, or calls that may
// belong to each of them: what one asks for while another runs may get the other's.
func (ix *Index) Collisions() [][]int {
	var sets [][]int
	add := func(g *group) {
		var set []int
		for _, e := range g.entries() {
			set = append(append(set, e.call.Case), e.call.Cases...)
		}
		slices.Sort(set)
		set = slices.Compact(set)
		if len(set) > 0 && set[0] == 0 {
			set = set[1:]
		}
		if len(set) > 1 {
			sets = append(sets, set)
		}
	}
	for _, v := range append([]*view{ix.main}, ix.views...) {
		for _, g := range v.calls {
			add(g)
		}
		for _, g := range v.headed { // two-way calls are found by their head
			if slices.ContainsFunc(g.entries(), func(e *entry) bool { return e.call.TwoWay }) {
				add(g)
			}
		}
	}
	for _, g := range ix.hosts {
		if g.failures[anyService] > 0 { // connections are refused in recorded order
			add(g)
		}
	}
	return sets
}

func (ix *Index) release(of func(*entry) bool) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for i := range ix.entries {
		if e := &ix.entries[i]; (e.taken || e.lent) && of(e) {
			e.free()
		}
	}
}

// TwoWay is Inquiry.TwoWay.
func (ix *Index) TwoWay(q *Query) bool { return ix.Ask(q).TwoWay() }

// Peek is Inquiry.Peek.
func (ix *Index) Peek(q *Query) *tape.Exchange { return ix.Ask(q).Peek() }

// RedactURL returns what may be shown of a request's URL.
func (ix *Index) RedactURL(url string) string { return ix.main.rules.Redact.URL(url) }

// Refused returns the call that says why a connection to an authority
// (host:port) fails now, and takes it: the next free call to that authority, if
// it is one that failed before a request could be sent. Where nothing else was
// recorded for the authority it keeps failing. It returns nil if the connection
// is to succeed.
func (ix *Index) Refused(authority string, s Scope) *tape.Exchange {
	g := ix.hosts[parseAddress("tcp://"+authority).dialed()]
	if g == nil {
		return nil
	}
	own, service := g.candidates(s.Service)
	if g.failures[service] == 0 {
		return nil
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	e := g.first(s, ix.begun)
	if e == nil && g.failures[service] == len(own.entries) {
		e = own.last()
	}
	if e == nil || !unconnected(e.call) {
		return nil
	}
	e.take(s, ix.begun)
	return e.call
}

// Unused returns the calls that were never given out, in recorded order.
func (ix *Index) Unused() []*tape.Exchange {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	var unused []*tape.Exchange
	for i := range ix.entries {
		if e := &ix.entries[i]; !e.used {
			unused = append(unused, e.call)
		}
	}
	return unused
}
