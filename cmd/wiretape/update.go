package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// errTapeUnchanged is for a tape that was to get what was recorded.
var errTapeUnchanged = errors.New("the tape could not be changed, and is as it was")

// A rerecording keeps what --update and --on-miss record have recorded until the
// session is over, beside the tape's own folder tree so that a failed run changes nothing.
type rerecording struct {
	dir string
	w   *tape.Writer
	err error // the first
}

func newRerecording() (*rerecording, error) {
	tmp, err := os.MkdirTemp("", "wiretape-update-")
	if err != nil {
		return nil, err
	}
	w, err := tape.Create(filepath.Join(tmp, "tape"), tape.Manifest{By: version})
	if err != nil {
		os.RemoveAll(tmp)
		return nil, err
	}
	return &rerecording{dir: tmp, w: w}, nil
}

func (u *rerecording) apply(r tape.Record) {
	if u == nil {
		return
	}
	if err := u.w.Apply(r); err != nil && u.err == nil {
		u.err = err
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
	for _, c := range cases {
		old, again := numbered(t.Cases, c.Number), numbered(from.Cases, c.Number)
		if old == nil || again == nil {
			return fmt.Errorf("case %d was not recorded", c.Number)
		}
		remove, add = append(remove, old), append(add, again)
		for _, ref := range c.NotMade {
			if call := numbered(t.Calls, ref.Number); call != nil {
				remove = append(remove, call)
			}
		}
	}
	return tape.Patch(t.Dir, remove, from, append(add, following(t.Calls, from.Calls)...))
}

// following are calls that were recorded later, as they follow the calls of a
// tape: in number, and on its clock.
func following(calls, later []*tape.Exchange) []*tape.Exchange {
	last, began := 0, time.Duration(0)
	for _, x := range calls {
		last, began = max(last, x.Number), max(began, x.Started)
	}
	var list []*tape.Exchange
	for i, x := range later {
		next := *x
		next.Number, next.Started = last+1+i, began+x.Started
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
	var cases []*report.CaseResult
	for i := range t.run.Cases {
		if c := &t.run.Cases[i]; c.Rerecorded && c.Tape == relative(tp.Dir) {
			cases = append(cases, c)
		}
	}
	var err error
	if sent {
		err = again.finish(tp.Dir, cases)
	} else { // the session ended early: nothing is taken from it
		again.abandon()
	}
	if err == nil && sent {
		return
	}
	for _, c := range cases {
		c.Rerecorded, c.Status, c.NextSteps = false, "", nil
		c.Settle(&t.run)
	}
	if err != nil {
		t.run.Errors = append(t.run.Errors, report.Note{
			Message: errTapeUnchanged.Error() + ": " + err.Error(), Next: "check the space and the permissions there",
		})
	}
}
