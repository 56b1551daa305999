package agent

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestNoSecretLeavesTheWorker(t *testing.T) {
	const (
		secret = "live-5ecret"
		url    = "https://user:" + secret + "@api.example.com/v1?api_key=" + secret + "&q=1"
		own    = "https://api.example.com/v1?session=" + secret // by a rule of the user's
		text   = `malformed: the target "/v1?api_key=` + secret + `" of ` + own
	)
	miss := func() json.RawMessage {
		b, err := json.Marshal(map[string]any{
			"error": map[string]string{"message": "no recorded call answers GET " + url}, "url": own, "used": 2,
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ref := report.CallRef{Number: 1, URL: url}
	for name, m := range map[string]FromAgent{
		"a call":        {Event: &Event{Type: "call", URL: url, Detail: text, Hint: text}},
		"a miss":        {Event: &Event{Type: "miss", URL: own, Miss: miss()}},
		"a log line":    {Log: &Log{Level: "debug", Message: text}},
		"a fatal error": {Fatal: &Fatal{Error: text, Hint: text}},
		"a reply":       {Reply: &Reply{Error: text}},
		"a case": {Result: &report.CaseResult{
			URL: url, Error: text, Reason: text,
			Answer:    report.Sides{Recorded: &report.Timeline{Failed: text}, Now: &report.Timeline{Failed: text}},
			Calls:     []report.Call{{CallRef: ref, Sides: report.Sides{Now: &report.Timeline{Failed: text}}}},
			NotMade:   []report.CallRef{ref},
			NextSteps: []report.Step{{Do: text}},
			Misses: []report.Miss{{URL: url, Closest: &report.CallRef{URL: own}, Differences: []report.MissDifference{
				{Where: "query api_key", Recorded: "REDACTED", Now: secret},
				{Where: "header Cookie", Recorded: "(none)", Now: "sid=" + secret},
				{Where: "path", Recorded: "/", Now: "/v1?api_key=" + secret},
			}}},
			Verdict: &compare.Verdict{Differences: []compare.Difference{
				{Kind: compare.Header, Where: "Set-Cookie", Recorded: "sid=REDACTED; Path=/", Now: "sid=" + secret, Message: "header Set-Cookie: recorded sid=REDACTED; Path=/, now sid=" + secret},
				{Kind: compare.Header, Where: "Location", Now: own, Message: "header Location: now " + own},
				{Kind: compare.Ended, Where: "end", Now: text, Message: text},
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
		if got := redactAt(nil, "header Authorization", value); got != want {
			t.Errorf("%q is shown as %q", value, got)
		}
	}
	if got := redactAt(nil, "query api_key", "(none)"); got != "(none)" {
		t.Errorf("no parameter is shown as %q", got)
	}
}

func TestAMissWithoutSecretsStaysAsItIs(t *testing.T) {
	raw := json.RawMessage("{\n  \"used\": 12345678901234567890, \"url\": \"http://x/?a=1\"\n}\n")
	if got := redactJSON(nil, raw); string(got) != string(raw) {
		t.Errorf("%s", got)
	}
}
