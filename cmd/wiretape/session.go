package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// runRecord is record: a session, with COMMAND or until Ctrl-C.
func runRecord(ctx context.Context, o recordOptions, io streams) error {
	r := newReporter(io.out, o.output)
	defer r.close()
	opt, err := o.forRecord(r)
	if err != nil {
		return err
	}
	s := &sessionRun{user: ctx, r: r, opt: opt}
	if len(o.command) > 0 {
		if s.command, err = compose.FindCommand(o.command); err != nil {
			return err
		}
	}
	return s.run()
}

// runReplay is replay: a session until Ctrl-C.
func runReplay(ctx context.Context, o replayOptions, io streams) error {
	r := newReporter(io.out, o.output)
	defer r.close()
	opt, _, err := o.forReplay(o.tape, r)
	if err != nil {
		return err
	}
	// Read here first: what is wrong with a tape is known before anything starts.
	t, err := openTape(ctx, opt.Tape)
	if err != nil {
		return err
	}
	t.close()
	if opt.OnMiss == agent.RecordMiss {
		if err := onlyFolder(opt.Tape, "to put something new on it"); err != nil {
			return err
		}
	}
	opt.Reuse = true
	return (&sessionRun{user: ctx, r: r, opt: opt}).run()
}

// A sessionRun is one record or replay.
type sessionRun struct {
	user    context.Context // ends when the user interrupts
	r       *reporter
	opt     compose.Options
	command *compose.Command // nil without COMMAND
	started time.Time
	waited  bool // until the user interrupted it, as a session without COMMAND does
}

// run runs the session.
func (s *sessionRun) run() (err error) {
	if s.opt.Root, err = trustedRoot(s.r); err != nil {
		return err
	}
	var misses *rerecording
	if s.opt.OnMiss == agent.RecordMiss {
		if misses, err = newRerecording(newCalls); err != nil {
			return err
		}
		s.opt.Message = func(m agent.FromAgent) {
			if m.Update != nil {
				misses.apply(*m.Update)
				return
			}
			s.r.message(m)
		}
	}
	s.started = time.Now()
	result, err := compose.Run(s.user, s.opt, s.while)
	if misses != nil {
		if merr := misses.finish(s.opt.Tape, nil); merr != nil && err == nil {
			err = fmt.Errorf("%w: %w", errTapeUnchanged, merr)
		}
	}
	return s.conclude(result, err)
}

// trustedRoot is the root of the leaves that the app is shown.
func trustedRoot(r *reporter) (*mitmtls.Root, error) {
	root, err := mitmtls.LoadOrCreateRoot("")
	if err != nil {
		return nil, err
	}
	for _, w := range root.Warnings() {
		r.warn(w, "")
	}
	return root, nil
}

// while is what the session is up for.
func (s *sessionRun) while(ctx context.Context, up *compose.Session) error {
	s.r.line.off() // the terminal is COMMAND's, or there is nothing to wait for
	if s.command != nil {
		return runCommand(ctx, s.user, s.command, up)
	}
	s.r.ready(up, s.opt.Mode)
	<-ctx.Done()
	s.waited = s.user.Err() != nil && errors.Is(context.Cause(ctx), context.Cause(s.user))
	if s.waited {
		return nil
	}
	return context.Cause(ctx)
}

const (
	recordSomething = "check that the command exercises the app through its published ports, and that --service and --host are right"
	recordAnswers   = "see above what could not be reached, and record again when it is up"
)

// poorer reports whether a whole recording left an older tape in place because that
// has more on it.
func poorer(result *compose.Result) bool {
	return result != nil && result.Kept && result.Complete && result.Worth != tape.Something
}

// runCommand runs COMMAND. Where the session ended under it, and not because of
// the user, that is the news, not how the command took it.
func runCommand(ctx, user context.Context, command *compose.Command, s *compose.Session) error {
	err := command.Run(ctx, s.Env())
	if err != nil && ctx.Err() != nil && user.Err() == nil {
		return context.Cause(ctx)
	}
	return err
}

// conclude prints the summary and finds the exit code.
func (s *sessionRun) conclude(result *compose.Result, err error) error {
	n := s.r.counts()
	sum := summary{Mode: string(s.opt.Mode), Took: time.Since(s.started).Seconds(), OK: err == nil}
	if result != nil {
		sum.Tape, sum.Complete, sum.Problems = relative(result.Tape), &result.Complete, result.Problems
		sum.OK = sum.OK && result.Complete && !poorer(result)
	}
	if s.opt.Mode == agent.Replay {
		sum.Tape = s.opt.Tape
		sum.OK = sum.OK && n.Misses == 0 && n.Errors == 0
	}
	if err == nil || result != nil || n.Calls+n.Misses > 0 {
		s.r.finish(sum)
	}
	if result != nil {
		s.warnOf(result, err)
	}
	if exit := (*compose.ExitError)(nil); s.user.Err() != nil && !s.waited && (err == nil || errors.As(err, &exit)) {
		// COMMAND was interrupted with us; how it took it is not the news.
		err = &event.Problem{Kind: event.Interrupted, Err: errInterrupted}
	}
	if result != nil && !result.Complete && (err == nil || exitCodes[classify(err).Kind] == exitEnvironment) {
		if err == nil {
			err = errors.New("the recording is incomplete")
		} // else the agent or the disk failed while it recorded; what matters is what is missing
		return &event.Problem{Kind: event.Incomplete, Err: err, Next: "record again; what there is of it is in " + relative(result.Tape)}
	}
	if err == nil && result != nil {
		err = s.recorded(result)
	}
	if err == nil && s.opt.Mode == agent.Replay {
		err = s.replayed(n)
	}
	return err
}

// warnOf warns of what became of a recording.
func (s *sessionRun) warnOf(result *compose.Result, err error) {
	switch {
	case result.Dropped:
		if err != nil {
			s.r.warn("nothing was recorded, so the tape at "+relative(s.opt.Tape)+" was left as it was", recordSomething)
		}
	case result.Kept:
		s.r.warn(fmt.Sprintf("the tape at %s was left as it was; this recording is in %s", relative(s.opt.Tape), relative(result.Tape)),
			"look at it with wiretape tape ls "+relative(result.Tape)+", or record again")
	case result.Worth == tape.Nothing:
		s.r.warn("nothing was recorded", recordSomething)
	case result.Worth == tape.Unanswered:
		s.r.warn("none of the calls was answered", recordAnswers)
	}
}

// recorded is what a recording that is complete fails with all the same.
func (s *sessionRun) recorded(result *compose.Result) error {
	switch {
	case result.Dropped:
		return &event.Problem{
			Kind: event.Incomplete, Err: fmt.Errorf("nothing was recorded, so the tape at %s was left as it was", relative(s.opt.Tape)), Next: recordSomething,
		}
	case poorer(result):
		return &event.Problem{
			Kind: event.Incomplete, Err: errors.New("none of the calls was answered, so the recording did not take the tape's place"),
			Next: recordAnswers + "; if the outside world is meant to be down, move the recording to the tape's place by hand",
		}
	}
	return nil
}

// replayed is what a replay fails with.
func (s *sessionRun) replayed(n counts) error {
	switch {
	case n.Misses > 0:
		return &event.Problem{
			Kind: event.Mismatch, Err: errors.New(report.Plural(n.Misses, "miss") + ": the app asked for what the tape does not have"),
			Next: "see what differs above; if the app is right, add it to the tape with --on-miss record",
		}
	case n.Errors > 0:
		return &event.Problem{
			Kind: event.Mismatch, Err: errors.New(report.Plural(n.Errors, "answer") + " could not be played to the end"),
			Next: "the errors above name them; wiretape tape verify " + s.opt.Tape + " tells whether the tape is at fault",
		}
	}
	return nil
}

// relative is path as seen from here, where that is shorter.
func relative(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// ready tells how to reach a session that runs until Ctrl-C.
func (r *reporter) ready(s *compose.Session, mode agent.Mode) {
	verb := "recording"
	if mode == agent.Replay {
		verb = "replaying to"
	}
	r.note("%s %s; end with Ctrl-C", verb, s.Project())
	for _, p := range s.Published() {
		r.note("  %s port %d is at %s", p.Service, p.Port, p.Published)
	}
}

// progress tells of what a session does beside the exchanges.
func (r *reporter) progress(p compose.Progress) {
	switch p.Kind {
	case compose.Warn:
		r.warn(p.Text, p.Hint)
	case compose.Failed:
		r.warn("not undone: "+p.Text, p.Hint)
	case compose.Info:
		r.note("%s", p.Text)
	case compose.Busy:
		r.line.at(p.Text)
		logrus.Debug(p.Text)
	default:
		logrus.Debug(p.Text)
	}
}

// message tells of what the agent says.
func (r *reporter) message(m agent.FromAgent) {
	switch {
	case m.Running != 0:
		r.cases.begins(m.Running)
	case m.Event != nil:
		r.event(m.Event)
	case m.Log != nil:
		level, err := logrus.ParseLevel(m.Log.Level)
		if err != nil {
			level = logrus.DebugLevel
		}
		logrus.StandardLogger().Log(level, "agent: "+m.Log.Message)
	}
}

// runDown is down.
func runDown(ctx context.Context, o sessionOptions, io streams) error {
	r := newReporter(io.out, o.output)
	defer r.close()
	opt := compose.Options{ProjectFlags: o.project}
	opt.Version, opt.Privileged = version, o.privileged
	opt.Progress, opt.Message = r.progress, r.message
	n, err := compose.Down(ctx, opt)
	if err != nil {
		return err
	}
	if n == 0 {
		r.note("there is nothing to clean up")
	} else {
		r.note("cleaned up after %s", report.Plural(n, "session"))
	}
	return nil
}
