package runner

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/record"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestTheClockNamesTheCaseThatRuns(t *testing.T) {
	c := NewClock(NewCorrelation(nil))
	want := func(n int) {
		t.Helper()
		if got := c.One(nil); got != n {
			t.Errorf("case %d runs, want %d", got, n)
		}
	}
	want(0)
	c.Set(3)
	want(3)
	c.Set(5)
	want(5)
	c.end(3) // long over
	want(5)
	c.end(5)
	want(0)
	c.Set(7)
	c.Set(0)
	want(0)
}

const (
	traceOne = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	spanOne  = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
	traceNew = "00-11111111111111111111111111111111-00f067aa0ba902b7-01"
)

func TestCallsAreOfTheCasesThatRanOrThatTheyName(t *testing.T) {
	var mu sync.Mutex
	cases, calls := map[string]int{}, map[string][]int{}
	rec := record.New(record.Options{}, func(r tape.Record) error {
		mu.Lock()
		defer mu.Unlock()
		x, err := r.Exchange()
		switch {
		case err != nil:
			return err
		case x.Kind == tape.Case:
			cases[x.Request.URL] = x.Number
		default:
			calls[x.Request.URL] = append([]int{x.Case}, x.Cases...)
		}
		return nil
	})
	clock := NewClock(NewCorrelation([]string{"X-Job"}))
	in := clock.Sink(rec.Conn(record.Conn{Kind: tape.Case, Scheme: "http", Authority: "app"}))
	out := rec.Conn(record.Conn{Kind: tape.Call, Scheme: "http", Authority: "outside", Cases: clock.Cases})
	begin := func(s httpstream.Sink, target string, header ...string) httpstream.Exchange {
		head := &httpstream.RequestHead{Proto: "HTTP/1.1", Method: "GET", Target: target}
		for i := 0; i < len(header); i += 2 {
			head.Header = append(head.Header, httpstream.Field{Name: header[i], Value: header[i+1]})
		}
		x := s.Request(time.Now(), head)
		x.RequestEnd(time.Now(), nil)
		return x
	}
	end := func(x httpstream.Exchange) {
		x.Response(time.Now(), &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200})
		x.End(time.Now(), httpstream.EndInfo{How: httpstream.EOF})
	}
	end(begin(out, "/before"))
	one := begin(in, "/one", "traceparent", traceOne, "baggage", "tenant=a,user=alice;p=1")
	end(begin(out, "/of-one"))
	two := begin(in, "/two", "Baggage", "tenant=a, user=bob", "X-Job", "7")
	end(begin(out, "/of-both"))
	end(begin(out, "/trace", "Traceparent", spanOne))
	end(begin(out, "/trace-of-its-own", "Traceparent", traceNew))
	end(begin(out, "/baggage", "baggage", "tenant=a,user=bob,more=1"))
	end(begin(out, "/baggage-of-both", "baggage", "tenant=a"))
	end(begin(out, "/configured", "x-job", "7"))
	end(two)
	end(begin(out, "/of-one-again"))
	end(begin(out, "/late", "x-job", "7"))
	end(one)
	end(begin(out, "/after"))
	end(begin(out, "/later", "traceparent", spanOne))
	if err := rec.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string][]int{
		"/before": {0}, "/of-one": {1}, "/of-both": {0, 1, 2}, "/trace": {1}, "/trace-of-its-own": {0, 1, 2}, "/baggage": {2},
		"/baggage-of-both": {0, 1, 2}, "/configured": {2}, "/of-one-again": {1}, "/late": {2}, "/after": {0}, "/later": {1},
	} {
		if got := calls["http://outside"+target]; !slices.Equal(got, want) {
			t.Errorf("the call %s is of case %d, want %d", target, got, want)
		}
	}
	if cases["http://app/one"] != 1 || cases["http://app/two"] != 2 {
		t.Errorf("the cases are numbered %v", cases)
	}
}
