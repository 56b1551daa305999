package guard

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func problemLine(t *testing.T, text string) []byte {
	t.Helper()
	rec, err := tape.Note{Problem: text}.Record()
	if err != nil {
		t.Fatal(err)
	}
	return rec.Append(nil)
}

func begin(t *testing.T) (w *writing, dir string) {
	t.Helper()
	w, dir = new(writing), filepath.Join(t.TempDir(), "tape")
	if err := w.begin(&agent.Recording{Dir: dir, Manifest: tape.Manifest{Created: time.Now(), By: "test"}}); err != nil {
		t.Fatal(err)
	}
	return w, dir
}

func TestTheGuardWritesRecordsAndNothingElse(t *testing.T) {
	w, dir := begin(t)
	if taken, err := w.take(problemLine(t, "something is missing")); !taken || err != nil {
		t.Errorf("a record: %v, %v", taken, err)
	}
	if taken, _ := w.take([]byte(agent.ReadyLine)); taken {
		t.Error("a line that is no record does not reach the CLI")
	}
	reply := w.finish(&agent.Finish{Outcome: recording.Succeeded, Problems: []string{"the CLI knows of this"}})
	if r := reply.Recording; r == nil || r.Complete || r.Tape != dir || !slices.Contains(r.Problems, "the CLI knows of this") {
		t.Errorf("the reply is %+v", reply.Recording)
	}
	if taken, err := w.take(problemLine(t, "too late")); !taken || err != nil {
		t.Errorf("a record after the end: %v, %v", taken, err)
	}
	if reply := w.finish(&agent.Finish{}); reply.Error == "" {
		t.Error("it can be finished twice")
	}
	if tp, err := tape.Open(dir); err != nil || !slices.Contains(tp.Manifest.Problems, "something is missing") {
		t.Errorf("the tape: %v, %v", tp, err)
	}
}

func TestARecordingThatNobodyEndsIsMarked(t *testing.T) {
	w, dir := begin(t)
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil || tp.Manifest.Complete || !slices.Contains(tp.Manifest.Problems, cutOff) {
		t.Errorf("the tape: %v, %v", tp, err)
	}
	if err := w.end(); err != nil {
		t.Error(err)
	}
}

func TestARecordingThatNeverBeganIsGone(t *testing.T) {
	w, dir := begin(t)
	if err := w.discard(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) > 0 {
		t.Errorf("there is %v, %v", left, err)
	}
}

func TestAGuardWithoutATapePassesEverythingOn(t *testing.T) {
	var w writing
	if err := w.begin(nil); err != nil {
		t.Fatal(err)
	}
	if taken, err := w.take(problemLine(t, "x")); taken || err != nil {
		t.Errorf("%v, %v", taken, err)
	}
	w.problem("x")
	if err := w.end(); err != nil {
		t.Error(err)
	}
}
