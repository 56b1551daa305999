package compare

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A CallTiming is when one call that the app made for a case came and went.
// Times count from the end of the case's request, as in Timing.
type CallTiming struct {
	Number int           `json:"number"` // of the recorded call; 0 if it was not recorded
	URL    string        `json:"url,omitempty"`
	Start  time.Duration `json:"start"` // the app's request was complete
	First  time.Duration `json:"first"` // the answer's first byte
	Last   time.Duration `json:"last"`  // its last chunk
	End    time.Duration `json:"end"`
	// GapFrom and GapTo are the longest silence between two chunks.
	GapFrom time.Duration `json:"gap_from"`
	GapTo   time.Duration `json:"gap_to"`
}

func (c CallTiming) scaled(l Limits) CallTiming {
	for _, d := range []*time.Duration{&c.Start, &c.First, &c.Last, &c.End, &c.GapFrom, &c.GapTo} {
		*d = l.scaled(*d)
	}
	return c
}

// A Delay says where time went.
type Delay struct {
	Total   time.Duration `json:"total"`
	Outside time.Duration `json:"outside"` // waiting for calls
	App     time.Duration `json:"app"`
}

// Where is "outside" or "app", whichever has most of the delay, or "" for none.
func (d *Delay) Where() string {
	switch {
	case d == nil || d.Total <= 0:
		return ""
	case d.Outside >= d.App:
		return "outside"
	}
	return "app"
}

func (d *Delay) sentence() string {
	switch d.Where() {
	case "outside":
		return fmt.Sprintf("; %s of the delay is outside, in the calls", ms(d.Outside))
	case "app":
		return fmt.Sprintf("; %s of the delay is in the app", ms(d.App))
	}
	return ""
}

func callSpread(calls []CallTiming) time.Duration {
	var spread time.Duration
	for _, c := range calls {
		spread = max(spread, c.Last-c.First)
	}
	return spread
}

func lastCallEnd(calls []CallTiming) time.Duration {
	var end time.Duration
	for _, c := range calls {
		end = max(end, c.End)
	}
	return end
}

// attributeFirst splits the delay of the first unit. Up to the first unit the
// app waits for a call until it ends, or, if the call was still going in the
// recording when the first unit came, until its first byte: from then on it is
// the app that holds back. nil without the calls of both sides.
func attributeFirst(rec, now *Timing, recCalls, nowCalls []CallTiming) *Delay {
	if len(recCalls) == 0 || len(nowCalls) == 0 {
		return nil
	}
	goingOn, took := map[int]bool{}, map[int]time.Duration{}
	var recWaits, nowWaits []interval
	for _, c := range recCalls {
		goingOn[c.Number] = c.End > rec.First
		took[c.Number] = c.End - max(c.First, c.Start)
		recWaits = append(recWaits, c.wait(goingOn[c.Number]))
	}
	for _, c := range nowCalls {
		if longest, ok := took[c.Number]; ok && c.Number != 0 { // an app that does not read keeps it from ending
			c.End = min(c.End, max(c.First, c.Start)+longest+lateCall)
		}
		nowWaits = append(nowWaits, c.wait(goingOn[c.Number]))
	}
	d := &Delay{Total: now.First - rec.First}
	d.Outside = covered(nowWaits, interval{0, now.First}) - covered(recWaits, interval{0, rec.First})
	d.Outside = min(max(d.Outside, 0), max(d.Total, 0))
	d.App = max(d.Total-d.Outside, 0)
	return d
}

// lateCall is how much later than recorded a call may be played.
const lateCall = 50 * time.Millisecond

func (c CallTiming) wait(untilFirst bool) interval {
	if untilFirst && c.First > 0 {
		return interval{c.Start, c.First}
	}
	return interval{c.Start, c.End}
}

// attributeGap splits the longest silence: outside is what falls into a call's
// own longest silence or its wait for a first byte. A call is silent for no longer
// than it was recorded: what goes beyond that is an app that does not read.
func attributeGap(now *Timing, recCalls, calls []CallTiming) *Delay {
	if len(calls) == 0 {
		return nil
	}
	recorded := map[int]time.Duration{}
	for _, c := range recCalls {
		recorded[c.Number] = c.GapTo - c.GapFrom
	}
	var waits []interval
	for _, c := range calls {
		gap := interval{c.GapFrom, c.GapTo}
		if longest, ok := recorded[c.Number]; ok && c.Number != 0 {
			gap.to = min(gap.to, gap.from+longest+lateCall)
		}
		waits = append(waits, gap, interval{c.Start, c.First})
	}
	d := &Delay{Total: now.Gap()}
	d.Outside = covered(waits, interval{now.GapFrom, now.GapTo})
	d.App = d.Total - d.Outside
	return d
}

type interval struct{ from, to time.Duration }

// covered is the length of the part of in that the intervals cover, counted once.
func covered(of []interval, in interval) time.Duration {
	clipped := make([]interval, 0, len(of))
	for _, i := range of {
		if i.from, i.to = max(i.from, in.from), min(i.to, in.to); i.from < i.to {
			clipped = append(clipped, i)
		}
	}
	sortIntervals(clipped)
	var sum, done time.Duration
	done = in.from
	for _, i := range clipped {
		if from := max(i.from, done); i.to > from {
			sum += i.to - from
			done = i.to
		}
	}
	return sum
}

func sortIntervals(is []interval) {
	slices.SortFunc(is, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
}
