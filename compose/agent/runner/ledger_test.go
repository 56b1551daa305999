package runner

import (
	"testing"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/replay"
)

func TestAMissThatWentOnIsAnsweredUnlessUpstreamWasDown(t *testing.T) {
	for _, tc := range []struct {
		name             string
		forwarded, ended bool // as it began, and as it ended
		want             string
	}{
		{"it went on", true, true, "record"},
		{"upstream was down", true, false, ""},
		{"it was not to go on", false, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := NewLedger()
			l.Answered = "record"
			l.begin(1)
			e := replay.Event{Case: 1, Method: "GET", URL: "https://a.example/", Miss: &match.Miss{URL: "https://a.example/"}, Complete: time.Now(), Forwarded: tc.forwarded}
			w := l.Watch(e)
			c := &report.CaseResult{Number: 1}
			c.Answer.Recorded = &report.Timeline{}
			if l.pending(c, 0, 1) == 0 {
				t.Error("a miss that goes on is not waited for")
			}
			e.Forwarded = tc.ended
			w.Ended(e)
			if l.pending(c, 0, 1) != 0 {
				t.Error("a miss that is over is waited for")
			}
			l.collect(c, time.Now())
			if len(c.Misses) != 1 || c.Misses[0].Answered != tc.want || l.Owner(e.Miss) != 1 {
				t.Errorf("misses %+v", c.Misses)
			}
		})
	}
}
