package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/replay"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	// lateCall is how long after an answer's end a call that was recorded before
	// it may still begin; one that was recorded after it has as much more.
	lateCall = time.Second
	// callPatience is how long beyond three times their recorded end calls may go
	// on after the answer.
	callPatience = 2 * time.Second
)

// A Ledger knows which calls the app makes, for which case, and when. Its
// method Watch is for the replay of the calls.
type Ledger struct {
	mu       sync.Mutex
	open     map[int]*page
	made     map[int]bool  // recorded calls that were made, in any case or none
	ordered  map[int]bool  // cases that are part of this run
	ended    map[int]bool  // of these, those that have ended
	shared   map[int][]int // the cases that a recorded call may belong to, if there are several
	between  map[int]bool  // calls that were recorded while no case ran, or behind their case's answer
	owners   map[*event.Miss]int
	judged   map[*event.Problem]bool // those that a case's result has
	lastCall time.Time               // when the app called last, or a case ended
	changed  chan struct{}
	// Answered is what becomes of a miss that goes on to the outside. It must not change
	// while the Ledger is in use.
	Answered event.Answered
}

// A page has the calls of one case.
type page struct {
	calls     []*call
	misses    []*miss
	collected bool // the case's result is made
}

// A call is one that the app makes now.
type call struct {
	ledger *Ledger
	x      *tape.Exchange
	began  time.Time // the request was complete
	// line counts from began.
	line  report.Timeline
	ended bool
	left  bool // by the app, though it was recorded to its end
	// unlike is what the app said otherwise; nil where page can't take it any more.
	unlike *event.Problem
	page   *page // nil for nobody's
}

type miss struct {
	ledger *Ledger
	at     time.Time
	ended  bool
	event.Miss
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{open: make(map[int]*page), made: make(map[int]bool), ordered: make(map[int]bool), ended: make(map[int]bool), owners: make(map[*event.Miss]int), judged: make(map[*event.Problem]bool), changed: make(chan struct{})}
}

// expect begins a run of these cases of a tape.
func (l *Ledger) expect(t *tape.Tape, cases []*tape.Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.between, l.shared = make(map[int]bool), make(map[int][]int)
	ends := make(map[int]time.Duration)
	for _, x := range cases {
		ends[x.Number] = endOf(t, x)
	}
	for _, x := range t.Calls {
		switch {
		case len(x.Cases) > 0:
			l.shared[x.Number] = x.Cases
		case x.Case == 0:
			l.between[x.Number] = len(t.Cases) > 0 && x.Started >= t.Cases[0].Started
		default:
			end, ran := ends[x.Case]
			l.between[x.Number] = ran && x.Started > end
		}
	}
	clear(l.made)
	clear(l.ordered)
	clear(l.ended)
	for _, x := range cases {
		l.ordered[x.Number] = true
	}
}

// begin opens the page of a case. What an earlier try of it made counts no more.
func (l *Ledger) begin(number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if again := l.open[number]; again != nil {
		for _, c := range again.calls {
			delete(l.made, c.x.Number)
		}
	}
	l.open[number] = &page{}
}

func (l *Ledger) end(number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, number)
	l.ended[number] = true
	l.lastCall = time.Now()
}

// Watch is for replay.Handler. The event's case is the one that the call is made in.
func (l *Ledger) Watch(e replay.Event) replay.Watcher {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastCall = time.Now()
	if e.Miss != nil {
		return l.missed(e)
	}
	c := &call{ledger: l, x: e.Exchange, began: e.Complete}
	l.made[e.Exchange.Number] = true
	if p := l.open[l.owner(e.Exchange, e.Case)]; p != nil {
		p.calls = append(p.calls, c)
		c.page = p
	}
	l.notify()
	return c
}

// owner is the case that a call of now counts for, which a recorded one answers
// and which was made in a case; 0 if it is nobody's. The caller holds mu.
func (l *Ledger) owner(x *tape.Exchange, in int) int {
	switch {
	case x.Case == 0 && len(x.Cases) == 0:
		return 0 // what belonged to no case belongs to none now
	case in == 0 && x.Case != 0:
		return x.Case
	case in == 0:
		for _, n := range x.Cases {
			if l.open[n] != nil {
				return n
			}
		}
		return 0
	case l.ended[x.Case] && l.open[x.Case] == nil:
		return x.Case // it comes late, and is nothing to the case of now
	}
	return in
}

// missed notes a call that no recorded one answers. The caller holds mu.
func (l *Ledger) missed(e replay.Event) replay.Watcher {
	owner := e.Case
	if closest := e.Miss.Closest; closest != nil {
		switch {
		case owner == 0:
			owner = closest.Case
		case closest.Case != owner && l.between[closest.Number] && samePlace(e, closest):
			// What the app did behind an answer or by itself when it was recorded is not
			// the doing of the case that happens to run now.
			owner = 0
		}
	}
	if p := l.open[owner]; p != nil {
		m := &miss{ledger: l, at: e.Complete, Miss: *e.Miss.Clone()}
		m.Case = owner
		if e.Forwarded {
			m.Answered = l.Answered
		}
		p.misses = append(p.misses, m)
		l.owners[e.Miss] = owner
		return m
	}
	return nil
}

// samePlace tells whether a miss asks what a recorded call asked, whatever the query.
func samePlace(e replay.Event, x *event.Call) bool {
	now, _, _ := strings.Cut(e.Miss.URL, "?")
	recorded, _, _ := strings.Cut(x.URL, "?")
	return e.Method == x.Method && now == recorded
}

// Flushed implements replay.Watcher.
func (m *miss) Flushed(time.Time, int64) {}

// Ended implements replay.Watcher.
func (m *miss) Ended(e replay.Event) {
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	m.ended = true
	if !e.Forwarded { // upstream can't be reached
		m.Answered = event.Refused
	}
	m.ledger.notify()
}

// Owner is the case that a miss counted for, 0 if it is nobody's; it is asked once,
// when the miss was answered.
func (l *Ledger) Owner(m *event.Miss) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer delete(l.owners, m)
	return l.owners[m]
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
	c.ended, c.left = true, e.Left
	if unlike := (*event.Problem)(nil); errors.As(e.Err, &unlike) && c.page != nil && !c.page.collected {
		c.unlike = unlike
		c.ledger.judged[unlike] = true
	}
	c.line.Finish(time.Since(c.began), string(e.How))
	if c.x.Failed != "" && e.Status == 0 {
		c.line.How, c.line.Failed = "", c.x.Failed
	}
	c.ledger.notify()
}

// Judged reports whether what went wrong with a call is in the result of its case; it
// is asked once, when the call has ended.
func (l *Ledger) Judged(err error) bool {
	unlike := (*event.Problem)(nil)
	if !errors.As(err, &unlike) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer delete(l.judged, unlike)
	return l.judged[unlike]
}

// awaitCalls waits for calls that go on after the answer's end, about as long as
// they did when they were recorded.
func (l *Ledger) awaitCalls(ctx context.Context, c *report.CaseResult, speed float64) {
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
		case j < 0 && (l.made[r.Number] || !l.due(r.Number, c.Number)):
		case j < 0:
			wait = max(wait, timeFactor*l.after(r.Recorded.Start, recordedEnd, speed)+lateCall)
		case p.calls[j].ended || r.Recorded == nil || r.Recorded.How == string(httpstream.Open):
		default:
			wait = max(wait, timeFactor*l.after(r.Recorded.End, recordedEnd, speed)+callPatience)
		}
	}
	if slices.ContainsFunc(p.misses, func(m *miss) bool { return !m.ended }) {
		wait = max(wait, callPatience)
	}
	return wait
}

// after is how long after the answer's end something is to be expected.
func (l *Ledger) after(recorded, recordedEnd time.Duration, speed float64) time.Duration {
	after := max(0, recorded-recordedEnd)
	if speed > 0 {
		after = time.Duration(float64(after) / speed)
	}
	return after
}

// due tells whether a recorded call is missing if this case does not make it: not
// where another may still, or might have if it were part of the run. The caller
// holds mu.
func (l *Ledger) due(number, in int) bool {
	for _, n := range l.shared[number] {
		if n != in && !l.ended[n] {
			return false
		}
	}
	return true
}

// linger waits behind the last case until the app was quiet for a while.
func (l *Ledger) linger(ctx context.Context, quiet time.Duration) {
	begun := time.Now()
	for {
		l.mu.Lock()
		left := quiet - time.Since(l.lastCall)
		l.mu.Unlock()
		if left = min(left, longestLinger-time.Since(begun)); left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(left):
		}
	}
}

// collect puts the calls that were made beside the recorded ones.
func (l *Ledger) collect(c *report.CaseResult, origin time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.open[c.Number]
	if p == nil {
		return
	}
	p.collected = true
	calls := slices.Clone(p.calls)
	slices.SortStableFunc(calls, func(a, b *call) int { return a.began.Compare(b.began) })
	for _, made := range calls {
		ref := report.RefOf(made.x)
		if made.x.Case != 0 && made.x.Case != c.Number && l.ordered[made.x.Case] {
			c.Misses = append(c.Misses, l.elsewhere(c, made, origin))
		}
		c.CallMade(ref, made.since(origin))
		if u := made.unlike; u != nil {
			c.Unlike = append(c.Unlike, report.CallDifference{Call: ref, Problem: *u})
		}
		if made.left {
			c.Left = append(c.Left, ref)
		}
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
		return r.Now == nil && (l.made[r.Number] && !here(r.Number) || !l.due(r.Number, c.Number))
	})
}

// elsewhere is a call that was recorded for another case of this run: for this
// one it is as good as not recorded.
func (l *Ledger) elsewhere(c *report.CaseResult, made *call, origin time.Time) event.Miss {
	ref := report.RefOf(made.x)
	return event.Miss{
		Service: made.x.Service, Method: made.x.Request.Method, URL: made.x.Request.URL, Case: c.Number,
		Closest: &ref, At: max(0, made.began.Sub(origin)),
		Differences: []event.Difference{{
			Where: event.Place{Kind: event.InCase}, Recorded: fmt.Sprintf("made in case %d", made.x.Case), Now: fmt.Sprintf("made in case %d", c.Number),
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
