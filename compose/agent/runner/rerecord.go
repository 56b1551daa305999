package runner

import (
	"slices"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
)

// A Retake records a case anew while it is compared.
type Retake struct {
	Sink httpstream.Sink
	// Close returns when all is written.
	Close func() error
}

// rerecord decides whether the new answer is to take the place of the recorded
// one: where there is a whole answer, it or the calls differ, and the tape will
// have all the calls that the app made for it, since what it makes of a 502, or
// of an answer that is not kept, is not worth keeping.
func (e *exchange) rerecord() {
	if e.retake == nil {
		return
	}
	if err := e.retake.Close(); err != nil {
		e.c.Error = "the new answer could not be recorded: " + err.Error()
		return
	}
	notMade := slices.ContainsFunc(e.c.Calls, func(c report.Call) bool { return c.Now == nil })
	kept := !slices.ContainsFunc(e.c.Misses, func(m event.Miss) bool { return m.Answered != event.Recorded })
	e.c.Rerecorded = e.answered && e.cut == "" && kept && (!e.c.Verdict.Pass || notMade || len(e.c.Misses) > 0)
}

// recorded is what the recording hears of the exchange; without one nobody does.
func (e *exchange) recorded() httpstream.Exchange {
	if e.again == nil {
		return httpstream.Discard{}
	}
	return e.again
}
