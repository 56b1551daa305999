package main

import (
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/httpstream/proxy"
)

// Each verb of compose reads its flags once, into a struct of its own.

// sessionOptions are what all of them take.
type sessionOptions struct {
	project      compose.ProjectFlags
	output       output
	privileged   bool
	debug        bool
	readyTimeout time.Duration
}

// recordOptions are those of record.
type recordOptions struct {
	sessionOptions
	tape            string
	services, hosts given[[]string]
	upstreamCA      given[string]
	keepEncoding    bool
	check           bool // play the new tape afterwards
	command         []string
}

// playOptions are those of the verbs that play a tape.
type playOptions struct {
	sessionOptions
	speed        float64
	onMiss       agent.OnMiss
	upstreamCA   given[string]
	keepNetworks bool
}

// replayOptions are those of replay.
type replayOptions struct {
	playOptions
	tape string
}

// testOptions are those of test.
type testOptions struct {
	playOptions
	tapes, cases []string
	update       bool
	parallel     given[int]
	report       string
	command      []string
}

// checkOptions are those of check.
type checkOptions struct {
	sessionOptions
	tape string
}

// given is the value of a flag that wiretape.yaml stands in for.
type given[T any] struct {
	value T
	set   bool
}

// or is the flag's value, or the file's.
func (g given[T]) or(file T) T {
	if g.set {
		return g.value
	}
	return file
}

func sessionOptionsOf(c *cli.Context) sessionOptions {
	return sessionOptions{
		project: compose.ProjectFlags{
			Files: c.StringSlice("file"), Profiles: c.StringSlice("profile"), EnvFiles: c.StringSlice("env-file"),
			ProjectName: c.String("project-name"), ProjectDir: c.String("project-directory"),
		},
		output: outputOf(c), privileged: c.Bool("privileged"), debug: c.Bool("debug"), readyTimeout: c.Duration("ready-timeout"),
	}
}

// flagsOf are the flags of a project, for a command that is suggested.
func flagsOf(p compose.ProjectFlags) []string {
	var flags []string
	for _, f := range []struct {
		name   string
		values []string
	}{{"-f", p.Files}, {"--profile", p.Profiles}, {"--env-file", p.EnvFiles}} {
		for _, v := range f.values {
			flags = append(flags, f.name, v)
		}
	}
	if p.ProjectName != "" {
		flags = append(flags, "-p", p.ProjectName)
	}
	if p.ProjectDir != "" {
		flags = append(flags, "--project-directory", p.ProjectDir)
	}
	return flags
}

func recordOptionsOf(c *cli.Context) recordOptions {
	return recordOptions{
		sessionOptions: sessionOptionsOf(c), tape: c.String("tape"),
		services:     given[[]string]{c.StringSlice("service"), c.IsSet("service")},
		hosts:        given[[]string]{c.StringSlice("host"), c.IsSet("host")},
		upstreamCA:   upstreamCAOf(c),
		keepEncoding: c.Bool("keep-encoding"), check: c.Bool("check"), command: c.Args().Slice(),
	}
}

func playOptionsOf(c *cli.Context) playOptions {
	return playOptions{
		sessionOptions: sessionOptionsOf(c), speed: c.Float64("speed"), onMiss: agent.OnMiss(c.String("on-miss")),
		upstreamCA: upstreamCAOf(c), keepNetworks: c.Bool("keep-networks"),
	}
}

func replayOptionsOf(c *cli.Context) (replayOptions, error) {
	return replayOptions{playOptions: playOptionsOf(c), tape: c.String("tape")}, exactArgs(c, 0, "")
}

func testOptionsOf(c *cli.Context) testOptions {
	return testOptions{
		playOptions: playOptionsOf(c), tapes: c.StringSlice("tape"), cases: c.StringSlice("case"),
		update: c.Bool("update"), parallel: given[int]{c.Int("parallel"), c.IsSet("parallel")},
		report: c.String("report"), command: c.Args().Slice(),
	}
}

func checkOptionsOf(c *cli.Context) (checkOptions, error) {
	return checkOptions{sessionOptions: sessionOptionsOf(c), tape: c.String("tape")}, exactArgs(c, 0, "")
}

func downOptionsOf(c *cli.Context) (sessionOptions, error) {
	return sessionOptionsOf(c), exactArgs(c, 0, "")
}

func upstreamCAOf(c *cli.Context) given[string] {
	return given[string]{c.String("upstream-ca"), c.IsSet("upstream-ca")}
}

// checkOf is what record --check goes on with.
func checkOf(o recordOptions) checkOptions {
	return checkOptions{sessionOptions: o.sessionOptions, tape: o.tape}
}

// asRecorded plays a tape as it is, for a verb without the flags of replay.
func asRecorded(o sessionOptions) playOptions {
	return playOptions{sessionOptions: o, speed: 1, onMiss: agent.Fail}
}

// forSession are the options of a session; it reads wiretape.yaml.
func (o *sessionOptions) forSession(mode agent.Mode, tape string, r *reporter) (compose.Options, config, error) {
	opt := compose.Options{ProjectFlags: o.project, ReadyTimeout: o.readyTimeout}
	opt.Mode, opt.Version, opt.Speed = mode, version, 1
	opt.Privileged, opt.Debug = o.privileged, o.debug
	opt.Progress, opt.Message = r.progress, r.message
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
	opt.Tape = tape
	if opt.Tape == "" {
		opt.Tape = filepath.Join(dir, filepath.FromSlash(defaultTape))
	}
	if _, _, err := recording.ParseVolume(opt.Tape); err != nil {
		return opt, cfg, err
	}
	opt.Redact, opt.Correlate = cfg.Redact.rules(), cfg.Correlate
	return opt, cfg, nil
}

func (o *recordOptions) forRecord(r *reporter) (compose.Options, error) {
	opt, cfg, err := o.forSession(agent.Record, o.tape, r)
	if err != nil {
		return opt, err
	}
	opt.Services, opt.Hosts = o.services.or(cfg.Services), o.hosts.or(cfg.Hosts)
	if _, err := proxy.ParseHosts(opt.Hosts); err != nil { // those of the file were looked at
		return opt, usagef("for example --host api.openai.com or --host '*.example.com:8443'", "--host: %w", err)
	}
	opt.KeepEncoding = cfg.KeepEncoding || o.keepEncoding
	opt.UpstreamCA, err = trustedUpstream(o.upstreamCA, cfg)
	return opt, err
}

func (o *playOptions) forReplay(tape string, r *reporter) (compose.Options, config, error) {
	opt, cfg, err := o.forSession(agent.Replay, tape, r)
	if err != nil {
		return opt, cfg, err
	}
	opt.KeepEncoding = cfg.KeepEncoding
	opt.MatchHeaders = cfg.Match.Headers
	opt.KeepNetworks = cfg.Test.KeepNetworks || o.keepNetworks
	if opt.Noise, err = yamlText(&cfg.Noise); err != nil {
		return opt, cfg, err
	}
	if opt.LLMFormats, err = yamlText(&cfg.LLMFormats); err != nil {
		return opt, cfg, err
	}
	if opt.Speed = o.speed; opt.Speed < 0 {
		return opt, cfg, usagef("1 plays as recorded, 2 twice as fast, 0 without any wait", "--speed %v is negative", opt.Speed)
	}
	switch opt.OnMiss = o.onMiss; {
	case opt.OnMiss.Open():
		opt.UpstreamCA, err = trustedUpstream(o.upstreamCA, cfg)
	case opt.OnMiss != agent.Fail:
		err = usagef("it is fail, passthrough or record", "--on-miss can't be %q", opt.OnMiss)
	}
	return opt, cfg, err
}

// trustedUpstream are the certificates to trust upstream, as PEM.
func trustedUpstream(flag given[string], cfg config) ([]byte, error) {
	what, file := configName+": upstream_ca", flag.or(cfg.UpstreamCA)
	if flag.set {
		what = "--upstream-ca"
	}
	if file == "" {
		return nil, nil
	}
	return readUpstreamCA(what, file)
}
