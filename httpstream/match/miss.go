package match

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// A Miss says why no recorded call answers a request.
type Miss struct {
	Method, URL string // of the request, redacted
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
	// Recorded and Now are the values, shortened; JSON values as JSON text.
	// A value that is missing is "(none)".
	Recorded string `json:"recorded"`
	Now      string `json:"now"`
}

const (
	maxDifferences = 20
	// maxCandidates is how many calls are compared in depth for one miss.
	maxCandidates = 50
	none          = "(none)"
)

// String is one line, for people.
func (m *Miss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no recorded call answers %s %s", m.Method, m.URL)
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
			fmt.Fprintf(&b, "%s%s was %s, is %s", sep, d.Where, d.Recorded, d.Now)
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
		Case        int          `json:"case,omitempty"`
		Used        int          `json:"used,omitempty"`
		Closest     *closest     `json:"closest,omitempty"`
		Differences []Difference `json:"differences,omitempty"`
		More        int          `json:"more_differences,omitempty"`
	}{
		Error:  apiError{"wiretape_miss", "wiretape: " + m.String()},
		Method: m.Method, URL: m.URL, Case: m.Case, Used: m.Used,
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

// miss describes why q, whose identical calls are used (nil: none), has no answer.
func (ix *Index) miss(q *Query, r *request, used *group) *Miss {
	m := &Miss{Method: q.Method, URL: ix.rules.Redact.URL(q.URL), Case: q.Case}
	if used != nil {
		own, _ := used.candidates(q.Service)
		m.Used = len(own.entries)
		m.Closest = own.entries[len(own.entries)-1].call
		return m
	}
	var differences []Difference
	for _, x := range ix.nearest(r, q.Case) {
		ds := ix.rules.differences(ix.rules.recorded(x), r, q.HeadOnly)
		if m.Closest == nil || len(ds) < len(differences) {
			m.Closest, differences = x, ds
		}
	}
	if len(differences) > maxDifferences {
		m.More = len(differences) - maxDifferences
		differences = differences[:maxDifferences]
	}
	m.Differences = differences
	return m
}

// nearness orders calls by how much their address has in common with a
// request's: the same host and path, then the method, then the most similar
// path.
type nearness struct {
	samePlace, sameMethod bool
	sameHost              bool
	path                  float64
}

func (n nearness) rank() float64 {
	rank := n.path // 0 to 1
	for i, yes := range []bool{n.sameHost, n.sameMethod, n.samePlace} {
		if yes {
			rank += float64(int(2) << i)
		}
	}
	return rank
}

// nearest returns the calls that share the best rank, those of the case first,
// else in recorded order.
func (ix *Index) nearest(r *request, number int) []*tape.Exchange {
	var best float64
	var found, others []*tape.Exchange
	for _, e := range ix.entries {
		if unconnected(e.call) {
			continue
		}
		n := near(e.call, r)
		if !n.sameHost && n.path == 0 {
			continue
		}
		rank := n.rank()
		if rank < best {
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

func near(x *tape.Exchange, r *request) nearness {
	addr := parseAddress(x.Request.URL)
	n := nearness{
		sameMethod: x.Request.Method == r.method,
		sameHost:   addr.hostPort() == r.addr.hostPort(),
		path:       similarity(addr.path, r.addr.path),
	}
	n.samePlace = n.sameHost && addr.path == r.addr.path
	return n
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

// shorten keeps a value readable in a message.
func shorten(s string) string {
	const limit = 120
	runes := []rune(strings.ToValidUTF8(s, "\uFFFD"))
	if len(runes) <= limit {
		return string(runes)
	}
	return string(runes[:limit]) + "…"
}

// listed writes values as a message shows them.
func listed(vs []string) string {
	if len(vs) == 0 {
		return none
	}
	return shorten(strings.Join(slices.Clone(vs), ", "))
}
