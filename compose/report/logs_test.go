package report

import (
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream/compare"
)

func TestAFailedCaseShowsWhatTheAppWrote(t *testing.T) {
	c := CaseResult{Name: "0001-get", Method: "GET", URL: "http://app/", Verdict: &compare.Verdict{}}
	for range maxLogs + 1 {
		c.Logs = append(c.Logs, LogLine{Service: "app", Text: "panic: \x1b[31mred\n"})
	}
	r := &Run{Cases: []CaseResult{c}}
	r.Conclude()
	text := CaseText(&r.Cases[0], 0)
	if !strings.Contains(text, "the app's log meanwhile, without 1 line before:") || strings.Count(text, "app | panic: ") != maxLogs || strings.Contains(text, "\x1b") {
		t.Error(text)
	}
	var page strings.Builder
	if err := HTML(&page, r); err != nil || !strings.Contains(page.String(), "app | panic: ") {
		t.Error(err, page.String())
	}
}
