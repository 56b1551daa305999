package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A testRun is one wiretape compose test: a session for each tape, and what came of them.
type testRun struct {
	user    context.Context // ends when the user interrupts
	asked   testOptions
	io      streams
	r       *reporter
	opt     compose.Options
	cfg     config
	command *compose.Command
	headers map[string]string
	tapes   []testTape
	opened  []*placedTape
	started time.Time

	mu  sync.Mutex
	run report.Run
	// now is the tape whose session runs.
	now   *placedTape
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
	*placedTape
	numbers []int
}

// runTest is test.
func runTest(ctx context.Context, o testOptions, io streams) error {
	t, err := newTestRun(ctx, o, io)
	defer t.r.close()
	defer t.close()
	if err != nil {
		return err
	}
	for i, tp := range t.tapes {
		if err = t.session(tp); err != nil || ctx.Err() != nil {
			t.unsent(t.tapes[i:], err)
			break
		}
	}
	return t.conclude(err)
}

// newTestRun reads all that can be wrong before anything starts.
func newTestRun(ctx context.Context, o testOptions, io streams) (*testRun, error) {
	t := &testRun{user: ctx, asked: o, io: io, r: newReporter(io.out, o.output), started: time.Now()}
	var err error
	if t.opt, t.cfg, err = o.forReplay("", t.r); err != nil {
		return t, err
	}
	t.opt.Message = t.message
	if t.headers, err = t.cfg.Test.expand(t.cfg.path()); err != nil {
		return t, err
	}
	if n := o.parallel; n.set && n.value < 1 {
		return t, usagef("for example --parallel 4", "--parallel %d is less than 1", n.value)
	}
	if len(o.command) > 0 {
		if t.command, err = compose.FindCommand(o.command); err != nil {
			return t, err
		}
	}
	if o.update && t.opt.OnMiss == agent.Passthrough {
		return t, usagef("--update --on-miss record puts the new calls on the tape as well",
			"--update can't keep answers whose calls are not on the tape, as --on-miss passthrough leaves them")
	}
	dirs := o.tapes
	if len(dirs) == 0 {
		dirs = []string{t.opt.Tape} // the default one
	}
	if err := t.openTapes(dirs, o.cases); err != nil {
		return t, err
	}
	if t.opt.Root, err = trustedRoot(t.r); err != nil {
		return t, err
	}
	t.run = report.Run{Started: t.started, Version: version, Speed: t.opt.Speed, Flags: flagsOf(t.opt.ProjectFlags)}
	for _, tp := range t.tapes {
		t.run.Tapes = append(t.run.Tapes, tp.name())
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
		tp, err := openTape(t.user, dir)
		if err != nil {
			return err
		}
		t.opened = append(t.opened, tp)
		if t.records() {
			if err := onlyFolder(dir, "to put something new on it"); err != nil {
				return err
			}
		}
		tt := testTape{placedTape: tp}
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

// records reports whether what the session hears is put on the tapes.
func (t *testRun) records() bool { return t.asked.update || t.opt.OnMiss == agent.RecordMiss }

// close removes what was copied of the tapes.
func (t *testRun) close() {
	for _, tp := range t.opened {
		tp.close()
	}
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

// session runs the project against one tape. Its error is one that no other
// tape would do without.
func (t *testRun) session(tp testTape) error {
	opt := t.opt
	opt.Tape = tp.place
	t.now, t.reached = tp.placedTape, false
	if len(tp.numbers) > 0 {
		t.r.setCalls(inReport)
	}
	defer t.r.setCalls(asTheyEnd)
	if len(t.tapes) > 1 {
		t.r.note("tape %s: %s", tp.name(), report.Plural(len(tp.numbers), "case"))
	}
	if t.records() {
		kind := newCalls
		if t.asked.update {
			kind = casesAnew
		}
		err := tp.Writable()
		if err != nil {
			return err
		}
		if t.again, err = newRerecording(kind); err != nil {
			return err
		}
	}
	up, sent := false, false
	_, err := compose.Run(t.user, opt, func(ctx context.Context, s *compose.Session) error {
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
		t.r.setCalls(asTheyEnd)
		t.r.line.off() // the terminal is COMMAND's
		return runCommand(ctx, t.user, t.command, s)
	})
	t.update(tp, sent)
	if f := (*event.Problem)(nil); errors.As(err, &f) && f.Kind == event.App {
		t.missing(tp, err)
		if dead := (*compose.DeadError)(nil); errors.As(err, &dead) && dead.Lines != "" {
			err = fmt.Errorf("%w; its last lines: %s", err, t.redactLog(dead.Lines))
		}
		t.failed(err, f.Next)
		return nil
	}
	if up {
		t.missing(tp, err)
	}
	if exit := (*compose.ExitError)(nil); errors.As(err, &exit) {
		if t.user.Err() != nil { // COMMAND was interrupted with us
			return &event.Problem{Kind: event.Interrupted, Err: errInterrupted}
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
	parallel := max(1, t.asked.parallel.or(int(t.cfg.Test.Parallel)))
	if t.opt.OnMiss == agent.RecordMiss {
		parallel = 1 // what is recorded must be known to be this case's
	}
	t.parallel = parallel
	t.r.cases.start(tp.placedTape, tp.numbers, limits.Speed)
	t.setSending(true)
	defer t.setSending(false)
	return s.WhileTheyRun(ctx, asked(tp), func(ctx context.Context) error {
		reply, err := s.Request(ctx, agent.ToAgent{Run: &agent.Run{
			TapeName: tp.name(), Cases: tp.numbers, Update: t.asked.update, Parallel: parallel, Headers: t.headers, Limits: limits, TimeLimit: t.cfg.Test.TimeLimit,
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
