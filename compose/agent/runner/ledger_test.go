package runner

import (
	"errors"
	"testing"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/replay"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestAMissThatWentOnIsAnsweredUnlessUpstreamWasDown(t *testing.T) {
	for _, tc := range []struct {
		name             string
		forwarded, ended bool // as it began, and as it ended
		want             event.Answered
	}{
		{"it went on", true, true, event.Recorded},
		{"upstream was down", true, false, event.Refused},
		{"it was not to go on", false, false, event.Refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := NewLedger()
			l.Answered = event.Recorded
			l.begin(1)
			e := replay.Event{Case: 1, Method: "GET", URL: "https://a.example/", Miss: &event.Miss{URL: "https://a.example/"}, Complete: time.Now(), Forwarded: tc.forwarded}
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

func TestWhatTheAppSaidOtherwiseInACallIsItsCases(t *testing.T) {
	call := &tape.Exchange{Kind: tape.Call, Number: 7, Case: 1, Request: tape.Request{Method: "GET", URL: "wss://a.example/"}}
	for _, tc := range []struct {
		name   string
		late   bool // the call ends when the case's result is made
		begun  int
		judged bool
	}{
		{"while its case runs", false, 1, true},
		{"behind its case", true, 1, false},
		{"of no case", false, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := NewLedger()
			l.begin(1)
			x := *call
			x.Case = tc.begun
			e := replay.Event{Case: tc.begun, Exchange: &x, Complete: time.Now()}
			w := l.Watch(e)
			c := &report.CaseResult{Number: 1}
			if tc.late {
				l.collect(c, time.Now())
			}
			e.Err = &event.Problem{Call: 7, Err: errors.New("the client's message 4 differs"), Next: "record it again"}
			w.Ended(e)
			if !tc.late {
				l.collect(c, time.Now())
			}
			if got := l.Judged(e.Err); got != tc.judged || (len(c.Unlike) == 1) != tc.judged {
				t.Errorf("judged %v, %+v", got, c.Unlike)
			}
			if tc.judged && (c.Unlike[0].Number != 7 || c.Unlike[0].Problem.Message() != "the client's message 4 differs" || c.Unlike[0].Problem.Next == "") {
				t.Errorf("%+v", c.Unlike[0])
			}
		})
	}
}
