package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
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
	u, err := newRerecording()
	if err != nil {
		t.Fatal(err)
	}
	for n, url := range []string{"https://a.example/one", "https://a.example/two"} {
		for _, r := range callRecords(int64(1)<<32+int64(n), recordedCall(n+1, time.Second, url)) {
			u.apply(r)
		}
	}
	u.apply(tape.Record{Name: &tape.Name{Name: "a.example", Type: "A", RCode: "NOERROR", Answers: []string{"A 10.0.0.1"}}})
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
	return []tape.Record{
		{ID: id, Exchange: x},
		{ID: id, Line: &tape.Line{Chunk: httpstream.Chunk{Data: []byte("hello")}}},
		{ID: id, Line: &tape.Line{End: &httpstream.EndInfo{How: httpstream.EOF}}},
		{ID: id, Done: true},
	}
}
