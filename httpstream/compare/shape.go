package compare

import (
	"fmt"
	"time"
)

// Timing is when an answer came. Times count from the end of the request.
// Where the body has units other than lines of text, units are counted (for
// SSE, events but not comments), else the pieces that arrived.
type Timing struct {
	Head  time.Duration `json:"head"`
	First time.Duration `json:"first"` // of the first unit; meaningless if Count is 0
	Last  time.Duration `json:"last"`
	End   time.Duration `json:"end"`
	// Gap is the longest silence between two units.
	GapFrom time.Duration `json:"gap_from"`
	GapTo   time.Duration `json:"gap_to"`
	// Moments counts units at least momentWidth apart: 1 is a single burst.
	Moments int   `json:"moments"`
	Count   int   `json:"count"`
	Bytes   int64 `json:"bytes"`

	moment time.Duration // when the present moment began
}

// momentWidth is how close together arrivals count as one. Wider than the
// jitter of a busy machine, narrower than any pause that a person sees.
const momentWidth = 10 * time.Millisecond

func (t *Timing) arrive(at time.Duration) {
	if t.Count == 0 {
		t.First, t.moment, t.Moments = at, at, 1
	} else {
		if at-t.Last > t.GapTo-t.GapFrom {
			t.GapFrom, t.GapTo = t.Last, at
		}
		if at-t.moment >= momentWidth {
			t.moment = at
			t.Moments++
		}
	}
	t.Last = at
	t.Count++
}

// Gap is the length of the longest silence.
func (t *Timing) Gap() time.Duration { return t.GapTo - t.GapFrom }

// Spread is the time from the first unit to the last.
func (t *Timing) Spread() time.Duration { return t.Last - t.First }

// A Bound allows recorded × Ratio + Floor.
type Bound struct {
	Ratio float64
	Floor time.Duration
	Off   bool
}

func (b Bound) of(recorded time.Duration) time.Duration {
	return time.Duration(float64(recorded)*b.Ratio) + b.Floor
}

// Limits say how much an answer's timing may differ.
type Limits struct {
	Buffered bool // fail where a stream is held back
	First    Bound
	Gap      Bound
	// Speed is the speed that calls are replayed at: 1 as recorded, 2 twice as
	// fast. With 0, as fast as it goes, timing says nothing and is not checked.
	Speed float64
}

// DefaultLimits don't fail a busy machine: three times as long, and half a
// second on top.
func DefaultLimits() Limits {
	b := Bound{Ratio: 3, Floor: 500 * time.Millisecond}
	return Limits{Buffered: true, First: b, Gap: b, Speed: 1}
}

// Below these, a stream is too short for its shape to be told from jitter.
const (
	minMoments      = 3
	minSpread       = 100 * time.Millisecond
	coarseMoments   = 6
	coarseSpread    = 250 * time.Millisecond
	coarseFactor    = 3
	burstPart       = 5 // a burst takes at most a fifth of the recorded spread
	waitsForTheCall = 100 * time.Millisecond

	// A body that came in pieces as large as this without a pause worth the name
	// was sent as fast as it went: how long that takes says nothing of the app.
	bulkPiece = 8 << 10
	bulkPause = 250 * time.Millisecond
)

// scaled turns a recorded time into the one expected at the replay's speed.
func (l Limits) scaled(d time.Duration) time.Duration {
	if l.Speed == 1 || l.Speed == 0 {
		return d
	}
	return time.Duration(float64(d) / l.Speed)
}

// checkShape compares two timings, both already at the replay's speed.
func checkShape(rec, now *Timing, unit string, recCalls, nowCalls []CallTiming, l Limits, tell func(Difference)) {
	if l.Speed == 0 || rec.Count == 0 || now.Count == 0 {
		return
	}
	if l.Buffered {
		if why := heldBack(rec, now, recCalls, nowCalls); why != "" {
			tell(Difference{
				Kind:     Buffered,
				Recorded: describe(rec, unit),
				Now:      describe(now, unit),
				Message: fmt.Sprintf("buffered: %s; recorded %s, now %s%s", why, describe(rec, unit), describe(now, unit),
					attributeFirst(rec, now, recCalls, nowCalls).sentence()),
			})
			return // the other two would only say the same again
		}
	}
	if limit := l.First.of(rec.First); !l.First.Off && now.First > limit {
		tell(Difference{
			Kind: SlowFirst, Recorded: ms(rec.First), Now: ms(now.First),
			Message: fmt.Sprintf("the first %s came after %s, recorded %s, allowed %s%s", unit,
				ms(now.First), ms(rec.First), ms(limit), attributeFirst(rec, now, recCalls, nowCalls).sentence()),
		})
	}
	if limit := l.Gap.of(rec.Gap()); !l.Gap.Off && now.Gap() > limit {
		tell(Difference{
			Kind: SlowGap, Recorded: ms(rec.Gap()), Now: ms(now.Gap()),
			Message: fmt.Sprintf("silent for %s from %s on, the longest recorded gap is %s, allowed %s%s", ms(now.Gap()),
				ms(now.GapFrom), ms(rec.Gap()), ms(limit), attributeGap(now, nowCalls).sentence()),
		})
	}
}

// heldBack tells why an answer that was streamed counts as buffered now; empty if it doesn't.
func heldBack(rec, now *Timing, recCalls, nowCalls []CallTiming) string {
	if rec.Moments < minMoments || rec.Spread() < minSpread || rec.bulk() {
		return ""
	}
	// Where the calls themselves came in one burst the app had nothing to stream.
	if r, n := callSpread(recCalls), callSpread(nowCalls); r >= minSpread && n <= r/burstPart {
		return ""
	}
	if now.Spread() <= max(rec.Spread()/burstPart, momentWidth) {
		return "it came in one burst"
	}
	recEnd, nowEnd := lastCallEnd(recCalls), lastCallEnd(nowCalls)
	if recEnd-rec.First >= waitsForTheCall && nowEnd > 0 && now.First >= nowEnd {
		return "the first waited for the end of the last call"
	}
	if rec.Moments >= coarseMoments && rec.Spread() >= coarseSpread && now.Moments*coarseFactor <= rec.Moments {
		return "it came in far fewer steps"
	}
	return ""
}

// bulk tells whether a body came as fast as it could be read.
func (t *Timing) bulk() bool {
	return t.Bytes/int64(t.Count) >= bulkPiece && t.Gap() < bulkPause
}

func describe(t *Timing, unit string) string {
	plural := "s"
	if t.Count == 1 {
		plural = ""
	}
	moments := "one burst"
	if t.Moments > 1 {
		moments = fmt.Sprintf("%d moments", t.Moments)
	}
	return fmt.Sprintf("%d %s%s in %s, from %s to %s", t.Count, unit, plural, moments, ms(t.First), ms(t.Last))
}

// ms writes a duration for people: "0.4 ms", "120 ms", "3.20 s".
func ms(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
