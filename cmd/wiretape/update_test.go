package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func recordedCall(number int, started time.Duration, url string) *tape.Exchange {
	return &tape.Exchange{
		Kind: tape.Call, Number: number, Started: started,
		Request:  tape.Request{Proto: "HTTP/1.1", Method: "GET", URL: url},
		Response: &tape.Response{Head: httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Line: "HTTP/1.1 200 OK"}},
	}
}

func TestRecordedMissesFollowTheCallsOfTheTape(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := tape.Create(dir, tape.Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 4} { // the user took two away
		for _, r := range callRecords(int64(n), recordedCall(n, time.Duration(n)*time.Second, "https://a.example/old")) {
			if err := w.Apply(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	u, err := newRerecording(newCalls)
	if err != nil {
		t.Fatal(err)
	}
	for n, url := range []string{"https://a.example/one", "https://a.example/two"} {
		for _, r := range callRecords(int64(1)<<32+int64(n), recordedCall(n+1, time.Second, url)) {
			u.apply(r)
		}
	}
	note, err := tape.Note{Name: &tape.Name{Name: "a.example", Type: "A", RCode: "NOERROR", Answers: []string{"A 10.0.0.1"}}}.Record()
	if err != nil {
		t.Fatal(err)
	}
	u.apply(note)
	if err := u.finish(dir, nil); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range tp.Verify() {
		t.Error(p)
	}
	if len(tp.Calls) != 4 || len(tp.Manifest.Names) != 1 {
		t.Fatalf("%d calls, names %v", len(tp.Calls), tp.Manifest.Names)
	}
	for i, want := range []string{"https://a.example/one", "https://a.example/two"} {
		if x := tp.Calls[2+i]; x.Number != 5+i || x.Request.URL != want || x.Started != 5*time.Second {
			t.Errorf("call %d at %v is for %s", x.Number, x.Started, x.Request.URL)
		}
	}
}

func callRecords(id int64, x *tape.Exchange) []tape.Record {
	records, err := new(tape.Encoder).Whole(id, x,
		&tape.Line{Chunk: httpstream.Chunk{Data: []byte("hello")}}, &tape.Line{End: &httpstream.EndInfo{How: httpstream.EOF}})
	if err != nil {
		panic(err)
	}
	return records
}

func recordedCase(number int, started time.Duration, path string) *tape.Exchange {
	x := recordedCall(number, started, "http://127.0.0.1:8080"+path)
	x.Kind = tape.Case
	return x
}

func TestACaseRecordedAnewKeepsItsPlaceOnTheTapesClock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := tape.Create(dir, tape.Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	own := func(x *tape.Exchange, number int) *tape.Exchange { x.Case = number; return x }
	for i, x := range []*tape.Exchange{
		recordedCase(1, 10*time.Second, "/one"), recordedCase(2, 20*time.Second, "/two"),
		own(recordedCall(1, 10*time.Second+time.Millisecond, "https://a.example/kept"), 1),
		own(recordedCall(2, 10*time.Second+2*time.Millisecond, "https://a.example/gone"), 1),
		own(recordedCall(3, 20*time.Second+time.Millisecond, "https://a.example/other"), 2),
	} {
		for _, r := range callRecords(int64(i+1), x) {
			if err := w.Apply(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	before := filesOf(t, dir)
	kept := filepath.Join(dir+".new", "tape.yaml") // of a recording that was not good
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	u, err := newRerecording(casesAnew)
	if err != nil {
		t.Fatal(err)
	}
	apply := func(id int64, x *tape.Exchange) {
		for _, r := range callRecords(id, x) {
			u.apply(r)
		}
	}
	// Case 1 was sent twice, and case 2 is not taken: it failed otherwise.
	apply(1, recordedCase(1, 3*time.Second, "/one"))
	apply(1<<32, own(recordedCall(1, 3*time.Second+4*time.Millisecond, "https://a.example/new"), 1))
	apply(2, recordedCase(1, 5*time.Second, "/one"))
	apply(1<<32+1, own(recordedCall(2, 5*time.Second+4*time.Millisecond, "https://a.example/new"), 1))
	apply(3, recordedCase(2, 7*time.Second, "/two"))
	apply(1<<32+2, own(recordedCall(3, 7*time.Second+time.Millisecond, "https://a.example/lost"), 2))
	u.caseSent(1, 5*time.Second)
	u.caseSent(2, 7*time.Second)
	if err := u.finish(dir, []*report.CaseResult{{Number: 1, NotMade: []event.Call{{Number: 2}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("what record left beside the tape is gone: %v", err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range tp.Verify() {
		t.Error(p)
	}
	var got []string
	for _, x := range slices.Concat(tp.Cases, tp.Calls) {
		got = append(got, fmt.Sprintf("%s %d of %d at %v %s", x.Kind, x.Number, x.Case, x.Started, filepath.Base(x.Request.URL)))
	}
	want := []string{
		"case 1 of 0 at 10s one", "case 2 of 0 at 20s two",
		"call 1 of 1 at 10.001s kept", "call 3 of 2 at 20.001s other", "call 4 of 1 at 10.004s new",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	for name, data := range filesOf(t, dir) {
		if old, ok := before[name]; ok && old != data && !strings.Contains(name, "0001-get-one") {
			t.Errorf("%s is not as it was", name)
		}
	}
}

func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestWhatIsNotKeptOfACallThatWentOnIsSaid(t *testing.T) {
	misses := []event.Miss{{Answered: event.Recorded}, {Answered: event.Refused}}
	notKept(misses)
	if misses[0].Answered != "passthrough" || misses[1].Answered != "" {
		t.Errorf("%+v", misses)
	}
}
