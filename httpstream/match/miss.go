package match

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// A Miss says why no recorded call answers a request.
type Miss struct {
	Method, URL string // of the request, redacted
	// OtherURLs are what else the request may have been for, redacted.
	OtherURLs []string
	// Case is the number of the case that ran; 0 for none.
	Case int
	// Used is how many identical calls were recorded, all of them taken.
	// Where it is 0, no recorded call is identical.
	Used int
	// Closest is the recorded call that comes nearest; nil if none is near.
	Closest *tape.Exchange
	// Differences are those between Closest and the request, at most maxDifferences.
	Differences []Difference
	// More is how many differences were left out.
	More int
}

// A Difference is one place in which a request is not as recorded.
type Difference struct {
	// Where is "method", "scheme", "host", "path", "query NAME", "header NAME",
	// "body", "body JSONPATH", "body field NAME" or "body part NAME".
	Where string `json:"where"`
	// Recorded and Now are the values, of long ones an excerpt; JSON values as JSON text.
	// A value that is missing is "(none)".
	Recorded string `json:"recorded"`
	Now      string `json:"now"`
	// Message says it in words, where the values alone do not.
	Message string `json:"message,omitempty"`
	// Credential is set where credentials came, went or changed their scheme.
	Credential bool `json:"credential,omitempty"`
}

// String is a part of a sentence.
func (d Difference) String() string {
	if d.Message != "" {
		return d.Message
	}
	return d.Where + " was " + d.Recorded + ", is " + d.Now
}

const (
	maxDifferences = 20
	// maxCandidates is how many calls are compared in depth for one miss.
	maxCandidates = 50
)

// What stands for a value in a Difference.
const (
	None  = "(none)"  // there is none
	Empty = "(empty)" // there is one, without anything in it
)

// String is one line, for people.
func (m *Miss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no recorded call answers %s %s", m.Method, strings.Join(append([]string{m.URL}, m.OtherURLs...), " or "))
	switch {
	case m.Used == 1:
		b.WriteString(": the one that is identical has answered already")
	case m.Used > 1:
		fmt.Fprintf(&b, ": the %d that are identical have answered already", m.Used)
	case m.Closest != nil:
		fmt.Fprintf(&b, "; closest is call %d", m.Closest.Number)
		for i, d := range m.Differences {
			if i == 3 {
				fmt.Fprintf(&b, ", and %d more", len(m.Differences)-i+m.More)
				break
			}
			sep := ", "
			if i == 0 {
				sep = ": "
			}
			b.WriteString(sep + d.String())
		}
	}
	return b.String()
}

// JSON is the body of the answer to a miss. It begins with an "error" object,
// which is where the SDKs of HTTP APIs look for a message.
func (m *Miss) JSON() []byte {
	type apiError struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	type closest struct {
		Number int    `json:"number"`
		File   string `json:"file,omitempty"`
		Method string `json:"method"`
		URL    string `json:"url"`
	}
	out := struct {
		Error       apiError     `json:"error"`
		Method      string       `json:"method"`
		URL         string       `json:"url"`
		OtherURLs   []string     `json:"other_urls,omitempty"`
		Case        int          `json:"case,omitempty"`
		Used        int          `json:"used,omitempty"`
		Closest     *closest     `json:"closest,omitempty"`
		Differences []Difference `json:"differences,omitempty"`
		More        int          `json:"more_differences,omitempty"`
	}{
		Error:  apiError{"wiretape_miss", "wiretape: " + m.String()},
		Method: m.Method, URL: m.URL, OtherURLs: m.OtherURLs, Case: m.Case, Used: m.Used,
		Differences: m.Differences, More: m.More,
	}
	if x := m.Closest; x != nil {
		out.Closest = &closest{x.Number, path.Join("calls", filepath.Base(x.File)), x.Request.Method, x.Request.URL}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		return []byte("{}\n") // strings and numbers always encode
	}
	return []byte(b.String())
}

// miss describes why the request has no answer.
func (in *Inquiry) miss() *Miss {
	ix, q := in.ix, in.q
	m := &Miss{Method: q.Method, URL: ix.RedactURL(q.URL), Case: q.Case}
	for _, url := range q.OtherURLs {
		m.OtherURLs = append(m.OtherURLs, ix.RedactURL(url))
	}
	for i := range in.in {
		for _, g := range in.find(&in.in[i], nil) { // all of which are taken
			own := g.of(q.Service)
			m.Used += len(own)
			m.Closest = own[len(own)-1].call
		}
		if m.Used > 0 {
			return m
		}
	}
	asked := make(map[*view][]*request, len(in.in)) // the request, for each of its URLs
	for i := range in.in {
		asked[in.in[i].view] = in.in[i].view.requests(q)
	}
	var differences []Difference
	for _, x := range ix.nearest(asked[ix.main], q.Case) {
		v := ix.own[x.Case]
		if v == nil || asked[v] == nil {
			v = ix.main
		}
		recorded := v.rules.recorded(x)
		for _, r := range asked[v] {
			ds := v.rules.differences(recorded, r, q.HeadOnly)
			if m.Closest == nil || len(ds) < len(differences) {
				m.Closest, differences = x, ds
			}
		}
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
