package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/replay"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	// lateCall is how long after an answer's end a call that was recorded before
	// it may still begin.
	lateCall = 300 * time.Millisecond
	// callPatience is how long beyond three times their recorded end calls may go
	// on after the answer.
	callPatience = 2 * time.Second
)

// A Ledger knows which calls the app makes, for which case, and when. Its
// method Watch is for the replay of the calls.
type Ledger struct {
	mu      sync.Mutex
	alone   int // the case that all calls belong to; 0 for none
	open    map[int]*page
	made    map[int]bool // recorded calls that were made, in any case or none
	ordered map[int]bool // cases that are part of this run
	owners  map[*match.Miss]int
	changed chan struct{}
	// Answered is what report.Miss.Answered says of a miss that goes on to the
	// outside. It must not change while the Ledger is in use.
	Answered string
}

// A page has the calls of one case.
type page struct {
	calls  []*call
	misses []*miss
}

// A call is one that the app makes now.
type call struct {
	ledger *Ledger
	x      *tape.Exchange
	began  time.Time // the request was complete
	// line counts from began.
	line  report.Timeline
	ended bool
}

type miss struct {
	ledger *Ledger
	at     time.Time
	ended  bool
	report.Miss
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{open: make(map[int]*page), made: make(map[int]bool), ordered: make(map[int]bool), owners: make(map[*match.Miss]int), changed: make(chan struct{})}
}

// expect begins a run of these cases.
func (l *Ledger) expect(cases []*tape.Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.made)
	clear(l.ordered)
	for _, x := range cases {
		l.ordered[x.Number] = true
	}
}

func (l *Ledger) begin(number int, alone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alone = 0
	if alone {
		l.alone = number
	}
	l.open[number] = &page{}
}

func (l *Ledger) end(number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, number)
}

// Watch is for replay.Handler.
func (l *Ledger) Watch(e replay.Event) replay.Watcher {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Miss != nil {
		return l.missed(e)
	}
	c := &call{ledger: l, x: e.Exchange, began: e.Complete}
	l.made[e.Exchange.Number] = true
	owner := l.alone
	if owner == 0 || e.Exchange.Case == 0 {
		// What belonged to no case belongs to none now.
		owner = e.Exchange.Case
	}
	if p := l.open[owner]; p != nil {
		p.calls = append(p.calls, c)
	}
	l.notify()
	return c
}

// missed notes a call that no recorded one answers. The caller holds mu.
func (l *Ledger) missed(e replay.Event) replay.Watcher {
	owner := l.alone
	if owner == 0 && e.Miss.Closest != nil {
		owner = e.Miss.Closest.Case
	}
	if p := l.open[owner]; p != nil {
		m := &miss{ledger: l, at: e.Complete, Miss: missOf(e, owner)}
		if e.Forwarded {
			m.Answered = l.Answered
		}
		p.misses = append(p.misses, m)
		l.owners[e.Miss] = owner
		return m
	}
	return nil
}

// Flushed implements replay.Watcher.
func (m *miss) Flushed(time.Time, int64) {}

// Ended implements replay.Watcher.
func (m *miss) Ended(e replay.Event) {
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	m.ended = true
	if !e.Forwarded { // upstream can't be reached
		m.Answered = ""
	}
	m.ledger.notify()
}

// Owner is the case that a miss counted for, 0 if it is nobody's; it is asked once,
// when the miss was answered.
func (l *Ledger) Owner(m *match.Miss) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer delete(l.owners, m)
	return l.owners[m]
}

func missOf(e replay.Event, owner int) report.Miss {
	m := report.Miss{
		Service: e.Service, Method: e.Method, URL: e.Miss.URL, Case: owner, Used: e.Miss.Used, More: e.Miss.More,
	}
	if e.Miss.Closest != nil {
		ref := report.RefOf(e.Miss.Closest)
		m.Closest = &ref
	}
	for _, d := range e.Miss.Differences {
		m.Differences = append(m.Differences, differenceOf(d))
	}
	return m
}

func differenceOf(d match.Difference) report.MissDifference {
	return report.MissDifference{Where: d.Where, Recorded: d.Recorded, Now: d.Now, Message: d.Message, Credential: d.Credential}
}

// notify wakes who waits. The caller holds mu.
func (l *Ledger) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Flushed implements replay.Watcher.
func (c *call) Flushed(at time.Time, bytes int64) {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	if bytes > 0 { // as in recorded timelines, heads are none of the chunks
		c.line.Add(max(0, at.Sub(c.began)), int(bytes))
	}
}

// Ended implements replay.Watcher.
func (c *call) Ended(e replay.Event) {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	c.ended = true
	c.line.Finish(time.Since(c.began), string(e.How))
	if c.x.Failed != "" && e.Status == 0 {
		c.line.How, c.line.Failed = "", c.x.Failed
	}
	c.ledger.notify()
}

// settle waits for calls that go on after the answer's end, about as long as
// they did when they were recorded.
func (l *Ledger) settle(ctx context.Context, c *report.CaseResult, speed float64) {
	begun := time.Now()
	recordedEnd := c.Answer.Recorded.End
	for {
		l.mu.Lock()
		wait := l.pending(c, recordedEnd, speed)
		changed := l.changed
		l.mu.Unlock()
		left := wait - time.Since(begun)
		if left <= 0 {
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// pending is how long after the answer's end something is still worth waiting
// for; 0 if nothing is. The caller holds mu.
func (l *Ledger) pending(c *report.CaseResult, recordedEnd time.Duration, speed float64) time.Duration {
	p := l.open[c.Number]
	if p == nil {
		return 0
	}
	var wait time.Duration
	for i := range c.Calls {
		r := &c.Calls[i]
		j := slices.IndexFunc(p.calls, func(made *call) bool { return made.x.Number == r.Number })
		switch {
		case j < 0 && l.made[r.Number]:
		case j < 0:
			wait = max(wait, lateCall)
		case p.calls[j].ended || r.Recorded == nil || r.Recorded.How == string(httpstream.Open):
		default:
			after := max(0, r.Recorded.End-recordedEnd)
			if speed > 0 {
				after = time.Duration(float64(after) / speed)
			}
			wait = max(wait, timeFactor*after+callPatience)
		}
	}
	if slices.ContainsFunc(p.misses, func(m *miss) bool { return !m.ended }) {
		wait = max(wait, callPatience)
	}
	return wait
}

// collect puts the calls that were made beside the recorded ones.
func (l *Ledger) collect(c *report.CaseResult, origin time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.open[c.Number]
	if p == nil {
		return
	}
	calls := slices.Clone(p.calls)
	slices.SortStableFunc(calls, func(a, b *call) int { return a.began.Compare(b.began) })
	for _, made := range calls {
		ref := report.RefOf(made.x)
		if made.x.Case != c.Number && l.ordered[made.x.Case] {
			c.Misses = append(c.Misses, l.strangers(c, made, origin))
		}
		c.CallMade(ref, made.since(origin))
	}
	for _, m := range p.misses {
		missed := m.Miss
		missed.At = max(0, m.at.Sub(origin))
		c.Misses = append(c.Misses, missed)
	}
	// A call that an earlier case made, such as one that fills a cache while two
	// cases overlapped, is not missing here.
	here := func(number int) bool {
		return slices.ContainsFunc(p.calls, func(m *call) bool { return m.x.Number == number })
	}
	c.Calls = slices.DeleteFunc(c.Calls, func(r report.Call) bool {
		return r.Now == nil && l.made[r.Number] && !here(r.Number)
	})
}

// strangers is a call that was recorded for another case of this run: for this
// one it is as good as not recorded.
func (l *Ledger) strangers(c *report.CaseResult, made *call, origin time.Time) report.Miss {
	ref := report.RefOf(made.x)
	return report.Miss{
		Service: made.x.Service, Method: made.x.Request.Method, URL: made.x.Request.URL, Case: c.Number,
		Closest: &ref, At: max(0, made.began.Sub(origin)),
		Differences: []report.MissDifference{{
			Where: "case", Recorded: fmt.Sprintf("made in case %d", made.x.Case), Now: fmt.Sprintf("made in case %d", c.Number),
		}},
	}
}

// since is the call's timeline on the case's clock.
func (c *call) since(origin time.Time) *report.Timeline {
	t := c.line
	shift := c.began.Sub(origin)
	t.Chunks = slices.Clone(t.Chunks)
	for i := range t.Chunks {
		t.Chunks[i].At += shift
	}
	if t.Count > 0 {
		t.Last += shift
		t.GapFrom += shift
		t.GapTo += shift
	}
	if !c.ended {
		t.End = time.Since(c.began)
		t.How = string(httpstream.Open)
	}
	t.Start += shift
	t.End += shift
	t.Failed = strings.TrimSpace(t.Failed)
	return &t
}
