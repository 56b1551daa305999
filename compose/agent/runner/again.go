package runner

import (
	"context"
	"slices"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// doubtful tells whether a case is to be sent a second time: a single slow moment
// of the machine fails nothing.
func (r *run) doubtful(ctx context.Context, c *report.CaseResult) bool {
	return ctx.Err() == nil && r.opt.Record == nil && c.OnlyTiming()
}

// again sends a case a second time, with its calls free again, and returns what
// counts.
func (r *run) again(ctx context.Context, x *tape.Exchange, first *report.CaseResult) report.CaseResult {
	r.opt.begin(x.Number, true)
	second := r.play(ctx, x)
	second.Began, second.Took = first.Began, time.Since(first.Began)
	return confirm(first, second)
}

// confirm returns what two tries of a case amount to, where all that was wrong with
// the first was its timing. The second counts, unless it is in time and differs in
// something else: that has not to do with time, and is what an app does that keeps
// state, since the first answer was the recorded one.
func confirm(first *report.CaseResult, second report.CaseResult) report.CaseResult {
	why := "a call was broken off"
	if d := first.Verdict.Differences; len(d) > 0 {
		why = d[0].Message
	}
	said := "sent twice: the first time, " + why + "; "
	switch {
	case second.Error != "" || second.Verdict == nil:
		second.SecondTry = said + "the second try came to nothing"
	case late(&second):
		second.SecondTry = said + "the second try confirms that it is not as recorded in time"
	case asRecorded(&second):
		second.SecondTry = said + "the second try was as recorded"
	default:
		c := *first
		v := *first.Verdict
		v.Pass, v.Differences = true, nil
		c.Verdict, c.Left, c.Took = &v, nil, second.Took
		c.SecondTry = said + "the second try was in time, with another answer, as of an app that keeps state"
		return c
	}
	return second
}

func asRecorded(c *report.CaseResult) bool {
	return c.Verdict.Pass && !slices.ContainsFunc(c.Misses, func(m event.Miss) bool { return m.Answered == event.Refused }) &&
		!slices.ContainsFunc(c.Calls, func(call report.Call) bool { return call.Recorded != nil && call.Now == nil })
}

// late tells whether there is something wrong with a case's timing.
func late(c *report.CaseResult) bool {
	return len(c.Left) > 0 || slices.ContainsFunc(c.Verdict.Differences, func(d compare.Difference) bool { return d.Kind.Timing() })
}
