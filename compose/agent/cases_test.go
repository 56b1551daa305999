package agent

import (
	"sync"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestTheClockNamesTheCaseThatRuns(t *testing.T) {
	var c caseClock
	want := func(n int) {
		t.Helper()
		if got := c.current(); got != n {
			t.Errorf("case %d runs, want %d", got, n)
		}
	}
	want(0)
	c.set(3)
	want(3)
	c.set(5)
	want(5)
	c.end(3) // long over
	want(5)
	c.end(5)
	want(0)
	c.set(7)
	c.set(0)
	want(0)
}

func TestCasesAreNumberedAsTheRecorderDoesAndCallsAreTheLatestOnes(t *testing.T) {
	var mu sync.Mutex
	cases, calls := map[string]int{}, map[string]int{}
	rec := record.New(record.Options{}, func(r tape.Record) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Exchange == nil:
		case r.Exchange.Kind == tape.Case:
			cases[r.Exchange.Request.URL] = r.Exchange.Number
		default:
			calls[r.Exchange.Request.URL] = r.Exchange.Case
		}
		return nil
	})
	var clock caseClock
	in := caseSink{rec.Conn(record.Conn{Kind: tape.Case, Scheme: "http", Authority: "app"}), &clock}
	out := rec.Conn(record.Conn{Kind: tape.Call, Scheme: "http", Authority: "outside", Case: clock.current})
	begin := func(s httpstream.Sink, target string) httpstream.Exchange {
		x := s.Request(time.Now(), &httpstream.RequestHead{Proto: "HTTP/1.1", Method: "GET", Target: target})
		x.RequestEnd(time.Now(), nil)
		return x
	}
	end := func(x httpstream.Exchange) {
		x.Response(time.Now(), &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200})
		x.End(time.Now(), httpstream.EndInfo{How: httpstream.EOF})
	}
	end(begin(out, "/before"))
	one := begin(in, "/one")
	end(begin(out, "/of-one"))
	two := begin(in, "/two")
	end(begin(out, "/of-two"))
	end(two)
	end(begin(out, "/of-one-again"))
	end(one)
	end(begin(out, "/after"))
	if err := rec.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]int{"/before": 0, "/of-one": 1, "/of-two": 2, "/of-one-again": 1, "/after": 0} {
		if got := calls["http://outside"+target]; got != want {
			t.Errorf("the call %s is of case %d, want %d", target, got, want)
		}
	}
	if cases["http://app/one"] != 1 || cases["http://app/two"] != 2 {
		t.Errorf("the cases are numbered %v", cases)
	}
}
