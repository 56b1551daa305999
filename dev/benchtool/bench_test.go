//go:build linux

package main

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

func TestQuantileIsTheSmallestValueThatEnoughDoNotExceed(t *testing.T) {
	s := sample{5, -3, 1, 4, 2}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{{0, -3}, {0.2, -3}, {0.5, 2}, {0.8, 4}, {0.99, 5}, {1, 5}} {
		if got := s.quantile(c.q); got != c.want {
			t.Errorf("quantile(%v) = %v, want %v", c.q, got, c.want)
		}
	}
	if got := (sample{}).quantile(0.5); got != 0 {
		t.Errorf("of nothing it is %v", got)
	}
}

func TestDriftIsFoundUnderStalls(t *testing.T) {
	var ps []point
	for i := range 3000 {
		p := point{due: time.Duration(i) * 20 * time.Millisecond}
		p.late = 50*time.Microsecond + p.due/1_000_000
		if i%97 == 0 {
			p.late += 20 * time.Millisecond
		}
		ps = append(ps, p)
	}
	// A millionth is 60 µs a minute, and 54 µs between the middles of the tenths.
	if got := slope(slices.Clone(ps)); (got - 60*time.Microsecond).Abs() > time.Microsecond {
		t.Errorf("slope is %v", got)
	}
	if got := drift(ps); (got - 54*time.Microsecond).Abs() > time.Microsecond {
		t.Errorf("drift is %v", got)
	}
}

func TestScheduleIsIrregularAndTheSameAgain(t *testing.T) {
	const length = 20 * time.Second
	s := newSchedule(7, length)
	if !slices.Equal(s.chunks, newSchedule(7, length).chunks) {
		t.Error("the same seed gives another schedule")
	}
	if slices.Equal(s.chunks, newSchedule(8, length).chunks) {
		t.Error("another seed gives the same schedule")
	}
	if n := len(s.chunks); n < 850 || n > 1150 {
		t.Errorf("%d chunks in %v", n, length)
	}
	if !slices.IsSorted(s.chunks) || s.chunks[0] < s.head || s.chunks[len(s.chunks)-1] >= length {
		t.Error("the times are out of order or range")
	}
}

func TestEventSaysItsNumberAndTime(t *testing.T) {
	event := appendEvent(nil, 17, 123456789)
	n, sent, ok := parseEvent(bytes.TrimSuffix(event, []byte("\n\n")))
	if n != 17 || sent != 123456789 || !ok {
		t.Errorf("got %d, %d, %v", n, sent, ok)
	}
	for _, line := range []string{"", "data: ", "data: x 1 -", "data: 1", "event: 1 2"} {
		if _, _, ok := parseEvent([]byte(line)); ok {
			t.Errorf("%q is taken for an event", line)
		}
	}
}
