package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wiretape/wiretape/httpstream/event"
)

// countingWriter counts its writes.
type countingWriter struct {
	bytes.Buffer
	writes int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	return w.Buffer.Write(p)
}

func TestLinesOfManyCallsAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w countingWriter
		r := newReporter(&w, forPeople)
		call := func(i int) {
			r.event(&event.Event{Exchange: &event.Exchange{Kind: event.CallEnded, Number: i, Method: "GET", URL: "http://h/", Status: 200}})
		}
		call(0)
		if w.writes != 1 {
			t.Error("the first line waits for others")
		}
		for i := range 999 {
			call(i + 1)
		}
		time.Sleep(2 * batchDelay)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(w.String()), "\n")
		if len(lines) != 1000 || w.writes > 5 {
			t.Errorf("%d lines in %d writes", len(lines), w.writes)
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, fmt.Sprintf("call %4d ", i)) {
				t.Fatalf("line %d is %q", i, line)
			}
		}
		call(1000)
		call(1001)
		r.note("done")
		if !strings.HasSuffix(w.String(), "done\n") {
			t.Error("a step of the session waits for others")
		}
	})
}

func BenchmarkLinesOfCalls(b *testing.B) {
	e := &event.Event{Exchange: &event.Exchange{
		Kind: event.CallEnded, Service: "api", Number: 7, Method: "GET", URL: "https://api.example.com/v1/things", Status: 200,
		Chunks: 1, Bytes: 100, First: time.Millisecond, Took: time.Millisecond,
	}}
	for name, o := range map[string]output{"lines": forPeople, "json": forMachines} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := newReporter(&countingWriter{}, o)
			for b.Loop() {
				r.event(e)
			}
		})
	}
}
