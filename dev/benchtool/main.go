//go:build linux

// Benchtool measures bin/wiretape from outside, as a client sees it: origin,
// wiretape, bare servers and clients are processes of their own, on loopback.
// docs/benchmarks.md says what is measured and how. It runs on Linux, where the
// processes of a machine share CLOCK_MONOTONIC and /proc tells what they used.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

const usage = `usage: benchtool [flags] [FIGURE]...

Measures wiretape, its peers and what limits them. Nothing passes or fails: a
figure is compared with its goal only if the machine was quiet.
`

// options are what the figures are measured with.
type options struct {
	wiretape   string
	peers      bool
	rounds     int
	rateRounds int           // of a recording that goes on for long
	one        time.Duration // a stream alone
	many       time.Duration // a stream among parallel ones
	parallel   int
	long       time.Duration // the stream for the drift
	blob       int64
	steady     time.Duration // how long a recording is kept up
	brief      time.Duration // a load else
	distinct   int           // calls of the tape that is asked for once
	again      int           // calls of the tape of which one is asked for
	firsts     int           // short streams that are played for the first byte
	heads      int           // requests for the time to the head, each round
	large      int           // calls of the tape that is opened
	streams    int           // that are recorded at once
	drips      int           // events of each of them
	sessions   int           // rounds of a session
	fetches    int           // requests in a container, each round
	cases      int           // of a test
}

// fullOptions are for docs/benchmarks.md.
func fullOptions() options {
	return options{
		peers: true, rounds: 5, rateRounds: 3, one: 4 * time.Second, many: 6 * time.Second, parallel: 200, long: 30 * time.Second,
		blob: 1 << 30, steady: 20 * time.Second, brief: 2 * time.Second, distinct: 24_000, again: 7_000, firsts: 20, heads: 100,
		large: 100_000, streams: 5000, drips: 10, sessions: 5, fetches: 200, cases: 1000,
	}
}

// quickOptions show whether a figure can be measured.
func quickOptions() options {
	return options{
		rounds: 1, rateRounds: 1, one: 300 * time.Millisecond, many: 300 * time.Millisecond, parallel: 5, long: 300 * time.Millisecond,
		blob: 1 << 20, steady: 300 * time.Millisecond, brief: 200 * time.Millisecond, distinct: 200, again: 100, firsts: 2, heads: 5,
		large: 200, streams: 20, drips: 2, sessions: 1, fetches: 5, cases: 3,
	}
}

// recordPatience is how long the recording of a tape to replay may take.
const recordPatience = 5 * time.Minute

// A figure is one thing to measure.
type figure struct {
	name, title string
	measure     func(context.Context, *bench, *results.Figure) error
	engine      bool // needs a Docker engine
}

func figures() []figure {
	return []figure{
		{"record-rate", "recording small answers", measureRecordRate, false},
		{"record", "what recording adds to a chunk and to a head", measureRecord, false},
		{"record-parallel", "the same for many streams at once", measureRecordParallel, false},
		{"record-memory", "memory and throughput for one large stream", measureRecordMemory, false},
		{"record-tls", "one download over TLS", measureRecordTLS, false},
		{"record-streams", "thousands of streams at once", measureRecordStreams, false},
		{"tape-open", "opening a large tape", measureTapeOpen, false},
		{"tape-disk", "a small call on the disk", measureTapeDisk, false},
		{"replay-rate", "replaying small answers without any wait", measureReplayRate, false},
		{"replay-distinct", "replaying each call of a large tape", measureReplayDistinct, false},
		{"replay-again", "replaying one call of a large tape again and again", measureReplayAgain, false},
		{"replay", "how far from its recorded time a chunk arrives, one stream", measureReplay, false},
		{"replay-parallel", "the same for many streams at once", measureReplayParallel, false},
		{"replay-long", "whether a long stream drifts", measureReplayLong, false},
		{"replay-http2", "one stream over HTTP/2 and TLS", measureReplayHTTP2, false},
		{"chat", "the stream of an LLM, recorded and replayed", measureChat, false},
		{"session", "what a session adds to docker compose up and down", measureSession, true},
		{"container", "first byte in a container of a session", measureContainer, true},
		{"mount", "a tape that the agent writes, beside one that is sent to wiretape", measureMount, true},
		{"test", "testing many short cases", measureTest, true},
	}
}

func main() {
	// Children die with the thread that started them, so it must be this one.
	runtime.LockOSThread()
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "benchtool:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case roleOrigin:
			return runOrigin(args[1:])
		case roleFloor:
			return runFloor(args[1:])
		case roleClient:
			return runClient(os.Stdin, os.Stdout)
		case roleLoad:
			return runLoad(os.Stdin, os.Stdout)
		case roleSmall:
			return runSmall(args[1:])
		case roleLimit:
			return runLimit(args[1:])
		case roleIdle:
			return runIdle()
		case roleFetch:
			return runFetch(args[1:], os.Stdout)
		case roleFront:
			return runFront(args[1:])
		case roleOpen:
			return runOpen(os.Stdin, os.Stdout)
		}
	}
	return runBench(args)
}

func runBench(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	flags := flag.NewFlagSet("benchtool", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	opt := fullOptions()
	flags.StringVar(&opt.wiretape, "wiretape", "bin/wiretape", "the `binary` to measure")
	flags.BoolVar(&opt.peers, "peers", true, "install and measure peers")
	flags.IntVar(&opt.rounds, "rounds", opt.rounds, "how often each figure and its peers are measured, in turns")
	flags.DurationVar(&opt.long, "long", opt.long, "length of the stream for the drift")
	out := flags.String("out", "bin/bench/results.json", "the `file` that results are added to")
	render := flags.String("render", "", "only write tables and plots of -out into a `page` and the folder of the same name beside it")
	quiet := flags.Duration("quiet", 0, "for up to so long, wait while others use the machine, and repeat rounds that they disturbed")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if *render != "" {
		return renderPage(*out, *render)
	}
	wanted, err := choose(flags.Args())
	if err != nil {
		return err
	}
	return measure(ctx, opt, wanted, *out, *quiet)
}

func choose(names []string) ([]figure, error) {
	all := figures()
	if len(names) == 0 {
		return all, nil
	}
	var wanted []figure
	for _, name := range names {
		found := false
		for _, f := range all {
			if f.name == name {
				wanted, found = append(wanted, f), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no figure %q\n%s", name, strings.TrimSuffix(usage, "\n"))
		}
	}
	return wanted, nil
}

func measure(ctx context.Context, opt options, wanted []figure, out string, patience time.Duration) (err error) {
	binary, err := filepath.Abs(opt.wiretape)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("%w; build it with: make build", err)
	}
	opt.wiretape = binary
	dir, err := os.MkdirTemp("", "wiretape-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	clk, err := newClock()
	if err != nil {
		return err
	}
	b := &bench{options: opt, dir: dir, clock: clk, out: os.Stdout, installed: map[string]installedPeer{}, give: time.Now().Add(patience)}
	defer b.stopAll()
	if b.version, err = wiretapeVersion(ctx, binary); err != nil {
		return err
	}
	var failed []error
	for _, f := range wanted {
		r, err := b.measure(ctx, f)
		if err == nil {
			err = keep(out, r)
		}
		if err != nil {
			// The others are worth measuring all the same.
			failed = append(failed, fmt.Errorf("%s: %w", f.name, err))
			fmt.Fprintf(b.out, "%s: %v\n\n", f.name, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// measure measures a figure and prints it.
func (b *bench) measure(ctx context.Context, f figure) (*results.Figure, error) {
	b.worst, b.repeated, b.used = 0, 0, map[string]bool{}
	r := &results.Figure{Name: f.name, Title: f.title}
	var err error
	if r.Machine, err = b.machine(); err != nil {
		return nil, err
	}
	if r.Machine.Load > maxLoad {
		fmt.Fprintf(b.out, "WARNING: the load is %.2f: measure on a quiet machine\n", r.Machine.Load)
	}
	began := time.Now()
	defer b.stopAll()
	if err := f.measure(ctx, b, r); err != nil {
		return nil, err
	}
	r.Others, r.Repeated = b.worst, b.repeated
	note(r, "with %s; took %s", b.versions(), time.Since(began).Round(time.Second))
	r.WriteText(b.out)
	return r, nil
}

// keep adds a figure to the file of results.
func keep(path string, r *results.Figure) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	all, err := results.Load(path)
	if err != nil {
		return err
	}
	all.Put([]*results.Figure{r}, figureNames())
	return all.Save(path)
}

func figureNames() []string {
	var names []string
	for _, f := range figures() {
		names = append(names, f.name)
	}
	return names
}

func wiretapeVersion(ctx context.Context, binary string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", binary, err)
	}
	return strings.TrimSpace(string(out)), nil
}
