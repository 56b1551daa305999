package match

import (
	"crypto/sha256"
	"slices"
	"strings"
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
	main *view
	// own has, for the cases with rules of their own, their calls by these. The
	// cases that share rules share a view, and all views share the entries.
	own   map[int]*view
	views []*view // those in own

	entries []*entry
	hosts   map[string]*group // by host:port, calls that failed to connect included

	mu    sync.Mutex   // guards which entries are taken, and begun; all else is fixed
	begun map[int]bool // cases that were released by their number in this round
}

// A view is calls by one set of rules.
type view struct {
	rules  Rules
	places map[string]*place // by head key
	headed map[key]*group    // by head and fields
	calls  map[key]*group    // by head, fields and body
	hashed map[key]*group    // the same, with the body's hash as its key
}

// A key identifies what counts of a request.
type key [sha256.Size]byte

func keyOf(parts ...string) key { return sha256.Sum256([]byte(strings.Join(parts, ""))) }

// A place is what was asked of one URL with one method.
type place struct {
	first  *entry
	twoWay bool
}

// NewIndex makes an index of calls, which are in recorded order and must not
// change afterwards.
func NewIndex(calls []*tape.Exchange, rules Rules) *Index {
	names := fieldNames(calls)
	ix := &Index{main: newView(rules, names), own: map[int]*view{}, hosts: map[string]*group{}, begun: map[int]bool{}}
	byRules := map[*Rules]*view{}
	for _, x := range calls {
		e := &entry{call: x, addr: parseAddress(x.Request.URL)}
		ix.entries = append(ix.entries, e)
		host := addTo(ix.hosts, e.addr.dialed(), e)
		if unconnected(x) {
			host.failed(x.Service)
			continue
		}
		ix.main.add(e)
		if x.Case == 0 || rules.OfCase == nil {
			continue
		}
		v, known := ix.own[x.Case]
		if !known {
			v = ix.viewFor(rules.OfCase(x.Case), byRules, names)
			ix.own[x.Case] = v
		}
		if v != nil {
			v.add(e)
		}
	}
	return ix
}

// viewFor returns the view by a case's own rules; nil if it has none.
func (ix *Index) viewFor(rules *Rules, known map[*Rules]*view, names []string) *view {
	if rules == nil {
		return nil
	}
	v := known[rules]
	if v == nil {
		own, all := *rules, &ix.main.rules
		own.Redact, own.Reuse, own.Headers = all.Redact, all.Reuse, all.Headers
		v = newView(own, names)
		known[rules] = v
		ix.views = append(ix.views, v)
	}
	return v
}

// fieldNames are the names of all request fields, in lower case.
func fieldNames(calls []*tape.Exchange) []string {
	names := map[string]struct{}{}
	for _, x := range calls {
		for _, f := range x.Request.Header {
			names[strings.ToLower(f.Name)] = struct{}{}
		}
	}
	list := make([]string, 0, len(names))
	for n := range names {
		list = append(list, n)
	}
	return list
}

func newView(rules Rules, names []string) *view {
	rules.OfCase, rules.known = nil, make(map[string]counting, len(names))
	for _, n := range names {
		rules.known[n] = rules.decide(n)
	}
	return &view{
		rules: rules, places: map[string]*place{},
		headed: map[key]*group{}, calls: map[key]*group{}, hashed: map[key]*group{},
	}
}

func (v *view) add(e *entry) {
	q := v.rules.recorded(e.call)
	head := q.headKey()
	p := v.places[head]
	if p == nil {
		p = &place{first: e}
		v.places[head] = p
	}
	p.twoWay = p.twoWay || e.call.TwoWay
	addTo(v.headed, keyOf(head, q.fieldKey(false)), e)
	whole := head + q.fieldKey(true)
	addTo(v.calls, keyOf(whole, q.body.key(&v.rules)), e)
	addTo(v.hashed, keyOf(whole, q.body.hashKey()), e)
}

// unconnected reports whether a call failed before a request could be sent.
func unconnected(x *tape.Exchange) bool { return x.Failed != "" && x.Request.Method == "" }

// Match takes the call that answers q. Where there is none it returns nil and why;
// that is found out while others are answered.
func (ix *Index) Match(q Query) (*tape.Exchange, *Miss) {
	views := ix.viewsFor(q.Case)
	found := make([][]*group, len(views))
	for i, v := range views {
		found[i] = v.find(&q)
		if x := ix.take(found[i], q.Scope); x != nil {
			return x, nil
		}
	}
	return nil, ix.miss(&q, views, found)
}

// viewsFor are the views to look at, the best first: by a case's own rules and
// then by those for all, and while no case runs by those of any.
func (ix *Index) viewsFor(number int) []*view {
	own := ix.own[number]
	switch {
	case own != nil:
		return []*view{own, ix.main}
	case number == 0 && len(ix.views) > 0:
		return append([]*view{ix.main}, ix.views...)
	}
	return []*view{ix.main}
}

// find returns the calls that q is identical to, a group for each of its URLs
// that has some.
func (v *view) find(q *Query) []*group {
	var groups []*group
	var fields, body, hash string // of q, once they are needed
	r := v.rules.query(q)
	for i := range 1 + len(q.OtherURLs) {
		if i > 0 {
			v.rules.locate(r, q.OtherURLs[i-1])
		}
		head := r.headKey()
		if v.places[head] == nil {
			continue
		}
		if fields == "" {
			fields = r.fieldKey(!q.HeadOnly)
		}
		if q.HeadOnly {
			groups = appendGroup(groups, v.headed[keyOf(head, fields)])
			continue
		}
		if body == "" {
			body, hash = r.body.key(&v.rules), r.body.hashKey()
		}
		if g := v.calls[keyOf(head, fields, body)]; g != nil {
			groups = append(groups, g)
			continue
		}
		groups = appendGroup(groups, v.hashed[keyOf(head, fields, hash)])
	}
	return groups
}

func appendGroup(groups []*group, g *group) []*group {
	if g == nil {
		return groups
	}
	return append(groups, g)
}

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
	ix.release(func(e *entry) bool { return e.call.Case == number || len(e.call.Cases) > 0 && e.by == number })
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
		for _, e := range g.all.entries {
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
			if slices.ContainsFunc(g.all.entries, func(e *entry) bool { return e.call.TwoWay }) {
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
	for _, e := range ix.entries {
		if (e.taken || e.lent) && of(e) {
			e.free()
		}
	}
}

// TwoWay reports whether a request must be matched by its head, because a
// recorded call with its method and URL was answered before its request ended.
// What body q has does not matter.
func (ix *Index) TwoWay(q *Query) bool {
	twoWay := func(v *view) bool {
		return slices.ContainsFunc(v.at(q), func(p *place) bool { return p.twoWay })
	}
	return twoWay(ix.main) || slices.ContainsFunc(ix.views, twoWay)
}

// Peek returns the call that q would get if it had the recorded body, without
// taking it. It returns nil if none has its method and URL.
func (ix *Index) Peek(q *Query) *tape.Exchange {
	for _, v := range ix.viewsFor(q.Case) {
		places := v.at(q)
		if len(places) == 0 {
			continue
		}
		head := *q
		head.HeadOnly = true
		groups := v.find(&head)
		ix.mu.Lock()
		e := ix.earliest(groups, q.Scope)
		ix.mu.Unlock()
		switch {
		case e != nil:
			return e.call
		case len(groups) > 0:
			return groups[0].all.entries[0].call
		}
		return places[0].first.call
	}
	return nil
}

// at returns what was asked of the query's URLs.
func (v *view) at(q *Query) []*place {
	var places []*place
	r := &request{method: q.Method, protocol: q.Protocol}
	for i := range 1 + len(q.OtherURLs) {
		url := q.URL
		if i > 0 {
			url = q.OtherURLs[i-1]
		}
		v.rules.locate(r, url)
		if p := v.places[r.headKey()]; p != nil {
			places = append(places, p)
		}
	}
	return places
}

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
	for _, e := range ix.entries {
		if e.used == 0 {
			unused = append(unused, e.call)
		}
	}
	return unused
}
