// Package runner sends the recorded cases to the app again, as they were
// recorded byte for byte, and compares what comes back while it streams. It
// knows neither Docker nor the kernel: how to connect is a function, and the
// calls that the app makes meanwhile are heard through a Ledger.
//
// A case is sent over a pipe into the relay that recorded it, so that the same
// code sees the same chunk boundaries at the same places, then and now.
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/llm"
	"github.com/wiretape/wiretape/httpstream/noise"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	// defaultPatience is how long a service that refuses connections has to come
	// back: it may be starting again after a crash.
	defaultPatience = 5 * time.Second
	redialEvery     = 100 * time.Millisecond

	defaultLinger = time.Second
	longestLinger = 5 * time.Second

	// A case may take timeFactor times as long as it was recorded, and timeFloor on top.
	timeFactor = 3
	timeFloor  = 30 * time.Second

	// An answer may be sizeFactor times as long as it was recorded, and sizeFloor
	// on top, before it counts as endless.
	sizeFactor = 2
	sizeFloor  = 64 << 20

	// streamedMoment is how far apart chunks are to count as streamed.
	streamedMoment = 10 * time.Millisecond
)

// Options say how cases are run.
type Options struct {
	Tape *tape.Tape
	// TapeName is what the user calls the tape's folder; its own path if empty.
	TapeName string
	// Dial connects to the port that a case was sent to. Its error is an *event.Problem
	// where there is none any more; after any other it is called again for a while.
	Dial func(ctx context.Context, x *tape.Exchange) (net.Conn, error)
	// Calls hears of the app's calls.
	Calls *Ledger
	// Begin is called before each case.
	Begin func(number int, c Company)
	// Sent is told when the head of a case's request left; it may be nil.
	Sent func(number int, at time.Time)
	// Result takes each case's result as it ends; it is called from one goroutine
	// at a time. It returns an error where no further case is to run.
	Result func(report.CaseResult) error

	// Record, if set, records each case anew; Result then has Rerecorded set where
	// that should take the place of what is on the tape.
	Record func(x *tape.Exchange) *Retake

	// KeepEncoding leaves Accept-Encoding as the client sent it; otherwise the app
	// is asked not to compress, as it was when the cases were recorded.
	KeepEncoding bool
	// Headers replace the values of request fields that were redacted. Names are
	// compared without case.
	Headers map[string]string
	Rules   noise.Rules
	// Formats are as in compare.Options.
	Formats *llm.Table
	// Redact is as in compare.Options.
	Redact *tape.Redactor
	Limits compare.Limits
	// TimeLimit bounds each case; 0 means that it comes from its recorded length.
	TimeLimit time.Duration
	// Parallel is how many cases may run at once, of those that did not stream, and
	// that are not together in one of Collisions.
	Parallel   int
	Collisions [][]int
	// Linger is how long the app must be quiet behind the last case, where nobody else
	// would notice what it still does; 0 means a second.
	Linger time.Duration
	// Patience is how long to try to connect; 0 means 5 seconds.
	Patience time.Duration
	// MaxDifferences is as in compare.Options.
	MaxDifferences int
}

// Run runs cases, by number, in recorded order. A case that fails stops no
// other. The error is ctx's, or Result's.
func Run(ctx context.Context, opt Options, numbers []int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{opt: &opt, cancel: cancel}
	cases := r.choose(numbers)
	opt.Calls.expect(opt.Tape, cases)
	for i := 0; i < len(cases) && ctx.Err() == nil; {
		n := 1
		if opt.Parallel > 1 {
			n = r.sideBySide(cases[i:], cases)
		}
		if n <= 1 {
			n = 1
			r.alone(ctx, cases[i])
		} else {
			r.together(ctx, cases[i:i+n])
		}
		i += n
	}
	opt.Calls.linger(ctx, cmp.Or(opt.Linger, defaultLinger))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// run is one call of Run.
type run struct {
	opt    *Options
	cancel context.CancelCauseFunc
	mu     sync.Mutex // held while Result is called
}

func (r *run) choose(numbers []int) []*tape.Exchange {
	var cases []*tape.Exchange
	for _, x := range r.opt.Tape.Cases {
		if slices.Contains(numbers, x.Number) {
			cases = append(cases, x)
		}
	}
	return cases
}

// sideBySide counts the cases at the start of the list that can run at once.
func (r *run) sideBySide(cases, all []*tape.Exchange) int {
	for i, x := range cases {
		if r.collides(x, all) || r.streamed(x) {
			return i
		}
	}
	return len(cases)
}

// collides tells whether a case has a call in common with another of the run, so
// that each might get the other's answer: such a case runs alone.
func (r *run) collides(x *tape.Exchange, all []*tape.Exchange) bool {
	for _, set := range r.opt.Collisions {
		if slices.Contains(set, x.Number) && slices.ContainsFunc(all, func(o *tape.Exchange) bool {
			return o != x && slices.Contains(set, o.Number)
		}) {
			return true
		}
	}
	return false
}

// streamed tells whether a case, or a call that the app made for it, came in
// more than one moment: such a case runs alone.
func (r *run) streamed(x *tape.Exchange) bool {
	c, err := report.FromTape(r.opt.Tape, x)
	if err != nil || inMoments(c.Answer.Recorded) {
		return true
	}
	return slices.ContainsFunc(c.Calls, func(call report.Call) bool { return inMoments(call.Recorded) })
}

func inMoments(t *report.Timeline) bool {
	return t != nil && t.Count > 1 && t.Last-t.First() >= streamedMoment
}

func (r *run) alone(ctx context.Context, x *tape.Exchange) {
	r.opt.begin(x.Number, Alone)
	c := r.play(ctx, x)
	if r.doubtful(ctx, &c) {
		c = r.again(ctx, x, &c)
	}
	r.opt.Calls.end(x.Number)
	r.result(ctx, c)
}

// together runs cases side by side, and behind them, alone, those in doubt.
func (r *run) together(ctx context.Context, cases []*tape.Exchange) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	doubtful := make(map[*tape.Exchange]*report.CaseResult)
	slots := make(chan struct{}, r.opt.Parallel)
	for _, x := range cases {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			r.opt.begin(x.Number, Together)
			c := r.play(ctx, x)
			if r.doubtful(ctx, &c) {
				mu.Lock()
				defer mu.Unlock()
				doubtful[x] = &c
				return
			}
			r.opt.Calls.end(x.Number)
			r.result(ctx, c)
		})
	}
	wg.Wait()
	for _, x := range cases {
		if first := doubtful[x]; first != nil {
			c := r.again(ctx, x, first)
			r.opt.Calls.end(x.Number)
			r.result(ctx, c)
		}
	}
}

// result hands on a result, unless it only says that the run was interrupted.
func (r *run) result(ctx context.Context, c report.CaseResult) {
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.opt.Result(c); err != nil {
		r.cancel(err)
	}
}

// Company tells whether other cases run at the same time as one.
type Company string

const (
	// Alone: all calls are the case's own, but for those that name another.
	Alone    Company = "alone"
	Together Company = "together"
)

func (o *Options) begin(number int, c Company) {
	if o.Begin != nil {
		o.Begin(number, c)
	}
	o.Calls.begin(number)
}

// play runs one case.
func (r *run) play(ctx context.Context, x *tape.Exchange) (c report.CaseResult) {
	started := time.Now()
	c, err := report.FromTape(r.opt.Tape, x)
	defer func() { c.Began, c.Took = started, time.Since(started) }()
	if err != nil {
		r.opt.unreadable(&c, err)
		return c
	}
	if c.Reason = whySkipped(x, &c); c.Reason != "" {
		return c
	}
	conn, err := r.dial(ctx, x)
	if err != nil {
		c.Error = err.Error()
		var gone *event.Problem
		if errors.As(err, &gone) {
			c.NextSteps = []report.Step{{Do: gone.Next}}
		}
		return c
	}
	e := &exchange{opt: r.opt, x: x, c: &c, limit: r.timeLimit(&c)}
	e.run(ctx, conn)
	return c
}

// unreadable says that the recording is broken, with the names that the user knows.
func (o *Options) unreadable(c *report.CaseResult, err error) {
	name := o.TapeName
	if name == "" {
		name = o.Tape.Dir
	}
	c.Error = "the recording can't be read: " + strings.ReplaceAll(err.Error(), o.Tape.Dir, name)
	c.NextSteps = []report.Step{
		{Do: "see what is wrong with the tape, then record it again", Code: "wiretape tape verify " + name},
	}
}

// dial connects, and waits a while for a service that refuses.
func (r *run) dial(ctx context.Context, x *tape.Exchange) (net.Conn, error) {
	patience := r.opt.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		conn, err := r.opt.Dial(ctx, x)
		if err == nil {
			return conn, nil
		}
		if gone := (*event.Problem)(nil); errors.As(err, &gone) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s can't be reached: %w (tried for %s)", x.Service, err, patience)
		case <-time.After(redialEvery):
		}
	}
}

// timeLimit is how long a case may take.
func (r *run) timeLimit(c *report.CaseResult) time.Duration {
	if r.opt.TimeLimit > 0 {
		return r.opt.TimeLimit
	}
	recorded := c.Answer.Recorded.End
	if speed := r.opt.Limits.Speed; speed > 0 && speed < 1 {
		recorded = time.Duration(float64(recorded) / speed)
	}
	return timeFactor*recorded + timeFloor
}
