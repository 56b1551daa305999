package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wiretape/wiretape/dev/leaktest"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/http1"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// TestMain fails the run if a test left a goroutine behind. It is also the
// client of the benchmarks, see bench_test.go.
func TestMain(m *testing.M) {
	if args := os.Getenv(benchClientVar); args != "" {
		if err := benchClient(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.Main(m)
}

const ms = time.Millisecond

// A stream is an exchange to be recorded.
type stream struct {
	x     tape.Exchange
	lines []tape.Line
}

// record writes a tape of the streams and reads it back.
func record(t testing.TB, streams ...stream) *tape.Tape {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := tape.Create(dir, tape.Manifest{By: "test", Created: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range streams {
		id := int64(i + 1)
		s.x.Kind, s.x.Number = tape.Call, i+1
		var lines []*tape.Line
		for j := range s.lines {
			lines = append(lines, &s.lines[j])
		}
		records, err := new(tape.Encoder).Whole(id, &s.x, lines...)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if err := w.Apply(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(func(m *tape.Manifest) { m.Complete = true }); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tp
}

func request(method, url string) tape.Request {
	return tape.Request{Proto: "HTTP/1.1", Method: method, URL: url, Header: httpstream.Fields{{Name: "Host", Value: "h"}}}
}

func response(at time.Duration, status int, fields ...httpstream.Field) *tape.Response {
	return &tape.Response{At: at, Head: httpstream.ResponseHead{
		Proto: "HTTP/1.1", Status: status, Line: fmt.Sprintf("HTTP/1.1 %d Hi", status), Header: fields,
	}}
}

var chunked = httpstream.Field{Name: "Transfer-Encoding", Value: "chunked"}

func server(at time.Duration, data string) tape.Line {
	return tape.Line{At: at, Chunk: httpstream.Chunk{Data: []byte(data)}}
}

func client(at time.Duration, data string) tape.Line {
	l := server(at, data)
	l.FromClient = true
	return l
}

func end(at time.Duration, how httpstream.End, trailer ...httpstream.Field) tape.Line {
	return tape.Line{At: at, End: &httpstream.EndInfo{How: how, Trailer: trailer}}
}

// A wire is a client's end of a connection that is answered from a tape.
type wire struct {
	net.Conn
	start  time.Time
	events chan Event
	misses chan *event.Miss
}

// serve answers one connection in a synctest bubble, so that times are exact.
func serve(t *testing.T, tp *tape.Tape, speed float64, change func(*Handler)) *wire {
	s := newScheduler(newTimerAlarm(), 0)
	here, there := net.Pipe()
	w := &wire{Conn: here, start: time.Now(), events: make(chan Event, 100), misses: make(chan *event.Miss, 100)}
	h := &Handler{
		Index:   match.NewIndex(tp.Calls, match.Rules{}),
		Player:  &Player{Lines: FromTape(tp), Scheduler: s, Speed: speed},
		OnEvent: func(e Event) { w.events <- e },
		OnMiss:  func(m *event.Miss) { w.misses <- m },
	}
	if change != nil {
		change(h)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		http1.Serve(t.Context(), there, h.Conn(Conn{Scheme: "https", Authority: "h:443", Service: "app"}))
	}()
	t.Cleanup(func() {
		here.Close()
		<-done
		s.Close()
	})
	return w
}

func (w *wire) send(t *testing.T, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// arrivals reads to the end of the connection, or until it is silent for a
// minute, one entry for each write: "12ms text".
func (w *wire) arrivals() []string {
	var got []string
	buf := make([]byte, 1<<20)
	for {
		w.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := w.Read(buf)
		if n > 0 {
			got = append(got, fmt.Sprintf("%v %s", time.Since(w.start), buf[:n]))
		}
		if err != nil {
			return got
		}
	}
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("write %d is missing, want %q", i, want[i])
		case i >= len(want):
			t.Errorf("write %d is %q, want none", i, got[i])
		case strings.ReplaceAll(got[i], "\r\n", "|") != want[i]:
			t.Errorf("write %d is %q, want %q", i, strings.ReplaceAll(got[i], "\r\n", "|"), want[i])
		}
	}
}

// bubble runs a test of a connection with a fake clock.
func bubble(t *testing.T, tp *tape.Tape, speed float64, change func(*Handler), f func(t *testing.T, w *wire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, serve(t, tp, speed, change)) })
}

func plainStream() stream {
	x := tape.Exchange{Request: request("GET", "https://h/a"), Response: response(10*ms, 200, chunked), Stream: "streams/0001.ndjson"}
	return stream{x, []tape.Line{
		server(10*ms, "one"), server(30*ms, "two"), server(30*ms, "three"), server(30*ms+time.Microsecond, "4"),
		end(50*ms, httpstream.EOF, httpstream.Field{Name: "X-Sum", Value: "1"}),
	}}
}

const getA = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

func TestChunksLeaveWhenAndAsTheyWereRecorded(t *testing.T) {
	tp := record(t, plainStream())
	for _, tc := range []struct {
		speed               float64
		t0, t1, t1plus, end string
	}{
		{1, "10ms", "30ms", "30.001ms", "50ms"},
		{2, "5ms", "15ms", "15.0005ms", "25ms"},
		{0.5, "20ms", "60ms", "60.002ms", "100ms"},
		{0, "0s", "0s", "0s", "0s"},
	} {
		t.Run(fmt.Sprintf("at speed %v", tc.speed), func(t *testing.T) {
			bubble(t, tp, tc.speed, nil, func(t *testing.T, w *wire) {
				w.send(t, getA)
				expect(t, w.arrivals(),
					tc.t0+" HTTP/1.1 200 Hi|Transfer-Encoding: chunked||3|one|",
					tc.t1+" 3|two|5|three|",
					tc.t1plus+" 1|4|",
					tc.end+" 0|X-Sum: 1||",
				)
				e := <-w.events
				if e.Exchange == nil || e.Status != 200 || e.Chunks != 4 || e.Bytes != 12 || e.How != httpstream.EOF || e.Err != nil || e.Service != "app" || e.Late.Max != 0 {
					t.Errorf("event %+v", e)
				}
			})
		})
	}
}

func TestTimesCountFromTheEndOfTheRequest(t *testing.T) {
	s := plainStream()
	s.x.Request = request("POST", "https://h/a")
	s.x.Request.Body = tape.Body{Data: []byte("hello"), Size: 5, SHA256: tape.HashBody([]byte("hello"))}
	bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel")
		time.Sleep(time.Second)
		w.send(t, "lo")
		if got := w.arrivals(); len(got) == 0 || !strings.HasPrefix(got[0], "1.01s ") {
			t.Errorf("got %q", got)
		}
	})
}

func TestASlowStartDoesNotShiftWhatFollows(t *testing.T) {
	bubble(t, record(t, plainStream()), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, getA)
		time.Sleep(20 * ms) // the client does not read: the pipe holds the first write back
		got := w.arrivals()
		if len(got) < 2 || !strings.HasPrefix(got[0], "20ms") || !strings.HasPrefix(got[1], "30ms") {
			t.Errorf("got %q", got)
		}
		if e := <-w.events; e.Late.Max != 10*ms {
			t.Errorf("lateness %+v", e.Late)
		}
	})
}

func TestInterimHeadsComeAtTheirTime(t *testing.T) {
	s := plainStream()
	s.x.Response.At = 20 * ms
	s.lines = []tape.Line{end(20*ms, httpstream.EOF)}
	early := *response(5*ms, 103)
	s.x.Interim = []tape.Response{early, *response(20*ms, 102)}
	bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, getA)
		expect(t, w.arrivals(), "5ms HTTP/1.1 103 Hi||",
			"20ms HTTP/1.1 102 Hi||HTTP/1.1 200 Hi|Transfer-Encoding: chunked||0||")
	})
}

func TestContinueIsSentBeforeTheBody(t *testing.T) {
	s := stream{tape.Exchange{
		Request:  request("POST", "https://h/a"),
		Interim:  []tape.Response{*response(-30*ms, 100, httpstream.Field{Name: "X", Value: "y"})},
		Response: response(5*ms, 204),
	}, nil}
	s.x.Request.Took = 40 * ms
	s.x.Request.Header = append(s.x.Request.Header, httpstream.Field{Name: "Expect", Value: "100-continue"})
	s.x.Request.Body = tape.Body{Data: []byte("hi"), Size: 2, SHA256: tape.HashBody([]byte("hi"))}
	bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
		line, _ := bufio.NewReader(w).ReadString('\n')
		if at := time.Since(w.start); at != 10*ms || line != "HTTP/1.1 100 Hi\r\n" {
			t.Errorf("after %v: %q", at, line)
		}
		w.send(t, "hi")
		expect(t, w.arrivals(), "15ms HTTP/1.1 204 Hi||")
	})
}

func TestAnswersWithoutAStreamEndWithTheirHead(t *testing.T) {
	s := stream{tape.Exchange{Request: request("HEAD", "https://h/a"), Response: response(7*ms, 200, httpstream.Field{Name: "Content-Length", Value: "9"})}, nil}
	bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
		expect(t, w.arrivals(), "7ms HTTP/1.1 200 Hi|Content-Length: 9||")
	})
}

func TestAnswersThatDidNotEndAreCutShortInTime(t *testing.T) {
	for _, tc := range []struct {
		how  httpstream.End
		want time.Duration
	}{
		{httpstream.Reset, 50 * ms},
		{httpstream.Malformed, 50 * ms},
		{httpstream.Cancelled, 100*ms + openPatience},
		{httpstream.Open, 100*ms + openPatience},
	} {
		t.Run(string(tc.how), func(t *testing.T) {
			s := plainStream()
			s.lines[len(s.lines)-1] = end(50*ms, tc.how)
			bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
				w.send(t, getA)
				got := w.arrivals()
				if at := time.Since(w.start); at != tc.want || len(got) != 3 || strings.HasSuffix(got[2], "0\r\n\r\n") {
					t.Errorf("after %v: %q", at, got)
				}
				if e := <-w.events; e.How != httpstream.Reset || e.Err != nil {
					t.Errorf("event %+v", e)
				}
			})
		})
	}
}

func TestAClientThatGoesAwayIsNoError(t *testing.T) {
	for _, how := range []httpstream.End{httpstream.EOF, httpstream.Cancelled} {
		s := plainStream()
		s.lines[len(s.lines)-1] = end(40*ms, how)
		for _, after := range []time.Duration{20 * ms, 35 * ms, 45 * ms} {
			if how == httpstream.EOF && after > 40*ms {
				continue
			}
			bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
				w.send(t, getA)
				go io.Copy(io.Discard, w)
				time.Sleep(after)
				w.Close()
				if e := <-w.events; e.How != httpstream.Cancelled || e.Err != nil || time.Since(w.start) != after {
					t.Errorf("%s, gone after %v: event %+v at %v", how, after, e, time.Since(w.start))
				}
			})
		}
	}
}

func TestATruncatedStreamIsResetAndReported(t *testing.T) {
	tp := record(t, plainStream())
	name := filepath.Join(tp.Dir, filepath.FromSlash(tp.Calls[0].Stream))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	cut := bytes.LastIndexByte(bytes.TrimSpace(data), '\n') + 1
	if err := os.WriteFile(name, data[:cut], 0o600); err != nil {
		t.Fatal(err)
	}
	bubble(t, tp, 1, nil, func(t *testing.T, w *wire) {
		w.send(t, getA)
		if got := w.arrivals(); len(got) != 3 || strings.HasSuffix(got[2], "0\r\n\r\n") {
			t.Errorf("got %q", got)
		}
		if e := <-w.events; !errors.Is(e.Err, tape.ErrTruncated) || e.How != httpstream.Reset {
			t.Errorf("event %+v", e)
		}
	})
}

func TestACallThatFailedIsReset(t *testing.T) {
	s := stream{tape.Exchange{Request: request("GET", "https://h/a"), Failed: "the connection ended before an answer", Stream: "streams/0001.ndjson"},
		[]tape.Line{end(20*ms, httpstream.Reset)}}
	bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, getA)
		if got := w.arrivals(); len(got) != 0 || time.Since(w.start) != 20*ms {
			t.Errorf("after %v: %q", time.Since(w.start), got)
		}
	})
}

func TestAMissIsAnsweredWith502(t *testing.T) {
	bubble(t, record(t, plainStream()), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, "GET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		got := strings.Join(w.arrivals(), "")
		if !strings.HasPrefix(got, "0s HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\n") ||
			!strings.Contains(got, "Wiretape-Miss: 1\r\n") || !strings.Contains(got, `"where": "path"`) {
			t.Errorf("got %q", got)
		}
		if m := <-w.misses; m.URL != "https://h/b" || m.Closest.Number != 1 {
			t.Errorf("miss %+v", m)
		}
		if e := <-w.events; e.Miss == nil || e.Status != 502 || e.Exchange != nil {
			t.Errorf("event %+v", e)
		}
	})
}

func TestAMissIsForwardedWithItsBody(t *testing.T) {
	s := plainStream()
	s.x.Request.Method = "POST"
	forward := func(h *Handler) {
		h.MaxBody = 10
		h.Forward = func(ctx context.Context, req *httpstream.Request, w httpstream.ResponseWriter) error {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return err
			}
			w.Head(&response(0, 200, httpstream.Field{Name: "Content-Length", Value: fmt.Sprint(len(body))}).Head)
			w.Chunk(httpstream.Chunk{Data: body})
			return w.End(httpstream.EndInfo{How: httpstream.EOF})
		}
	}
	for _, tc := range []struct{ name, path, body, want string }{
		{"a small body", "/a", "hello", "200"},
		{"a large body to a place that was never recorded", "/b", "hello, hello, hello", "200"},
		{"a large body that had to be read", "/a", "hello, hello, hello", "502"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, record(t, s), 1, forward, func(t *testing.T, w *wire) {
				w.send(t, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", tc.path, len(tc.body), tc.body))
				got := strings.Join(w.arrivals(), "")
				if !strings.HasPrefix(got, "0s HTTP/1.1 "+tc.want) || tc.want == "200" && !strings.HasSuffix(got, tc.body) {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

func TestALargeBodyIsMatchedByItsHash(t *testing.T) {
	s := plainStream()
	s.x.Request = request("POST", "https://h/a")
	body := strings.Repeat("x", 1000)
	s.x.Request.Body = tape.Body{InStream: true, Size: 1000, SHA256: tape.HashBody([]byte(body))}
	s.lines = append([]tape.Line{client(0, body[:500]), client(3*ms, body[500:])}, s.lines...)
	bubble(t, record(t, s), 1, func(h *Handler) { h.MaxBody = 100 }, func(t *testing.T, w *wire) {
		w.send(t, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"+body)
		if got := w.arrivals(); len(got) != 4 || !strings.HasPrefix(got[0], "10ms HTTP/1.1 200") {
			t.Errorf("got %q", got)
		}
	})
}
