package record

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"

	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// 1,000 clients that never end their requests, with 300 MiB of bodies.
func TestUnfinishedBodiesAreHeldUpToABoundInAll(t *testing.T) {
	needs.Time(t)
	var passed atomic.Int64
	r := New(Options{}, func(rec tape.Record) error {
		if rec.Kind == tape.LinesRecord && bytes.Contains(rec.Data, []byte(`"from":"client"`)) {
			passed.Add(int64(bytes.Count(rec.Data, []byte("aa"))) * 2)
		}
		return nil
	})
	s := r.Conn(Conn{Kind: tape.Call, Scheme: "http", Authority: "a:80"})
	chunk := bytes.Repeat([]byte("a"), 30<<10)
	const streams, chunks = 1000, 10
	for range streams {
		x := s.Request(at(0), requestHead("PUT", "/"))
		for i := range chunks {
			x.RequestChunk(at(i), httpstream.Chunk{Data: chunk})
		}
	}
	if held := r.bodies.Load(); held > maxHeldBodies || held < maxHeldBodies/2 {
		t.Errorf("%d bytes are held, at most %d may be", held, maxHeldBodies)
	}
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if want := int64(streams * chunks * len(chunk)); passed.Load() != want {
		t.Errorf("%d bytes were recorded, want %d", passed.Load(), want)
	}
	if held := r.bodies.Load(); held != 0 {
		t.Errorf("%d bytes are held at the end", held)
	}
}
