package replay

import (
	"container/heap"
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// ErrClosed is returned by Wait after Close.
var ErrClosed = errors.New("replay: scheduler closed")

// A Scheduler wakes goroutines at absolute deadlines: never early, and on a
// machine that is not overloaded within some microseconds. One Scheduler serves
// any number of streams. It is safe for concurrent use.
type Scheduler struct {
	alarm alarm
	done  chan struct{} // closed when run has ended

	mu      sync.Mutex
	waiting waiters
	closed  bool
	spin    spinBudget
}

// An alarm goes off at a time that may change while it is waited for. It may go
// off at other times as well.
type alarm interface {
	set(time.Time)
	wait()
	close()
}

// A waiter is a goroutine in Wait.
type waiter struct {
	deadline time.Time
	index    int           // in the heap; -1 when it is out of it
	wake     chan struct{} // holds one
	early    bool          // it is to spin for the rest
}

// NewScheduler starts a scheduler, which holds one goroutine and, on Linux, one
// thread and one file descriptor until Close.
func NewScheduler() (*Scheduler, error) {
	a, err := newAlarm()
	if err != nil {
		return nil, err
	}
	return newScheduler(a, maxSpinners()), nil
}

// maxSpinners leaves one processor to those who do real work.
func maxSpinners() int { return runtime.GOMAXPROCS(0) - 1 }

func newScheduler(a alarm, spinners int) *Scheduler {
	s := &Scheduler{
		alarm: a,
		done:  make(chan struct{}),
		spin:  newSpinBudget(spinners, time.Now()),
	}
	go s.run()
	return s
}

// Close ends the scheduler. Those who wait get ErrClosed.
func (s *Scheduler) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		for len(s.waiting) > 0 {
			s.waiting.pop().wake <- struct{}{}
		}
		s.alarm.set(time.Now())
	}
	s.mu.Unlock()
	<-s.done
	return nil
}

// Wait returns at the deadline, or with ctx's error as soon as ctx is done.
func (s *Scheduler) Wait(ctx context.Context, deadline time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !time.Now().Before(deadline) {
		return nil
	}
	w := &waiter{deadline: deadline, wake: make(chan struct{}, 1)}
	if err := s.enter(w); err != nil {
		return err
	}
	select {
	case <-w.wake:
	case <-ctx.Done():
		s.leave(w)
		return ctx.Err()
	}
	return s.woken(w)
}

func (s *Scheduler) enter(w *waiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	heap.Push(&s.waiting, w)
	if w.index == 0 {
		s.setAlarm(time.Now())
	}
	return nil
}

// leave takes a waiter out that was cancelled.
func (s *Scheduler) leave(w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case w.index >= 0:
		heap.Remove(&s.waiting, w.index) // an alarm too many does no harm
	case w.early:
		s.spin.giveBack(0)
	}
}

// woken brings a waiter from its wake-up to its deadline.
func (s *Scheduler) woken(w *waiter) error {
	if !w.early {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed && time.Now().Before(w.deadline) {
			return ErrClosed
		}
		return nil
	}
	start := time.Now()
	now := start
	for now.Before(w.deadline) {
		// Others may run in between: what is ready goes before what is early.
		runtime.Gosched()
		now = time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spin.giveBack(now.Sub(start))
	s.spin.learn(start.After(w.deadline))
	return nil
}

// setAlarm sets the alarm for the first waiter: ahead of its deadline if it may spin.
func (s *Scheduler) setAlarm(now time.Time) {
	if len(s.waiting) == 0 {
		return
	}
	at := s.waiting[0].deadline
	if s.spin.allowed(now) {
		at = at.Add(-s.spin.lead)
	}
	s.alarm.set(at)
}

// run wakes those who are due.
func (s *Scheduler) run() {
	defer close(s.done)
	defer s.alarm.close()
	for {
		s.alarm.wait()
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		n := s.wakeDue(time.Now())
		s.mu.Unlock()
		if n > 0 {
			// Hands this thread, which is awake, to the goroutine that was woken
			// last. Going to sleep at once would leave it to a thread that has to
			// be woken first, which takes longer than anything else here.
			runtime.Gosched()
		}
	}
}

// wakeDue wakes all whose deadline has come, and the one after them if it is so
// near that it may spin, and sets the alarm for the next.
func (s *Scheduler) wakeDue(now time.Time) int {
	n := 0
	for len(s.waiting) > 0 {
		first := s.waiting[0]
		if rest := first.deadline.Sub(now); rest > 0 {
			if rest > s.spin.lead || !s.spin.take(now) {
				break
			}
			first.early = true
		}
		s.waiting.pop().wake <- struct{}{}
		n++
	}
	s.setAlarm(now)
	return n
}

// waiters is a heap by deadline.
type waiters []*waiter

func (ws *waiters) pop() *waiter      { return heap.Pop(ws).(*waiter) }
func (ws waiters) Len() int           { return len(ws) }
func (ws waiters) Less(i, j int) bool { return ws[i].deadline.Before(ws[j].deadline) }
func (ws waiters) Swap(i, j int) {
	ws[i], ws[j] = ws[j], ws[i]
	ws[i].index, ws[j].index = i, j
}

func (ws *waiters) Push(x any) {
	w := x.(*waiter)
	w.index = len(*ws)
	*ws = append(*ws, w)
}

func (ws *waiters) Pop() any {
	last := len(*ws) - 1
	w := (*ws)[last]
	(*ws)[last] = nil
	*ws = (*ws)[:last]
	w.index = -1
	return w
}
