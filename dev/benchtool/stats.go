//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// A sample is measured durations, some of which may be negative.
type sample []time.Duration

// quantile is the smallest value that a part q of the values do not exceed.
func (s sample) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[max(0, int(math.Ceil(q*float64(len(s))))-1)]
}

// abs is the sample without signs.
func (s sample) abs() sample {
	a := make(sample, len(s))
	for i, d := range s {
		a[i] = d.Abs()
	}
	return a
}

// A point is how late something was that was due at a time.
type point struct{ due, late time.Duration }

func lateness(ps []point) sample {
	s := make(sample, len(ps))
	for i, p := range ps {
		s[i] = p.late
	}
	return s
}

// slope is the drift per minute: least squares over the medians of a hundred
// stretches of equal length, so that single stalls don't count.
func slope(ps []point) time.Duration {
	slices.SortFunc(ps, func(a, b point) int { return int(a.due - b.due) })
	stretch := max(1, len(ps)/100)
	var xs, ys []float64
	for part := range slices.Chunk(ps, stretch) {
		xs = append(xs, part[len(part)/2].due.Minutes())
		ys = append(ys, float64(lateness(part).quantile(0.5)))
	}
	var mx, my, sxy, sxx float64
	for i := range xs {
		mx += xs[i] / float64(len(xs))
		my += ys[i] / float64(len(xs))
	}
	for i := range xs {
		sxy += (xs[i] - mx) * (ys[i] - my)
		sxx += (xs[i] - mx) * (xs[i] - mx)
	}
	if sxx == 0 {
		return 0
	}
	return time.Duration(sxy / sxx)
}

// drift is how much later the median of the last tenth is than that of the first.
func drift(ps []point) time.Duration {
	slices.SortFunc(ps, func(a, b point) int { return int(a.due - b.due) })
	tenth := max(1, len(ps)/10)
	return lateness(ps[len(ps)-tenth:]).quantile(0.5) - lateness(ps[:tenth]).quantile(0.5)
}

// short writes a duration in as few digits as say something.
func short(d time.Duration) string {
	switch us := float64(d) / float64(time.Microsecond); {
	case math.Abs(us) < 10:
		return fmt.Sprintf("%.1f µs", us)
	case math.Abs(us) < 10_000:
		return fmt.Sprintf("%.0f µs", us)
	case math.Abs(us) < 10e6:
		return fmt.Sprintf("%.1f ms", us/1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

const columns = "  %-34s %10s %10s %10s %10s %8s"

// header begins a table of samples.
func (b *bench) header(what string) {
	b.printf(columns, what, "p50", "p99", "max", "min", "n")
}

// row is a line of it. The quantiles are those of s without signs where abs is
// set; min keeps its sign.
func (b *bench) row(label string, s sample, abs bool) {
	q := s
	if abs {
		q = s.abs()
	}
	b.printf(columns, "  "+label, short(q.quantile(0.5)), short(q.quantile(0.99)), short(q.quantile(1)),
		short(s.quantile(0)), fmt.Sprint(len(s)))
}

// A target is a figure that was promised.
type target struct {
	what       string
	got, limit time.Duration
}

// judge ends a figure: how quiet the machine was, and the targets.
func (b *bench) judge(targets ...target) {
	load, err := loadAverage()
	if err != nil {
		load = math.NaN()
	}
	b.printf("  others, the kernel included, used at most %.0f%% of a CPU during a round; %d rounds were repeated; load now %.2f",
		100*b.worst, b.repeated, load)
	for _, t := range targets {
		verdict := "met"
		switch {
		case b.worst > maxOthers:
			verdict = "no claim, the machine was busy"
		case t.got > t.limit:
			verdict = "missed"
		}
		b.printf("  target: %s %s, at most %s: %s", t.what, short(t.got), short(t.limit), verdict)
	}
	b.printf("")
	b.worst, b.repeated = 0, 0
}
