package report

import (
	"strings"
	"testing"
)

func TestNoRuleIsAdvisedForMissingCredentials(t *testing.T) {
	m := Miss{Method: "GET", URL: "https://h/", Closest: &CallRef{Number: 1}, Differences: []MissDifference{
		{Where: "header Range", Recorded: "bytes=0-9", Now: "bytes=1-9"},
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
	m.Differences = append(m.Differences, MissDifference{
		Where: "header Authorization", Recorded: "bearer REDACTED", Now: "(none)",
		Message: "the request has no credentials in header Authorization now", Credential: true,
	})
	if advised() {
		t.Error("a rule that hides missing credentials")
	}
}

func TestADateInAPromptIsAdvisedOnce(t *testing.T) {
	m := Miss{Method: "POST", URL: "https://h/", Differences: []MissDifference{
		{Where: "body $.messages[0].content", Recorded: `"Today is 2026-11-24."`, Now: `"Today is 2026-11-25."`},
		{Where: "body $.messages[2].content", Recorded: `"since 2026-11-24"`, Now: `"since 2026-11-25"`},
	}}
	for _, s := range missSteps(&m, "again") {
		if strings.Count(s.Code, "request.text") == 1 && !strings.Contains(s.Code, "request.body") {
			return
		}
	}
	t.Errorf("advised %+v", missSteps(&m, "again"))
}

func TestMissingCredentialsAreNamedInTheHeadline(t *testing.T) {
	c := &CaseResult{Status: Fail, Misses: []Miss{{
		Method: "GET", URL: "https://h/",
		Differences: []MissDifference{{Where: "header X-Api-Key", Recorded: "REDACTED", Now: "(none)", Message: "the request has no credentials in header X-Api-Key now"}},
	}}}
	if got := headline(c); !strings.HasSuffix(got, "GET https://h/: the request has no credentials in header X-Api-Key now") {
		t.Error(got)
	}
}
