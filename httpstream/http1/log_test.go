package http1

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// An eventLog is a sink that notes what it hears, one list per exchange.
type eventLog struct {
	mu        sync.Mutex
	changed   sync.Cond
	exchanges []*eventLogExchange
}

type eventLogExchange struct {
	log    *eventLog
	events []logEvent
	ended  bool
}

type logEvent struct {
	at   time.Time
	text string
}

func newEventLog() *eventLog {
	l := &eventLog{}
	l.changed.L = &l.mu
	return l
}

func (l *eventLog) Request(at time.Time, head *httpstream.RequestHead) httpstream.Exchange {
	l.mu.Lock()
	x := &eventLogExchange{log: l}
	l.exchanges = append(l.exchanges, x)
	l.mu.Unlock()
	x.add(at, "%s %s %s", head.Method, head.Target, head.Header.Get("X-Client"))
	return x
}

func (x *eventLogExchange) add(at time.Time, format string, args ...any) {
	x.log.mu.Lock()
	defer x.log.mu.Unlock()
	x.events = append(x.events, logEvent{at, strings.TrimSpace(fmt.Sprintf(format, args...))})
	x.log.changed.Broadcast()
}

// String lists the events in the order in which they were told.
func (x *eventLogExchange) String() string {
	var texts []string
	for _, e := range x.events {
		texts = append(texts, e.text)
	}
	return strings.Join(texts, " | ")
}

func (x *eventLogExchange) RequestChunk(at time.Time, c httpstream.Chunk) {
	x.add(at, "> %s%s", c.Data, pieces(c))
}
func (x *eventLogExchange) RequestEnd(at time.Time, t httpstream.Fields) {
	x.add(at, "> end %s", AppendFields(nil, t))
}
func (x *eventLogExchange) Interim(at time.Time, h *httpstream.ResponseHead) {
	x.add(at, "interim %d", h.Status)
}
func (x *eventLogExchange) Response(at time.Time, h *httpstream.ResponseHead) {
	x.add(at, "%d", h.Status)
}
func (x *eventLogExchange) ResponseChunk(at time.Time, c httpstream.Chunk) {
	x.add(at, "< %s%s", c.Data, pieces(c))
}
func (x *eventLogExchange) End(at time.Time, end httpstream.EndInfo) {
	x.add(at, "%s %s", end.How, AppendFields(nil, end.Trailer))
	x.log.mu.Lock()
	defer x.log.mu.Unlock()
	x.ended = true
	x.log.changed.Broadcast()
}

func pieces(c httpstream.Chunk) string {
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
func (l *eventLog) wait(t *testing.T, what string, cond func([]*eventLogExchange) bool) {
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
func (l *eventLog) check(t *testing.T, want ...string) {
	t.Helper()
	l.wait(t, fmt.Sprintf("%q", want), func(xs []*eventLogExchange) bool {
		return slices.EqualFunc(xs, want, func(x *eventLogExchange, want string) bool {
			return x.ended && x.String() == want
		})
	})
}
