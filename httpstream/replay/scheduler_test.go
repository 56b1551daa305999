package replay

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// alarms runs a test with each kind of alarm that the system has.
func alarms(t *testing.T, f func(t *testing.T, s *Scheduler)) {
	for name, start := range map[string]func() (*Scheduler, error){
		"the system's alarm": NewScheduler,
		"the runtime's timers": func() (*Scheduler, error) {
			return newScheduler(newTimerAlarm(), maxSpinners()), nil
		},
		"no spinning": func() (*Scheduler, error) {
			a, err := newAlarm()
			return newScheduler(a, 0), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := start()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			f(t, s)
		})
	}
}

func TestNobodyIsWokenEarly(t *testing.T) {
	alarms(t, func(t *testing.T, s *Scheduler) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range 10 {
					deadline := time.Now().Add(rand.N(5 * time.Millisecond))
					if err := s.Wait(t.Context(), deadline); err != nil {
						t.Error(err)
					}
					if early := time.Until(deadline); early > 0 {
						t.Errorf("%v early", early)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestManyCanWaitAndBeCancelled(t *testing.T) {
	alarms(t, func(t *testing.T, s *Scheduler) {
		const n = 10000
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var due atomic.Int32
		for i := range n {
			wg.Go(func() {
				// Half of them are due within a moment.
				deadline := time.Now().Add(time.Hour + rand.N(time.Hour))
				if i%2 == 0 {
					deadline = time.Now().Add(rand.N(100 * time.Millisecond))
				}
				err := s.Wait(ctx, deadline)
				if i%2 == 0 != (err == nil) || err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("waiter %d: %v", i, err)
				}
				if err == nil {
					due.Add(1)
				}
			})
		}
		for due.Load() < n/2 || s.waitingNow() < n/2 {
			time.Sleep(time.Millisecond)
		}
		cancel()
		wg.Wait()
		if left := s.waitingNow(); left != 0 {
			t.Errorf("%d left waiting", left)
		}
	})
}

func (s *Scheduler) waitingNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

func TestCloseWakesThoseWhoWait(t *testing.T) {
	alarms(t, func(t *testing.T, s *Scheduler) {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := s.Wait(t.Context(), time.Now().Add(time.Hour)); !errors.Is(err, ErrClosed) {
					t.Errorf("got %v", err)
				}
			})
		}
		for s.waitingNow() < 10 {
			time.Sleep(time.Millisecond)
		}
		s.Close()
		wg.Wait()
		if err := s.Wait(t.Context(), time.Now().Add(time.Hour)); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestAClosedSchedulerHoldsNoFile(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("needs /proc: ", err)
		}
		return len(entries)
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	before := count()
	for range 10 {
		s, err := NewScheduler()
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	if after := count(); after > before {
		t.Errorf("%d files open, %d before", after, before)
	}
}

func TestADeadlineInThePastDoesNotWait(t *testing.T) {
	alarms(t, func(t *testing.T, s *Scheduler) {
		if err := s.Wait(t.Context(), time.Now().Add(-time.Hour)); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Wait(ctx, time.Now().Add(-time.Hour)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWaitsEndAtTheirDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScheduler(newTimerAlarm(), 0)
		defer s.Close()
		start := time.Now()
		var wg sync.WaitGroup
		for _, after := range []time.Duration{50, 10, 30, 10, 20} {
			wg.Go(func() {
				s.Wait(t.Context(), start.Add(after*time.Second))
				if got := time.Since(start); got != after*time.Second {
					t.Errorf("woken after %v instead of %ds", got, after)
				}
			})
		}
		wg.Wait()
	})
}

func TestSpinningIsLimited(t *testing.T) {
	now := time.Now()
	b := newSpinBudget(1, now)
	if !b.take(now) || b.take(now) {
		t.Fatal("there is to be one spinner")
	}
	b.giveBack(spinBurst)
	if b.take(now) {
		t.Error("may spin after the budget is used up")
	}
	if now = now.Add(spinShare * startLead); !b.take(now) {
		t.Error("may not spin when the budget is back")
	}
	for range 1000 {
		b.learn(true)
	}
	if b.lead != maxLead {
		t.Errorf("lead %v", b.lead)
	}
	for range 100000 {
		b.learn(false)
	}
	if b.lead != minLead {
		t.Errorf("lead %v", b.lead)
	}
}

func TestQuantilesAreWithinAQuarter(t *testing.T) {
	var h histogram
	for i := range 100000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	l := h.lateness()
	for _, q := range []struct{ got, want time.Duration }{{l.P50, 50 * time.Millisecond}, {l.P99, 99 * time.Millisecond}} {
		if q.got < q.want || q.got > q.want*5/4 {
			t.Errorf("got %v, want about %v", q.got, q.want)
		}
	}
	if l.Max != 99999*time.Microsecond {
		t.Errorf("max %v", l.Max)
	}
	for us := range uint64(1 << 16) {
		d := time.Duration(us) * time.Microsecond
		if b := bucket(us); upper(b) <= d || b > 0 && upper(b-1) > d {
			t.Fatalf("%v is in bucket %d, which ends at %v", d, b, upper(b))
		}
	}
}
