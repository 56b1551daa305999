package agent

import (
	"slices"
	"sync"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// A caseClock knows which case runs, so that calls can be told whose they are.
// Where several run at once, a call is the latest one's: nothing on the wire says better.
type caseClock struct {
	mu      sync.Mutex
	last    int
	running []int
}

// set makes n the only running case; 0 means none.
func (c *caseClock) set(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = c.running[:0]
	if n != 0 {
		c.running = append(c.running, n)
	}
}

// current is the case that runs, or 0.
func (c *caseClock) current() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.running) == 0 {
		return 0
	}
	return c.running[len(c.running)-1]
}

func (c *caseClock) end(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.running, n); i >= 0 {
		c.running = slices.Delete(c.running, i, i+1)
	}
}

// A caseSink counts cases as the recorder behind it does, and has the clock know
// how long each runs.
type caseSink struct {
	httpstream.Sink
	clock *caseClock
}

// Request implements httpstream.Sink.
func (s caseSink) Request(at time.Time, head *httpstream.RequestHead) httpstream.Exchange {
	// The recorder numbers in the order of these calls; the lock makes it ours too.
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.clock.last++
	n := s.clock.last
	s.clock.running = append(s.clock.running, n)
	return caseExchange{s.Sink.Request(at, head), s.clock, n}
}

type caseExchange struct {
	httpstream.Exchange
	clock  *caseClock
	number int
}

// End implements httpstream.Exchange.
func (x caseExchange) End(at time.Time, end httpstream.EndInfo) {
	x.clock.end(x.number)
	x.Exchange.End(at, end)
}
