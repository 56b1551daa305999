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
	"github.com/wiretape/wiretape/httpstream/tape"
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

func TestRecordsAreReadBetweenLines(t *testing.T) {
	var want []string
	var in strings.Builder
	for i, data := range []string{"", "a\n", strings.Repeat("x\n", 200<<10), "{}", strings.Repeat("y", 2<<20)} {
		rec := tape.Record{Kind: tape.NoteRecord, ID: int64(i), Data: []byte(data)}
		for _, text := range []string{string(rec.Append(nil)), `{"ready":true}` + "\n", strings.Repeat("z", 100<<10) + "\n"} {
			want = append(want, text)
			in.WriteString(text)
		}
	}
	for name, r := range map[string]io.Reader{
		"at once": strings.NewReader(in.String()), "in halves": iotest.HalfReader(strings.NewReader(in.String())),
	} {
		lr := NewLineReader(r)
		for i, text := range want {
			got, err := lr.Next()
			if err != nil || string(got) != text {
				t.Fatalf("%s, %d: %d bytes and %v, want %d", name, i, len(got), err, len(text))
			}
		}
		if _, err := lr.Next(); !errors.Is(err, io.EOF) || lr.More() {
			t.Errorf("%s: behind the last %v", name, err)
		}
	}
	for _, cut := range []string{"@n 0 0 0 9 \n{}", "@n 0 0 0 9 \n"} {
		if _, err := NewLineReader(strings.NewReader(cut)).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q gives %v", cut, err)
		}
	}
}

func TestWhatIsGatheredIsWrittenInOrderAndInBatches(t *testing.T) {
	var out bytes.Buffer
	writes := 0
	lw := &LineWriter{W: writerFunc(func(p []byte) (int, error) { writes++; return out.Write(p) })}
	want := ""
	for i := range 1000 {
		line := strings.Repeat("x", i) + "\n"
		want += line
		if err := lw.Gather([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := lw.Raw([]byte("last\n")); err != nil {
		t.Fatal(err)
	}
	if err := lw.Flush(); err != nil || out.String() != want+"last\n" || writes > len(want)/maxGathered+2 {
		t.Errorf("%d bytes of %d in %d writes, %v", out.Len(), len(want)+5, writes, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

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
			if !tape.IsRecord(line) && (bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n') {
				t.Fatalf("%q is not a line", line)
			}
			got.Write(line)
		}
		if strings.Contains(s, "@") {
			return // of a record, the rest is data
		}
		if want := s[:strings.LastIndexByte(s, '\n')+1]; got.String() != want {
			t.Fatalf("%q was read as %q", want, got.String())
		}
	})
}
