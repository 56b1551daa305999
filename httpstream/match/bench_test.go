package match

import (
	"fmt"
	"testing"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// distinctCalls are n calls to one URL, each with a body of its own; each belongs to
// a case of its own where there are cases.
func distinctCalls(n int, inCases bool) []*tape.Exchange {
	var calls []*tape.Exchange
	for i := range n {
		x := call(i+1, "POST", "https://api.example/v1/chat", jsonType, fmt.Sprintf(`{"model":"m","n":%d}`, i))
		if inCases {
			x.Case = i + 1
		}
		calls = append(calls, x)
	}
	return calls
}

// BenchmarkMatch asks for one call again and again.
func BenchmarkMatch(b *testing.B) {
	own := &Rules{IgnoreQuery: func(n string) bool { return n == "ts" }}
	ofCase := func(int) *Rules { return own }
	for _, bc := range []struct {
		name    string
		inCases bool
		rules   Rules
		number  int // of the case that runs
		query   string
	}{
		{"of no case", false, Rules{}, 0, ""},
		{"while no case runs", true, Rules{}, 0, ""},
		{"while its case runs", true, Rules{}, 18, ""},
		{"while another case runs", true, Rules{}, 19, ""},
		{"by the rules of its case", true, Rules{OfCase: ofCase}, 18, "?ts=1"},
		{"by the rules of a case while none runs", true, Rules{OfCase: ofCase}, 0, "?ts=1"},
	} {
		for _, n := range []int{70, 7000} {
			b.Run(fmt.Sprintf("%s/calls=%d", bc.name, n), func(b *testing.B) {
				rules := bc.rules
				rules.Reuse = true
				ix := NewIndex(distinctCalls(n, bc.inCases), rules)
				q := ask("POST", "https://api.example/v1/chat"+bc.query, jsonType, `{"n":17,"model":"m"}`)
				q.Case = bc.number
				for b.Loop() {
					if ix.Peek(&q) == nil {
						b.Fatal("nothing to peek at")
					}
					if x, miss := ix.Match(q); x == nil {
						b.Fatal(miss)
					}
				}
			})
		}
	}
}

// BenchmarkMiss asks for what was never recorded.
func BenchmarkMiss(b *testing.B) {
	ix := NewIndex(distinctCalls(7000, false), Rules{})
	q := ask("POST", "https://api.example/v1/chat", jsonType, `{"n":-1,"model":"m"}`)
	for b.Loop() {
		if _, miss := ix.Match(q); miss == nil {
			b.Fatal("it is answered")
		}
	}
}
