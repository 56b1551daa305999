package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/wiretape/wiretape/httpstream/event"
)

func TestLinesOfAnyLengthAreRead(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	in := "short\n\n" + long + "\n" + strings.Repeat("y", 64<<10) + "\nlast\nhalf"
	for name, r := range map[string]io.Reader{
		"at once": strings.NewReader(in), "in halves": iotest.HalfReader(strings.NewReader(in)),
	} {
		lr := NewLineReader(r)
		for _, want := range strings.SplitAfter(strings.TrimSuffix(in, "half"), "\n") {
			if want == "" {
				break
			}
			got, err := lr.Next()
			if err != nil || string(got) != want {
				t.Fatalf("%s: %d bytes and %v, want %d", name, len(got), err, len(want))
			}
		}
		if got, err := lr.Next(); !errors.Is(err, io.EOF) || len(got) > 0 {
			t.Errorf("%s: half a line is %q, %v", name, got, err)
		}
	}
}

// endless is a line that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("x"), len(p))), nil }

func TestALineHasALimit(t *testing.T) {
	if _, err := NewLineReader(endless{}).Next(); err == nil || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("a line without end gives %v", err)
	}
}

func TestAFailingReaderIsReported(t *testing.T) {
	broken := errors.New("broken")
	for _, before := range []string{"", "half", strings.Repeat("x", 100<<10)} {
		lr := NewLineReader(io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken)))
		if _, err := lr.Next(); !errors.Is(err, broken) {
			t.Errorf("behind %d bytes: %v", len(before), err)
		}
	}
}

func TestLinesOfManyWritersStayWhole(t *testing.T) {
	r, w := io.Pipe()
	lw := &LineWriter{W: w}
	const writers, each = 8, 50
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := lw.Send(FromAgent{Event: &event.Event{Exchange: &event.Exchange{Kind: event.CallEnded, Failed: strings.Repeat("é\n", 200)}}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { wg.Wait(); w.Close() }()
	n := 0
	for s := bufio.NewScanner(r); s.Scan(); n++ {
		var m FromAgent
		if err := json.Unmarshal(s.Bytes(), &m); err != nil || m.Event == nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
	}
	if n != writers*each {
		t.Errorf("%d lines, want %d", n, writers*each)
	}
	if err := lw.Send(func() {}); err == nil {
		t.Error("what is not JSON was sent")
	}
}

func FuzzLines(f *testing.F) {
	f.Add("a\nb\n", 3)
	f.Add(strings.Repeat("x", 70<<10)+"\n", 1<<16)
	f.Fuzz(func(t *testing.T, s string, repeat int) {
		s = strings.Repeat(s, 1+max(0, min(repeat, 4)))
		lr := NewLineReader(iotest.HalfReader(strings.NewReader(s)))
		var got strings.Builder
		for {
			line, err := lr.Next()
			if err != nil {
				break
			}
			if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
				t.Fatalf("%q is not a line", line)
			}
			got.Write(line)
		}
		if want := s[:strings.LastIndexByte(s, '\n')+1]; got.String() != want {
			t.Fatalf("%q was read as %q", want, got.String())
		}
	})
}
