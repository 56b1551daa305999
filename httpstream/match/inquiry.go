package match

import (
	"slices"

	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// An Inquiry is a request that an Index is asked about, taken apart once, however
// often it asks. It is for one goroutine.
type Inquiry struct {
	ix *Index
	q  *Query
	in []seen // by the views that were asked, the best first

	room struct {
		in     [1]seen
		sites  [1]site
		fields [4]field
		groups [1]*group
		key    [256]byte
	}
}

// A seen is a request by the rules of one view.
type seen struct {
	view  *view
	r     request
	sites []site // of its URLs, in their order, those that something was recorded at
}

// A site is the key of what was asked of one URL with one method, and what is known of it.
type site struct {
	head key
	place
}

// Ask begins an inquiry about q, which may get its body and HeadOnly until Match is called.
func (ix *Index) Ask(q *Query) *Inquiry {
	in := &Inquiry{ix: ix, q: q}
	in.in = in.room.in[:0]
	return in
}

// view returns the view to look at in the i-th place, the best first, or nil: by a
// case's own rules and then by those for all, and while no case runs by those of any.
func (in *Inquiry) view(i int) *view {
	if own := in.ix.own[in.q.Case]; own != nil {
		if i == 0 {
			return own
		}
		i--
	}
	switch {
	case i == 0:
		return in.ix.main
	case in.q.Case == 0 && i <= len(in.ix.views):
		return in.ix.views[i-1]
	}
	return nil
}

// seen returns the request by the rules of the i-th view; nil if there are no more.
func (in *Inquiry) seen(i int) *seen {
	if i < len(in.in) {
		return &in.in[i]
	}
	v := in.view(i)
	if v == nil {
		return nil
	}
	q := in.q
	s := seen{view: v}
	if i == 0 {
		s.r = v.rules.head(q.Method, q.Protocol, q.URL, q.Header, in.room.fields[:0])
		s.r.scratch, s.sites = in.room.key[:0], in.room.sites[:0]
	} else {
		s.r = v.rules.head(q.Method, q.Protocol, q.URL, q.Header, nil)
	}
	s.locate(q)
	in.in = append(in.in, s)
	return &in.in[i]
}

func (s *seen) locate(q *Query) {
	s.add()
	for _, url := range q.OtherURLs {
		s.view.rules.locate(&s.r, url)
		s.add()
	}
}

func (s *seen) add() {
	head := s.r.headKey()
	if p, known := s.view.places[head]; known {
		s.sites = append(s.sites, site{head, p})
	}
}

// TwoWay reports whether a request must be matched by its head, because a
// recorded call with its method and URL was answered before its request ended.
// What body it has does not matter.
func (in *Inquiry) TwoWay() bool {
	if !in.ix.twoWay {
		return false
	}
	twoWay := func(s *seen) bool {
		return slices.ContainsFunc(s.sites, func(p site) bool { return p.twoWay })
	}
	for _, v := range append([]*view{in.ix.main}, in.ix.views...) {
		s := seen{view: v, r: v.rules.head(in.q.Method, in.q.Protocol, in.q.URL, nil, nil)}
		if s.locate(in.q); twoWay(&s) {
			return true
		}
	}
	return false
}

// Peek returns the call that the request would get if it had the recorded body,
// without taking it. It returns nil if none has its method and URL.
func (in *Inquiry) Peek() *tape.Exchange {
	for i := 0; ; i++ {
		s := in.seen(i)
		if s == nil {
			return nil
		}
		if len(s.sites) == 0 {
			continue
		}
		groups := s.headed(in.room.groups[:0])
		in.ix.mu.Lock()
		e := in.ix.earliest(groups, in.q.Scope)
		in.ix.mu.Unlock()
		switch {
		case e != nil:
			return e.call
		case len(groups) > 0:
			return groups[0].recordedFirst().call
		}
		return s.sites[0].first.call
	}
}

// Match takes the call that answers the request. Where there is none it returns nil
// and why; that is found out while others are answered.
func (in *Inquiry) Match() (*tape.Exchange, *event.Miss) {
	for i := 0; ; i++ {
		s := in.seen(i)
		if s == nil {
			return nil, in.miss()
		}
		if x := in.ix.take(in.find(s, in.room.groups[:0]), in.q.Scope); x != nil {
			return x, nil
		}
	}
}

// find appends the calls that the request is identical to, a group for each of its
// URLs that has some.
func (in *Inquiry) find(s *seen, groups []*group) []*group {
	switch {
	case len(s.sites) == 0:
		return groups
	case in.q.HeadOnly:
		return s.headed(groups)
	}
	s.view.rules.setBody(&s.r, in.q.Header, bodyOf(in.q))
	for _, p := range s.sites {
		whole := s.r.fieldKey(p.head, fieldsKept)
		g := s.view.calls[s.r.bodyKey(whole, s.r.body.key(&s.view.rules))]
		if g == nil && !s.r.body.empty() {
			g = s.view.hashed[s.r.bodyKey(whole, s.r.body.hashKey())]
		}
		if g != nil {
			groups = append(groups, g)
		}
	}
	return groups
}

// headed is find by the head alone.
func (s *seen) headed(groups []*group) []*group {
	for _, p := range s.sites {
		if g := s.view.headed[s.r.fieldKey(p.head, allFields)]; g != nil {
			groups = append(groups, g)
		}
	}
	return groups
}
