package runner

import (
	"slices"
	"sync"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// A Clock knows which cases run, so that calls can be told whose they are: by
// what the app passes on, else by time. Where several run at once, a call may be
// any one's of them.
type Clock struct {
	mu      sync.Mutex
	last    int
	running []int // rising while recording
	known   *Correlation
	quiet   time.Time // when the last case ended
}

// NewClock returns a clock that goes by what known knows.
func NewClock(known *Correlation) *Clock { return &Clock{known: known} }

// Set makes n the only running case; 0 means none.
func (c *Clock) Set(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = c.running[:0]
	if n != 0 {
		c.running = append(c.running, n)
	}
}

// Cases are those that a call with this head, which may be nil, may belong to.
func (c *Clock) Cases(head *httpstream.RequestHead) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if head == nil {
		return slices.Clone(c.running)
	}
	return slices.Clone(c.known.Cases(head.Header, c.running))
}

// One is the case that a call with this head, which may be nil, belongs to; 0
// where there is none, or no telling.
func (c *Clock) One(head *httpstream.RequestHead) int {
	if cases := c.Cases(head); len(cases) == 1 {
		return cases[0]
	}
	return 0
}

func (c *Clock) begin(head *httpstream.RequestHead) int {
	c.last++
	c.running = append(c.running, c.last)
	c.known.Add(c.last, head.Header)
	return c.last
}

func (c *Clock) end(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.running, n); i >= 0 {
		c.running = slices.Delete(c.running, i, i+1)
	}
	c.quiet = time.Now()
}

// SinceCase is how long ago the last case ended; ok is false where there was none.
func (c *Clock) SinceCase() (ago time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.quiet), !c.quiet.IsZero()
}

// Sink has the clock know the cases that a recorder's sink hears.
func (c *Clock) Sink(recorder httpstream.Sink) httpstream.Sink { return caseSink{recorder, c} }

// A caseSink counts cases as the recorder behind it does, and has the clock know
// how long each runs.
type caseSink struct {
	httpstream.Sink
	clock *Clock
}

// Request implements httpstream.Sink.
func (s caseSink) Request(at time.Time, head *httpstream.RequestHead) httpstream.Exchange {
	// The recorder numbers in the order of these calls; the lock makes it ours too.
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	n := s.clock.begin(head)
	return caseExchange{s.Sink.Request(at, head), s.clock, n}
}

type caseExchange struct {
	httpstream.Exchange
	clock  *Clock
	number int
}

// End implements httpstream.Exchange.
func (x caseExchange) End(at time.Time, end httpstream.EndInfo) {
	x.clock.end(x.number)
	x.Exchange.End(at, end)
}
