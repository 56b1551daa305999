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
	Pace     Bound // of the whole answer
	// Speed is the speed that calls are replayed at: 1 as recorded, 2 twice as
	// fast. With 0, as fast as it goes, timing says nothing and is not checked.
	Speed float64
}

// DefaultLimits don't fail a busy machine: single moments may take three times
// as long, the whole half as long again, and half a second on top.
func DefaultLimits() Limits {
	b := Bound{Ratio: 3, Floor: 500 * time.Millisecond}
	return Limits{Buffered: true, First: b, Gap: b, Pace: Bound{Ratio: 1.5, Floor: 500 * time.Millisecond}, Speed: 1}
}

// Below these, a stream is too short for its shape to be told from jitter.
const (
	minMoments      = 3
	minSpread       = 100 * time.Millisecond
	coarseMoments   = 4
	coarseSpread    = 250 * time.Millisecond
	coarseStep      = 60 * time.Millisecond // closer moments are merged by a busy machine as well
	burstPart       = 5                     // a burst takes at most a fifth of the recorded spread
	waitsForTheCall = 100 * time.Millisecond
	headAhead       = 300 * time.Millisecond // how far a head is ahead that can be held back

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

// shapes are the two timings of an answer, recorded times already at the
// replay's speed.
type shapes struct {
	rec, now           *Timing
	unit               string
	held               *stretch // that came at once; nil for none
	recCalls, nowCalls []CallTiming
	limits             Limits
	tell               func(Difference)
}

// check compares the two; whole is false where the recording does not have the
// answer's end.
func (s *shapes) check(whole bool) {
	if s.limits.Speed == 0 {
		return
	}
	if s.rec.Count == 0 || s.now.Count == 0 {
		s.head()
		s.pace(whole)
		return
	}
	if s.limits.Buffered && s.buffered() {
		return // the others would only say the same again
	}
	if limit := s.limit(s.limits.First, 0, s.rec.First); !s.limits.First.Off && s.now.First > limit {
		s.tell(Difference{
			Kind: SlowFirst, Recorded: ms(s.rec.First), Now: ms(s.now.First),
			Message: fmt.Sprintf("the first %s came after %s, recorded %s, allowed %s%s", s.unit,
				ms(s.now.First), ms(s.rec.First), ms(limit), s.attributeFirst()),
		})
	} else {
		s.head()
	}
	gap := false
	if limit := s.limit(s.limits.Gap, s.rec.GapFrom, s.rec.GapTo); !s.limits.Gap.Off && s.now.Gap() > limit {
		gap = true
		s.tell(Difference{
			Kind: SlowGap, Recorded: ms(s.rec.Gap()), Now: ms(s.now.Gap()),
			Message: fmt.Sprintf("silent for %s from %s on, the longest recorded gap is %s, allowed %s%s", ms(s.now.Gap()),
				ms(s.now.GapFrom), ms(s.rec.Gap()), ms(limit), attributeGap(s.now, s.recCalls, s.nowCalls).sentence()),
		})
	}
	if !gap {
		s.pace(whole)
	}
}

// limit is what a bound allows for a recorded time. What the app itself took,
// while no call was going on, is not played faster with the calls.
func (s *shapes) limit(b Bound, from, to time.Duration) time.Duration {
	limit := b.of(to - from)
	if s.limits.Speed > 1 {
		own := to - from - covered(wholeCalls(s.recCalls), interval{from, to})
		limit += time.Duration(float64(own) * (s.limits.Speed - 1))
	}
	return limit
}

func wholeCalls(calls []CallTiming) []interval {
	list := make([]interval, len(calls))
	for i, c := range calls {
		list[i] = interval{c.Start, c.End}
	}
	return list
}

func (s *shapes) attributeFirst() string {
	return attributeFirst(s.rec, s.now, s.recCalls, s.nowCalls).sentence()
}

// head judges the head by the limit of the first unit: it is not later.
func (s *shapes) head() {
	limit := s.limit(s.limits.First, 0, s.rec.Head)
	if s.limits.First.Off || s.now.Head <= limit {
		return
	}
	s.tell(Difference{
		Kind: SlowFirst, Where: AtHead, Recorded: ms(s.rec.Head), Now: ms(s.now.Head),
		Message: fmt.Sprintf("the head came after %s, recorded %s, allowed %s", ms(s.now.Head), ms(s.rec.Head), ms(limit)),
	})
}

// pace judges the answer as a whole: all of it if it was streamed, and what
// follows the first unit, or the head, in any case.
func (s *shapes) pace(whole bool) {
	if s.limits.Pace.Off || s.rec.Count > 0 && s.rec.bulk() {
		return
	}
	recFrom, recTo, nowFrom, nowTo := s.rec.First, s.rec.End, s.now.First, s.now.End
	if !whole {
		recTo, nowTo = s.rec.Last, s.now.Last
	}
	if s.rec.Count == 0 || s.now.Count == 0 {
		recFrom, nowFrom = s.rec.Head, s.now.Head
	}
	what := "the whole answer"
	rec, now, limit := recTo, nowTo, s.limit(s.limits.Pace, 0, recTo)
	if s.rec.Moments < 2 || now <= limit {
		what = "what follows the first " + s.unit
		if s.rec.Count == 0 || s.now.Count == 0 {
			what = "what follows the head"
		}
		rec, now, limit = recTo-recFrom, nowTo-nowFrom, s.limit(s.limits.Pace, recFrom, recTo)
	}
	if now <= limit {
		return
	}
	cause := "slower throughout"
	if late := s.now.End - s.now.Last - (s.rec.End - s.rec.Last); whole && s.now.Count > 0 && 2*late > now-rec {
		cause = fmt.Sprintf("the end came %s after the last %s, recorded %s", ms(s.now.End-s.now.Last), s.unit, ms(s.rec.End-s.rec.Last))
	}
	s.tell(Difference{
		Kind: Pace, Recorded: ms(rec), Now: ms(now),
		Message: fmt.Sprintf("%s: %s took %s, recorded %s, allowed %s", cause, what, ms(now), ms(rec), ms(limit)),
	})
}

// buffered tells of a stream that is held back; false if it is not.
func (s *shapes) buffered() bool {
	if why := s.heldBack(); why != "" {
		s.tell(Difference{
			Kind: Buffered, Recorded: describe(s.rec, s.unit), Now: describe(s.now, s.unit),
		}.titled("buffered: "+why, fmt.Sprintf("; recorded %s, now %s%s", describe(s.rec, s.unit), describe(s.now, s.unit), s.attributeFirst())))
		return true
	}
	if h := s.held; h != nil && !s.rec.bulk() && !s.heldOutside(h) {
		rec := fmt.Sprintf("from %s to %s, in %d moments", ms(h.recFrom), ms(h.recTo), h.moments)
		now := fmt.Sprintf("from %s to %s", ms(h.nowFrom), ms(h.nowTo))
		s.tell(Difference{
			Kind: Buffered, Unit: s.unit, Index: h.first, Recorded: rec, Now: now,
		}.titled(fmt.Sprintf("buffered: %ss %d to %d came at once", s.unit, h.first, h.last), fmt.Sprintf("; recorded %s, now %s", rec, now)))
		return true
	}
	if s.rec.First-s.rec.Head >= headAhead && s.now.First-s.now.Head <= momentWidth && s.now.Head-s.rec.Head >= headAhead {
		s.tell(Difference{
			Kind: Buffered, Where: AtHead, Recorded: ms(s.rec.Head), Now: ms(s.now.Head),
		}.titled("buffered: the head waited for the first "+s.unit, fmt.Sprintf("; recorded after %s, now after %s", ms(s.rec.Head), ms(s.now.Head))))
		return true
	}
	return false
}

// heldOutside tells whether a stretch that came at once did so in the calls as
// well: they were silent for most of the time that it waited, and were not when
// recorded.
func (s *shapes) heldOutside(h *stretch) bool {
	silent := func(calls []CallTiming, in interval) time.Duration {
		var list []interval
		for _, c := range calls {
			list = append(list, interval{c.Start, c.First}, interval{c.GapFrom, c.GapTo})
		}
		return covered(list, in)
	}
	waited := interval{h.recFrom, h.nowFrom}
	half := (waited.to - waited.from) / 2
	return silent(s.nowCalls, waited) > half && silent(s.recCalls, waited) <= half
}

// heldBack tells why an answer that was streamed counts as buffered now; empty if it doesn't.
func (s *shapes) heldBack() string {
	rec, now := s.rec, s.now
	if rec.Moments < minMoments || rec.Spread() < minSpread || rec.bulk() {
		return ""
	}
	// Where the calls themselves came in one burst the app had nothing to stream.
	if r, n := callSpread(s.recCalls), callSpread(s.nowCalls); r >= minSpread && n <= r/burstPart {
		return ""
	}
	if now.Spread() <= max(rec.Spread()/burstPart, momentWidth) {
		return "it came in one burst"
	}
	recEnd, nowEnd := lastCallEnd(s.recCalls), lastCallEnd(s.nowCalls)
	if recEnd-rec.First >= waitsForTheCall && nowEnd > 0 && now.First >= nowEnd {
		return "the first waited for the end of the last call"
	}
	// An answer that was cut short has fewer moments, and as many for what there is of it.
	if rec.Moments >= coarseMoments && rec.Spread() >= coarseSpread &&
		2*now.Moments*rec.Count <= rec.Moments*now.Count && now.Spread() >= time.Duration(now.Moments-1)*coarseStep {
		return "it came in fewer steps"
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
