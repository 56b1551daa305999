package match

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestNoHitWaitsForTheDiagnosisOfAMiss(t *testing.T) {
	var armed bool
	diagnosing, finish := make(chan struct{}), make(chan struct{})
	rules := Rules{IgnorePath: func(p string) string {
		if armed && p == "/b" { // of the recorded call, which only a diagnosis looks at
			close(diagnosing)
			<-finish
		}
		return p
	}}
	ix := NewIndex([]*tape.Exchange{call(1, "GET", "https://h/a", "", ""), call(2, "GET", "https://h/b", "", "")}, rules)
	armed = true
	missed := make(chan *event.Miss)
	go func() {
		_, miss := ix.Match(ask("GET", "https://h/c", "", ""))
		missed <- miss
	}()
	<-diagnosing
	if x, miss := ix.Match(ask("GET", "https://h/a", "", "")); x == nil {
		t.Error(miss)
	}
	if ix.Peek(&Query{Method: "GET", URL: "https://h/a"}) == nil || len(ix.Unused()) != 1 {
		t.Error("the index is wrong while a miss is diagnosed")
	}
	armed = false
	close(finish)
	if miss := <-missed; miss == nil {
		t.Error("what was never recorded is answered")
	}
}

func TestAHitLooksAtNoOtherCasesRules(t *testing.T) {
	asked := 0
	own := func(n int) *Rules {
		return &Rules{IgnorePath: func(p string) string { asked++; return p }}
	}
	var calls []*tape.Exchange
	for i := range 3 {
		x := call(i+1, "GET", "https://h/", "", "")
		x.Case = i + 1
		calls = append(calls, x)
	}
	ix := NewIndex(calls, Rules{Reuse: true, OfCase: own})
	asked = 0
	if x, miss := ix.Match(ask("GET", "https://h/", "", "")); x == nil || asked != 0 {
		t.Errorf("%v, after the rules of %d cases were asked", miss, asked)
	}
}

func TestARequestThatNamesNoOriginGetsTheFirstIdenticalCall(t *testing.T) {
	one, two := call(1, "GET", "https://a/x", "", ""), call(2, "GET", "https://b/x", "", "")
	three := call(3, "POST", "https://b/x", jsonType, `{"n":1}`)
	ix := NewIndex([]*tape.Exchange{one, two, call(4, "POST", "https://a/x", jsonType, `{"n":2}`), three}, Rules{})
	q := ask("GET", "https://b/x", "", "")
	q.OtherURLs = []string{"https://a/x"}
	if got := numbers(ix, q, 3); got != "1 2 miss2" {
		t.Errorf("got %q", got)
	}
	post := ask("POST", "https://a/x", jsonType, `{"n":1}`)
	post.OtherURLs = []string{"https://b/x"}
	if x := ix.Peek(&post); x == nil || x.Number != 3 {
		t.Errorf("peeked at %v", x)
	}
	if x, miss := ix.Match(post); x != three {
		t.Errorf("by its body it is call 3: %v", miss)
	}
	post.URL, post.OtherURLs = "https://a/y", []string{"https://b/y?api_key=hunter2"}
	_, miss := ix.Match(post)
	if s := miss.String(); !strings.Contains(s, "https://a/y or https://b/y?api_key=REDACTED") || strings.Contains(s+string(miss.Body()), "hunter2") {
		t.Errorf("the miss says %s", s)
	}
}

func TestTheProtocolOfAnExtendedConnectCounts(t *testing.T) {
	x := call(1, "CONNECT", "https://h/ws", "", "")
	x.Request.Protocol, x.TwoWay = "websocket", true
	ix := NewIndex([]*tape.Exchange{x}, Rules{})
	q := Query{Method: "CONNECT", URL: "https://h/ws", Protocol: "connect-udp", HeadOnly: true}
	if _, miss := ix.Match(q); miss == nil || miss.Differences[0].Where.String() != ":protocol" {
		t.Errorf("miss %v", miss)
	}
	q.Protocol = "websocket"
	if got, miss := ix.Match(q); got != x {
		t.Error(miss)
	}
}

// TestWhatIsNextIsAsInAModel takes and frees calls at random, and compares with the
// same rules on a plain list.
func TestWhatIsNextIsAsInAModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		services, cases := []string{"", "a", "b", "new"}, 4
		var calls []*tape.Exchange
		for i := range 1 + r.IntN(1+r.IntN(200)) {
			x := call(i+1, "GET", "https://h/", "", "")
			x.Service, x.Case = services[r.IntN(3)], r.IntN(cases)
			if r.IntN(4) == 0 {
				first := 1 + r.IntN(cases-2)
				x.Belong(first, first+1)
			}
			calls = append(calls, x)
		}
		reuse := r.IntN(2) == 0
		ix, model := NewIndex(calls, Rules{Reuse: reuse}), newModel(calls, reuse)
		for range 1000 {
			if r.IntN(20) == 0 {
				n := 1 + r.IntN(cases-1)
				ix.Release(n)
				model.release(n)
				continue
			}
			q := ask("GET", "https://h/", "", "")
			q.Scope = Scope{services[r.IntN(4)], r.IntN(cases)}
			want := model.take(q.Scope)
			got, _ := ix.Match(q)
			if got != want {
				t.Fatalf("seed %d, scope %+v: got %v, want %v", seed, q.Scope, got, want)
			}
		}
	}
}

type model struct {
	calls       []*tape.Exchange
	taken, lent map[*tape.Exchange]bool
	begun       map[int]bool
	by          map[*tape.Exchange]int
	reuse       bool
}

func newModel(calls []*tape.Exchange, reuse bool) *model {
	return &model{calls, map[*tape.Exchange]bool{}, map[*tape.Exchange]bool{}, map[int]bool{}, map[*tape.Exchange]int{}, reuse}
}

func (m *model) release(number int) {
	m.begun[number] = true
	for _, x := range m.calls {
		if x.Case == number || len(x.Cases) > 0 && m.by[x] == number {
			delete(m.taken, x)
			delete(m.lent, x)
		}
	}
}

func (m *model) take(s Scope) *tape.Exchange {
	may := slices.DeleteFunc(slices.Clone(m.calls), func(x *tape.Exchange) bool { return x.Service != s.Service })
	if len(may) == 0 {
		may = m.calls
	}
	x := m.next(may, s)
	if x == nil && m.reuse {
		for _, x := range may {
			delete(m.taken, x)
			delete(m.lent, x)
		}
		x = m.next(may, s)
	}
	switch {
	case x == nil:
		return nil
	case s.Case > 0 && (x.Case > 0 && !m.begun[x.Case] || len(x.Cases) > 0) && !x.MayBelongTo(s.Case):
		m.lent[x] = true
	default:
		m.taken[x] = true
	}
	m.by[x] = s.Case
	return x
}

func (m *model) next(may []*tape.Exchange, s Scope) *tape.Exchange {
	own := false
	for _, is := range []func(*tape.Exchange) bool{
		func(x *tape.Exchange) bool { return s.Case > 0 && x.Case == s.Case },
		func(x *tape.Exchange) bool { return slices.Contains(x.Cases, s.Case) },
		func(x *tape.Exchange) bool { return x.Case == 0 && x.Cases == nil },
	} {
		for _, x := range may {
			if !is(x) {
				continue
			}
			own = own || x.MayBelongTo(s.Case)
			if !m.taken[x] {
				return x
			}
		}
	}
	for _, x := range may {
		if !m.taken[x] && (s.Case == 0 || !m.lent[x] && (!own || m.begun[x.Case])) {
			return x
		}
	}
	return nil
}
