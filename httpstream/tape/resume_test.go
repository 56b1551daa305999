package tape

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream"
)

// records is a recording of a few exchanges whose records are mixed.
func (g generator) records() []step {
	var each [][]step
	for i := range 3 + g.IntN(4) {
		id := int64(i + 100)
		x := g.exchange(Call, i+1)
		list := []step{{ID: id, Exchange: x}}
		nth := int64(0)
		for range g.IntN(5) {
			if l := g.line(); l.End == nil {
				nth++
				list = append(list, step{ID: id, Nth: nth, Line: l})
			}
		}
		list = append(list, step{ID: id, Nth: nth + 1, Line: end(time.Hour, httpstream.EOF)})
		each = append(each, append(list, step{ID: id, Exchange: x}, step{ID: id, Done: true}))
	}
	var mixed []step
	for len(each) > 0 {
		i := g.IntN(len(each))
		mixed = append(mixed, each[i][0])
		if each[i] = each[i][1:]; len(each[i]) == 0 {
			each = append(each[:i], each[i+1:]...)
		}
	}
	return mixed
}

// files are all of a tape's files but the manifest, with what is in them.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == manifestName {
			return err
		}
		data, err := os.ReadFile(path)
		found[strings.TrimPrefix(path, dir)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAResumedRecordingIsWhatItWouldHaveBeen(t *testing.T) {
	needs.Time(t)
	for seed := range uint64(25) {
		g := newGenerator(seed)
		records := tellAll(t, g.records())
		straight, cut := filepath.Join(t.TempDir(), "straight"), filepath.Join(t.TempDir(), "cut")
		for _, dir := range []string{straight, cut} {
			w, err := Create(dir, manifest())
			if err != nil {
				t.Fatal(err)
			}
			if dir == straight {
				applyAll(t, w, records...)
				if err := w.Close(nil); err != nil {
					t.Fatal(err)
				}
				continue
			}
			// Killed, and the one who has the records knows only of some that were written.
			written := g.IntN(len(records) + 1)
			known := g.IntN(written + 1)
			applyAll(t, w, records[:written]...)
			w.durable.close() // what a kill would end
			if g.maybe() {
				halve(t, dir)
			}
			if w, err = Resume(dir); err != nil {
				t.Fatal(err)
			}
			applyAll(t, w, records[known:]...)
			if err := w.Close(nil); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if d := cmp.Diff(files(t, straight), files(t, cut)); d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
	}
}

// halve leaves half a line, as a full disk would, at the end of a stream that has no end line.
func halve(t *testing.T, dir string) {
	t.Helper()
	for name, text := range files(t, dir) {
		if strings.HasSuffix(name, ".ndjson") && !strings.Contains(text, `"end":"eof"`) {
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString(`{"t":12,"te`)
			f.Close()
			return
		}
	}
}

func TestOnlyARecordingThatWasCutOffCanBeResumed(t *testing.T) {
	for _, dir := range []string{newTape(t), t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := Resume(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
