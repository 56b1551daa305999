package guard

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestWhatWasNotSavedIsInTheFile(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var u unsaved
		var records []string
		add := func() {
			line := fmt.Sprintf(`{"event":{"number":%d}}`+"\n", r.IntN(9))
			if r.IntN(3) > 0 {
				rec := tape.Record{Kind: tape.NoteRecord, ID: int64(len(records)), Data: []byte(strings.Repeat("x\n", r.IntN(50)))}
				line = string(rec.Append(nil))
				records = append(records, line)
			}
			if err := u.add([]byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		saved := 0
		for range r.IntN(60) {
			add()
			if r.IntN(4) == 0 {
				saved += r.IntN(len(records) - saved + 1)
				u.drop(int64(saved))
				u.drop(int64(r.IntN(saved + 1))) // said again, or late
			}
		}
		dir := t.TempDir()
		if err := u.spill(dir); err != nil {
			t.Fatal(err)
		}
		for range r.IntN(20) {
			add()
		}
		if _, err := os.Stat(filepath.Join(dir, agent.UnsavedFile)); err == nil {
			t.Fatal("the file has its name before it is whole")
		}
		if err := u.close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, agent.UnsavedFile))
		if want := strings.Join(records[saved:], ""); err != nil || string(got) != want {
			t.Fatalf("seed %d: the file has %q and %v, want %q", seed, got, err, want)
		}
	}
}

func TestASavedCountThatTheAgentNeverSentIsHarmless(t *testing.T) {
	var u unsaved
	u.drop(7)
	if err := u.add((&tape.Record{Kind: tape.NoteRecord}).Append(nil)); err != nil {
		t.Fatal(err)
	}
	u.drop(100)
	if len(u.bytes) != 0 || u.close() != nil {
		t.Errorf("%d bytes are kept", len(u.bytes))
	}
}
