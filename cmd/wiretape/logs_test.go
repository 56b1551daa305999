package main

import (
	"testing"

	"github.com/wiretape/wiretape/compose/report"
)

func TestSecretsInTheAppsLogAreRedacted(t *testing.T) {
	var run testRun
	for in, want := range map[string]string{
		"GET https://api.example.com/v1?api_key=abc&n=1 200": "GET https://api.example.com/v1?api_key=REDACTED&n=1 200",
		"sending Authorization: Bearer abc":                  "sending Authorization: Bearer REDACTED",
		`{"level":"info","x-api-key":"abc"}`:                 `{"level":"info","x-api-key":REDACTED`,
		"token is Bearer abc.def, and more":                  "token is Bearer REDACTED, and more",
		"listening on :8080, time=12:30:01 user=alice":       "listening on :8080, time=12:30:01 user=alice",
		"first line\nCookie: sid=abc":                        "first line\nCookie: sid=REDACTED",
	} {
		if got := run.redactLog(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestTheLastLinesOfALongLogAreKept(t *testing.T) {
	var lines []report.LogLine
	for range 3 * maxCaseLines {
		lines = lastLines(append(lines, report.LogLine{Text: "x"}))
	}
	if len(lines) != maxCaseLines {
		t.Errorf("%d lines are kept", len(lines))
	}
}
