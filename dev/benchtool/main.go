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
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: benchtool [flags] [FIGURE]...

Measures wiretape proxy record and replay. Nothing passes or fails: a figure is
compared with its target only if the machine was quiet. Figures, all by default:
  replay replay-parallel replay-long replay-http2
  record record-parallel record-memory
`

// options are what the figures are measured with.
type options struct {
	wiretape string
	rounds   int
	one      time.Duration // a stream alone
	many     time.Duration // a stream among parallel ones
	parallel int
	long     time.Duration // the stream for the drift
	blob     int64
}

// A figure is one thing to measure.
type figure struct {
	name    string
	measure func(context.Context, *bench) error
}

func figures() []figure {
	return []figure{
		{"replay", measureReplay},
		{"replay-parallel", measureReplayParallel},
		{"replay-long", measureReplayLong},
		{"replay-http2", measureReplayHTTP2},
		{"record", measureRecord},
		{"record-parallel", measureRecordParallel},
		{"record-memory", measureRecordMemory},
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
	var opt options
	flags.StringVar(&opt.wiretape, "wiretape", "bin/wiretape", "the `binary` to measure")
	flags.IntVar(&opt.rounds, "rounds", 5, "how often each figure and its floor are measured, in turns")
	flags.DurationVar(&opt.one, "one", 4*time.Second, "length of a stream alone")
	flags.DurationVar(&opt.many, "many", 10*time.Second, "length of a stream among parallel ones")
	flags.IntVar(&opt.parallel, "parallel", 200, "how many streams are parallel")
	flags.DurationVar(&opt.long, "long", 30*time.Second, "length of the stream for the drift")
	flags.Int64Var(&opt.blob, "blob", 1<<30, "`bytes` of the stream for the memory")
	quiet := flags.Duration("quiet", 0, "for up to so long, wait while others use the machine, and repeat rounds that they disturbed")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	wanted, err := choose(flags.Args())
	if err != nil {
		return err
	}
	return measure(ctx, opt, wanted, *quiet)
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

func measure(ctx context.Context, opt options, wanted []figure, patience time.Duration) (err error) {
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
	b := &bench{options: opt, dir: dir, clock: clk, out: os.Stdout, give: time.Now().Add(patience)}
	defer b.stopAll()
	if err := b.begin(); err != nil {
		return err
	}
	for _, f := range wanted {
		if err := f.measure(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}
