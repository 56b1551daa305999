package runner

import (
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// passedOn are fields that say which request of a client others were made for,
// and that apps pass on: W3C Trace Context has traceparent and baggage, Zipkin
// X-B3-TraceId, the others are a convention.
var passedOn = []string{"traceparent", "baggage", "x-b3-traceid", "x-request-id", "x-correlation-id"}

// keptCases bounds how many cases a Correlation remembers. Calls come during
// their case or soon after it.
const keptCases = 4096

// A Correlation tells by what clients send along, and the app passes on, which
// case a call was made for. It is not safe for concurrent use.
type Correlation struct {
	names []string // of fields, lower case
	cases map[string][]int
	order []remembered
}

type remembered struct {
	number int
	ids    []string
}

// NewCorrelation looks at these fields as well as at the usual ones.
func NewCorrelation(names []string) *Correlation {
	c := &Correlation{names: slices.Clone(passedOn), cases: make(map[string][]int)}
	for _, n := range names {
		if n = strings.ToLower(n); !slices.Contains(c.names, n) {
			c.names = append(c.names, n)
		}
	}
	return c
}

// Add notes what a case was asked with.
func (c *Correlation) Add(number int, header httpstream.Fields) {
	ids := c.ids(header)
	for _, id := range ids {
		c.cases[id] = append(c.cases[id], number)
	}
	c.order = append(c.order, remembered{number, ids})
	if len(c.order) <= keptCases {
		return
	}
	for _, id := range c.order[0].ids {
		if c.cases[id] = c.cases[id][1:]; len(c.cases[id]) == 0 {
			delete(c.cases, id)
		}
	}
	c.order = c.order[1:]
}

// Named are the cases that a call's own fields name, in rising order.
func (c *Correlation) Named(header httpstream.Fields) []int {
	var named []int
	for _, id := range c.ids(header) {
		of := c.cases[id]
		switch {
		case len(of) == 0: // a value of the app's own
		case named == nil:
			named = slices.Clone(of)
		default: // each narrows it
			if both := intersect(named, of); len(both) > 0 {
				named = both
			}
		}
	}
	slices.Sort(named)
	return slices.Compact(named)
}

// Cases are those that a call may belong to while some run: the ones that it
// names, and of these those that run; without a name all that run.
func (c *Correlation) Cases(header httpstream.Fields, running []int) []int {
	named := c.Named(header)
	if len(named) == 0 {
		return running
	}
	if both := intersect(named, running); len(both) > 0 {
		return both
	}
	return named
}

// ids are what a head has to be told by. A redacted value tells nothing.
func (c *Correlation) ids(header httpstream.Fields) []string {
	var ids []string
	for _, f := range header {
		name := strings.ToLower(f.Name)
		if !slices.Contains(c.names, name) || strings.Contains(f.Value, tape.Redacted) {
			continue
		}
		switch name {
		case "traceparent":
			if id := traceID(f.Value); id != "" {
				ids = append(ids, name+" "+id)
			}
		case "baggage": // W3C Baggage section 3.2.1: members, each with properties
			for member := range strings.SplitSeq(f.Value, ",") {
				member, _, _ = strings.Cut(member, ";")
				if member = strings.TrimSpace(member); member != "" {
					ids = append(ids, name+" "+member)
				}
			}
		default:
			if v := strings.TrimSpace(f.Value); v != "" {
				ids = append(ids, name+" "+v)
			}
		}
	}
	return ids
}

// traceID is the part of a traceparent that an app keeps (W3C Trace Context
// section 3.2.2.3); empty where the value is none.
func traceID(value string) string {
	parts := strings.Split(strings.TrimSpace(value), "-")
	if len(parts) < 4 || len(parts[1]) != 32 || strings.Trim(parts[1], "0") == "" {
		return ""
	}
	return strings.ToLower(parts[1])
}

func intersect(a, b []int) []int {
	var both []int
	for _, n := range a {
		if slices.Contains(b, n) {
			both = append(both, n)
		}
	}
	return both
}
