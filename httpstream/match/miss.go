package match

import (
	"path"
	"path/filepath"
	"strings"

	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	maxDifferences = 20
	// maxCandidates is how many calls are compared in depth for one miss.
	maxCandidates = 50
)

// miss describes why the request has no answer.
func (in *Inquiry) miss() *event.Miss {
	ix, q := in.ix, in.q
	m := &event.Miss{Service: q.Service, Method: q.Method, URL: ix.RedactURL(q.URL), Case: q.Case}
	for _, url := range q.OtherURLs {
		m.OtherURLs = append(m.OtherURLs, ix.RedactURL(url))
	}
	for i := range in.in {
		for _, g := range in.find(&in.in[i], nil) { // all of which are taken
			own := g.of(q.Service)
			m.Used += len(own)
			m.Closest = callOf(own[len(own)-1].call)
		}
		if m.Used > 0 {
			return m
		}
	}
	asked := make(map[*view][]*request, len(in.in)) // the request, for each of its URLs
	for i := range in.in {
		asked[in.in[i].view] = in.in[i].view.requests(q)
	}
	var closest *tape.Exchange
	var differences []event.Difference
	for _, x := range ix.nearest(asked[ix.main], q.Case) {
		v := ix.own[x.Case]
		if v == nil || asked[v] == nil {
			v = ix.main
		}
		recorded := v.rules.recorded(x)
		for _, r := range asked[v] {
			ds := v.rules.differences(recorded, r, q.HeadOnly)
			if closest == nil || len(ds) < len(differences) {
				closest, differences = x, ds
			}
		}
	}
	if closest != nil {
		m.Closest = callOf(closest)
	}
	if len(differences) > maxDifferences {
		m.More = len(differences) - maxDifferences
		differences = differences[:maxDifferences]
	}
	for i := range differences {
		d := &differences[i]
		d.Recorded, d.Now = excerpt(d.Recorded, d.Now)
	}
	m.Differences = differences
	return m
}

// callOf names a recorded call, and its file as it stands in the tape's folder.
func callOf(x *tape.Exchange) *event.Call {
	return &event.Call{
		Number: x.Number, File: path.Join("calls", filepath.Base(x.File)), Service: x.Service,
		Method: x.Request.Method, URL: x.Request.URL, Case: x.Case,
	}
}

// requests are q by the view's rules, one for each of its URLs.
func (v *view) requests(q *Query) []*request {
	first := v.rules.query(q)
	list := []*request{first}
	for _, url := range q.OtherURLs {
		r := *first
		v.rules.locate(&r, url)
		list = append(list, &r)
	}
	return list
}

// nearest returns the calls whose address has most in common with a request's,
// those of the case first, else in recorded order.
func (ix *Index) nearest(asked []*request, number int) []*tape.Exchange {
	type place struct {
		method string
		addr   address
	}
	ranks := map[place]float64{} // most calls share a few
	var best float64
	var found, others []*tape.Exchange
	for i := range ix.entries {
		e := &ix.entries[i]
		if unconnected(e.call) {
			continue
		}
		p := place{e.call.Request.Method, parseAddress(e.call.Request.URL)}
		p.addr.query = ""
		rank, known := ranks[p]
		if !known {
			for _, r := range asked {
				rank = max(rank, ix.main.rules.near(p.method, p.addr, r))
			}
			ranks[p] = rank
		}
		if rank == 0 || rank < best {
			continue
		}
		if rank > best {
			best, found, others = rank, nil, nil
		}
		if e.call.Case == number {
			found = append(found, e.call)
		} else {
			others = append(others, e.call)
		}
	}
	found = append(found, others...)
	return found[:min(len(found), maxCandidates)]
}

// near ranks an address by what it has in common with a request's: the same host
// and path, then the method, then the host, then the most similar path. It is 0
// where neither host nor path have anything in common.
func (r *Rules) near(method string, addr address, q *request) float64 {
	path := addr.path
	if r.IgnorePath != nil {
		path = r.IgnorePath(path)
	}
	sameHost := addr.hostPort() == q.addr.hostPort()
	rank := similarity(path, q.addr.path) // 0 to 1
	if !sameHost && rank == 0 {
		return 0
	}
	for i, yes := range []bool{sameHost, method == q.method, sameHost && path == q.addr.path} {
		if yes {
			rank += float64(int(2) << i)
		}
	}
	return rank
}

// similarity is the share of path segments that two paths have in common at
// their beginning and end; 1 for equal paths.
func similarity(a, b string) float64 {
	if a == b {
		return 1
	}
	as, bs := strings.Split(a, "/")[1:], strings.Split(b, "/")[1:]
	shorter := min(len(as), len(bs))
	front := 0
	for front < shorter && as[front] == bs[front] {
		front++
	}
	back := 0
	for back < shorter-front && as[len(as)-1-back] == bs[len(bs)-1-back] {
		back++
	}
	return float64(front+back) / float64(max(len(as), len(bs)))
}
