package report

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// FromTape begins the result of a case: what it is, and its recorded side with
// that of its calls. The error joins one for each stream that can't be read;
// the result is of use all the same.
func FromTape(t *tape.Tape, x *tape.Exchange) (CaseResult, error) {
	c := CaseResult{
		Tape: t.Dir, File: x.File, Number: x.Number, Service: x.Service,
		Name:   strings.TrimSuffix(filepath.Base(x.File), filepath.Ext(x.File)),
		Method: x.Request.Method, URL: x.Request.URL,
	}
	if x.Stream != "" {
		c.Stream = filepath.Join(t.Dir, filepath.FromSlash(x.Stream))
	}
	var errs []error
	var err error
	if c.Answer.Recorded, err = recordedTimeline(t, x, 0); err != nil {
		errs = append(errs, err)
	}
	for _, call := range t.Calls {
		if !call.MayBelongTo(x.Number) {
			continue
		}
		line, err := recordedTimeline(t, call, origin(call)-origin(x))
		if err != nil {
			errs = append(errs, err)
		}
		c.Calls = append(c.Calls, Call{RefOf(call), Sides{Recorded: line}})
	}
	return c, errors.Join(errs...)
}

// RefOf names a recorded call.
func RefOf(x *tape.Exchange) event.Call {
	return event.Call{Number: x.Number, File: x.File, Service: x.Service, Method: x.Request.Method, URL: x.Request.URL}
}

// CallMade notes that the app made a call now. One whose number is that of a
// recorded call of this case is put beside it.
func (c *CaseResult) CallMade(ref event.Call, now *Timeline) {
	if ref.Number != 0 {
		for i := range c.Calls {
			if c.Calls[i].Number == ref.Number && c.Calls[i].Now == nil {
				c.Calls[i].Now = now
				return
			}
		}
	}
	c.Calls = append(c.Calls, Call{ref, Sides{Now: now}})
}

// Conclude fills in what follows from the rest, for every case: see CaseResult.Conclude.
func (r *Run) Conclude() {
	for i := range r.Cases {
		r.Cases[i].Conclude(r)
	}
}

// Conclude fills in what follows from the rest and is empty: NotMade and
// OrderChanged from Calls, where the case was compared; Status; and NextSteps
// for whatever is not as it should be. Without a Status of its own, a case fails
// if its verdict does, a call was not made, or one was missed; a case that was
// re-recorded passes.
func (c *CaseResult) Conclude(r *Run) {
	compared := c.Error == "" && c.Reason == "" && c.Status != Error && c.Status != Skipped
	if compared {
		c.concludeCalls()
	}
	if c.Status == "" {
		if compared && c.Verdict == nil && !c.Rerecorded {
			c.Error = "the answer was not compared"
		}
		c.Status = c.outcome()
	}
	if len(c.NextSteps) == 0 && (c.bad() || c.Rerecorded) {
		c.NextSteps = nextSteps(r, c)
	}
}

func (c *CaseResult) outcome() Status {
	switch {
	case c.Error != "":
		return Error
	case c.Reason != "":
		return Skipped
	case c.Rerecorded, c.Verdict == nil:
		return Pass
	case !c.Verdict.Pass, len(c.NotMade) > 0, failing(c.Misses) > 0, len(c.Unlike) > 0, len(c.Left) > 0:
		return Fail
	}
	return Pass
}

// notMade are the calls that were not made, less those that the app asked for in
// another way: these are the closest ones of its misses, and counted in asked.
func (c *CaseResult) notMade() (list []event.Call, asked int) {
	for _, ref := range c.NotMade {
		if slices.ContainsFunc(c.Misses, func(m event.Miss) bool {
			return m.Answered == event.Refused && m.Closest != nil && m.Closest.Number == ref.Number && ref.Number != 0
		}) {
			asked++
			continue
		}
		list = append(list, ref)
	}
	return list, asked
}

// OnlyTiming tells whether a case fails, and only for when its answer came, or
// when a call was left: a busy machine can be the cause, so a second try should
// confirm it.
func (c *CaseResult) OnlyTiming() bool {
	if c.Error != "" || c.Reason != "" || c.Verdict == nil || failing(c.Misses) > 0 || len(c.NotMade) > 0 || len(c.Unlike) > 0 {
		return false
	}
	for i := range c.Calls {
		if c.Calls[i].Recorded != nil && c.Calls[i].Now == nil {
			return false
		}
	}
	return c.Verdict.OnlyTiming() || c.Verdict.Pass && len(c.Left) > 0
}

func (c *CaseResult) concludeCalls() {
	var both []*Call
	made := false
	for i := range c.Calls {
		call := &c.Calls[i]
		made = made || call.Now != nil
		if call.Recorded != nil && call.Now != nil {
			both = append(both, call)
		}
	}
	if c.NotMade == nil {
		for i := range c.Calls {
			if call := &c.Calls[i]; call.Recorded != nil && call.Now == nil {
				c.NotMade = append(c.NotMade, call.Call)
			}
		}
	}
	if c.OrderChanged != nil || !made {
		return
	}
	rec := numbers(both, func(s *Call) *Timeline { return s.Recorded })
	now := numbers(both, func(s *Call) *Timeline { return s.Now })
	if !slices.Equal(rec, now) {
		c.OrderChanged = &Order{rec, now}
	}
}

// numbers are those of the calls in the order in which one side made them.
func numbers(calls []*Call, side func(*Call) *Timeline) []int {
	sorted := slices.Clone(calls)
	slices.SortStableFunc(sorted, func(a, b *Call) int { return cmp.Compare(side(a).Start, side(b).Start) })
	list := make([]int, len(sorted))
	for i, c := range sorted {
		list[i] = c.Number
	}
	return list
}
