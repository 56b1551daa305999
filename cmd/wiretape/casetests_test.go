package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/noise"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMistakesInTheConfigurationAreNamedWithFileAndLine(t *testing.T) {
	for _, tc := range []struct{ name, text, at, says string }{
		{"an unknown key", "services: [a]\nnoisy: 1\n", ":2: ", `"noisy"`},
		{"an unknown key below", "test:\n  parallel: 2\n  limit: 3s\n", ":3: ", `"limit"`},
		{"a wrong type", "test:\n  time_limit: soon\n", ":2: ", "soon"},
		{"no YAML", "services: [a\nhosts: [b]\n", ":", "yaml"},
		{"a noise rule that is no JSONPath", "# x\nnoise:\n  response.body: [\"id\"]\n", ":3: ", "JSONPath"},
		{"an unknown noise key", "noise:\n  response.foot: [a]\n", ":2: ", "response.foot"},
		{"a shape that is no ratio", "shape:\n  first_event: { ratio: fast }\n", ":2: ", "ratio"},
		{"a header that is no name", "match:\n  headers:\n    - X-Tenant\n    - 'X Tenant'\n", ":4: ", "match.headers"},
		{"a header that is no pattern", "match:\n  headers: ['x-[']\n", ":2: ", "x-["},
		{"a pattern that is none", "noise:\n  request.text: ['(']\n", ":2: ", "request.text"},
		{"a pattern that hides everything", "noise:\n  request.path: ['\\d*']\n", ":2: ", "matches the empty text"},
		{"a negative number", "test: { parallel: -1 }\n", ": ", "negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := writeConfig(t, tc.text)
			_, err := readConfig(dir)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), configName+tc.at) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v", err)
			}
			if f := classify(err); f.Kind != event.Usage || f.Next == "" {
				t.Errorf("kind %s, next %q", f.Kind, f.Next)
			}
		})
	}
}

func TestTheConfigurationOfTestsIsRead(t *testing.T) {
	dir := writeConfig(t, "noise:\n  response.header: [Date]\nshape:\n  buffered: false\ntest:\n  headers: { Authorization: \"Bearer ${WIRETAPE_TEST_TOKEN}\" }\n  time_limit: 90s\n  parallel: 4\n")
	c, err := readConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c.limits.Buffered || c.limits.First != compare.DefaultLimits().First || c.Test.TimeLimit != 90*time.Second || c.Test.Parallel != 4 {
		t.Errorf("%+v", c)
	}
	if text, err := yamlText(&c.Noise); err != nil || !strings.Contains(text, "response.header: [Date]") {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := c.Test.expand("wiretape.yaml"); err == nil || !strings.Contains(err.Error(), "WIRETAPE_TEST_TOKEN") {
		t.Errorf("a variable that is not set: %v", err)
	}
	t.Setenv("WIRETAPE_TEST_TOKEN", "$x${y}")
	if h, err := c.Test.expand("wiretape.yaml"); err != nil || h["Authorization"] != "Bearer $x${y}" {
		t.Errorf("%q, %v", h, err)
	}
	if _, err := readConfig(writeConfig(t, "services: [a]\nllm_formats:\n  - name: acme\n    match: { has: $.out }\n    text: out\n")); err == nil ||
		!strings.Contains(err.Error(), `wiretape.yaml:5: text: "out" is no JSONPath (RFC 9535)`) {
		t.Errorf("a format without a JSONPath: %v", err)
	}
	own, err := readConfig(writeConfig(t, "llm_formats:\n  - { name: acme, match: { path: /v1/* }, text: $.out }\n"))
	if text, _ := yamlText(&own.LLMFormats); err != nil || !strings.Contains(text, "name: acme") {
		t.Errorf("%q, %v", text, err)
	}
	empty, err := readConfig(t.TempDir())
	if text, _ := yamlText(&empty.Noise); err != nil || text != "" || !empty.limits.Buffered {
		t.Errorf("without a file: %+v, %v", empty, err)
	}
}

// casesTape makes a tape with a case for each path.
func casesTape(t *testing.T, paths ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := tape.Create(dir, tape.Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range paths {
		id := int64(i + 1)
		x := &tape.Exchange{Kind: tape.Case, Number: i + 1, Service: "web", Request: tape.Request{Proto: "HTTP/1.1", Method: "GET", URL: "http://127.0.0.1:80" + p}}
		records, err := new(tape.Encoder).Whole(id, x, &tape.Line{End: &httpstream.EndInfo{How: httpstream.EOF}})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if err := w.Apply(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCasesAreChosenByTheirNames(t *testing.T) {
	one, two := casesTape(t, "/chat", "/users", "/chat"), casesTape(t, "/chat")
	for _, tc := range []struct {
		name  string
		globs []string
		want  []int // how many of each tape that is played
		err   string
	}{
		{"all of them", nil, []int{3, 1}, ""},
		{"by path", []string{"*-chat"}, []int{2, 1}, ""},
		{"one of several globs", []string{"0002-*", "0003-*"}, []int{2}, ""},
		{"none", []string{"0009-*"}, nil, "no case matches"},
		{"no pattern", []string{"[x"}, nil, "no pattern"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var run testRun
			err := run.openTapes([]string{one, two}, tc.globs)
			if tc.err != "" {
				if f := classify(err); f.Kind != event.Usage || f.Next == "" || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%v", err)
				}
				return
			}
			var got []int
			for _, tp := range run.tapes {
				got = append(got, len(tp.numbers))
			}
			if err != nil || len(got) != len(tc.want) || got[0] != tc.want[0] {
				t.Errorf("%v, %v; want %v", got, err, tc.want)
			}
		})
	}
	var run testRun
	if err := run.openTapes([]string{casesTape(t)}, nil); err == nil || !strings.Contains(err.Error(), "no cases to send") {
		t.Errorf("a tape without cases: %v", err)
	}
}

func TestResultsNameTheFilesOfThisSide(t *testing.T) {
	dir := casesTape(t, "/chat")
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	run := &testRun{now: &placedTape{Tape: tp}, r: newReporter(&out, forMachines), user: t.Context(), sending: true}
	run.message(agent.FromAgent{Result: &report.CaseResult{
		Tape: "/tape", File: "/tape/cases/0001-get-chat.yaml", Name: "0001-get-chat", Number: 1, Verdict: &compare.Verdict{Pass: true},
	}})
	run.message(agent.FromAgent{Event: &event.Event{Exchange: &event.Exchange{Kind: event.CallEnded, Case: 1}, Miss: &event.Miss{Method: "GET", URL: "http://x/"}}})
	run.message(agent.FromAgent{Event: &event.Event{Exchange: &event.Exchange{Kind: event.CallEnded}, Miss: &event.Miss{Method: "GET", URL: "http://y/", Used: 2}}})
	run.r.out.flush()
	c := run.run.Cases[0]
	if c.Tape != relative(dir) || c.File != relative(tp.Cases[0].File) || c.Status != report.Pass {
		t.Errorf("%+v", c)
	}
	if len(run.run.Outside) != 1 || run.run.Outside[0].URL != "http://y/" || run.run.Outside[0].Used != 2 {
		t.Errorf("outside: %+v", run.run.Outside)
	}
	if !strings.Contains(out.String(), `{"type":"result","tape":`) {
		t.Errorf("%s", out.String())
	}
}

func TestSuggestedNoiseIsWrittenAmongTheUsersComments(t *testing.T) {
	dir := writeConfig(t, "# mine\nservices: [web] # only this\nnoise:\n  # known for long\n  response.header: [X-Id]\n")
	k := &checker{file: filepath.Join(dir, configName), r: newReporter(io.Discard, forPeople), shown: map[string]bool{}}
	if err := k.load(); err != nil {
		t.Fatal(err)
	}
	same := func(key, value, recorded, now string) *report.CaseResult {
		return &report.CaseResult{Name: "0002-get-p", Number: 2, Verdict: &compare.Verdict{Differences: []compare.Difference{{
			Kind: compare.Changed, Recorded: recorded, Now: now, Rule: &noise.Rule{Key: key, Value: value},
		}}}}
	}
	uuid := []string{`"f0c92b36-6671-4082-8162-afaf0d15eff7"`, `"452c89bb-a821-4258-8afe-ec4cb0e56433"`}
	left, blocked := k.learnAnswers([]*report.CaseResult{
		same("response.body", "$.id", uuid[0], uuid[1]), same("response.body", "$.name", `"ann"`, `"bob"`),
	})
	if len(left) != 1 || len(blocked) != 0 {
		t.Errorf("%d cases are left, want that with another name", len(left))
	}
	if err := k.write(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(k.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# mine\n", "# only this", "# known for long", "X-Id", `"*-get-p":`, "- '$.id' # a UUID"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "$.name") {
		t.Errorf("what may be a defect was written:\n%s", b)
	}
	c, err := readConfig(dir)
	if err != nil || len(c.Services) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestParallelMustBePositive(t *testing.T) {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	for _, f := range flags(projectFlags(), testFlags(), sessionFlags()) {
		if err := f.Apply(set); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := set.Parse([]string{"-f", filepath.Join(dir, "compose.yaml"), "--parallel", "0"}); err != nil {
		t.Fatal(err)
	}
	_, err := newTestRun(t.Context(), testOptionsOf(cli.NewContext(cli.NewApp(), set, nil)), streams{out: io.Discard, err: io.Discard})
	var f *event.Problem
	if !errors.As(err, &f) || f.Kind != event.Usage || !strings.Contains(err.Error(), "parallel") {
		t.Errorf("%v", err)
	}
}
