package tape

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream"
)

func whole(number int) []step {
	id := int64(number)
	return []step{
		{ID: id, Exchange: get(number)}, {ID: id, Line: chunk(time.Microsecond, "a")},
		{ID: id, Line: end(2*time.Microsecond, httpstream.EOF)}, {ID: id, Done: true},
	}
}

func TestNobodyWhoWritesWaitsForTheDisk(t *testing.T) {
	needs.Time(t)
	dir := filepath.Join(t.TempDir(), "tape")
	slow := make(chan struct{})
	var syncs atomic.Int32
	w, err := create(dir, manifest(), func([]string) error {
		syncs.Add(1)
		<-slow
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const n = 300
	for i := range n {
		apply(t, w, whole(i+1)...)
	}
	// A process that is killed now has lost nothing.
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range tp.Calls {
		if ls, err := lines(t, tp, x); err != nil || len(ls) != 2 {
			t.Fatalf("%s has %d lines and %v", x.File, len(ls), err)
		}
	}
	if len(tp.Calls) != n {
		t.Errorf("%d calls are on the tape, want %d", len(tp.Calls), n)
	}
	close(slow)
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	if got := syncs.Load(); got > 3 {
		t.Errorf("%d exchanges took %d syncs, want one for all that ended meanwhile", n, got)
	}
}

func TestAllThatEndedIsMadeDurable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	var synced []string
	w, err := create(dir, manifest(), func(files []string) error {
		synced = append(synced, files...)
		return syncTape(dir, files)
	})
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	for i := range n {
		apply(t, w, whole(i+1)...)
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	if len(synced) != 2*n {
		t.Errorf("%d files were synced, want %d", len(synced), 2*n)
	}
	slices.Sort(synced)
	for _, name := range slices.Compact(synced) {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestADiskThatDoesNotKeepWhatItWasGivenMakesTheTapeIncomplete(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := create(dir, manifest(), func([]string) error { return errors.New("input/output error") })
	if err != nil {
		t.Fatal(err)
	}
	apply(t, w, whole(1)...)
	if err := w.Close(nil); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("Close says %v", err)
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if tp.Manifest.Complete || len(tp.Manifest.Problems) == 0 {
		t.Errorf("the manifest says %+v", tp.Manifest)
	}
}
