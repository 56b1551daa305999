package report

import (
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream/event"
)

func TestNoRuleIsAdvisedForMissingCredentials(t *testing.T) {
	m := event.Miss{Method: "GET", URL: "https://h/", Closest: &event.Call{Number: 1}, Differences: []event.Difference{
		{Where: event.At(event.Header, "Range"), Recorded: "bytes=0-9", Now: "bytes=1-9"},
	}}
	advised := func() bool {
		for _, s := range missSteps(&m, "again") {
			if strings.Contains(s.Code, "request.header") {
				return true
			}
		}
		return false
	}
	if !advised() {
		t.Error("no rule for a range")
	}
	m.Differences = append(m.Differences, event.Difference{
		Where: event.At(event.Header, "Authorization"), Recorded: "bearer REDACTED", Now: "(none)",
		Message: "the request has no credentials in header Authorization now", Credential: true,
	})
	if advised() {
		t.Error("a rule that hides missing credentials")
	}
}

func TestADateInAPromptIsAdvisedOnce(t *testing.T) {
	m := event.Miss{Method: "POST", URL: "https://h/", Differences: []event.Difference{
		{Where: event.At(event.Body, "$.messages[0].content"), Recorded: `"Today is 2026-11-24."`, Now: `"Today is 2026-11-25."`},
		{Where: event.At(event.Body, "$.messages[2].content"), Recorded: `"since 2026-11-24"`, Now: `"since 2026-11-25"`},
	}}
	for _, s := range missSteps(&m, "again") {
		if strings.Count(s.Code, "request.text") == 1 && !strings.Contains(s.Code, "request.body") {
			return
		}
	}
	t.Errorf("advised %+v", missSteps(&m, "again"))
}

func TestMissingCredentialsAreNamedInTheHeadline(t *testing.T) {
	c := &CaseResult{Status: Fail, Misses: []event.Miss{{
		Method: "GET", URL: "https://h/",
		Differences: []event.Difference{{Where: event.At(event.Header, "X-Api-Key"), Recorded: "REDACTED", Now: "(none)", Message: "the request has no credentials in header X-Api-Key now"}},
	}}}
	if got := headline(c); !strings.HasSuffix(got, "GET https://h/: the request has no credentials in header X-Api-Key now") {
		t.Error(got)
	}
}
