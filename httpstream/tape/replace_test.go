package tape

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
)

func TestReplacePutsANewTapeInThePlaceOfAnOldOne(t *testing.T) {
	for _, swap := range []struct {
		name string
		run  func(newDir, dir string) error
	}{
		{"in one step", Replace},
		{"in two steps", func(newDir, dir string) error {
			old, err := swapInTwoSteps(newDir, dir)
			if err != nil {
				return err
			}
			return discard(old, dir)
		}},
	} {
		t.Run(swap.name, func(t *testing.T) {
			dir, fresh := newTape(t), newTape(t)
			for name, in := range map[string]string{"README.md": dir, "marker": fresh} {
				if err := os.WriteFile(filepath.Join(in, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := swap.run(fresh, dir); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"README.md", "marker", "tape.yaml"} {
				if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			}
			if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 1 {
				t.Errorf("left over: %v", entries)
			}
			if _, err := os.Stat(fresh); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is still there: %v", fresh, err)
			}
		})
	}
}

func TestReplaceGoesWhereNothingWas(t *testing.T) {
	for _, target := range []string{filepath.Join(t.TempDir(), "a", "b"), t.TempDir()} {
		if err := Replace(newTape(t), target); err != nil {
			t.Error(err)
		}
		if _, err := Open(target); err != nil {
			t.Error(err)
		}
	}
}

func TestReplaceLeavesAloneWhatIsNoTape(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := newTape(t)
	if err := Replace(fresh, home); err == nil || !strings.Contains(err.Error(), "not a tape") {
		t.Errorf("got %v", err)
	}
	if err := Replace(home, newTape(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is no tape was taken: %v", err)
	}
	for _, file := range []string{filepath.Join(home, "letter"), filepath.Join(fresh, manifestName)} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
}

func TestATapeIsWorthWhatWasAnsweredOnIt(t *testing.T) {
	answered := &Response{Head: httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Line: "HTTP/1.1 200 OK"}}
	exchange := func(kind Kind, r *Response, failed string) step {
		return step{ID: 1, Exchange: &Exchange{
			Kind: kind, Number: 1, Response: r, Failed: failed,
			Request: Request{Proto: "HTTP/1.1", Method: "GET", URL: "http://a.example/"},
		}}
	}
	for _, c := range []struct {
		name    string
		records []step
		want    Worth
	}{
		{"nothing", nil, Nothing},
		{"a name that was not found", []step{{Name: &Name{Name: "a", Type: "A", RCode: "NXDOMAIN"}}}, Nothing},
		{"a name that no resolver answered", []step{{Name: &Name{Name: "a", Type: "A", RCode: "SERVFAIL"}}}, Unanswered},
		{"a call that failed", []step{exchange(Call, nil, "connection refused")}, Unanswered},
		{"a call", []step{exchange(Call, answered, "")}, Something},
		{"a case", []step{exchange(Case, answered, "")}, Something},
	} {
		dir := filepath.Join(t.TempDir(), "tape")
		w, err := Create(dir, Manifest{})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, w, c.records...)
		if err := w.Close(nil); err != nil {
			t.Fatal(err)
		}
		if got := WorthOf(dir); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := WorthOf(t.TempDir()); got != Nothing {
		t.Errorf("no tape: %v", got)
	}
}
