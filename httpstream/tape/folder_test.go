package tape

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream"
)

func manifest() Manifest {
	return Manifest{Version: Version, Created: time.Date(2026, 11, 23, 4, 0, 0, 120000, time.UTC), By: "1.0.0", Project: "chat", Services: []string{"app"}}
}

func get(number int) *Exchange {
	return &Exchange{
		Kind: Call, Number: number, Request: Request{Proto: "HTTP/1.1", Method: "GET", URL: "http://a/x"},
		Response: &Response{Head: httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Line: "HTTP/1.1 200 OK"}},
	}
}

func chunk(at time.Duration, s string) *Line {
	return &Line{At: at, Chunk: httpstream.Chunk{Data: []byte(s)}}
}

func end(at time.Duration, how httpstream.End) *Line {
	return &Line{At: at, End: &httpstream.EndInfo{How: how}}
}

// newTape writes a tape with one finished call, and returns its folder.
func newTape(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := Create(dir, manifest())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, w, step{ID: 1, Exchange: get(1)}, step{ID: 1, Line: chunk(10*time.Microsecond, "a")},
		step{ID: 1, Line: chunk(20*time.Microsecond, "b")}, step{ID: 1, Line: end(30*time.Microsecond, httpstream.EOF)}, step{ID: 1, Done: true})
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func lines(t *testing.T, tp *Tape, x *Exchange) (list []Line, err error) {
	t.Helper()
	s, err := tp.Stream(x)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for l, err := range s.Lines() {
		if err != nil {
			return list, err
		}
		l.Data = append([]byte(nil), l.Data...)
		list = append(list, l)
	}
	return list, nil
}

func TestRandomRecordingsAreReadBackAsTheyWereWritten(t *testing.T) {
	for seed := range uint64(40) {
		g := newGenerator(seed)
		dir := filepath.Join(t.TempDir(), "tape")
		m := manifest()
		w, err := Create(dir, m)
		if err != nil {
			t.Fatal(err)
		}
		var want []*Exchange
		streams := map[int64][]Line{}
		var steps []step
		for i := range 8 {
			x := g.exchange(Call, i+1)
			id := int64(i + 100)
			steps = append(steps, step{ID: id, Exchange: x})
			for range g.IntN(6) {
				l := g.line()
				if l.End == nil {
					steps = append(steps, step{ID: id, Line: l})
					streams[id] = append(streams[id], *l)
				}
			}
			last := end(time.Hour, httpstream.EOF)
			last.End.Trailer = g.fields()
			steps = append(steps, step{ID: id, Line: last}, step{ID: id, Exchange: x}, step{ID: id, Done: true})
			streams[id] = append(streams[id], *last)
			full := *x
			file, stream := fileNames(x)
			full.File, full.Stream = filepath.Join(dir, filepath.FromSlash(file)), stream
			want = append(want, &full)
		}
		apply(t, w, steps...)
		if err := w.Close(nil); err != nil {
			t.Fatal(err)
		}
		tp, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		m.Complete = true
		if d := cmp.Diff(m, tp.Manifest) + cmp.Diff(want, tp.Calls); d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
		for i, x := range tp.Calls {
			got, err := lines(t, tp, x)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(streams[int64(i+100)], got); d != "" {
				t.Fatalf("seed %d: %s", seed, d)
			}
		}
	}
}

func TestATapeIsTheOwnersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	err := filepath.WalkDir(newTape(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = fs.ModeDir | 0o700
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, expected %v", path, info.Mode(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAKilledRecordingShowsWhatItHad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := Create(dir, manifest())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(nil)
	apply(t, w, step{ID: 1, Exchange: get(1)}, step{ID: 1, Line: chunk(10*time.Microsecond, "first")})
	tp, err := Open(dir) // while the writer is as good as dead
	if err != nil {
		t.Fatal(err)
	}
	if tp.Manifest.Complete {
		t.Error("the tape is said to be complete")
	}
	got, err := lines(t, tp, tp.Calls[0])
	if len(got) != 1 || string(got[0].Data) != "first" || !errors.Is(err, ErrTruncated) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCloseMarksOpenExchanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := Create(dir, manifest())
	if err != nil {
		t.Fatal(err)
	}
	silent := get(2)
	silent.Response = nil
	refused := &Exchange{Kind: Call, Number: 3, Request: Request{URL: "tcp://db:1"}, Failed: "connection refused"}
	apply(t, w, step{ID: 1, Exchange: get(1)}, step{ID: 1, Line: chunk(10*time.Microsecond, "a")},
		step{ID: 2, Exchange: silent}, step{ID: 3, Exchange: refused},
		step{Opaque: &Opaque{Address: "b:1", Reason: "r"}}, step{Opaque: &Opaque{Address: "a:1", Reason: "r"}}, step{Opaque: &Opaque{Address: "b:1", Reason: "r"}},
		step{Name: &Name{Name: "n", Type: "A", RCode: "NXDOMAIN"}}, step{Name: &Name{Name: "n", Type: "A", RCode: "NOERROR", Answers: []string{"A 1.2.3.4"}}},
		step{Problem: "lost"}, step{Problem: "lost"})
	if err := w.Close(func(m *Manifest) { m.Services = []string{"later"} }); err != nil {
		t.Fatal(err)
	}
	if err := w.Apply(tellAll(t, []step{{Problem: "late"}})[0]); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := manifest()
	m.Services, m.Problems = []string{"later"}, []string{"lost"}
	m.Opaque = []Opaque{{Address: "a:1", Reason: "r", Count: 1}, {Address: "b:1", Reason: "r", Count: 2}}
	m.Names = []Name{{"n", "A", "NOERROR", []string{"A 1.2.3.4"}}}
	if d := cmp.Diff(m, tp.Manifest); d != "" {
		t.Error(d)
	}
	for i, want := range [][]Line{
		{*chunk(10*time.Microsecond, "a"), *end(10*time.Microsecond, httpstream.Open)},
		{*end(0, httpstream.Open)},
		nil,
	} {
		got, err := lines(t, tp, tp.Calls[i])
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Error(err, d)
		}
	}
}

func TestThousandsOfStreamsAtOnce(t *testing.T) {
	needs.Time(t)
	const streams = 1500
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := Create(dir, manifest())
	if err != nil {
		t.Fatal(err)
	}
	var teller teller
	var wait sync.WaitGroup
	for part := range 4 {
		wait.Go(func() {
			for n := part + 1; n <= streams; n += 4 {
				if err := (step{ID: int64(n), Exchange: get(n)}).tell(&teller, w.Apply); err != nil {
					t.Error(err)
				}
			}
			for n := part + 1; n <= streams; n += 4 {
				for _, r := range []step{{Line: chunk(0, "x")}, {Line: end(0, httpstream.EOF)}, {Done: true}} {
					r.ID = int64(n)
					if err := r.tell(&teller, w.Apply); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wait.Wait()
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if problems := tp.Verify(); len(tp.Calls) != streams || problems != nil {
		t.Errorf("%d calls, %v", len(tp.Calls), problems)
	}
}

func TestWriteFailuresNameTheFileAndStopTheExchange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := Create(dir, manifest())
	if err != nil {
		t.Fatal(err)
	}
	var teller teller
	if err := (step{ID: 1, Exchange: get(1)}).tell(&teller, w.Apply); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, streamsDir)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second error is the first again
		err = step{ID: 1, Line: chunk(0, "a")}.tell(&teller, w.Apply)
		if err == nil || !strings.Contains(err.Error(), "call-0001-get-a-x.ndjson") {
			t.Errorf("got %v", err)
		}
	}
	if err := (step{ID: 9, Line: chunk(0, "a")}).tell(&teller, w.Apply); err == nil {
		t.Error("a line of an unknown exchange was taken")
	}
	if err := (step{ID: 2, Exchange: get(1)}).tell(&teller, w.Apply); err == nil {
		t.Error("a number was taken twice")
	}
	if err := w.Close(nil); err == nil {
		t.Error("Close forgot the failure")
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if tp.Manifest.Complete || len(tp.Manifest.Problems) != 1 || strings.Contains(tp.Manifest.Problems[0], dir) {
		t.Errorf("%+v", tp.Manifest)
	}
}

func TestCreateRefusesAFolderThatIsNotEmpty(t *testing.T) {
	if _, err := Create(newTape(t), manifest()); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("got %v", err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	_, err := Open(t.TempDir())
	var fe *FormatError
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &fe) || !strings.Contains(fe.Hint, "record") {
		t.Errorf("got %v", err)
	}
	dir := newTape(t)
	call := filepath.Join(dir, callsDir, "0001-get-a-x.yaml")
	data, err := os.ReadFile(call)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		callsDir + "/0002-twice.yaml":  string(data),
		callsDir + "/0003-broken.yaml": "call: 3\nx: 1\n",
		casesDir + "/0001-wrong.yaml":  string(data),
	} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Open(dir)
	for _, want := range []string{"0002-twice.yaml:1: has the same number as 0001-get-a-x.yaml", `0003-broken.yaml:2: unknown key "x"`, "0001-wrong.yaml:1: a call in the folder of the cases"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, expected %s", err, want)
		}
	}
}

func TestAStreamIsReadStrictly(t *testing.T) {
	const ok = `{"t":1,"text":"a"}` + "\n"
	for _, c := range []struct {
		name, in, want string
		truncated      bool
	}{
		{"empty", "", ":1: there is no end line", true},
		{"no end line", ok, ":2: there is no end line", true},
		{"a half line", ok + `{"t":2,"te`, ":2: the last line is half written", true},
		{"a whole line without its line end", ok + `{"t":2,"text":"b"}`, ":2: the last line is half written", true},
		{"an end without its line end", ok + `{"t":2,"end":"eof"}`, "", false},
		{"CRLF", strings.ReplaceAll(ok, "\n", "\r\n") + `{"t":2,"end":"eof"}` + "\r\n", "", false},
		{"a broken line", ok + "what\n" + ok, ":2: not valid JSON", false},
		{"an empty line", ok + "\n" + ok, ":2: not valid JSON", false},
		{"a line behind the end", `{"t":2,"end":"eof"}` + "\n" + ok, ":2: a line follows", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := newTape(t)
			tp, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, tp.Calls[0].Stream), []byte(c.in), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = lines(t, tp, tp.Calls[0])
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrTruncated) != c.truncated {
				t.Errorf("got %v, expected %s", err, c.want)
			}
			if problems := tp.Verify(); len(problems) != 1 || !strings.Contains(problems[0].String(), c.want) {
				t.Errorf("Verify: %v", problems)
			}
		})
	}
}

func TestLongLinesAreRead(t *testing.T) {
	dir := newTape(t)
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	long := &Line{Chunk: httpstream.Chunk{Data: []byte(strings.Repeat("x\xff", 1<<20))}}
	data := append(AppendLine(nil, long), '\n')
	data = append(AppendLine(data, end(0, httpstream.EOF)), '\n')
	if err := os.WriteFile(filepath.Join(dir, tp.Calls[0].Stream), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := tp.Stream(tp.Calls[0])
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if l, err := s.Next(); err != nil || string(l.Data) != string(long.Data) {
		t.Errorf("%d bytes, %v", len(l.Data), err)
	}
	if _, err := s.Next(); err != nil {
		t.Error(err)
	}
	if _, err := s.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestVerifyFindsWhatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		name, file string
		edit       func(string) string
		want       string
	}{
		{"times that go back", "streams/call-0001-get-a-x.ndjson", func(s string) string { return strings.Replace(s, `"t":10`, `"t":25`, 1) }, ".ndjson:2: t is 20, less than"},
		{"a client line without need", "streams/call-0001-get-a-x.ndjson", func(s string) string {
			return strings.Replace(s, `"t":10`, `"t":10,"from":"client"`, 1)
		}, ".ndjson:1: a client line"},
		{"a wrong hash", "calls/0001-get-a-x.yaml", func(s string) string {
			return strings.Replace(s, "response:", "  body_in_stream:\n    size: 0\n    sha256: ff\nresponse:", 1)
		}, "does not have the sha256"},
		{"a wrong size", "calls/0001-get-a-x.yaml", func(s string) string {
			return strings.Replace(s, "response:", "  body_in_stream:\n    size: 7\nresponse:", 1)
		}, "has 0 bytes"},
		{"an answer of another length", "calls/0001-get-a-x.yaml", func(s string) string {
			return strings.Replace(s, "200 OK\n", "200 OK\n  headers:\n    - Content-Length: 7\n", 1)
		}, "Content-Length of the response is 7, but streams/call-0001-get-a-x.ndjson has 2 bytes: was it edited? Write Content-Length: 2"},
		{"an unknown case", "calls/0001-get-a-x.yaml", func(s string) string { return s + "case: 4\n" }, "belongs to case 4"},
		{"a missing stream", "calls/0001-get-a-x.yaml", func(s string) string { return strings.Replace(s, "call-0001", "call-0002", 1) }, "is missing"},
		{"an unfinished recording", "tape.yaml", func(s string) string { return strings.Replace(s, "complete: true", "complete: false", 1) }, "incomplete: it was killed"},
		{"another number", "calls/0001-get-a-x.yaml", func(s string) string { return strings.Replace(s, "call: 1", "call: 2", 1) }, `is number 2, but its name begins with "0001"`},
		{"a stranger", "streams/x.ndjson", func(string) string { return "" }, "belongs to no exchange"},
		{"a temporary file", "calls/.x.yaml.tmp", func(string) string { return "" }, "left by a killed recording"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := newTape(t)
			file := filepath.Join(dir, filepath.FromSlash(c.file))
			data, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(c.edit(string(data))), 0o600); err != nil {
				t.Fatal(err)
			}
			tp, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			problems := tp.Verify()
			if len(problems) == 0 || !strings.Contains(problems[0].String(), c.want) {
				t.Errorf("got %v, expected %s", problems, c.want)
			}
		})
	}
}
