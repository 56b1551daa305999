package runner

import (
	"context"
	"fmt"
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

const (
	// mostTries is how often a case is sent whose timing alone is wrong, on a machine
	// that is too busy to tell whether that is the app's doing.
	mostTries = 5
	// betweenTries lets what keeps the machine busy pass.
	betweenTries = 200 * time.Millisecond
)

// again sends a case a second time, with its calls free again, and returns what
// counts. A late second try confirms nothing where the machine kept everybody
// waiting meanwhile: the case is then sent again.
func (r *run) again(ctx context.Context, x *tape.Exchange, first *report.CaseResult) report.CaseResult {
	for try := 2; ; try++ {
		r.opt.begin(x.Number, Alone)
		var c report.CaseResult
		busy := underPressure(func() { c = r.play(ctx, x) })
		c.Began, c.Took = first.Began, time.Since(first.Began)
		counts, certain := confirm(first, c, try)
		if certain || !busy || try == mostTries || ctx.Err() != nil {
			return counts
		}
		select {
		case <-ctx.Done():
		case <-time.After(betweenTries):
		}
	}
}

// confirm returns what a further try of a case amounts to, where all that was wrong
// with those before was their timing, and whether that is certain on a busy machine,
// too. The further try counts, unless it is in time and differs in something else:
// that has not to do with time, and is what an app does that keeps state, since the
// first answer was the recorded one.
func confirm(first *report.CaseResult, c report.CaseResult, try int) (counts report.CaseResult, certain bool) {
	why := "a call was broken off"
	if d := first.Verdict.Differences; len(d) > 0 {
		why = d[0].Message
	}
	said, nth := "sent twice: the first time, "+why+"; ", "second"
	if try > 2 {
		said = fmt.Sprintf("sent %d times, since the machine was busy: the first time, %s; ", try, why)
		nth = "last"
	}
	switch {
	case c.Error != "" || c.Verdict == nil:
		c.SecondTry = said + "the " + nth + " try came to nothing"
	case late(&c):
		c.SecondTry = said + "the " + nth + " try confirms that it is not as recorded in time"
		return c, false
	case asRecorded(&c):
		c.SecondTry = said + "the " + nth + " try was as recorded"
	default:
		kept := *first
		v := *first.Verdict
		v.Pass, v.Differences = true, nil
		kept.Verdict, kept.Left, kept.Took = &v, nil, c.Took
		kept.SecondTry = said + "the " + nth + " try was in time, with another answer, as of an app that keeps state"
		return kept, true
	}
	return c, true
}

func asRecorded(c *report.CaseResult) bool {
	return c.Verdict.Pass && !slices.ContainsFunc(c.Misses, func(m event.Miss) bool { return m.Answered == event.Refused }) &&
		!slices.ContainsFunc(c.Calls, func(call report.Call) bool { return call.Recorded != nil && call.Now == nil })
}

// late tells whether there is something wrong with a case's timing.
func late(c *report.CaseResult) bool {
	return len(c.Left) > 0 || slices.ContainsFunc(c.Verdict.Differences, func(d compare.Difference) bool { return d.Kind.Timing() })
}
