package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/tape"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// A testRun is one wiretape compose test: a session for each tape, and what came of them.
type testRun struct {
	c       *cli.Context
	io      streams
	r       *reporter
	opt     compose.Options
	cfg     config
	command *compose.Command
	headers map[string]string
	tapes   []testTape
	started time.Time

	mu  sync.Mutex
	run report.Run
	// now is the tape whose session runs.
	now   *tape.Tape
	again *rerecording // of its cases and misses; nil without --update and --on-miss record
	// sending is set while results count: when a session is interrupted the app is
	// stopped under the case that runs.
	sending bool
	// reached is set once cases of the tape now were sent, up to parallel at once.
	reached  bool
	parallel int
}

// A testTape is a tape, and those of its cases that are to be sent.
type testTape struct {
	*tape.Tape
	numbers []int
}

func testProject(c *cli.Context, io streams) error {
	t, err := newTestRun(c, io)
	if err != nil {
		return err
	}
	for i, tp := range t.tapes {
		if err = t.session(tp); err != nil || c.Context.Err() != nil {
			t.unsent(t.tapes[i:], err)
			break
		}
	}
	return t.conclude(err)
}

// newTestRun reads all that can be wrong before anything starts.
func newTestRun(c *cli.Context, io streams) (*testRun, error) {
	t := &testRun{c: c, io: io, r: newReporter(io.out, c.Bool("json")), started: time.Now()}
	var err error
	if t.opt, t.cfg, err = sessionOptions(c, agent.Replay, t.r); err != nil {
		return nil, err
	}
	t.opt.Message = t.message
	if t.headers, err = t.cfg.Test.expand(t.cfg.path()); err != nil {
		return nil, err
	}
	if n := c.Int("parallel"); n < 1 {
		return nil, usagef("for example --parallel 4", "--parallel %d is less than 1", n)
	}
	if c.Args().Present() {
		if t.command, err = compose.FindCommand(c.Args().Slice()); err != nil {
			return nil, err
		}
	}
	if c.Bool("update") && t.opt.OnMiss == agent.Passthrough {
		return nil, usagef("--update --on-miss record puts the new calls on the tape as well",
			"--update can't keep answers whose calls are not on the tape, as --on-miss passthrough leaves them")
	}
	dirs := c.StringSlice("tape")
	if len(dirs) == 0 {
		dirs = []string{filepath.Join(t.cfg.dir, filepath.FromSlash(defaultTape))}
	}
	if err := t.openTapes(dirs, c.StringSlice("case")); err != nil {
		return nil, err
	}
	if t.opt.Root, err = mitmtls.LoadOrCreateRoot(""); err != nil {
		return nil, err
	}
	for _, w := range t.opt.Root.Warnings() {
		t.r.warn(w, "")
	}
	t.run = report.Run{Started: t.started, Version: version, Speed: t.opt.Speed, Flags: t.projectFlags()}
	for _, tp := range t.tapes {
		t.run.Tapes = append(t.run.Tapes, relative(tp.Dir))
	}
	return t, nil
}

// openTapes reads the tapes and chooses the cases that match one of the globs.
func (t *testRun) openTapes(dirs, globs []string) error {
	for _, g := range globs {
		if _, err := path.Match(g, ""); err != nil {
			return usagef("quote it for the shell, as in --case '0003-*'", "--case %q is no pattern", g)
		}
	}
	// What COMMAND sends is what the cases were recorded from; to send both would
	// ask a service for everything twice.
	send := t.command == nil || len(globs) > 0
	var names []string
	chosen := 0
	for _, dir := range dirs {
		tp, err := tape.Open(dir)
		if err != nil {
			return err
		}
		tt := testTape{Tape: tp}
		for _, x := range tp.Cases {
			name := caseName(x)
			names = append(names, name)
			if send && len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool { ok, _ := path.Match(g, name); return ok }) {
				tt.numbers = append(tt.numbers, x.Number)
			}
		}
		chosen += len(tt.numbers)
		if len(tt.numbers) > 0 || t.command != nil {
			t.tapes = append(t.tapes, tt)
		}
	}
	switch {
	case chosen > 0:
	case len(globs) > 0 && len(names) > 0:
		return usagef("the names are those of the files: "+someOf(names, 5), "no case matches --case %s", strings.Join(globs, ", "))
	case t.command == nil:
		return usagef("record some through the published ports, or give a command that exercises the app: wiretape compose test -- COMMAND",
			"the tape %s has no cases to send", strings.Join(dirs, ", "))
	}
	return nil
}

// caseName is the base of a case's file, "0003-post-chat".
func caseName(x *tape.Exchange) string {
	return strings.TrimSuffix(filepath.Base(x.File), filepath.Ext(x.File))
}

func someOf(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:n], ", "), len(names)-n)
}

// projectFlags are those that a suggested command must repeat.
func (t *testRun) projectFlags() []string {
	var flags []string
	for _, f := range []string{"file", "profile", "env-file"} {
		name := "--" + f
		if f == "file" {
			name = "-f"
		}
		for _, v := range t.c.StringSlice(f) {
			flags = append(flags, name, v)
		}
	}
	if v := t.opt.ProjectName; v != "" {
		flags = append(flags, "-p", v)
	}
	if v := t.opt.ProjectDir; v != "" {
		flags = append(flags, "--project-directory", v)
	}
	return flags
}

// session runs the project against one tape. Its error is one that no other
// tape would do without.
func (t *testRun) session(tp testTape) error {
	opt := t.opt
	opt.Tape = tp.Dir
	t.now, t.reached = tp.Tape, false
	t.r.setQuiet(len(tp.numbers) > 0)
	defer t.r.setQuiet(false)
	if len(t.tapes) > 1 {
		t.r.note("tape %s: %s", relative(tp.Dir), report.Plural(len(tp.numbers), "case"))
	}
	if t.c.Bool("update") || opt.OnMiss == agent.RecordMiss {
		var err error
		if t.again, err = newRerecording(t.c.Bool("update")); err != nil {
			return err
		}
	}
	up, sent := false, false
	_, err := compose.Run(t.c.Context, opt, func(ctx context.Context, s *compose.Session) error {
		up = true
		t.mu.Lock()
		t.run.Project = s.Project()
		t.mu.Unlock()
		err := t.send(ctx, s, tp)
		t.keepLogs(ctx, s, tp)
		if err != nil {
			return err
		}
		sent = true
		if t.command == nil {
			return nil
		}
		t.r.setQuiet(false)
		return runCommand(ctx, t.c.Context, t.command, s)
	})
	t.update(tp, sent)
	if f := (*compose.Error)(nil); errors.As(err, &f) && f.Kind == compose.App {
		t.missing(tp, err)
		if dead := (*compose.DeadError)(nil); errors.As(err, &dead) && dead.Lines != "" {
			err = fmt.Errorf("%w; its last lines: %s", err, t.redactLog(dead.Lines))
		}
		t.failed(err, f.Hint)
		return nil
	}
	if up {
		t.missing(tp, err)
	}
	if exit := (*compose.ExitError)(nil); errors.As(err, &exit) {
		if t.c.Context.Err() != nil { // COMMAND was interrupted with us
			return &failure{code: exitInterrupted, err: errInterrupted}
		}
		t.failed(err, "see what it printed above")
		return nil
	}
	return err
}

// send has the agent send the cases.
func (t *testRun) send(ctx context.Context, s *compose.Session, tp testTape) error {
	if len(tp.numbers) == 0 {
		return nil
	}
	limits := t.cfg.limits
	limits.Speed = t.opt.Speed
	parallel := t.c.Int("parallel")
	if !t.c.IsSet("parallel") && t.cfg.Test.Parallel > 0 {
		parallel = t.cfg.Test.Parallel
	}
	if t.opt.OnMiss == agent.RecordMiss {
		parallel = 1 // what is recorded must be known to be this case's
	}
	t.parallel = max(1, parallel)
	t.setSending(true)
	defer t.setSending(false)
	return s.WhileTheyRun(ctx, asked(tp), func(ctx context.Context) error {
		reply, err := s.Request(ctx, agent.ToAgent{Run: &agent.Run{
			TapeName: relative(tp.Dir), Cases: tp.numbers, Update: t.c.Bool("update"), Parallel: parallel, Headers: t.headers, Limits: limits, TimeLimit: t.cfg.Test.TimeLimit,
		}})
		if err == nil && reply.Error != "" {
			err = errors.New(reply.Error)
		}
		return err
	})
}

func (t *testRun) setSending(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sending = on
	t.reached = t.reached || on
}

// failed notes what fails the run beside its cases.
func (t *testRun) failed(err error, next string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.run.Errors = append(t.run.Errors, report.Note{Message: err.Error(), Next: next})
}

// missing notes the cases that have no result because the session ended first.
func (t *testRun) missing(tp testTape, err error) {
	if err == nil || t.c.Context.Err() != nil {
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
	interrupted := t.c.Context.Err() != nil
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
	t.run.Errors = append(t.run.Errors, report.Note{Message: "the test was interrupted", Next: "run it again, to its end"})
}

// without are the results to be of a tape's cases that have none. The caller holds mu.
func (t *testRun) without(tp testTape) []report.CaseResult {
	t.now = tp.Tape
	var list []report.CaseResult
	for _, x := range tp.Cases {
		if !slices.Contains(tp.numbers, x.Number) || slices.ContainsFunc(t.run.Cases, func(c report.CaseResult) bool {
			return c.Tape == relative(tp.Dir) && c.Number == x.Number
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
	c.Settle(&t.run)
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
		t.again.caseSent(m.Result.Number, m.Sent)
		t.result(*m.Result)
		return
	case m.Event != nil && m.Event.Type == "miss" && m.Event.Case == 0:
		t.outside(m.Event)
	}
	t.r.message(m)
}

// outside notes a miss that is no case's.
func (t *testRun) outside(e *agent.Event) {
	miss := report.Miss{Method: e.Method, URL: e.URL}
	json.Unmarshal(e.Miss, &miss) // what it has not is not known
	miss.Service, miss.Answered = e.Service, string(e.Answered)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.localizeRef(miss.Closest)
	t.run.Outside = append(t.run.Outside, miss)
}

// result takes a case's result and tells of it.
func (t *testRun) result(c report.CaseResult) {
	t.mu.Lock()
	if !t.sending || t.c.Context.Err() != nil {
		t.mu.Unlock()
		return
	}
	t.localize(&c)
	c.Settle(&t.run)
	t.run.Cases = append(t.run.Cases, c)
	t.mu.Unlock()
	t.r.result(&c)
}

// localize names files as they are on this side of the container.
func (t *testRun) localize(c *report.CaseResult) {
	c.Tape = relative(t.now.Dir)
	for _, x := range t.now.Cases {
		if x.Number != c.Number {
			continue
		}
		c.File = relative(x.File)
		if x.Stream != "" {
			c.Stream = relative(filepath.Join(t.now.Dir, filepath.FromSlash(x.Stream)))
		}
	}
	for i := range c.Calls {
		t.localizeRef(&c.Calls[i].CallRef)
	}
	for i := range c.Unlike {
		t.localizeRef(&c.Unlike[i].CallRef)
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

func (t *testRun) localizeRef(ref *report.CallRef) {
	if ref == nil {
		return
	}
	for _, x := range t.now.Calls {
		if x.Number == ref.Number {
			ref.File = relative(x.File)
		}
	}
}

// conclude reports, and finds the exit code; err is what ended the run early.
func (t *testRun) conclude(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	run := &t.run
	run.Took = time.Since(t.started)
	run.Settle()
	n := t.r.counts()
	if n.Errors > 0 {
		run.Errors = append(run.Errors, report.Note{
			Message: report.Plural(n.Errors, "answer") + " could not be played to the end",
			Next:    "the errors above name them; wiretape tape verify " + strings.Join(run.Tapes, " ") + " tells whether the tape is at fault",
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
		if t.c.Context.Err() != nil {
			return &failure{code: exitInterrupted, err: errInterrupted}
		}
		return err
	case rerr != nil:
		return &failure{code: exitEnvironment, err: rerr}
	case t.c.Context.Err() != nil:
		return &failure{code: exitInterrupted, err: errInterrupted}
	case !run.OK():
		return &failure{code: exitFailed, err: errors.New("the test failed"), silent: true}
	}
	return nil
}

// writeReports writes the files of --report and what GitHub Actions shows. It
// returns the page, to be named.
func (t *testRun) writeReports(run *report.Run) (html string, err error) {
	if dir := t.c.String("report"); dir != "" {
		if err := report.WriteAll(dir, run); err != nil {
			return "", err
		}
		html = filepath.Join(dir, report.HTMLFile)
	}
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

// setQuiet leaves the lines about calls to the report at the end.
func (r *reporter) setQuiet(quiet bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.quiet = quiet
}

// result tells of a case that ended.
func (r *reporter) result(c *report.CaseResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Cases++
	if r.json {
		r.emit(struct {
			Type string `json:"type"`
			*report.CaseResult
		}{"result", c})
		return
	}
	io.WriteString(r.out, report.Line(c, r.color, columns()))
}

// finishTest prints the report and the summary.
func (r *reporter) finishTest(run *report.Run, s summary, html string) {
	if r.json || len(run.Cases) == 0 && len(run.Outside) == 0 && len(run.Errors) == 0 {
		r.finish(s)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(r.out)
	report.Text(r.out, run, report.TextOptions{Color: r.color, Width: columns(), Report: html})
}

// columns is the width of the terminal where the shell tells it; 0 means that it is not known.
func columns() int {
	n, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || n < 40 {
		return 0
	}
	return n
}
