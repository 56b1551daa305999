package compare

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// timedEvents makes events that come at the given milliseconds.
func timedEvents(at ...int) reply {
	r := events()
	for i, ms := range at {
		r.pieces = append(r.pieces, timed{time.Duration(ms) * time.Millisecond, fmt.Sprintf("data: %d\n\n", i)})
	}
	return r
}

func every(ms, n, from int) []int {
	var at []int
	for i := range n {
		at = append(at, from+i*ms)
	}
	return at
}

func TestShape(t *testing.T) {
	streamed := timedEvents(every(50, 10, 50)...)
	call := func(first, last int) []CallTiming {
		ms := time.Millisecond
		return []CallTiming{{Number: 1, Start: 0, First: time.Duration(first) * ms, Last: time.Duration(last) * ms, End: time.Duration(last) * ms}}
	}
	tests := []struct {
		name     string
		rec, now reply
		calls    [2][]CallTiming
		speed    float64
		want     []string
	}{
		{"as recorded", streamed, streamed, [2][]CallTiming{}, 1, nil},
		{"later but streamed", streamed, timedEvents(every(60, 10, 300)...), [2][]CallTiming{}, 1, nil},
		{"one burst at the end", streamed, timedEvents(every(0, 10, 500)...), [2][]CallTiming{}, 1,
			[]string{"[buffered] buffered: it came in one burst; recorded 10 events in 10 moments, from 50 ms to 500 ms, now 10 events in one burst, from 500 ms to 500 ms"}},
		{"one burst at once", streamed, timedEvents(every(1, 10, 1)...), [2][]CallTiming{}, 1,
			[]string{"[buffered] buffered: it came in one burst; recorded 10 events in 10 moments, from 50 ms to 500 ms, now 10 events in one burst, from 1.0 ms to 10 ms"}},
		{"the first at once, the others held back", streamed, timedEvents(append([]int{50}, every(0, 9, 500)...)...), [2][]CallTiming{}, 1,
			[]string{"[buffered] buffered: it came in fewer steps; recorded 10 events in 10 moments, from 50 ms to 500 ms, now 10 events in 2 moments, from 50 ms to 500 ms"}},
		{"the first waits for the end of the call, the rest dribbles", streamed, timedEvents(every(50, 10, 520)...),
			[2][]CallTiming{call(40, 490), call(40, 490)}, 1,
			[]string{"[buffered] buffered: the first waited for the end of the last call; recorded 10 events in 10 moments, from 50 ms to 500 ms, now 10 events in 10 moments, from 520 ms to 970 ms; 470 ms of the delay is in the app"}},
		{"the calls themselves came in one burst", streamed, timedEvents(every(0, 10, 500)...), [2][]CallTiming{call(40, 490), call(480, 490)}, 1, nil},
		{"too short a stream to tell", timedEvents(0, 20, 40, 60), timedEvents(60, 60, 60, 60), [2][]CallTiming{}, 1, nil},
		{"never streamed", timedEvents(500, 500, 500), timedEvents(1, 1, 1), [2][]CallTiming{}, 1, nil},
		{"as fast as it goes says nothing", streamed, timedEvents(every(0, 10, 5)...), [2][]CallTiming{}, 0, nil},
		{"twice as fast", streamed, timedEvents(every(25, 10, 25)...), [2][]CallTiming{}, 2, nil},
		{"one burst at twice the speed", streamed, timedEvents(every(0, 10, 250)...), [2][]CallTiming{}, 2,
			[]string{"[buffered] buffered: it came in one burst; recorded 10 events in 10 moments, from 25 ms to 250 ms, now 10 events in one burst, from 250 ms to 250 ms"}},
		{"a late first event, which is the app's doing", streamed, timedEvents(every(50, 10, 800)...), [2][]CallTiming{call(40, 2000), call(40, 2000)}, 1,
			[]string{"[slow-first] the first event came after 800 ms, recorded 50 ms, allowed 650 ms; 750 ms of the delay is in the app"}},
		{"a late first event, which is the call's doing", streamed, timedEvents(every(50, 10, 800)...), [2][]CallTiming{call(40, 2000), call(790, 2700)}, 1,
			[]string{"[slow-first] the first event came after 800 ms, recorded 50 ms, allowed 650 ms; 750 ms of the delay is outside, in the calls"}},
		{"a long gap", streamed, timedEvents(append(every(50, 5, 50), every(50, 5, 1000)...)...), [2][]CallTiming{}, 1,
			[]string{"[slow-gap] silent for 750 ms from 250 ms on, the longest recorded gap is 50 ms, allowed 650 ms"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := DefaultLimits()
			l.Speed = tt.speed
			v := verdict(tt.rec, tt.now, Options{Limits: l, Calls: func() (rec, now []CallTiming) { return tt.calls[0], tt.calls[1] }})
			if tt.want == nil {
				wantPass(t, v)
				return
			}
			wantFail(t, v, tt.want...)
			off := verdict(tt.rec, tt.now, Options{})
			wantPass(t, off)
		})
	}
}

func TestALongGapIsAttributed(t *testing.T) {
	now := Timing{GapFrom: 100 * time.Millisecond, GapTo: 1100 * time.Millisecond}
	for _, tt := range []struct {
		call CallTiming
		rec  []CallTiming
		want string
	}{
		{CallTiming{Start: 0, First: 50e6, GapFrom: 200e6, GapTo: 1050e6}, nil, "outside"},
		{CallTiming{Number: 1, First: 50e6, GapFrom: 200e6, GapTo: 1050e6}, []CallTiming{{Number: 1, GapFrom: 200e6, GapTo: 1050e6}}, "outside"},
		{CallTiming{Number: 1, First: 50e6, GapFrom: 200e6, GapTo: 1050e6}, []CallTiming{{Number: 1, GapFrom: 200e6, GapTo: 250e6}}, "app"},
		{CallTiming{Start: 300e6, First: 1000e6}, nil, "outside"},
		{CallTiming{Start: 0, First: 50e6, GapFrom: 60e6, GapTo: 120e6}, nil, "app"},
	} {
		if d := attributeGap(&now, tt.rec, []CallTiming{tt.call, tt.call}); d.Where() != tt.want || d.Total != d.App+d.Outside {
			t.Errorf("%+v: %+v", tt.call, d)
		}
	}
}

func TestKeepAliveCommentsDoNotHideABufferedStream(t *testing.T) {
	rec, now := timedEvents(every(50, 5, 50)...), timedEvents(every(0, 5, 250)...)
	ping := func(r *reply) {
		r.pieces = append([]timed{{time.Millisecond, ": connected\n"}}, r.pieces...)
	}
	ping(&rec)
	ping(&now)
	v := verdict(rec, now, Options{Limits: DefaultLimits()})
	if v.Pass || v.Differences[0].Kind != Buffered || len(v.Differences) != 1 {
		t.Error(messages(v))
	}
}

// TestJitterDoesNotFailAnUnbrokenStream: fifty runs with delays of up to 40 ms
// on every event, which merges and spreads moments.
func TestJitterDoesNotFailAnUnbrokenStream(t *testing.T) {
	rnd := rand.New(rand.NewPCG(13, 14))
	for _, gap := range []int{9, 10, 11, 30, 100} {
		for range 50 {
			at, last := every(gap, 40, 20), 0
			for i := range at {
				at[i] = max(last, at[i]+rnd.IntN(40))
				last = at[i]
			}
			v := verdict(timedEvents(every(gap, 40, 20)...), timedEvents(at...), Options{Limits: DefaultLimits()})
			if !v.Pass {
				t.Fatalf("gap %d ms:\n%s", gap, messages(v))
			}
		}
	}
}

func TestDurationsForPeople(t *testing.T) {
	var got []string
	for _, d := range []time.Duration{400 * time.Microsecond, 120 * time.Millisecond, 3200 * time.Millisecond, 12 * time.Second} {
		got = append(got, ms(d))
	}
	if strings.Join(got, ", ") != "0.4 ms, 120 ms, 3200 ms, 12.00 s" {
		t.Error(got)
	}
}

func TestAnAnswerThatWasCutShortIsNotBufferedForThat(t *testing.T) {
	timing := func(n int, step time.Duration) *Timing {
		return &Timing{First: step, Last: time.Duration(n) * step, End: time.Duration(n) * step, Moments: n, Count: n, Bytes: int64(n) * 30}
	}
	for _, c := range []struct {
		name string
		now  *Timing
		want string
	}{
		{"cut after a third of its events", timing(7, 80*time.Millisecond), ""},
		{"all events in a third of the moments", &Timing{First: 80 * time.Millisecond, Last: 1760 * time.Millisecond, Moments: 7, Count: 22, Bytes: 660}, "it came in fewer steps"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &shapes{rec: timing(22, 80*time.Millisecond), now: c.now, unit: "event"}
			if got := s.heldBack(); got != c.want {
				t.Errorf("held back: %q, want %q", got, c.want)
			}
		})
	}
}
