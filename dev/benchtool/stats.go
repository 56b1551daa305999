//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wiretape/wiretape/dev/benchtool/results"
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

// ns are the values in nanoseconds.
func (s sample) ns() []float64 {
	all := make([]float64, len(s))
	for i, d := range s {
		all[i] = float64(d)
	}
	return all
}

// short writes a duration in as few digits as say something.
func short(d time.Duration) string { return results.Nanoseconds.Format(float64(d)) }

// table begins a table of a figure.
func table(f *results.Figure, what string, unit results.Unit) *results.Table {
	t := &results.Table{What: what, Unit: unit}
	f.Tables = append(f.Tables, t)
	return t
}

// plotted begins a table of which there is a plot, too.
func plotted(f *results.Figure, what string, unit results.Unit) *results.Table {
	t := table(f, what, unit)
	t.Plot = true
	return t
}

// series begins a series of a table.
func series(t *results.Table, label string, role results.Role) *results.Series {
	s := &results.Series{Label: label, Role: role}
	t.Series = append(t.Series, s)
	return s
}

// atMost is a goal for a duration.
func atMost(what string, got float64, bound time.Duration) results.Goal {
	return results.Goal{What: what, Got: got, Bound: float64(bound), Unit: results.Nanoseconds}
}

// note adds a line to a figure.
func note(f *results.Figure, format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}
