package agent

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestNoSecretLeavesTheWorker(t *testing.T) {
	const (
		secret = "live-5ecret"
		url    = "https://user:" + secret + "@api.example.com/v1?api_key=" + secret + "&q=1"
		own    = "https://api.example.com/v1?session=" + secret // by a rule of the user's
		text   = `malformed: the target "/v1?api_key=` + secret + `" of ` + own
	)
	ref := event.Call{Number: 1, URL: url}
	miss := event.Miss{URL: url, OtherURLs: []string{own}, Closest: &event.Call{URL: own}, Differences: []event.Difference{
		{Where: event.At(event.Query, "api_key"), Recorded: "REDACTED", Now: secret},
		{Where: event.At(event.Header, "Cookie"), Recorded: "(none)", Now: "sid=" + secret},
		{Where: event.Place{Kind: event.Path}, Recorded: "/", Now: "/v1?api_key=" + secret},
	}}
	for name, m := range map[string]FromAgent{
		"a call":        {Event: &event.Event{Exchange: &event.Exchange{Kind: event.CallEnded, URL: url, Failed: text}}},
		"a notice":      {Event: &event.Event{Notice: &event.Notice{Kind: event.Failed, About: url, Detail: text, Next: text}}},
		"a miss":        {Event: &event.Event{Exchange: &event.Exchange{URL: own}, Miss: miss.Clone()}},
		"a log line":    {Log: &Log{Level: "debug", Message: text}},
		"a fatal error": {Fatal: &event.Problem{Err: errors.New(text), Next: text}},
		"a reply":       {Reply: &Reply{Error: text}},
		"a case": {Result: &report.CaseResult{
			URL: url, Error: text, Reason: text,
			Answer:    report.Sides{Recorded: &report.Timeline{Failed: text}, Now: &report.Timeline{Failed: text}},
			Calls:     []report.Call{{Call: ref, Sides: report.Sides{Now: &report.Timeline{Failed: text}}}},
			NotMade:   []event.Call{ref},
			NextSteps: []report.Step{{Do: text}},
			Misses:    []event.Miss{*miss.Clone()},
			Verdict: &compare.Verdict{Differences: []compare.Difference{
				{Kind: compare.Header, Where: "Set-Cookie", Recorded: "sid=REDACTED; Path=/", Now: "sid=" + secret, Message: "header Set-Cookie: recorded sid=REDACTED; Path=/, now sid=" + secret},
				{Kind: compare.Header, Where: "Location", Now: own, Message: "header Location: now " + own},
				{Kind: compare.Ended, Where: "end", Now: text, Message: text},
			}},
		}},
		"an answer's trailer": {Result: &report.CaseResult{
			Verdict: &compare.Verdict{Differences: []compare.Difference{
				{Kind: compare.Trailer, Where: "Set-Cookie", Now: "sid=" + secret, Title: "trailer Set-Cookie", Message: "trailer Set-Cookie: now sid=" + secret},
			}},
		}},
		"a header of an interim answer": {Result: &report.CaseResult{
			Verdict: &compare.Verdict{Differences: []compare.Difference{
				{Kind: compare.Interim, Where: "Set-Cookie", Now: "sid=" + secret, Title: "interim Set-Cookie", Message: "interim Set-Cookie: now sid=" + secret},
			}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w := &LineWriter{W: &b, Redact: tape.NewRedactor(tape.RedactRules{Params: []string{"session"}})}
			if err := w.Send(m); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), secret) {
				t.Errorf("it says %s", b.String())
			}
			if !strings.Contains(b.String(), tape.Redacted) {
				t.Errorf("nothing stands for the secret: %s", b.String())
			}
		})
	}
}

func TestWhatIsNotThereIsNotRedacted(t *testing.T) {
	for value, want := range map[string]string{"(none)": "(none)", "(empty)": "(empty)", "Bearer x": "Bearer REDACTED"} {
		if got := redactAt(nil, event.At(event.Header, "Authorization"), value); got != want {
			t.Errorf("%q is shown as %q", value, got)
		}
	}
	if got := redactAt(nil, event.At(event.Query, "api_key"), "(none)"); got != "(none)" {
		t.Errorf("no parameter is shown as %q", got)
	}
}
