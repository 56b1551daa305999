package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/proxy"
	"github.com/wiretape/wiretape/httpstream/tape"
	mitmtls "github.com/wiretape/wiretape/tls"
)

func composeCommand(io streams) *cli.Command {
	return &cli.Command{
		Name:  "compose",
		Usage: "record and test a docker compose project",
		Subcommands: []*cli.Command{
			{
				Name: "record", Usage: "bring the project up and record what it hears",
				UsageText: "wiretape compose record [flags] [-- COMMAND...]",
				Description: `   What the services ask of the outside world is recorded as calls, and what
   clients ask them at their published ports as cases. COMMAND runs on this host
   once the services are ready, and the recording ends with it; without one, it
   goes on until Ctrl-C. A plain "docker compose exec" in COMMAND means this
   session's project.

   example: wiretape compose record -- ./scripts/chat.sh`,
				Flags: flags(projectFlags(), recordFlags(), sessionFlags()),
				Action: func(c *cli.Context) error {
					if err := runSession(c, io, agent.Record); err != nil || !c.Bool("check") {
						return err
					}
					return checkRecording(c, io)
				},
			},
			{
				Name: "test", Usage: "bring the project up offline against a tape, and test it",
				UsageText: "wiretape compose test [flags] [-- COMMAND...]",
				Description: `   The services get the recorded answers, with the original timing, and can't
   reach the outside. Every recorded case is sent again, and what the app
   answers is compared while it streams. With COMMAND, that runs in the place of
   the cases; give --case as well to have both, the cases first. The test fails
   if an answer or its timing is not as recorded, if COMMAND fails, or if a
   service asks for what was not recorded.

   example: wiretape compose test --case '*-post-chat' --report report
   example: wiretape compose test -- ./scripts/chat.sh`,
				Flags: flags(projectFlags(), testFlags(), sessionFlags()),
				Action: func(c *cli.Context) error {
					return testProject(c, io)
				},
			},
			{
				Name: "check", Usage: "play a tape, and write noise rules for what changes",
				UsageText: "wiretape compose check [flags]",
				Description: `   Brings the project up against the tape, plays every case twice, and again
   where the app asks differently each time. Values that look like ids and times
   are shown and become noise rules in wiretape.yaml; others are only shown,
   since they may be defects.

   example: wiretape compose check --tape tapes/chat`,
				Flags:  flags(projectFlags(), checkFlags(), sessionFlags()),
				Action: func(c *cli.Context) error { return checkProject(c, io) },
			},
			{
				Name: "replay", Usage: "keep the project up against a tape until Ctrl-C",
				UsageText:   "wiretape compose replay [flags]",
				Description: "   For development. Identical calls start over when all recorded ones were\n   answered.",
				Flags:       flags(projectFlags(), replayFlags(), sessionFlags()),
				Action: func(c *cli.Context) error {
					if err := exactArgs(c, 0, ""); err != nil {
						return err
					}
					return runSession(c, io, agent.Replay)
				},
			},
			{
				Name: "down", Usage: "clean up what a killed session left",
				UsageText: "wiretape compose down [flags]",
				Flags:     flags(projectFlags(), sessionFlags()),
				Action:    func(c *cli.Context) error { return composeDown(c, io) },
			},
		},
	}
}

func flags(sets ...[]cli.Flag) []cli.Flag {
	var all []cli.Flag
	for _, s := range sets {
		all = append(all, s...)
	}
	return all
}

func projectFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "file", Aliases: []string{"f"}, Usage: "compose `FILE` (may be given several times)"},
		&cli.StringFlag{Name: "project-name", Aliases: []string{"p"}, Usage: "project `NAME`"},
		&cli.StringSliceFlag{Name: "profile", Usage: "`PROFILE` to enable (may be given several times)"},
		&cli.StringSliceFlag{Name: "env-file", Usage: "environment `FILE` (may be given several times)"},
		&cli.StringFlag{Name: "project-directory", Usage: "the project's `DIR`, if it isn't the compose file's"},
	}
}

func recordFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "tape", Usage: "`DIR` to record to (default: tapes/default beside the compose file)"},
		&cli.StringSliceFlag{Name: "service", Usage: "record only `SERVICE` (may be given several times)"},
		&cli.StringSliceFlag{Name: "host", Usage: "record only hosts that match `PATTERN`, such as api.openai.com or '*.example.com:8443' (may be given several times)"},
		upstreamCAFlag(),
		&cli.BoolFlag{Name: "check", Usage: "play the new tape twice, and write noise rules for what changes by itself into wiretape.yaml"},
		&cli.BoolFlag{Name: "keep-encoding", Usage: "let servers compress, and record the compressed bytes"},
	}
}

func replayFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "tape", Usage: "`DIR` of the tape (default: tapes/default beside the compose file)"},
		&cli.Float64Flag{Name: "speed", Usage: "play `X` times as fast as recorded; 0 means without any wait", Value: 1},
		onMissFlag(),
		upstreamCAFlag(),
		keepNetworksFlag(),
	}
}

func checkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "tape", Usage: "`DIR` of the tape (default: tapes/default beside the compose file)"},
	}
}

func onMissFlag() cli.Flag {
	return &cli.StringFlag{Name: "on-miss", Usage: "what becomes of a call that the tape does not answer: `WHAT` is fail, passthrough (it goes to the real service) or record (so it does, and is added to the tape)", Value: string(agent.Fail)}
}

func upstreamCAFlag() cli.Flag {
	return &cli.StringFlag{Name: "upstream-ca", Usage: "`FILE` of PEM certificates to trust upstream, beside the services' own"}
}

func keepNetworksFlag() cli.Flag {
	return &cli.BoolFlag{Name: "keep-networks", Usage: "leave networks that are not the project's own as they are, instead of internal ones in their place"}
}

func testFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "tape", Usage: "`DIR` of a tape (may be given several times; default: tapes/default beside the compose file)"},
		&cli.StringSliceFlag{Name: "case", Usage: "send only the cases whose name matches `GLOB`, such as '0003-*' (may be given several times)"},
		&cli.BoolFlag{Name: "update", Usage: "put the answers of cases that differ on the tape, after showing how"},
		&cli.IntFlag{Name: "parallel", Usage: "send up to `N` cases at once, of those that did not stream", Value: 1},
		&cli.Float64Flag{Name: "speed", Usage: "play calls `X` times as fast as recorded; 0 means without any wait", Value: 1},
		onMissFlag(),
		upstreamCAFlag(),
		keepNetworksFlag(),
		&cli.StringFlag{Name: "report", Usage: "write index.html, junit.xml and report.json into `DIR`"},
	}
}

func sessionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print events as JSON, one a line"},
		&cli.BoolFlag{Name: "privileged", Usage: "run the agent's container with --privileged instead of a few capabilities"},
		&cli.DurationFlag{Name: "ready-timeout", Usage: "`DURATION` that services may take to become ready", Value: 60 * time.Second},
	}
}

// projectOf is the project that the flags choose.
func projectOf(c *cli.Context) compose.ProjectFlags {
	return compose.ProjectFlags{
		Files: c.StringSlice("file"), Profiles: c.StringSlice("profile"), EnvFiles: c.StringSlice("env-file"),
		ProjectName: c.String("project-name"), ProjectDir: c.String("project-directory"),
	}
}

// sessionOptions reads flags and wiretape.yaml.
func sessionOptions(c *cli.Context, mode agent.Mode, r *reporter) (compose.Options, config, error) {
	opt := compose.Options{
		ProjectFlags: projectOf(c),
		Mode:         mode, Version: version, Privileged: c.Bool("privileged"), Debug: c.Bool("debug"),
		ReadyTimeout: c.Duration("ready-timeout"), Speed: 1,
		Progress: func(p compose.Progress) { r.progress(p) },
		Message:  func(m agent.FromAgent) { r.message(m) },
	}
	if opt.ReadyTimeout <= 0 {
		return opt, config{}, usagef("for example --ready-timeout 90s", "--ready-timeout %s is not positive", opt.ReadyTimeout)
	}
	dir, err := composeDir(opt.ProjectDir, opt.Files)
	if err != nil {
		return opt, config{}, usagef("go to the folder that has compose.yaml, or name the file with -f", "%w", err)
	}
	cfg, err := readConfig(dir)
	if err != nil {
		return opt, cfg, err
	}
	opt.Tape = c.String("tape")
	if opt.Tape == "" {
		opt.Tape = filepath.Join(dir, filepath.FromSlash(defaultTape))
	}
	opt.Redact, opt.Correlate = cfg.Redact.rules(), cfg.Correlate
	if mode == agent.Replay {
		opt.KeepEncoding = cfg.KeepEncoding
		opt.MatchHeaders = cfg.Match.Headers
		opt.KeepNetworks = cfg.Test.KeepNetworks || c.Bool("keep-networks")
		if opt.Noise, err = cfg.noise(); err != nil {
			return opt, cfg, err
		}
		opt.Speed = c.Float64("speed")
		if opt.Speed < 0 {
			return opt, cfg, usagef("1 plays as recorded, 2 twice as fast, 0 without any wait", "--speed %v is negative", opt.Speed)
		}
		opt.OnMiss = agent.OnMiss(c.String("on-miss"))
		if opt.OnMiss == "" && !c.IsSet("on-miss") { // a command without the flag
			opt.OnMiss = agent.Fail
		}
		if opt.OnMiss != agent.Fail && !opt.OnMiss.Open() {
			return opt, cfg, usagef("it is fail, passthrough or record", "--on-miss can't be %q", opt.OnMiss)
		}
		if !opt.OnMiss.Open() {
			return opt, cfg, nil
		}
		err = upstreamOptions(c, &opt, cfg)
		return opt, cfg, err
	}
	err = recordOptions(c, &opt, cfg)
	return opt, cfg, err
}

func recordOptions(c *cli.Context, opt *compose.Options, cfg config) error {
	opt.Services, opt.Hosts = cfg.Services, cfg.Hosts
	if c.IsSet("service") {
		opt.Services = c.StringSlice("service")
	}
	if c.IsSet("host") {
		opt.Hosts = c.StringSlice("host")
	}
	if _, err := proxy.ParseHosts(opt.Hosts); err != nil { // those of the file were looked at
		return usagef("for example --host api.openai.com or --host '*.example.com:8443'", "--host: %w", err)
	}
	opt.KeepEncoding = cfg.KeepEncoding || c.Bool("keep-encoding")
	return upstreamOptions(c, opt, cfg)
}

// upstreamOptions reads what to trust upstream.
func upstreamOptions(c *cli.Context, opt *compose.Options, cfg config) error {
	what, ca := configName+": upstream_ca", cfg.UpstreamCA
	if c.IsSet("upstream-ca") {
		what, ca = "--upstream-ca", c.String("upstream-ca")
	}
	if ca == "" {
		return nil
	}
	var err error
	opt.UpstreamCA, err = readUpstreamCA(what, ca)
	return err
}

// runSession is record and replay: a session, with COMMAND or until Ctrl-C.
func runSession(c *cli.Context, io streams, mode agent.Mode) error {
	r := newReporter(io.out, c.Bool("json"))
	opt, _, err := sessionOptions(c, mode, r)
	if err != nil {
		return err
	}
	var command *compose.Command
	if c.Args().Present() {
		if command, err = compose.FindCommand(c.Args().Slice()); err != nil {
			return err
		}
	}
	if mode == agent.Replay {
		// Read here first: what is wrong with a tape is known before anything starts.
		if _, err := tape.Open(opt.Tape); err != nil {
			return err
		}
		opt.Reuse = true
	}
	if opt.Root, err = mitmtls.LoadOrCreateRoot(""); err != nil {
		return err
	}
	for _, w := range opt.Root.Warnings() {
		r.warn(w, "")
	}
	var misses *rerecording
	if opt.OnMiss == agent.RecordMiss {
		if misses, err = newRerecording(false); err != nil {
			return err
		}
		opt.Message = func(m agent.FromAgent) {
			if m.Update != nil {
				misses.apply(*m.Update)
				return
			}
			r.message(m)
		}
	}
	started := time.Now()
	waited := false
	result, err := compose.Run(c.Context, opt, func(ctx context.Context, s *compose.Session) error {
		if command != nil {
			return runCommand(ctx, c.Context, command, s)
		}
		r.ready(s, mode)
		<-ctx.Done()
		waited = c.Context.Err() != nil && context.Cause(ctx) == context.Cause(c.Context)
		if waited {
			return nil
		}
		return context.Cause(ctx)
	})
	if misses != nil {
		if merr := misses.finish(opt.Tape, nil); merr != nil && err == nil {
			err = fmt.Errorf("%w: %w", errTapeUnchanged, merr)
		}
	}
	return conclude(c, r, mode, opt, result, err, waited, started)
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
	err := command.Run(ctx, s)
	if err != nil && ctx.Err() != nil && user.Err() == nil {
		return context.Cause(ctx)
	}
	return err
}

// conclude prints the summary and finds the exit code.
func conclude(c *cli.Context, r *reporter, mode agent.Mode, opt compose.Options, result *compose.Result, err error, waited bool, started time.Time) error {
	n := r.counts()
	s := summary{Mode: c.Command.Name, Took: time.Since(started).Seconds(), OK: err == nil}
	if result != nil {
		s.Tape, s.Complete, s.Problems = relative(result.Tape), &result.Complete, result.Problems
		s.OK = s.OK && result.Complete && !poorer(result)
	}
	if mode == agent.Replay {
		s.Tape = opt.Tape
		s.OK = s.OK && n.Misses == 0 && n.Errors == 0
	}
	if err == nil || result != nil || n.Calls+n.Misses > 0 {
		r.finish(s)
	}
	switch {
	case result == nil:
	case result.Dropped:
		if err != nil {
			r.warn("nothing was recorded, so the tape at "+relative(opt.Tape)+" was left as it was", recordSomething)
		}
	case result.Kept:
		r.warn(fmt.Sprintf("the tape at %s was left as it was; this recording is in %s", relative(opt.Tape), relative(result.Tape)),
			"look at it with wiretape tape ls "+relative(result.Tape)+", or record again")
	case result.Worth == tape.Nothing:
		r.warn("nothing was recorded", recordSomething)
	case result.Worth == tape.Unanswered:
		r.warn("none of the calls was answered", recordAnswers)
	}
	if exit := (*compose.ExitError)(nil); c.Context.Err() != nil && !waited && (err == nil || errors.As(err, &exit)) {
		// COMMAND was interrupted with us; how it took it is not the news.
		err = &failure{code: exitInterrupted, err: errInterrupted}
	}
	switch {
	case err != nil && result != nil && !result.Complete && classify(err).code == exitEnvironment:
		// The agent or the disk failed while it recorded; what matters is what is missing.
		return &failure{code: exitIncomplete, err: err, hint: "record again; what there is of it is in " + relative(result.Tape)}
	case err != nil:
		return err
	case result != nil && !result.Complete:
		return &failure{code: exitIncomplete, err: errors.New("the recording is incomplete"), hint: "record again; what there is of it is in " + relative(result.Tape)}
	case result != nil && result.Dropped:
		return &failure{code: exitIncomplete, err: fmt.Errorf("nothing was recorded, so the tape at %s was left as it was", relative(opt.Tape)), hint: recordSomething}
	case poorer(result):
		return &failure{code: exitIncomplete, err: errors.New("none of the calls was answered, so the recording did not take the tape's place"),
			hint: recordAnswers + "; if the outside world is meant to be down, move the recording to the tape's place by hand"}
	case mode == agent.Replay && n.Misses > 0:
		return &failure{code: exitFailed, err: errors.New(report.Plural(n.Misses, "miss") + ": the app asked for what the tape does not have"),
			hint: "see what differs above; if the app is right, add it to the tape with --on-miss record"}
	case mode == agent.Replay && n.Errors > 0:
		return &failure{code: exitFailed, err: errors.New(report.Plural(n.Errors, "answer") + " could not be played to the end"), hint: "the errors above name them; wiretape tape verify " + opt.Tape + " tells whether the tape is at fault"}
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
	default:
		logrus.Debug(p.Text)
	}
}

// message tells of what the agent says.
func (r *reporter) message(m agent.FromAgent) {
	switch {
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

func composeDown(c *cli.Context, io streams) error {
	if err := exactArgs(c, 0, ""); err != nil {
		return err
	}
	r := newReporter(io.out, c.Bool("json"))
	opt := compose.Options{
		ProjectFlags: projectOf(c),
		Version:      version, Privileged: c.Bool("privileged"),
		Progress: func(p compose.Progress) { r.progress(p) },
		Message:  func(m agent.FromAgent) { r.message(m) },
	}
	n, err := compose.Down(c.Context, opt)
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
