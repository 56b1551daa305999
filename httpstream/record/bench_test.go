package record

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// BenchmarkStream records streams of 256 MiB in chunks of 32 KiB to disk, and
// reports the most memory that the Go runtime had in use meanwhile.
func BenchmarkStream(b *testing.B) {
	const size, part = 256 << 20, 32 << 10
	for _, c := range []struct {
		name  string
		chunk []byte
	}{
		{"text", []byte(strings.Repeat("data: {\"delta\":\" the\"}\n\n", part/24+1)[:part])},
		{"binary", []byte(strings.Repeat("\xff\x00\x80a", part/4))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(size)
			var peak uint64
			for b.Loop() {
				dir := filepath.Join(b.TempDir(), "tape")
				w, err := tape.Create(dir, tape.Manifest{})
				if err != nil {
					b.Fatal(err)
				}
				r := New(Options{}, w.Apply)
				x := r.Conn(Conn{Kind: tape.Call, Scheme: "http"}).Request(time.Now(), requestHead("GET", "/"))
				x.RequestEnd(time.Now(), nil)
				x.Response(time.Now(), ok(200))
				for n := 0; n < size; n += part {
					x.ResponseChunk(time.Now(), httpstream.Chunk{Data: c.chunk})
					if n%(4<<20) == 0 {
						peak = max(peak, inUse())
					}
				}
				x.End(time.Now(), eof)
				if err := r.Close(context.Background()); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(nil); err != nil {
					b.Fatal(err)
				}
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		})
	}
}

func inUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// BenchmarkChunk is what a relay pays for one event.
func BenchmarkChunk(b *testing.B) {
	r := New(Options{}, func(tape.Record) error { return nil })
	x := r.Conn(Conn{Kind: tape.Call, Scheme: "http"}).Request(time.Now(), requestHead("GET", "/"))
	x.RequestEnd(time.Now(), nil)
	x.Response(time.Now(), ok(200))
	chunk := httpstream.Chunk{Data: []byte(strings.Repeat("x", 120))}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		x.ResponseChunk(now, chunk)
	}
	if err := r.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	runtime.KeepAlive(x)
}

// BenchmarkSmallExchange is what a small call costs, from its request to the disk.
func BenchmarkSmallExchange(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "tape")
	w, err := tape.Create(dir, tape.Manifest{})
	if err != nil {
		b.Fatal(err)
	}
	r := New(Options{}, w.Apply)
	s := r.Conn(Conn{Kind: tape.Call, Scheme: "http"})
	body := httpstream.Chunk{Data: []byte(strings.Repeat(`{"id":"a1","name":"one"},`, 7))}
	b.ReportAllocs()
	for b.Loop() {
		x := s.Request(time.Now(), requestHead("GET", "/v1/items/1?limit=10"))
		x.RequestEnd(time.Now(), nil)
		x.Response(time.Now(), ok(200))
		x.ResponseChunk(time.Now(), body)
		x.End(time.Now(), eof)
	}
	if err := r.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(nil); err != nil {
		b.Fatal(err)
	}
}
