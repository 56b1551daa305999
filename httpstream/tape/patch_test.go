package tape

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// write makes a tape with one case and one call, whose streams say text.
func writeSmallTape(t *testing.T, dir, text string) *Tape {
	t.Helper()
	w, err := Create(dir, Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	for i, kind := range []Kind{Case, Call} {
		x := get(1)
		x.Kind, x.Response = kind, &Response{Head: httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Line: "HTTP/1.1 200 OK"}}
		id := int64(i + 1)
		apply(t, w, step{ID: id, Exchange: x},
			step{ID: id, Line: &Line{Chunk: httpstream.Chunk{Data: []byte(text)}}},
			step{ID: id, Line: &Line{End: &httpstream.EndInfo{How: httpstream.EOF}}}, step{ID: id, Done: true})
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tp
}

func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestPatchChangesOnlyWhatItIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	old := writeSmallTape(t, dir, "old")
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	edited := filepath.Join(dir, "calls", filepath.Base(old.Calls[0].File))
	b, err := os.ReadFile(edited)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(edited, append([]byte("# a comment\n"), b...), 0o600); err != nil {
		t.Fatal(err)
	}
	before := readAll(t, dir)
	next := writeSmallTape(t, filepath.Join(t.TempDir(), "next"), "new")
	if err := Patch(dir, old.Cases, next, next.Cases); err != nil {
		t.Fatal(err)
	}
	after := readAll(t, dir)
	if len(before) != len(after) {
		t.Errorf("%d files, there were %d", len(after), len(before))
	}
	for name, text := range after {
		changed := text != before[name]
		if want := strings.HasPrefix(name, "streams/case-"); changed != want {
			t.Errorf("%s changed: %v, want %v", name, changed, want)
		}
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if problems := tp.Verify(); problems != nil {
		t.Error(problems)
	}
	if _, err := os.Stat(dir + ".new"); err == nil {
		t.Error("the copy is left")
	}
}

func TestPatchThatFailsLeavesTheTapeAsItWas(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	old := writeSmallTape(t, dir, "old")
	before := readAll(t, dir)
	next := writeSmallTape(t, filepath.Join(t.TempDir(), "next"), "new")
	if err := Patch(dir, nil, next, next.Cases); err == nil {
		t.Error("a second case 1 went in")
	}
	os.Remove(filepath.Join(next.Dir, filepath.FromSlash(next.Cases[0].Stream)))
	if err := Patch(dir, old.Cases, next, next.Cases); err == nil {
		t.Error("a stream that is not there went in")
	}
	after := readAll(t, dir)
	for name, text := range before {
		if after[name] != text {
			t.Errorf("%s changed", name)
		}
	}
}

func TestPatchPutsCallsInUnderNewNumbersWithTheirNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	writeSmallTape(t, dir, "old")
	before := readAll(t, dir)
	from := writeSmallTape(t, filepath.Join(t.TempDir(), "from"), "new")
	from.Manifest.Names = []Name{{Name: "a.example", Type: "A", RCode: "NOERROR", Answers: []string{"A 10.0.0.1"}}}
	again := *from.Calls[0]
	again.Number, again.Case, again.Started = 7, 1, 5*time.Second
	if err := Patch(dir, nil, from, []*Exchange{&again}); err != nil {
		t.Fatal(err)
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range tp.Verify() {
		t.Error(p)
	}
	for name, text := range readAll(t, dir) {
		if was, ok := before[name]; ok && was != text && name != manifestName {
			t.Errorf("%s changed", name)
		}
	}
	if len(tp.Calls) != 2 || !slices.EqualFunc(tp.Manifest.Names, from.Manifest.Names, func(a, b Name) bool { return a.Name == b.Name }) {
		t.Fatalf("%d calls, names %v", len(tp.Calls), tp.Manifest.Names)
	}
	got, want := *tp.Calls[1], again
	if !strings.Contains(got.File, "0007-") || !strings.Contains(got.Stream, "call-0007-") {
		t.Errorf("files %s and %s", got.File, got.Stream)
	}
	stream, err := os.ReadFile(filepath.Join(dir, got.Stream))
	if err != nil || !strings.Contains(string(stream), "new") {
		t.Errorf("stream %q, %v", stream, err)
	}
	got.File, got.Stream, want.File, want.Stream = "", "", "", ""
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
