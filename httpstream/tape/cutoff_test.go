package tape

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// ended reports whether an exchange can be read to its end. What it lacks must be
// said to be cut off, and nothing else.
func ended(t *testing.T, tp *Tape, x *Exchange) bool {
	t.Helper()
	ls, err := lines(t, tp, x)
	if err != nil && !errors.Is(err, ErrTruncated) {
		t.Fatalf("%s: %v", x.File, err)
	}
	return err == nil && len(ls) > 0 && ls[len(ls)-1].End != nil
}

// mentions reports whether one of the problems is about a file.
func mentions(problems []Problem, file string) bool {
	for _, p := range problems {
		if filepath.Base(p.File) == filepath.Base(file) {
			return true
		}
	}
	return false
}

// Whatever part of a file a power cut left, its exchange is whole or said to be cut
// off, and the others can be read.
func TestExchangeFilesThatAreCutOffAreMarked(t *testing.T) {
	const other = "calls/0002-get-a-y.yaml"
	second := strings.Replace(smallCall, "call: 1", "call: 2", 1)
	long := strings.Replace(smallCall, "    - Content-Length", "    - X-Long: "+strings.Repeat("x", 5000)+"\n    - Content-Length", 1)
	for _, call := range []string{smallCall, long} {
		dir := smallTape(t, 2, false, call)
		if err := os.WriteFile(filepath.Join(dir, other), []byte(second), 0o600); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "calls", "0001-get-a-x.yaml")
		for n := 0; n < len(call); n += 1 + len(call)/2000*40 {
			part := []byte(call[:n])
			for _, left := range [][]byte{part, append(bytes.Clone(part), make([]byte, len(call)-n)...)} {
				if len(left) > 0 && left[len(left)-1] == '\n' && len(left)%4096 != 0 {
					continue // no power cut leaves that: it is whole, or was edited
				}
				if err := os.WriteFile(file, left, 0o600); err != nil {
					t.Fatal(err)
				}
				tp, err := Open(dir)
				if err != nil {
					t.Fatalf("%d of %d bytes: %v", n, len(call), err)
				}
				problems := tp.Verify()
				whole := false
				for _, x := range tp.Calls {
					if x.Number == 1 {
						whole = ended(t, tp, x)
					} else if !ended(t, tp, x) || mentions(problems, x.File) {
						t.Fatalf("%d of %d bytes: the other call is struck: %v", n, len(call), problems)
					}
				}
				if len(tp.Calls)+len(tp.CutOff) != 2 {
					t.Fatalf("%d of %d bytes: %d calls, %v", n, len(call), len(tp.Calls), tp.CutOff)
				}
				if !whole && !mentions(problems, file) || whole && n < len(call)-1 {
					t.Fatalf("%d of %d bytes of a file: whole %v, problems %v", n, len(left), whole, problems)
				}
			}
		}
	}
}

func TestFilesOfACompleteTapeAreNeverPassedOver(t *testing.T) {
	for _, left := range []string{"", smallCall[:100], smallCall[:100] + strings.Repeat("\x00", 50), strings.Repeat("\x00", 4096)} {
		tp, err := Open(smallTape(t, 2, true, left))
		if fe := (*FormatError)(nil); !errors.As(err, &fe) || fe.Hint == "" || !strings.HasSuffix(fe.File, "0001-get-a-x.yaml") {
			t.Errorf("%q gives %+v, %v", left, tp, err)
		}
	}
	for _, broken := range []string{"call: one\n", strings.Replace(smallCall, "call: 1", "colour: red", 1)} {
		if _, err := Open(smallTape(t, 2, false, broken)); err == nil {
			t.Errorf("%q is no power cut's doing, and is passed over", broken)
		}
	}
}

func TestStreamsThatAreCutOffAreMarked(t *testing.T) {
	dir := newTape(t)
	manifest := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(manifest, bytes.Replace(data, []byte("complete: true"), []byte("complete: false"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, streamsDir, "call-0001-get-a-x.ndjson")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string) {
		t.Helper()
		tp, err := Open(dir)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if problems := tp.Verify(); ended(t, tp, tp.Calls[0]) || !mentions(problems, file) {
			t.Errorf("%s: %v", what, problems)
		}
	}
	for n := range len(whole) - 1 {
		for _, zeros := range []int{0, len(whole) - n} {
			if err := os.WriteFile(file, append(bytes.Clone(whole[:n]), make([]byte, zeros)...), 0o600); err != nil {
				t.Fatal(err)
			}
			check(string(whole[:n]))
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	check("no file")
}

// recordSteps are the records of the nth of many exchanges: most are small, and every
// fifth streams.
func recordSteps(t testing.TB, e *Encoder, n int) []Record {
	t.Helper()
	x := get(n)
	if n%5 > 0 {
		records, err := e.Whole(int64(n), x, chunk(time.Millisecond, "a small answer"), end(time.Millisecond, httpstream.EOF))
		if err != nil {
			t.Fatal(err)
		}
		return records
	}
	x.Stream = StreamOf(x)
	file, err := e.File(int64(n), x)
	if err != nil {
		t.Fatal(err)
	}
	records := []Record{file}
	for i := range 4 {
		l := chunk(time.Duration(i)*time.Millisecond, strings.Repeat("an event of a stream\n", 20))
		if i == 3 {
			l = end(time.Second, httpstream.EOF)
		}
		r := e.Lines(int64(n), int64(i+1), l)
		r.Data, r.Last = bytes.Clone(r.Data), i == 3
		records = append(records, r)
	}
	return records
}
