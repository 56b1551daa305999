package compare

import (
	"slices"
	"time"
)

// A stretch is a part of an answer that was streamed when recorded and came at
// once now. Times count from the end of the request, recorded ones at the
// replay's speed.
type stretch struct {
	first, last    int // positions of the recorded units or pieces, from 1
	recFrom, recTo time.Duration
	nowFrom, nowTo time.Duration
	moments        int // recorded ones
}

func (s *stretch) length() time.Duration { return s.recTo - s.recFrom }

// What a stretch takes to be told from a single slow moment: the recorded
// moments, the time that they took, and the time in which they come now.
const (
	stretchMoments = 3
	stretchLength  = 300 * time.Millisecond
	atOnce         = 60 * time.Millisecond
	maxStretch     = 4096 // moments that are remembered of one
)

// stretches looks for the longest stretch as pairs of times come in, in memory
// that is bounded by what comes within atOnce.
type stretches struct {
	recent  []arrival // within atOnce now, a recorded moment each
	last    arrival
	lead    time.Duration
	longest *stretch
}

// An arrival is a recorded moment and when its first unit came now.
type arrival struct {
	index    int
	rec, now time.Duration
}

// pair takes the times of a unit on both sides, in order. index is its position
// in the recording.
func (s *stretches) pair(index int, rec, now time.Duration) {
	// What comes on its own time again is not a part of what came at once.
	onTime := 2*(now-s.last.now) > rec-s.last.rec
	s.last = arrival{rec: rec, now: now}
	n := len(s.recent)
	if n > 0 && rec-s.recent[n-1].rec < momentWidth && now-s.recent[0].now <= atOnce {
		if !onTime {
			s.note(index, rec, now)
		}
		return
	}
	gone := 0
	for gone < n && (now-s.recent[gone].now > atOnce || n-gone >= maxStretch) {
		// How far the answer was ever ahead of its recording: lag counts from there.
		s.lead = min(s.lead, s.recent[gone].now-s.recent[gone].rec)
		gone++
	}
	s.recent = append(slices.Delete(s.recent, 0, gone), arrival{index, rec, now})
	if !onTime {
		s.note(index, rec, now)
	}
}

func (s *stretches) note(index int, rec, now time.Duration) {
	first := &s.recent[0]
	length := rec - first.rec
	switch {
	case len(s.recent) < stretchMoments, length < stretchLength:
		return
	case first.now-first.rec-s.lead < length/2: // it is early, not held back
		return
	case s.longest != nil && length <= s.longest.length():
		return
	}
	s.longest = &stretch{first.index, index, first.rec, rec, first.now, now, len(s.recent)}
}

// An offsetPairer pairs the times of two bodies that have no units by the
// offsets of their bytes.
type offsetPairer struct {
	to       *stretches
	pieces   []recordedPiece // that have not come yet
	rec, now int64           // bytes so far
	count    int
}

// A recordedPiece is bytes that were recorded together.
type recordedPiece struct {
	at    time.Duration
	end   int64
	index int
}

func (o *offsetPairer) recorded(at time.Duration, n int) {
	o.rec += int64(n)
	if last := len(o.pieces) - 1; last >= 0 && at-o.pieces[last].at < time.Millisecond {
		o.pieces[last].end = o.rec
		return
	}
	o.count++
	o.pieces = append(o.pieces, recordedPiece{at, o.rec, o.count})
}

func (o *offsetPairer) arrived(at time.Duration, n int) {
	o.now += int64(n)
	for len(o.pieces) > 0 && o.pieces[0].end <= o.now {
		o.to.pair(o.pieces[0].index, o.pieces[0].at, at)
		o.pieces = o.pieces[1:]
	}
}
