package tape

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tapeOf is a tape with n calls.
func tapeOf(tb testing.TB, n int, call func(i int) string) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := os.Mkdir(filepath.Join(dir, callsDir), 0o700); err != nil {
		tb.Fatal(err)
	}
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	write(manifestName, "version: 2\ncreated: 2026-01-02T03:04:05Z\nby: test\ncomplete: true\n")
	for i := 1; i <= n; i++ {
		write(fmt.Sprintf("%s/%04d-post-api.example-v1-chat-%d.yaml", callsDir, i, i), call(i))
	}
	return dir
}

func TestALongTapeIsOpenedAsItsFilesSay(t *testing.T) {
	const n = 300
	dir := tapeOf(t, n, plainCall)
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(tp.Calls) != n {
		t.Fatalf("%d calls", len(tp.Calls))
	}
	for i, x := range tp.Calls {
		want, err := decodeExchange([]byte(plainCall(i+1)), x.File)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := x.loadLines()
		if d := cmp.Diff(want.Lines, lines); d != "" || err != nil {
			t.Fatal(err, d)
		}
		body, err := x.RequestBody()
		if d := cmp.Diff(want.Request.Body.Data, body); d != "" || err != nil {
			t.Fatal(err, d)
		}
		want.Lines = nil
		if d := cmp.Diff(want, x); d != "" {
			t.Fatal(d)
		}
	}
}

func TestEachBrokenFileIsNamedInOrder(t *testing.T) {
	dir := tapeOf(t, 200, func(i int) string {
		switch i {
		case 7:
			return strings.Replace(plainCall(i), "  method: POST\n", "", 1)
		case 90:
			return plainCall(89)
		case 91:
			return strings.Replace(plainCall(i), "call:", "case:", 1)
		case 150:
			return "call: 150\nrequest: no\n"
		}
		return plainCall(i)
	})
	_, err := Open(dir)
	want := []string{
		`0007-post-api.example-v1-chat-7.yaml:5: the request has no key "method"`,
		"0090-post-api.example-v1-chat-90.yaml:1: has the same number as 0089-post-api.example-v1-chat-89.yaml",
		"0091-post-api.example-v1-chat-91.yaml:1: a case in the folder of the calls",
		`0150-post-api.example-v1-chat-150.yaml:2: the request is "no"`,
	}
	got := strings.Split(fmt.Sprint(err), "\n")
	for i, w := range want {
		if i >= len(got) || !strings.Contains(got[i], w) {
			t.Fatalf("got %q, expected %q", got, want)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %q", got)
	}
}

// The lines of a small answer are not in memory: they are read when they are played,
// and the file may then be another.
func TestASmallAnswersFileThatChangedIsNotPlayed(t *testing.T) {
	dir := tapeOf(t, 1, plainCall)
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	x := tp.Calls[0]
	changed := strings.Replace(plainCall(1), "service: app\n", "", 1)
	if err := os.WriteFile(x.File, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	var fe *FormatError
	if _, err := tp.Stream(x); !errors.As(err, &fe) || !strings.Contains(fe.Msg, "was changed since") || fe.Hint == "" {
		t.Error(err)
	}
	if err := os.Remove(x.File); err != nil {
		t.Fatal(err)
	}
	if _, err := tp.Stream(x); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// longCall is a call with a long request.
func longCall(i int) string {
	return strings.Replace(plainCall(i), `{"model":"m",`, `{"model":"m",`+strings.Repeat(`"n":1,`, 1000), 1)
}

func TestALongRequestBodyIsReadWhenItIsAskedFor(t *testing.T) {
	dir := tapeOf(t, 1, longCall)
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	x := tp.Calls[0]
	strict, err := decodeExchange([]byte(longCall(1)), x.File)
	if err != nil {
		t.Fatal(err)
	}
	if b, want := x.Request.Body, strict.Request.Body; b.Data != nil || !b.InFile || b.Size != want.Size || b.SHA256 != want.SHA256 {
		t.Errorf("%+v", b)
	}
	if data, err := x.RequestBody(); err != nil || !bytes.Equal(data, strict.Request.Body.Data) {
		t.Error(err, len(data))
	}
	if data, err := encodeExchange(x); err != nil || string(data) != longCall(1) {
		t.Errorf("%v\n%.300s", err, data)
	}
	if err := os.WriteFile(x.File, []byte(plainCall(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	var fe *FormatError
	if _, err := x.RequestBody(); !errors.As(err, &fe) || !strings.Contains(fe.Msg, "was changed since") {
		t.Error(err)
	}
}

// maxCallMemory is what a call may take in memory, in bytes, without the index.
const maxCallMemory = 1500

func memoryOf(tb testing.TB, dir string) (tp *Tape, each int64) {
	tb.Helper()
	used := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := used()
	tp, err := Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return tp, (used() - before) / int64(len(tp.Calls))
}

func TestACallTakesLittleMemoryHoweverLongItsAnswer(t *testing.T) {
	for name, call := range map[string]func(int) string{
		"short":               plainCall,
		"with a long request": longCall,
		"long": func(i int) string {
			return strings.Replace(plainCall(i), `"text":"`, `"text":"`+strings.Repeat("long ", 3000), 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tp, each := memoryOf(t, tapeOf(t, 1000, call))
			if each > maxCallMemory {
				t.Errorf("%d bytes a call", each)
			}
			runtime.KeepAlive(tp)
		})
	}
}

// BenchmarkOpen opens a tape of 5,000 calls.
func BenchmarkOpen(b *testing.B) {
	const n = 5000
	dir := tapeOf(b, n, plainCall)
	for b.Loop() {
		if _, err := Open(dir); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/call")
	tp, each := memoryOf(b, dir)
	b.ReportMetric(float64(each), "B/call")
	runtime.KeepAlive(tp)
}

func TestALineIsReadWithoutAnAllocation(t *testing.T) {
	const n = 1000
	var stream []byte
	for range n {
		stream = append(AppendLine(stream, chunk(0, "data: {\"a\":\"é\"}\n\n")), '\n')
	}
	s := newStreamReader(bytes.NewReader(bytes.Repeat(stream, 12)), "x.ndjson")
	each := testing.AllocsPerRun(10, func() {
		for range n {
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
		}
	}) / n
	if each > 0.1 {
		t.Errorf("%.1f allocations a line", each)
	}
}
