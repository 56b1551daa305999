//go:build unix

package tape

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
)

// killedEnv names the folder that a process records to until it is killed.
const killedEnv = "WIRETAPE_TEST_KILLED"

// TestRecordUntilKilled is no test: it is the process that the next one kills. It says
// which exchanges are finished.
func TestRecordUntilKilled(t *testing.T) {
	dir := os.Getenv(killedEnv)
	if dir == "" {
		return
	}
	w, err := Create(dir, manifest())
	if err != nil {
		t.Fatal(err)
	}
	var e Encoder
	for n := 1; ; n++ {
		applyAll(t, w, recordSteps(t, &e, n)...)
		fmt.Printf("finished %d\n", n)
	}
}

func TestAKilledProcessLosesNothingThatWasFinished(t *testing.T) {
	needs.Time(t)
	finished, cut := 0, 0
	for range 100 {
		dir := filepath.Join(t.TempDir(), "tape")
		cmd := exec.Command(os.Args[0], "-test.run=^TestRecordUntilKilled$")
		cmd.Env = append(os.Environ(), killedEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var done []int
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			n, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "finished "))
			if err != nil {
				break // half a line
			}
			if done = append(done, n); len(done) == 1 {
				time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { cmd.Process.Kill() })
			}
		}
		cmd.Wait()
		cut += checkCutOff(t, dir, done)
		finished += len(done)
		w, err := Resume(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(func(m *Manifest) { m.Complete = false }); err != nil {
			t.Fatal(err)
		}
		checkCutOff(t, dir, done)
	}
	t.Logf("of %d finished exchanges none is lost; %d were cut off", finished, cut)
}

// checkCutOff holds that the exchanges are whole on the tape, and that all others are
// whole or said to be cut off. It returns how many are.
func checkCutOff(t *testing.T, dir string, finished []int) (cut int) {
	t.Helper()
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	problems := tp.Verify()
	whole := map[int]bool{}
	for _, x := range tp.Calls {
		if whole[x.Number] = ended(t, tp, x); !whole[x.Number] {
			cut++
			if !mentions(problems, x.File) && !mentions(problems, x.Stream) {
				t.Errorf("%s is cut off, and nobody says so: %v", x.File, problems)
			}
		}
	}
	for _, n := range finished {
		if !whole[n] {
			t.Errorf("exchange %d was finished, and is not whole on the tape: %v", n, problems)
		}
	}
	return cut + len(tp.CutOff)
}
