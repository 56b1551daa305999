package compare

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
)

// times n times as slow, from the end of the request on.
func slower(at []int, n int) []int {
	out := slices.Clone(at)
	for i := range out {
		out[i] *= n
	}
	return out
}

// heldFrom makes the events from i to j come when the last of them did.
func heldFrom(at []int, i, j int) []int {
	out := slices.Clone(at)
	for k := i; k <= j; k++ {
		out[k] = out[j]
	}
	return out
}

func TestPace(t *testing.T) {
	ten := every(50, 10, 50)
	long := every(100, 40, 100)
	text := func(at []int) reply {
		r := timedEvents(at...)
		r.header = headers("Content-Type", "application/octet-stream")
		return r
	}
	tests := []struct {
		name     string
		rec, now reply
		speed    float64
		want     string // how the message begins; empty to pass
	}{
		{"ten times slower throughout", timedEvents(ten...), timedEvents(slower(ten, 10)...), 1,
			"slower throughout: the whole answer took 5000 ms, recorded 500 ms, allowed 1250 ms"},
		{"twice as slow for four seconds", timedEvents(long...), timedEvents(slower(long, 2)...), 1, "slower throughout: the whole answer took 8000 ms"},
		{"a fifth slower", timedEvents(long...), timedEvents(every(120, 40, 120)...), 1, ""},
		{"bytes, ten times slower throughout", text(ten), text(slower(ten, 10)), 1, "slower throughout"},
		{"a long thought, then ten times slower", timedEvents(every(50, 10, 8000)...), timedEvents(every(450, 10, 8000)...), 1,
			"slower throughout: what follows the first event took 4050 ms, recorded 450 ms"},
		{"ten events of forty at once", timedEvents(long...), timedEvents(heldFrom(long, 10, 19)...), 1,
			"buffered: events 11 to 20 came at once; recorded from 1100 ms to 2000 ms, in 10 moments, now from 2000 ms to 2000 ms"},
		{"the same in bytes", text(long), text(heldFrom(long, 10, 19)), 1, "buffered: chunks 11 to 20 came at once"},
		{"a single late event", timedEvents(long...), timedEvents(heldFrom(long, 10, 11)...), 1, ""},
		{"two events at once", timedEvents(every(200, 20, 200)...), timedEvents(heldFrom(every(200, 20, 200), 5, 6)...), 1, ""},
		{"three events of 240 ms at once", timedEvents(every(120, 30, 120)...), timedEvents(heldFrom(every(120, 30, 120), 5, 7)...), 1, ""},
		{"some events at once, but early", timedEvents(append(every(1, 1, 1500), every(50, 20, 1550)...)...),
			timedEvents(slices.Concat(every(1, 1, 200), every(1, 9, 241), every(50, 11, 700))...), 1, ""},
		{"two and two", timedEvents(every(100, 20, 100)...), timedEvents(slices.Sorted(slices.Values(append(every(200, 10, 200), every(200, 10, 200)...)))...), 1,
			"buffered: it came in fewer steps; recorded 20 events in 20 moments"},
		{"half as fast at half the speed", timedEvents(ten...), timedEvents(slower(ten, 2)...), 0.5, ""},
		{"ten times slower at twice the speed", timedEvents(long...), timedEvents(slower(long, 5)...), 2, "slower throughout"},
		{"as recorded, at a speed that makes it twice as fast", timedEvents(long...), timedEvents(every(50, 40, 50)...), 2, ""},
		{"what the app itself takes at ten times the speed", timedEvents(long...), timedEvents(long...), 10, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := DefaultLimits()
			l.Speed = tt.speed
			v := verdict(tt.rec, tt.now, Options{Limits: l})
			if tt.want == "" {
				wantPass(t, v)
				return
			}
			if v.Pass || len(v.Differences) != 1 || !strings.HasPrefix(v.Differences[0].Message, tt.want) || !v.OnlyTiming() {
				t.Errorf("got %s, want %s", messages(v), tt.want)
			}
		})
	}
}

func TestAHeadThatIsHeldBackAndALateEnd(t *testing.T) {
	play := func(head, end time.Duration, at ...int) *Verdict {
		rec := timedEvents(1000, 1200)
		c := New(rec.recorded(), Options{Limits: DefaultLimits()})
		return rec.playAt(c, head, end, at...)
	}
	for _, tt := range []struct {
		name string
		v    *Verdict
		want string
	}{
		{"as recorded", play(time.Millisecond, 1200*time.Millisecond, 1000, 1200), ""},
		{"the head with the first event", play(1000*time.Millisecond, 1200*time.Millisecond, 1000, 1200),
			"[buffered] buffered: the head waited for the first event; recorded after 1.0 ms, now after 1000 ms"},
		{"a late head", play(900*time.Millisecond, 1200*time.Millisecond, 1000, 1200),
			"[slow-first] the head came after 900 ms, recorded 1.0 ms, allowed 503 ms"},
		{"a late end", play(time.Millisecond, 9*time.Second, 1000, 1200),
			"[pace] the end came 7800 ms after the last event, recorded 0.0 ms: the whole answer took 9000 ms, recorded 1200 ms, allowed 2300 ms"},
	} {
		if got := messages(tt.v); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

// TestABusyMachineDoesNotFailAHealthyStream: each moment is late by what a
// scheduler does to it, and now and then by a stall.
func TestABusyMachineDoesNotFailAHealthyStream(t *testing.T) {
	rnd := rand.New(rand.NewPCG(21, 22))
	for _, gap := range []int{5, 10, 20, 30, 50, 100, 250} {
		for run := range 50 {
			n := max(6, 2000/gap)
			at := every(gap, n, 30)
			busy, last := slices.Clone(at), 0
			for i := range busy {
				late := rnd.IntN(30)
				if rnd.IntN(20) == 0 {
					late += rnd.IntN(200)
				}
				busy[i] = max(last, at[i]+late)
				last = busy[i]
			}
			v := verdict(timedEvents(at...), timedEvents(busy...), Options{Limits: DefaultLimits()})
			if !v.Pass {
				t.Fatalf("gap %d ms, run %d:\n%s", gap, run, messages(v))
			}
		}
	}
}

func TestOnlyTimingIsToldFromAnotherAnswer(t *testing.T) {
	ten := every(50, 10, 50)
	slow := timedEvents(slower(ten, 10)...)
	opt := Options{Limits: DefaultLimits()}
	other := slow
	other.pieces = slices.Clone(slow.pieces)
	other.pieces[3].data = "data: other\n\n"
	for _, tt := range []struct {
		name string
		v    *Verdict
		want bool
	}{
		{"a pass", verdict(timedEvents(ten...), timedEvents(ten...), opt), false},
		{"only slower", verdict(timedEvents(ten...), slow, opt), true},
		{"slower, and another event", verdict(timedEvents(ten...), other, opt), false},
	} {
		if tt.v.OnlyTiming() != tt.want {
			t.Errorf("%s: %v, %s", tt.name, tt.v.OnlyTiming(), messages(tt.v))
		}
	}
}

// TestAMillionEventsAtOnceAreFewToRemember bounds what a burst takes in memory.
func TestAMillionEventsAtOnceAreFewToRemember(t *testing.T) {
	needs.Time(t)
	var s stretches
	for i := range 1_000_000 {
		s.pair(i+1, time.Duration(i)*20*time.Millisecond, 20_000*time.Second)
	}
	if len(s.recent) > maxStretch || s.longest == nil {
		t.Error(fmt.Sprint(len(s.recent)), s.longest)
	}
}
