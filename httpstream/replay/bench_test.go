package replay

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/http1"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// The figures of replay: how far from its recorded time each chunk arrives.
//
// Client and server are two processes, on loopback TCP. The client notes the
// time when it sends its request and when a read returns a chunk; each chunk
// says when it is due, in microseconds since the request. The floor is a bare
// server that sends the same schedule to the same client, sleeping to the same
// absolute deadlines with time.Sleep.
//
//	go test -run '^$' -bench Arrival -benchtime 1x ./httpstream/replay
//
// A stream lasts WIRETAPE_BENCH_STREAM (3s if unset; 10m shows that nothing drifts).

const (
	benchClientVar = "WIRETAPE_BENCH_CLIENT" // "address streams": this process is the client
	benchLengthVar = "WIRETAPE_BENCH_STREAM"
	benchGap       = 20 * time.Millisecond // between chunks, on average
	benchStagger   = 3 * time.Millisecond  // between requests
)

// arrival is one chunk as the client saw it.
type arrival struct {
	Due  time.Duration // since the request
	Late time.Duration
	Head bool // the first of its stream
}

// benchClient runs the streams, and writes the arrivals to stdout as JSON.
func benchClient(args string) error {
	var addr string
	var streams int
	if _, err := fmt.Sscan(args, &addr, &streams); err != nil {
		return err
	}
	var mu sync.Mutex
	var all []arrival
	var wg sync.WaitGroup
	errs := make(chan error, streams)
	for i := range streams {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		wg.Go(func() {
			time.Sleep(time.Duration(i) * benchStagger)
			got, err := benchStream(conn, i)
			if err != nil {
				errs <- err
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, got...)
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return <-errs
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

// timedConn remembers when its last Read returned.
type timedConn struct {
	net.Conn
	at time.Time
}

func (c *timedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.at = time.Now()
	return n, err
}

func benchStream(conn net.Conn, i int) ([]arrival, error) {
	defer conn.Close()
	c := &timedConn{Conn: conn}
	start := time.Now()
	if _, err := fmt.Fprintf(conn, "GET /%d HTTP/1.1\r\nHost: bench\r\n\r\n", i); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, err
	}
	var got []arrival
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		us, err := strconv.Atoi(lines.Text())
		if err != nil {
			return nil, err
		}
		due := time.Duration(us) * time.Microsecond
		got = append(got, arrival{due, c.at.Sub(start) - due, len(got) == 0})
	}
	return got, lines.Err()
}

// benchTape records streams with irregular gaps.
func benchTape(b *testing.B, streams int, length time.Duration) *tape.Tape {
	recorded := make([]stream, streams)
	for i := range recorded {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		s := &recorded[i]
		s.x = tape.Exchange{Request: request("GET", fmt.Sprintf("http://bench/%d", i)), Stream: fmt.Sprintf("streams/%04d.ndjson", i+1)}
		at := time.Duration(0)
		for at < length {
			at += benchGap/20 + time.Duration(r.Int64N(int64(benchGap*19/10)))
			at = at.Truncate(time.Microsecond)
			s.lines = append(s.lines, server(at, strconv.Itoa(int(at.Microseconds()))+"\n"))
		}
		s.x.Response = response(s.lines[0].At, 200, chunked)
		s.lines = append(s.lines, end(at, httpstream.EOF))
	}
	return record(b, recorded...)
}

// floor answers as a bare server would.
func floor(conn net.Conn, tp *tape.Tape) error {
	defer conn.Close()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	start := time.Now()
	i, err := strconv.Atoi(strings.TrimPrefix(req.URL.Path, "/"))
	if err != nil {
		return err
	}
	lines, err := tp.Stream(tp.Calls[i])
	if err != nil {
		return err
	}
	defer lines.Close()
	out := []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	for {
		l, err := lines.Next()
		if err != nil {
			return err
		}
		if l.End != nil {
			_, err := conn.Write([]byte("0\r\n\r\n"))
			return err
		}
		out = fmt.Appendf(out, "%x\r\n%s\r\n", len(l.Data), l.Data)
		time.Sleep(time.Until(start.Add(l.At)))
		if _, err := conn.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
}

// benchServe serves each connection until the benchmark is over.
func benchServe(b *testing.B, serve func(ctx context.Context, conn net.Conn) error) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if err := serve(ctx, conn); err != nil && ctx.Err() == nil {
					b.Error(err)
				}
			})
		}
	})
	b.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func BenchmarkArrival(b *testing.B) {
	length := 3 * time.Second
	if s := os.Getenv(benchLengthVar); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			b.Fatal(err)
		}
	}
	for _, streams := range []int{1, 20, 200} {
		tp := benchTape(b, streams, length)
		b.Run(fmt.Sprintf("streams=%d/floor", streams), func(b *testing.B) {
			addr := benchServe(b, func(_ context.Context, conn net.Conn) error { return floor(conn, tp) })
			measure(b, addr, streams)
		})
		b.Run(fmt.Sprintf("streams=%d/replay", streams), func(b *testing.B) {
			s, err := NewScheduler()
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { s.Close() })
			h := &Handler{
				Index:  match.NewIndex(tp.Calls, match.Rules{Reuse: true}),
				Player: &Player{Lines: FromTape(tp), Scheduler: s, Speed: 1},
			}
			addr := benchServe(b, func(ctx context.Context, conn net.Conn) error {
				return http1.Serve(ctx, conn, h)
			})
			measure(b, addr, streams)
		})
	}
}

// measure runs the client and reports what it saw.
func measure(b *testing.B, addr string, streams int) {
	var all []arrival
	before := processTime()
	start := time.Now()
	for b.Loop() {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", benchClientVar, addr, streams))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("%s: %v", cmd, err)
		}
		var got []arrival
		if err := json.Unmarshal(out, &got); err != nil {
			b.Fatal(err)
		}
		all = append(all, got...)
	}
	b.ReportMetric(100*float64(processTime()-before)/float64(time.Since(start)), "cpu-%")
	b.ReportMetric(0, "ns/op")
	var chunks, heads []time.Duration
	for _, a := range all {
		chunks = append(chunks, a.Late.Abs())
		if a.Head {
			heads = append(heads, a.Late.Abs())
		}
	}
	b.ReportMetric(micros(quantile(chunks, 0.5)), "p50-µs")
	b.ReportMetric(micros(quantile(chunks, 0.99)), "p99-µs")
	b.ReportMetric(micros(quantile(chunks, 1)), "max-µs")
	b.ReportMetric(micros(quantile(heads, 0.5)), "first-p50-µs")
	b.ReportMetric(micros(drift(all)), "drift-µs")
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func quantile(ds []time.Duration, q float64) time.Duration {
	slices.Sort(ds)
	return ds[int(q*float64(len(ds)-1))]
}

// drift is by how much the median of the last tenth is later than that of the first.
func drift(all []arrival) time.Duration {
	slices.SortFunc(all, func(a, b arrival) int { return int(a.Due - b.Due) })
	tenth := max(len(all)/10, 1)
	median := func(as []arrival) time.Duration {
		var ds []time.Duration
		for _, a := range as {
			ds = append(ds, a.Late)
		}
		return quantile(ds, 0.5)
	}
	return median(all[len(all)-tenth:]) - median(all[:tenth])
}
