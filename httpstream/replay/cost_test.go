package replay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/http1"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A longReader gives so many chunks, which are always the same bytes, and an end.
type longReader struct {
	left int
	data []byte
}

func (r *longReader) Next() (tape.Line, error) {
	r.left--
	switch {
	case r.left < -1:
		return tape.Line{}, io.EOF
	case r.left == -1:
		return tape.Line{At: time.Second, End: &httpstream.EndInfo{How: httpstream.EOF}}, nil
	}
	return tape.Line{At: time.Second, Chunk: httpstream.Chunk{Data: r.data}}, nil
}

func (r *longReader) Close() error { return nil }

// A discarded answer is written to nobody.
type discarded struct{ bytes int64 }

func (w *discarded) Interim(*httpstream.ResponseHead) error { return nil }
func (w *discarded) Head(*httpstream.ResponseHead) error    { return nil }
func (w *discarded) Flush() error                           { return nil }
func (w *discarded) End(httpstream.EndInfo) error           { return nil }
func (w *discarded) Chunk(c httpstream.Chunk) error {
	w.bytes += int64(len(c.Data))
	return nil
}

func TestNoChunkOfALongAnswerCostsAnAllocation(t *testing.T) {
	const few, more = 1000, 3000
	data := bytes.Repeat([]byte("x"), 300)
	x := plainStream().x
	play := func(chunks int) float64 {
		p := &Player{Lines: func(*tape.Exchange) (LineReader, error) { return &longReader{chunks, data}, nil }}
		return testing.AllocsPerRun(5, func() {
			w := &discarded{}
			req := &httpstream.Request{
				Head: &httpstream.RequestHead{Method: "GET"}, Body: strings.NewReader(""),
				Complete: func() (time.Time, httpstream.Fields) { return time.Now(), nil },
			}
			if _, err := p.Play(t.Context(), &x, req, w); err != nil || w.bytes != int64(chunks*len(data)) {
				t.Fatal(w.bytes, err)
			}
		})
	}
	if each := (play(more) - play(few)) / (more - few); each > 0.05 {
		t.Errorf("%.2f allocations a chunk", each)
	}
}

// A chunk's room is used again only once it was played.
func TestChunksThatAreReadAheadKeepTheirBytes(t *testing.T) {
	s := plainStream()
	s.lines = nil
	var want strings.Builder
	for i := range 500 {
		chunk := strings.Repeat(fmt.Sprintf("%03d,", i), 1+i%40)
		s.lines = append(s.lines, server(10*ms, chunk))
		fmt.Fprintf(&want, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	s.lines = append(s.lines, end(10*ms, httpstream.EOF))
	bubble(t, record(t, s), 0, nil, func(t *testing.T, w *wire) {
		w.send(t, getA)
		got := strings.Join(w.arrivals(), "")
		if !strings.Contains(got, want.String()) {
			t.Error("the answer is not as recorded")
		}
	})
}

// smallTape has n small answers, in the exchange files.
func smallTape(tb testing.TB, n int) *tape.Tape {
	tb.Helper()
	dir := tb.TempDir()
	files := map[string]string{"tape.yaml": "version: 2\ncreated: 2026-01-02T03:04:05Z\nby: test\ncomplete: true\n"}
	for i := range n {
		body := fmt.Sprintf(`{\"id\":%06d,\"note\":\"%s\"}`, i, strings.Repeat("-", 150))
		files[fmt.Sprintf("calls/%04d-get.yaml", i+1)] = fmt.Sprintf(`call: %d
started_us: 0
request:
  method: GET
  url: http://h/items/%d
  proto: HTTP/1.1
  took_us: 0
  headers:
    - Host: h
    - Accept: application/json
response:
  at_us: 900
  status: 200 OK
  headers:
    - Content-Type: application/json
    - Content-Length: "%d"
lines: |
  {"t":900,"text":"%s"}
  {"t":900,"end":"eof"}
`, i+1, i, len(strings.ReplaceAll(body, `\`, "")), body)
	}
	if err := os.Mkdir(filepath.Join(dir, "calls"), 0o700); err != nil {
		tb.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	tp, err := tape.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return tp
}

// askInTurns begins to answer from a tape, and returns what asks for one call after the
// other on one connection.
func askInTurns(tb testing.TB, tp *tape.Tape) (ask func()) {
	h := &Handler{
		Index:  match.NewIndex(tp.Calls, match.Rules{Reuse: true}),
		Player: &Player{Lines: FromTape(tp)},
	}
	here, there := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		http1.Serve(ctx, there, h.Conn(Conn{Scheme: "http", Authority: "h:80"}))
	}()
	tb.Cleanup(func() {
		cancel()
		here.Close()
		<-done
	})
	requests := make([][]byte, len(tp.Calls))
	for i := range requests {
		requests[i] = fmt.Appendf(nil, "GET /items/%d HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n", i)
	}
	next, buf := 0, make([]byte, 4<<10)
	return func() {
		if _, err := here.Write(requests[next]); err != nil {
			tb.Fatal(err)
		}
		n, err := here.Read(buf)
		if err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200 OK\r\n")) || !bytes.HasSuffix(buf[:n], []byte(`-"}`)) {
			tb.Fatalf("%v %s", err, buf[:n])
		}
		next = (next + 1) % len(requests)
	}
}

func TestASmallAnswerCostsFewAllocations(t *testing.T) {
	const most = 25
	ask := askInTurns(t, smallTape(t, 10))
	for range 20 {
		ask()
	}
	if each := testing.AllocsPerRun(200, ask); each > most {
		t.Errorf("%.0f allocations a request, expected at most %d", each, most)
	}
}

func TestWhatIsKeptOfSmallAnswersIsBounded(t *testing.T) {
	var k kept
	lines := []tape.Line{{Chunk: httpstream.Chunk{Data: make([]byte, 10<<10)}}}
	for range 3 * maxKept / sizeOf(lines) {
		k.put(&tape.Exchange{}, lines)
	}
	if k.size > maxKept || k.size < maxKept-2*sizeOf(lines) || len(k.lines)*sizeOf(lines) != k.size {
		t.Errorf("%d bytes in %d answers", k.size, len(k.lines))
	}
}

// BenchmarkSmallAnswers asks for each call of a tape in turns.

func BenchmarkSmallAnswers(b *testing.B) {
	for _, n := range []int{1, 10000} {
		b.Run(fmt.Sprintf("calls=%d", n), func(b *testing.B) {
			ask := askInTurns(b, smallTape(b, n))
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
		})
	}
}

// BenchmarkIndex makes the index of a tape of 20,000 calls.
func BenchmarkIndex(b *testing.B) {
	const n = 20000
	tp := smallTape(b, n)
	used := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := used()
	ix := match.NewIndex(tp.Calls, match.Rules{})
	each := float64(used()-before) / n
	runtime.KeepAlive(ix)
	for b.Loop() {
		match.NewIndex(tp.Calls, match.Rules{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/call")
	b.ReportMetric(each, "B/call")
}
