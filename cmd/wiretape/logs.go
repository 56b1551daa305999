package main

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	maxCaseLines = 200
	maxCaseLog   = 16 << 10
	// logDelay is how long after it was written a line may have its time.
	logDelay = 20 * time.Millisecond
	// logPatience bounds the reading of all logs.
	logPatience = 10 * time.Second
)

// asked are the services that the cases of a tape are sent to.
func asked(tp testTape) []string {
	var services []string
	for _, x := range tp.Cases {
		if slices.Contains(tp.numbers, x.Number) && !slices.Contains(services, x.Service) {
			services = append(services, x.Service)
		}
	}
	return services
}

// keepLogs gives each case what the services wrote while it ran, while their
// containers are there.
func (t *testRun) keepLogs(ctx context.Context, s *compose.Session, tp testTape) {
	if t.user.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var cases []*report.CaseResult
	var first time.Time
	for i := range t.run.Cases {
		c := &t.run.Cases[i]
		if c.Tape != tp.name() || c.Began.IsZero() {
			continue
		}
		cases = append(cases, c)
		if first.IsZero() || c.Began.Before(first) {
			first = c.Began
		}
	}
	if len(cases) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logPatience)
	defer cancel()
	err := s.Logs(ctx, first, func(l compose.LogLine) {
		for _, c := range cases {
			if at := l.At.Sub(c.Began); at >= 0 && at <= c.Took+logDelay {
				c.Logs = lastLines(append(c.Logs, report.LogLine{Service: l.Service, At: at, Text: t.redactLog(l.Text)}))
			}
		}
	})
	if err != nil {
		t.r.warn("the app's log is not in the report: "+err.Error(), "")
	}
	for _, c := range cases {
		slices.SortStableFunc(c.Logs, func(a, b report.LogLine) int { return int(a.At - b.At) })
	}
}

// lastLines are as many as are kept of a case.
func lastLines(lines []report.LogLine) []report.LogLine {
	size := 0
	for i := len(lines) - 1; i >= 0; i-- {
		if size += len(lines[i].Text); size > maxCaseLog || len(lines)-i > maxCaseLines {
			return lines[i+1:]
		}
	}
	return lines
}

var (
	logField  = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_-]*)"?\s*[:=]\s*`)
	logScheme = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[^\s"',;]+`)
)

// redactLog takes out of what an app wrote what would be taken out of its
// requests: secrets in URLs, and the values of fields that hold some.
func (t *testRun) redactLog(text string) string {
	redact := tape.NewRedactor(t.opt.Redact)
	lines := strings.Split(redact.Text(text), "\n")
	for i, line := range lines {
		line = logScheme.ReplaceAllString(line, "${1} "+tape.Redacted)
		for _, at := range logField.FindAllStringSubmatchIndex(line, -1) {
			inURL := at[0] > 0 && strings.ContainsRune("?&", rune(line[at[0]-1]))
			if name := line[at[2]:at[3]]; !inURL && redact.Credential(name) {
				line = line[:at[1]] + redact.Field(name, line[at[1]:])
				break
			}
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}
