package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A diary has what steps did, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// before checks that each line of a pair comes before the other.
func (d *diary) before(t *testing.T, pairs ...string) {
	t.Helper()
	for _, pair := range pairs {
		a, b, _ := strings.Cut(pair, " < ")
		i, j := slices.Index(d.lines, a), slices.Index(d.lines, b)
		if i < 0 || j < 0 || i > j {
			t.Errorf("%q does not hold: %q", pair, d.lines)
		}
	}
}

// A noted step writes what is done to the diary.
type noted struct {
	name string
	in   *diary
	do   func(context.Context) error
	undo error
}

func (n noted) Call() string       { return n.name }
func (n noted) Cause() string      { return "a test" }
func (n noted) UndoCall() string   { return "undo " + n.name }
func (n noted) ByHand(*Env) string { return "by hand " + n.name }

func (n noted) Do(ctx context.Context, _ *Env) (None, error) {
	var err error
	if n.do != nil {
		err = n.do(ctx)
	}
	n.in.add(n.name)
	return None{}, err
}

func (n noted) Undo(context.Context, *Env) error {
	n.in.add("undo " + n.name)
	return n.undo
}

func sessionOf(stages ...[]planned) *Session {
	return &Session{env: &Env{Options: &Options{}}, wiring: &Wiring{}, plan: &Plan{stages: stages}}
}

func TestStepsBeginAndAreUndoneByWhatNeedsThem(t *testing.T) {
	var d diary
	quick := make(chan struct{})
	base := plan(noted{name: "base", in: &d})
	slow := plan(noted{name: "slow", in: &d, do: func(context.Context) error { <-quick; return nil }}, base)
	fast := plan(noted{name: "fast", in: &d}, base)
	above := plan(noted{name: "above", in: &d, do: func(context.Context) error { close(quick); return nil }}, fast)
	last := plan(noted{name: "last", in: &d}, above, slow)
	slow.outlives = []planned{fast}
	s := sessionOf([]planned{base}, []planned{slow, fast}, []planned{above}, []planned{last})
	if err := s.apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.before(t, "base < fast", "fast < above", "above < slow", "slow < last")
	d.lines = nil
	if again, err := s.undo(); again || err != nil {
		t.Error(again, err)
	}
	d.before(t, "undo last < undo slow", "undo above < undo fast", "undo fast < undo slow", "undo fast < undo base")
}

func TestAfterAStepThatFailsNoOtherBegins(t *testing.T) {
	var d diary
	broken := errors.New("broken")
	base := plan(noted{name: "base", in: &d})
	bad := plan(noted{name: "bad", in: &d, do: func(context.Context) error { return broken }}, base)
	waits := plan(noted{name: "waits", in: &d, do: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}, base)
	never := plan(noted{name: "never", in: &d}, waits)
	s := sessionOf([]planned{base}, []planned{waits, bad}, []planned{never})
	if err := s.apply(t.Context()); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	if again, err := s.undo(); again || err != nil {
		t.Error(again, err)
	}
	d.before(t, "bad < undo bad", "waits < undo waits", "undo bad < undo base", "undo waits < undo base")
	if slices.Contains(d.lines, "never") || slices.Contains(d.lines, "undo never") {
		t.Errorf("the last step began: %q", d.lines)
	}
}

func TestWhatAnotherUndoNeedsStays(t *testing.T) {
	for _, test := range []struct {
		left  Left
		again bool
		fails bool
	}{{Mendable, true, true}, {Final, false, true}, {Harmless, false, false}} {
		var d diary
		base := plan(noted{name: "base", in: &d})
		bad := plan(noted{name: "bad", in: &d, undo: &Leftover{Err: errors.New("it stays"), Left: test.left}}, base)
		s := sessionOf([]planned{base}, []planned{bad})
		if err := s.apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		again, err := s.undo()
		if again != test.again || (err != nil) != test.fails || slices.Contains(d.lines, "undo base") == test.again {
			t.Errorf("%d: %v, %v, %q", test.left, again, err, d.lines)
		}
	}
}
