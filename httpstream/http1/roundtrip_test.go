package http1

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// An answerLog keeps the response of the one exchange that it hears of.
type answerLog struct {
	interim []*httpstream.ResponseHead
	head    *httpstream.ResponseHead
	chunks  []httpstream.Chunk // pieces are joined
	end     chan httpstream.EndInfo
}

func (l *answerLog) Request(time.Time, *httpstream.RequestHead) httpstream.Exchange { return l }
func (l *answerLog) RequestChunk(time.Time, httpstream.Chunk)                       {}
func (l *answerLog) RequestEnd(time.Time, httpstream.Fields)                        {}
func (l *answerLog) Interim(_ time.Time, h *httpstream.ResponseHead) {
	l.interim = append(l.interim, h)
}
func (l *answerLog) Response(_ time.Time, h *httpstream.ResponseHead) { l.head = h }
func (l *answerLog) End(_ time.Time, end httpstream.EndInfo)          { l.end <- end }
func (l *answerLog) ResponseChunk(_ time.Time, c httpstream.Chunk) {
	if c.Rest {
		last := &l.chunks[len(l.chunks)-1]
		last.Data = append(last.Data, c.Data...)
		return
	}
	l.chunks = append(l.chunks, httpstream.Chunk{Data: bytes.Clone(c.Data), SizeLine: c.SizeLine})
}

// randomAnswer makes an answer with all that its framing can hold.
func randomAnswer(rng *rand.Rand) (head *httpstream.ResponseHead, chunks []httpstream.Chunk, end httpstream.EndInfo) {
	pick := func(values ...string) string { return values[rng.IntN(len(values))] }
	fields := func() (fs httpstream.Fields) {
		for range rng.IntN(5) {
			f := httpstream.Field{Name: pick("A", "a", "X-Long-Name", "set-cookie"), Value: pick("1", "v w", "\xff", "\"q\""),
				Sep: pick("", ":", ":\t", ":  "), After: pick("", " ", "\t ")}
			fs = append(fs, f)
		}
		return fs
	}
	head = &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Line: pick("HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 200 It's fine \xfc"), Header: fields()}
	head.Header = append(head.Header, httpstream.Field{Name: pick("Transfer-Encoding", "transfer-encoding"), Value: pick("chunked", "Chunked", "gzip, chunked")})
	for range rng.IntN(8) {
		data := []byte(strings.Repeat(pick("0\r\n", "data: é\n\n", "\x00"), 1+rng.IntN(1+rng.IntN(30_000))))
		c := httpstream.Chunk{Data: data}
		size := strconv.FormatInt(int64(len(data)), 16)
		if line := pick(size, size, "0"+size, strings.ToUpper(size), size+";a=b", size+" "); line != size {
			c.SizeLine = line
		}
		chunks = append(chunks, c)
	}
	if line := pick("", "", "00", "0;last"); line != "" {
		chunks = append(chunks, httpstream.Chunk{SizeLine: line})
	}
	return head, chunks, httpstream.EndInfo{How: httpstream.EOF, Trailer: fields()}
}

// playAnswer sends chunks, some of them in pieces.
func playAnswer(rng *rand.Rand, w httpstream.ResponseWriter, chunks []httpstream.Chunk) {
	for _, c := range chunks {
		if cut := rng.IntN(len(c.Data) + 1); rng.IntN(2) == 0 && cut > 0 && cut < len(c.Data) {
			w.Chunk(httpstream.Chunk{Data: c.Data[:cut], Of: int64(len(c.Data)), SizeLine: c.SizeLine})
			w.Flush()
			c = httpstream.Chunk{Data: c.Data[cut:], Rest: true}
		}
		w.Chunk(c)
		if rng.IntN(2) == 0 {
			w.Flush()
		}
	}
}

func TestServedAnswersPassARelayAndReadBackAsTheyWere(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		head, chunks, end := randomAnswer(rng)
		client, relayClient := tcpPair(t)
		relayUp, server := tcpPair(t)
		tape := &answerLog{end: make(chan httpstream.EndInfo, 1)}
		var ends sync.WaitGroup
		ends.Go(func() { Relay(t.Context(), relayClient, relayUp, relay.Options{}, tape) })
		ends.Go(func() {
			Serve(t.Context(), server, handlerFunc(func(_ context.Context, _ *httpstream.Request, w httpstream.ResponseWriter) {
				if err := w.Head(head); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
				playAnswer(rng, w, chunks)
				if err := w.End(end); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}))
		})
		ends.Go(func() { io.Copy(io.Discard, client) })
		sendBytes(t, client, getRequest)
		got := <-tape.end
		client.CloseWrite()
		ends.Wait()
		if !reflect.DeepEqual(tape.head, head) {
			t.Fatalf("seed %d: head\n got %+v\nwant %+v", seed, tape.head, head)
		}
		if !reflect.DeepEqual(got, end) {
			t.Fatalf("seed %d: end\n got %+v\nwant %+v", seed, got, end)
		}
		if !slices.EqualFunc(tape.chunks, chunks, func(a, b httpstream.Chunk) bool {
			return bytes.Equal(a.Data, b.Data) && a.SizeLine == b.SizeLine
		}) {
			t.Fatalf("seed %d: chunks differ: %d, %d", seed, len(tape.chunks), len(chunks))
		}
	}
}

// BenchmarkAddedLatency measures what a relay adds to the way of one chunk over
// loopback TCP: the time from its write by the server to its read by the client,
// direct and relayed, in microseconds.
func BenchmarkAddedLatency(b *testing.B) {
	for _, relayed := range []bool{false, true} {
		b.Run(fmt.Sprintf("relayed=%t", relayed), func(b *testing.B) {
			client, server := tcpPair(b)
			if relayed {
				up, far := tcpPair(b)
				go Relay(b.Context(), server, up, relay.Options{}, &answerLog{end: make(chan httpstream.EndInfo, 1)})
				server = far
			}
			benchmarkChunks(b, client, server)
		})
	}
}

func benchmarkChunks(b *testing.B, client, server net.Conn) {
	sendBytes(b, client, getRequest)
	expectBytes(b, server, getRequest)
	head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	sendBytes(b, server, head)
	expectBytes(b, client, head)
	chunk := "40\r\n" + strings.Repeat("x", 0x40) + "\r\n"
	buf := make([]byte, len(chunk))
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := io.WriteString(server, chunk); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(client, buf); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	at := func(p float64) float64 {
		return float64(took[int(p*float64(len(took)-1))].Nanoseconds()) / 1e3
	}
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
	b.ReportMetric(at(1), "max-µs")
}
