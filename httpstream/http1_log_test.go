package httpstream

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// An h1Log is a sink that notes what it hears, one list per exchange.
type h1Log struct {
	mu        sync.Mutex
	changed   sync.Cond
	exchanges []*h1LogExchange
}

type h1LogExchange struct {
	log    *h1Log
	events []h1LogEvent
	ended  bool
}

type h1LogEvent struct {
	at   time.Time
	text string
}

func newH1Log() *h1Log {
	l := &h1Log{}
	l.changed.L = &l.mu
	return l
}

func (l *h1Log) Request(at time.Time, head *RequestHead) Exchange {
	l.mu.Lock()
	x := &h1LogExchange{log: l}
	l.exchanges = append(l.exchanges, x)
	l.mu.Unlock()
	x.add(at, "%s %s %s", head.Method, head.Target, head.Header.Get("X-Client"))
	return x
}

func (x *h1LogExchange) add(at time.Time, format string, args ...any) {
	x.log.mu.Lock()
	defer x.log.mu.Unlock()
	x.events = append(x.events, h1LogEvent{at, strings.TrimSpace(fmt.Sprintf(format, args...))})
	x.log.changed.Broadcast()
}

// String lists the events in the order in which they were told.
func (x *h1LogExchange) String() string {
	var texts []string
	for _, e := range x.events {
		texts = append(texts, e.text)
	}
	return strings.Join(texts, " | ")
}

func (x *h1LogExchange) RequestChunk(at time.Time, c Chunk) { x.add(at, "> %s%s", c.Data, h1Pieces(c)) }
func (x *h1LogExchange) RequestEnd(at time.Time, t Fields) {
	x.add(at, "> end %s", AppendFields(nil, t))
}
func (x *h1LogExchange) Interim(at time.Time, h *ResponseHead) {
	x.add(at, "interim %d", h.Status)
}
func (x *h1LogExchange) Response(at time.Time, h *ResponseHead) { x.add(at, "%d", h.Status) }
func (x *h1LogExchange) ResponseChunk(at time.Time, c Chunk) {
	x.add(at, "< %s%s", c.Data, h1Pieces(c))
}
func (x *h1LogExchange) End(at time.Time, end EndInfo) {
	x.add(at, "%s %s", end.How, AppendFields(nil, end.Trailer))
	x.log.mu.Lock()
	defer x.log.mu.Unlock()
	x.ended = true
	x.log.changed.Broadcast()
}

func h1Pieces(c Chunk) string {
	s := ""
	if c.Of != 0 {
		s = fmt.Sprintf(" of %d", c.Of)
	}
	if c.Rest {
		s += " rest"
	}
	if c.SizeLine != "" {
		s += " line " + c.SizeLine
	}
	return s
}

// wait waits until cond holds for what was heard, of one exchange at least.
func (l *h1Log) wait(t *testing.T, what string, cond func([]*h1LogExchange) bool) {
	t.Helper()
	late := false
	timeout := time.AfterFunc(10*time.Second, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		late = true
		l.changed.Broadcast()
	})
	defer timeout.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.exchanges) == 0 || !cond(l.exchanges) {
		if late {
			t.Fatalf("timeout waiting for %s; heard %q", what, l.exchanges)
		}
		l.changed.Wait()
	}
}

// check waits until all exchanges have ended with just these events.
func (l *h1Log) check(t *testing.T, want ...string) {
	t.Helper()
	l.wait(t, fmt.Sprintf("%q", want), func(xs []*h1LogExchange) bool {
		return slices.EqualFunc(xs, want, func(x *h1LogExchange, want string) bool {
			return x.ended && x.String() == want
		})
	})
}
