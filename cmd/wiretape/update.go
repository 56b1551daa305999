package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// errTapeUnchanged is for a tape that was to get what was recorded.
var errTapeUnchanged = errors.New("the tape could not be changed, and is as it was")

// A rerecording keeps what --update and --on-miss record have recorded until the
// session is over, beside the tape's own folder tree so that a failed run changes nothing.
type rerecording struct {
	dir  string
	w    *tape.Writer
	err  error // the first
	kind rerecorded

	tries map[int64]int         // the number in w of each time that a case was sent, by the updates' ID
	last  map[int]int           // that of the last time, by case
	sent  map[int]time.Duration // when each case was sent last, on the clock of the updates
}

// rerecorded is what a rerecording takes.
type rerecorded int

const (
	newCalls  rerecorded = iota // calls that the tape did not answer
	casesAnew                   // cases as well: then calls are kept of those only, and of none
)

func newRerecording(kind rerecorded) (*rerecording, error) {
	tmp, err := os.MkdirTemp("", "wiretape-update-")
	if err != nil {
		return nil, err
	}
	w, err := tape.Create(filepath.Join(tmp, "tape"), tape.Manifest{By: version})
	if err != nil {
		os.RemoveAll(tmp)
		return nil, err
	}
	return &rerecording{
		dir: tmp, w: w, kind: kind,
		tries: make(map[int64]int), last: make(map[int]int), sent: make(map[int]time.Duration),
	}, nil
}

func (u *rerecording) apply(r tape.Record) {
	if u == nil {
		return
	}
	if err := u.number(&r); err != nil && u.err == nil {
		u.err = err
	}
	if err := u.w.Apply(r); err != nil && u.err == nil {
		u.err = err
	}
}

// number gives each time that a case was sent a number of its own.
func (u *rerecording) number(r *tape.Record) error {
	if r.Kind != tape.FileRecord && r.Kind != tape.StreamRecord {
		return nil
	}
	x, err := r.Exchange()
	if err != nil || x.Kind != tape.Case {
		return err
	}
	if u.tries[r.ID] == 0 {
		u.tries[r.ID] = len(u.tries) + 1
		u.last[x.Number] = u.tries[r.ID]
	}
	*r, err = r.Renumbered(u.tries[r.ID])
	return err
}

// caseSent notes when a case was sent that has a result now.
func (u *rerecording) caseSent(number int, at time.Duration) {
	if u != nil {
		u.sent[number] = at
	}
}

// finish puts the new cases and the calls of misses on the tape at dir, and takes
// the calls off it that the app does not make for the cases any more. Then the
// folder is gone.
func (u *rerecording) finish(dir string, cases []*report.CaseResult) error {
	defer os.RemoveAll(u.dir)
	if err := u.w.Close(nil); err != nil || u.err != nil {
		if u.err == nil {
			u.err = err
		}
		return u.err
	}
	from, err := tape.Open(filepath.Join(u.dir, "tape"))
	if err != nil || len(cases)+len(from.Calls) == 0 {
		return err
	}
	t, err := tape.Open(dir)
	if err != nil {
		return err
	}
	var remove, add []*tape.Exchange
	anew := make(map[int]bool)
	for _, c := range cases {
		old, again := numbered(t.Cases, c.Number), numbered(from.Cases, u.last[c.Number])
		if old == nil || again == nil {
			return fmt.Errorf("case %d was not recorded", c.Number)
		}
		anew[c.Number] = true
		next := *again
		next.Number, next.Started = old.Number, old.Started
		remove, add = append(remove, old), append(add, &next)
		for _, ref := range c.NotMade {
			if call := numbered(t.Calls, ref.Number); call != nil {
				remove = append(remove, call)
			}
		}
	}
	add = append(add, u.following(t, from.Calls, anew)...)
	if len(add) == 0 {
		return nil
	}
	return tape.Patch(t.Dir, remove, from, add)
}

// following are calls that were recorded later, as they follow those of the tape:
// in number, and on its clock, where each is as far from its case as it was now.
// A call before that belongs to a time that the case was sent which does not count.
func (u *rerecording) following(t *tape.Tape, later []*tape.Exchange, anew map[int]bool) []*tape.Exchange {
	last, end := 0, time.Duration(0)
	for _, x := range t.Calls {
		last, end = max(last, x.Number), max(end, x.Started)
	}
	var list []*tape.Exchange
	for _, x := range later {
		next := *x
		next.Number = last + 1 + len(list)
		own := numbered(t.Cases, x.Case)
		sent, known := u.sent[x.Case]
		switch {
		case x.Case != 0 && u.kind == casesAnew && !anew[x.Case]:
			continue
		case own == nil || !known:
			next.Started = end + x.Started
		case x.Started < sent:
			continue
		default:
			next.Started = own.Started + x.Started - sent
		}
		list = append(list, &next)
	}
	return list
}

// abandon drops what was recorded.
func (u *rerecording) abandon() {
	u.w.Close(nil)
	os.RemoveAll(u.dir)
}

func numbered(list []*tape.Exchange, n int) *tape.Exchange {
	for _, x := range list {
		if x.Number == n {
			return x
		}
	}
	return nil
}

// update ends a session that recorded something.
func (t *testRun) update(tp testTape, sent bool) {
	if t.again == nil {
		return
	}
	again := t.again
	t.mu.Lock()
	defer t.mu.Unlock()
	t.again = nil
	var cases, rest []*report.CaseResult
	for i := range t.run.Cases {
		switch c := &t.run.Cases[i]; {
		case c.Tape != tp.name():
		case c.Rerecorded:
			cases = append(cases, c)
		default:
			rest = append(rest, c)
		}
	}
	var err error
	if sent {
		err = again.finish(tp.Dir, cases)
	} else { // the session ended early: nothing is taken from it
		again.abandon()
	}
	changed := sent && err == nil
	if !changed {
		for _, c := range cases {
			c.Rerecorded, c.Status, c.NextSteps = false, "", nil
		}
		notKept(t.run.Outside)
	}
	if err != nil {
		t.run.Errors = append(t.run.Errors, event.Problem{
			Err: fmt.Errorf("%w: %w", errTapeUnchanged, err), Next: "check the space and the permissions there",
		})
	}
	if !changed {
		rest = append(rest, cases...)
	}
	for _, c := range rest {
		if !changed || again.kind == casesAnew {
			notKept(c.Misses)
		}
		c.Conclude(&t.run)
	}
}

// notKept says of calls that went on to the outside that they are not on the tape.
func notKept(misses []event.Miss) {
	for i := range misses {
		if misses[i].Answered == event.Recorded {
			misses[i].Answered = event.Passed
		}
	}
}
