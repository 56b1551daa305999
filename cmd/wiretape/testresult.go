package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/event"
)

// failed notes what fails the run beside its cases.
func (t *testRun) failed(err error, next string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.run.Errors = append(t.run.Errors, event.Problem{Err: err, Next: next})
}

// missing notes the cases that have no result because the session ended first.
func (t *testRun) missing(tp testTape, err error) {
	if err == nil || t.user.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.without(tp) {
		c.Error = "not sent: " + err.Error()
		t.add(c)
	}
}

// unsent notes what a run that ended early did not come to: all that is left of the
// first of these tapes, and the others.
func (t *testRun) unsent(tapes []testTape, err error) {
	interrupted := t.user.Err() != nil
	for _, tp := range tapes {
		if !interrupted {
			if len(t.run.Cases) > 0 { // else the error says it all
				t.missing(tp, err)
			}
			continue
		}
		t.mu.Lock()
		for i, c := range t.without(tp) {
			c.Reason = "not sent: the test was interrupted"
			if t.reached && i < t.parallel {
				c.Reason = "broken off, or not sent: the test was interrupted"
			}
			t.add(c)
		}
		t.reached = false
		t.mu.Unlock()
	}
	if !interrupted {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.run.Errors = append(t.run.Errors, event.Problem{Err: errors.New("the test was interrupted"), Next: "run it again, to its end"})
}

// without are the results to be of a tape's cases that have none. The caller holds mu.
func (t *testRun) without(tp testTape) []report.CaseResult {
	t.now = tp.placedTape
	var list []report.CaseResult
	for _, x := range tp.Cases {
		if !slices.Contains(tp.numbers, x.Number) || slices.ContainsFunc(t.run.Cases, func(c report.CaseResult) bool {
			return c.Tape == tp.name() && c.Number == x.Number
		}) {
			continue
		}
		c, _ := report.FromTape(tp.Tape, x)
		list = append(list, c)
	}
	return list
}

// add takes a result that the agent did not make. The caller holds mu.
func (t *testRun) add(c report.CaseResult) {
	t.localize(&c)
	c.Conclude(&t.run)
	t.run.Cases = append(t.run.Cases, c)
	if t.r.json { // people find it in the report at the end
		t.r.result(&c)
	}
}

// message hears the agent.
func (t *testRun) message(m agent.FromAgent) {
	switch {
	case m.Update != nil:
		t.again.apply(*m.Update)
		return
	case m.Result != nil:
		t.r.cases.ends(m.Result.Number)
		t.again.caseSent(m.Result.Number, m.Sent)
		t.result(*m.Result)
		return
	case m.Event != nil && m.Event.Miss != nil && m.Event.Exchange.Case == 0:
		t.outside(m.Event.Miss)
	}
	t.r.message(m)
}

// outside notes a miss that is no case's.
func (t *testRun) outside(m *event.Miss) {
	miss := *m.Clone()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.localizeRef(miss.Closest)
	t.run.Outside = append(t.run.Outside, miss)
}

// result takes a case's result and tells of it.
func (t *testRun) result(c report.CaseResult) {
	t.mu.Lock()
	if !t.sending || t.user.Err() != nil {
		t.mu.Unlock()
		return
	}
	t.localize(&c)
	c.Conclude(&t.run)
	t.run.Cases = append(t.run.Cases, c)
	t.mu.Unlock()
	t.r.result(&c)
}

// localize names files as they are on this side of the container.
func (t *testRun) localize(c *report.CaseResult) {
	c.Tape = t.now.name()
	for _, x := range t.now.Cases {
		if x.Number != c.Number {
			continue
		}
		c.File = t.now.file(x.File)
		if x.Stream != "" {
			c.Stream = t.now.file(filepath.Join(t.now.Dir, filepath.FromSlash(x.Stream)))
		}
	}
	for i := range c.Calls {
		t.localizeRef(&c.Calls[i].Call)
	}
	for i := range c.Unlike {
		t.localizeRef(&c.Unlike[i].Call)
	}
	for i := range c.Left {
		t.localizeRef(&c.Left[i])
	}
	for i := range c.NotMade {
		t.localizeRef(&c.NotMade[i])
	}
	for i := range c.Misses {
		t.localizeRef(c.Misses[i].Closest)
	}
}

func (t *testRun) localizeRef(ref *event.Call) {
	if ref == nil {
		return
	}
	for _, x := range t.now.Calls {
		if x.Number == ref.Number {
			ref.File = t.now.file(x.File)
		}
	}
}

// conclude reports, and finds the exit code; err is what ended the run early.
func (t *testRun) conclude(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	run := &t.run
	run.Took = time.Since(t.started)
	run.Conclude()
	n := t.r.counts()
	if n.Errors > 0 {
		run.Errors = append(run.Errors, event.Problem{
			Err:  errors.New(report.Plural(n.Errors, "answer") + " could not be played to the end"),
			Next: "the errors above name them; wiretape tape verify " + strings.Join(run.Tapes, " ") + " tells whether the tape is at fault",
		})
	}
	if err != nil && len(run.Cases) == 0 {
		return err
	}
	html, rerr := t.writeReports(run)
	counts := run.Count()
	s := summary{Mode: "test", Tape: strings.Join(run.Tapes, ", "), OK: err == nil && rerr == nil && run.OK(), Took: run.Took.Seconds()}
	if counts.Cases > 0 {
		s.Results = &counts
	}
	t.r.finishTest(run, s, html)
	switch {
	case err != nil:
		if t.user.Err() != nil {
			return &event.Problem{Kind: event.Interrupted, Err: errInterrupted}
		}
		return err
	case rerr != nil:
		return &event.Problem{Kind: event.Environment, Err: rerr}
	case t.user.Err() != nil:
		return &event.Problem{Kind: event.Interrupted, Err: errInterrupted}
	case !run.OK():
		return &event.Problem{Kind: event.Mismatch, Err: errors.New("the test failed"), Said: true}
	}
	return nil
}

// writeReports writes the files of --report and what GitHub Actions shows. It
// returns the page, to be named.
func (t *testRun) writeReports(run *report.Run) (html string, err error) {
	if dir := t.asked.report; dir != "" {
		if err := report.WriteAll(dir, run); err != nil {
			return "", err
		}
		html = filepath.Join(dir, report.HTMLFile)
	}
	t.r.out.flush() // what follows goes past it
	if os.Getenv("GITHUB_ACTIONS") != "true" {
		return html, nil
	}
	out := t.io.out
	if t.r.json {
		out = t.io.err
	}
	if err := report.Annotations(out, run, fromRepository()); err != nil {
		return html, err
	}
	file := os.Getenv("GITHUB_STEP_SUMMARY")
	if file == "" {
		return html, nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return html, fmt.Errorf("the job summary can't be written: %w", err)
	}
	return html, errors.Join(report.Summary(f, run), f.Close())
}

// fromRepository is the working directory as a path from the repository's root.
func fromRepository() string {
	root := os.Getenv("GITHUB_WORKSPACE")
	wd, err := os.Getwd()
	if root == "" || err != nil {
		return ""
	}
	rel, err := filepath.Rel(root, wd)
	if err != nil {
		return ""
	}
	return filepath.ToSlash(rel)
}
