package runner

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/llm"
	"github.com/wiretape/wiretape/httpstream/noise"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// answers is an app that answers every path with what a function writes.
func answers(write func(w http.ResponseWriter, r *http.Request)) app { return plain(write) }

// askAll records one request of the method for each path.
func askAll(t testing.TB, method string, paths ...string) func(string, func(int)) {
	return func(base string, begin func(int)) {
		for i, p := range paths {
			begin(i + 1)
			ask(t, method, "http://"+base+p, "")
		}
	}
}

// TestAnswersAreComparedByValue has one line for each way in which a comparison
// that looks at types, lengths or the first item only would let a change pass.
func TestAnswersAreComparedByValue(t *testing.T) {
	type answer struct {
		status int
		header []string
		body   string
	}
	sse := []string{"Content-Type", "text/event-stream"}
	for _, tc := range []struct {
		name          string
		method        string
		recorded, now answer
		kind          compare.Kind // "" passes
	}{
		{"text of the same length", "GET", answer{200, []string{"Content-Type", "text/plain"}, "abc\n"}, answer{200, []string{"Content-Type", "text/plain"}, "abd\n"}, compare.Changed},
		{"the id of an event", "GET", answer{200, sse, "id: 1\ndata: x\n\n"}, answer{200, sse, "id: 2\ndata: x\n\n"}, compare.Changed},
		{"the name of an event", "GET", answer{200, sse, "event: a\ndata: x\n\n"}, answer{200, sse, "event: b\ndata: x\n\n"}, compare.Changed},
		{"the retry of an event", "GET", answer{200, sse, "retry: 10\ndata: x\n\n"}, answer{200, sse, "retry: 20\ndata: x\n\n"}, compare.Changed},
		{"an extra event at the end", "GET", answer{200, sse, "data: x\n\n"}, answer{200, sse, "data: x\n\ndata: y\n\n"}, compare.Extra},
		{"an empty recording matches nothing but an empty answer", "GET", answer{200, sse, ""}, answer{200, sse, "data: y\n\n"}, compare.Extra},
		{"2^53+1 is not 2^53", "GET", answer{200, []string{"Content-Type", "application/json"}, `{"n":9007199254740993}`}, answer{200, []string{"Content-Type", "application/json"}, `{"n":9007199254740992}`}, compare.Changed},
		{"the bytes of a part", "GET",
			answer{200, []string{"Content-Type", "multipart/mixed; boundary=b"}, "--b\r\n\r\none\r\n--b--\r\n"},
			answer{200, []string{"Content-Type", "multipart/mixed; boundary=c"}, "--c\r\n\r\ntwo\r\n--c--\r\n"}, compare.Bytes},
		{"the second of several cookies", "GET",
			answer{200, []string{"Set-Cookie", "a=1; Path=/", "Set-Cookie", "b=2; Path=/x"}, ""},
			answer{200, []string{"Set-Cookie", "a=1; Path=/", "Set-Cookie", "b=2; Path=/y"}, ""}, compare.Header},
		{"several cookies are not one", "GET",
			answer{200, []string{"Set-Cookie", "a=1; Path=/", "Set-Cookie", "b=2"}, ""},
			answer{200, []string{"Set-Cookie", "a=1; Path=/, b=2"}, ""}, compare.Header},
		{"HEAD has no body", "HEAD", answer{200, []string{"Content-Length", "5"}, ""}, answer{200, []string{"Content-Length", "5"}, ""}, ""},
		{"204 has no body", "GET", answer{204, nil, ""}, answer{204, nil, ""}, ""},
		{"304 has no body", "GET", answer{304, []string{"ETag", `"1"`}, ""}, answer{304, []string{"ETag", `"1"`}, ""}, ""},
		{"a chunk that ends in 0 CRLF is not the end", "GET", answer{200, nil, "a0\r\n\r\nb"}, answer{200, nil, "a0\r\n\r\nc"}, compare.Changed},
		{"and passes", "GET", answer{200, nil, "a0\r\n\r\nb"}, answer{200, nil, "a0\r\n\r\nb"}, ""},
		{"the status", "GET", answer{200, nil, ""}, answer{201, nil, ""}, compare.Status},
	} {
		t.Run(tc.name, func(t *testing.T) {
			with := func(a answer) app {
				return answers(func(w http.ResponseWriter, r *http.Request) {
					for i := 0; i < len(a.header); i += 2 {
						w.Header().Add(a.header[i], a.header[i+1])
					}
					w.WriteHeader(a.status)
					for i := range len(a.body) { // so that every boundary is seen once
						io.WriteString(w, a.body[i:i+1])
						w.(http.Flusher).Flush()
					}
				})
			}
			tp := recordTape(t, with(tc.recorded), nil, askAll(t, tc.method, "/"))
			if c := newRig(t, tp, with(tc.recorded)).run(t)[0]; c.Status != report.Pass {
				t.Errorf("the same answer: %s", describe(&c))
			}
			c := newRig(t, tp, with(tc.now)).run(t)[0]
			if tc.kind == "" && c.Status != report.Pass || tc.kind != "" && (c.Status != report.Fail || !says(&c, tc.kind, "")) {
				t.Errorf("want %q; %s", tc.kind, describe(&c))
			}
		})
	}
}

func TestUTF8ThatIsSplitOverReadsStaysWhole(t *testing.T) {
	tp := recordTape(t, answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, b := range []byte("data: naïve €\n\n") {
			w.Write([]byte{b})
			w.(http.Flusher).Flush()
		}
	}), nil, askAll(t, "GET", "/"))
	c := newRig(t, tp, answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: naïve €\n\n")
	})).run(t)[0]
	if c.Status != report.Pass {
		t.Error(describe(&c))
	}
}

// rawApp answers each connection's first request, whose bytes it keeps.
type rawApp struct {
	answer string
	mu     sync.Mutex
	got    []string
}

func (a *rawApp) listen(t testing.TB, ctx context.Context) string {
	return listen(t, ctx, func(conn net.Conn) {
		defer conn.Close()
		var got bytes.Buffer
		req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &got)))
		if err != nil {
			return
		}
		if req.Header.Get("Expect") != "" {
			io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		io.Copy(io.Discard, req.Body)
		a.mu.Lock()
		a.got = append(a.got, got.String())
		a.mu.Unlock()
		io.WriteString(conn, a.answer)
	})
}

func TestRequestsAreSentByteForByte(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 100<<10) // 1.6 MiB: kept in the stream
	for _, tc := range []struct {
		name, request string
		want          string // if it differs
	}{
		{"order, case and spacing of fields", "GET /p?b=2&a=%31 HTTP/1.1\r\nhOST:x.test\r\nX-B:  two \r\nX-A: one\r\nX-B: three\r\n\r\n", ""},
		{"a body with a length", "POST /p HTTP/1.1\r\nHost: x.test\r\nContent-Length: 5\r\n\r\nh\x00\xffyo", ""},
		{"a large body", fmt.Sprintf("PUT /p HTTP/1.1\r\nHost: x.test\r\nContent-Length: %d\r\n\r\n%s", len(big), big), ""},
		{"a chunked body and its trailer", "POST /p HTTP/1.1\r\nHost: x.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", ""},
		{"an empty path", "OPTIONS * HTTP/1.1\r\nHost: x.test\r\n\r\n", ""},
		{"HTTP/1.0", "GET /old HTTP/1.0\r\nHost: x.test\r\n\r\n", ""},
		{"Accept-Encoding, which was identity then", "GET / HTTP/1.1\r\nHost: x.test\r\nAccept-Encoding: gzip, br\r\n\r\n", "GET / HTTP/1.1\r\nHost: x.test\r\nAccept-Encoding: identity\r\n\r\n"},
		{"a body that waits for 100", "POST /p HTTP/1.1\r\nHost: x.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			// Head and body in one write: the body's bytes come in the read of the head.
			app := &rawApp{answer: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"}
			addr := app.listen(t, ctx)
			tp := recordTape(t, forwardTo(addr), nil, func(base string, begin func(int)) {
				conn, err := net.Dial("tcp", base)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				begin(1)
				go io.WriteString(conn, tc.request)
				b, _ := io.ReadAll(conn)
				if !bytes.HasSuffix(b, []byte("body")) {
					t.Fatalf("the client got %q", b)
				}
			})
			r := newRig(t, tp, plain(nil))
			r.opt.Dial = func(ctx context.Context, _ *tape.Exchange) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			}
			if c := r.run(t)[0]; c.Status != report.Pass {
				t.Fatal(describe(&c))
			}
			want := tc.want
			if want == "" {
				want = tc.request
			}
			app.mu.Lock()
			defer app.mu.Unlock()
			if len(app.got) != 2 || app.got[0] != want || app.got[1] != want {
				t.Errorf("the app got\n%.300q\nthe client sent\n%.300q", app.got, tc.request)
			}
		})
	}
}

// forwardTo stands for a raw app while its tape is made: the ingress relays to it.
func forwardTo(addr string) app {
	return func(*http.Client) http.Handler { return rawTarget(addr) }
}

// A rawTarget is never served: recordTape relays to its address.
type rawTarget string

// ServeHTTP implements http.Handler.
func (rawTarget) ServeHTTP(http.ResponseWriter, *http.Request) {}

func TestAClientThatHungUpHangsUpAgain(t *testing.T) {
	var left atomic.Int32
	forever := answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, "data: %d\n\n", i); err != nil || r.Context().Err() != nil {
				left.Add(1)
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(gap)
		}
	})
	tp := recordTape(t, forever, nil, func(base string, begin func(int)) {
		begin(1)
		resp, err := http.Get("http://" + base + "/")
		if err != nil {
			t.Fatal(err)
		}
		b := bufio.NewReader(resp.Body)
		for range 6 { // three events
			b.ReadString('\n')
		}
		resp.Body.Close()
		for left.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
	})
	started := time.Now()
	c := newRig(t, tp, forever).run(t)[0]
	if c.Status != report.Pass || !c.Verdict.Interrupted {
		t.Errorf("interrupted %v; %s", c.Verdict.Interrupted, describe(&c))
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("the runner went away after %s", took)
	}
	for range 500 {
		if left.Load() == 2 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the app does not know that the client is gone")
}

func TestABrokenRecordingIsAnErrorAndNotHalfAnAnswer(t *testing.T) {
	tp := recordTape(t, twin(""), tokens(), askAll(t, "GET", "/a", "/b"))
	file := filepath.Join(tp.Dir, filepath.FromSlash(tp.Cases[0].Stream))
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b[:len(b)*2/3], 0o600); err != nil {
		t.Fatal(err)
	}
	cs := newRig(t, tp, twin("")).run(t)
	if cs[0].Status != report.Error || !strings.Contains(cs[0].Error, filepath.Base(file)) || len(cs[0].NextSteps) == 0 {
		t.Errorf("%s %v", describe(&cs[0]), cs[0].NextSteps)
	}
	if cs[1].Status != report.Pass {
		t.Error(describe(&cs[1]))
	}
}

func TestNoiseOfOneCaseIsNotThatOfTheNext(t *testing.T) {
	var n atomic.Int32
	counter := answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":%d}`, n.Add(1))
	})
	tp := recordTape(t, counter, nil, askAll(t, "GET", "/a", "/b", "/c"))
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(`cases: { "0002-*": { response.body: ["$.id"] } }`), &doc); err != nil {
		t.Fatal(err)
	}
	rules, err := noise.Parse("wiretape.yaml", doc.Content[0])
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, tp, counter)
	r.opt.Rules = rules
	for range 2 { // a run changes no rule
		var got []report.Status
		for _, c := range r.run(t) {
			got = append(got, c.Status)
		}
		if fmt.Sprint(got) != "[fail pass fail]" {
			t.Error(got)
		}
	}
}

// TestAnAnswerInAUsersFormatIsPutTogether takes a format from its YAML to the report
// of a case.
func TestAnAnswerInAUsersFormatIsPutTogether(t *testing.T) {
	var changed atomic.Bool
	model := answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		words := []string{"It", " is", " warm", "."}
		if changed.Load() {
			words[2] = " cold"
		}
		for _, word := range words {
			fmt.Fprintf(w, "data: {\"out\":{\"d\":%q}}\n\n", word)
		}
	})
	tp := recordTape(t, model, nil, askAll(t, "GET", "/v1/generate", "/v2/generate"))
	changed.Store(true)
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte("- { name: acme, match: { path: /v1/*, has: $.out }, text: $.out.d }"), &doc); err != nil {
		t.Fatal(err)
	}
	own, err := llm.Parse("wiretape.yaml", &doc)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, tp, model)
	if r.opt.Formats, err = llm.NewTable(own...); err != nil {
		t.Fatal(err)
	}
	for i, c := range r.run(t) {
		if c.Status != report.Fail || c.Verdict == nil || len(c.Verdict.Differences) != 1 {
			t.Fatalf("case %d: %+v", i+1, c)
		}
		a, d := c.Verdict.Answer, &c.Verdict.Differences[0]
		switch {
		case c.Number == 2 && a != nil:
			t.Errorf("the format is not for this path: %+v", a)
		case c.Number != 1:
		case a == nil || a.Format != "acme" || len(a.Pieces) != 1 || a.Pieces[0].Words.String() != "It is [-warm-]{+cold+}.":
			t.Errorf("got %+v", a)
		case !c.Verdict.InAnswer()(d):
			t.Errorf("%s does not follow from what the model said", d.Message)
		}
	}
}

func TestAnEndlessAnswerGetsAVerdictInLittleMemory(t *testing.T) {
	size := atomic.Int64{}
	size.Store(1000)
	piece := bytes.Repeat([]byte("x"), 64<<10)
	flood := answers(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/flood" {
			io.WriteString(w, "ok")
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		for left := size.Load(); left > 0; {
			n, err := w.Write(piece[:min(int64(len(piece)), left)])
			if err != nil {
				return
			}
			left -= int64(n)
		}
	})
	tp := recordTape(t, flood, nil, askAll(t, "GET", "/flood", "/ok"))
	size.Store(1 << 62)
	var peak atomic.Uint64
	ctx, cancel := context.WithCancel(context.Background())
	watched := makeDone(func() {
		for ctx.Err() == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			time.Sleep(5 * time.Millisecond)
		}
	})
	cs := newRig(t, tp, flood).run(t)
	cancel()
	<-watched
	if cs[0].Status != report.Fail || !says(&cs[0], compare.Ended, "did not end") {
		t.Error(describe(&cs[0]))
	}
	if cs[1].Status != report.Pass {
		t.Error(describe(&cs[1]))
	}
	if peak.Load() > 48<<20 {
		t.Errorf("%d MiB of heap", peak.Load()>>20)
	}
}

func TestACaseHasATimeLimit(t *testing.T) {
	var hang atomic.Bool
	slow := answers(func(w http.ResponseWriter, r *http.Request) {
		if hang.Load() && r.URL.Path == "/a" {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, "ok")
	})
	tp := recordTape(t, slow, nil, askAll(t, "GET", "/a", "/b"))
	hang.Store(true)
	r := newRig(t, tp, slow)
	r.opt.TimeLimit = 300 * time.Millisecond
	cs := r.run(t)
	if cs[0].Status != report.Fail || !says(&cs[0], compare.Ended, "time limit") {
		t.Error(describe(&cs[0]))
	}
	if cs[1].Status != report.Pass {
		t.Error(describe(&cs[1]))
	}
}

func TestTheTimeLimitComesFromTheRecordedLength(t *testing.T) {
	c := report.CaseResult{Answer: report.Sides{Recorded: &report.Timeline{End: 10 * time.Second}}}
	for speed, want := range map[float64]time.Duration{1: time.Minute, 2: time.Minute, 0.5: 90 * time.Second, 0: time.Minute} {
		r := run{opt: &Options{Limits: compare.Limits{Speed: speed}}}
		if got := r.timeLimit(&c); got != want {
			t.Errorf("speed %v: %s, want %s", speed, got, want)
		}
	}
}

func TestCancellingDoesNotWaitForTheApp(t *testing.T) {
	var hang atomic.Bool
	slow := answers(func(w http.ResponseWriter, r *http.Request) {
		if hang.Load() {
			<-r.Context().Done()
		}
	})
	tp := recordTape(t, slow, nil, askAll(t, "GET", "/a", "/b"))
	hang.Store(true)
	r := newRig(t, tp, slow)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	started := time.Now()
	if err := Run(ctx, r.opt, []int{1, 2}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(started); took > 10*time.Second || len(r.results) > 0 {
		t.Errorf("took %s, %d results", took, len(r.results))
	}
}

func TestACrashFailsItsCaseAndTheOthersGoOn(t *testing.T) {
	healthy := answers(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok "+r.URL.Path) })
	tp := recordTape(t, healthy, nil, askAll(t, "GET", "/a", "/b", "/c"))
	r := newRig(t, tp, healthy)
	dial := r.opt.Dial
	var crashed, refused atomic.Int32
	r.opt.Dial = func(ctx context.Context, x *tape.Exchange) (net.Conn, error) {
		if strings.HasSuffix(x.Request.URL, "/a") {
			crashed.Add(1)
			near, far := net.Pipe()
			go func() {
				b := make([]byte, 64)
				far.Read(b)
				far.Close() // the process is gone
			}()
			return near, nil
		}
		if refused.Add(1) < 5 { // it is starting again
			return nil, errors.New("connection refused")
		}
		return dial(ctx, x)
	}
	cs := r.run(t)
	if cs[0].Status != report.Fail || !says(&cs[0], compare.Ended, "no answer") {
		t.Error(describe(&cs[0]))
	}
	for _, c := range cs[1:] {
		if c.Status != report.Pass {
			t.Error(describe(&c))
		}
	}
}

func TestAServiceThatIsGoneIsAnErrorWithANextStep(t *testing.T) {
	healthy := answers(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	tp := recordTape(t, healthy, nil, askAll(t, "GET", "/a", "/b"))
	r := newRig(t, tp, healthy)
	r.opt.Patience = 250 * time.Millisecond
	r.opt.Dial = func(_ context.Context, x *tape.Exchange) (net.Conn, error) {
		if x.Number == 1 {
			return nil, event.Problemf(event.App, "publish it again", "port 8080 of app is gone")
		}
		return nil, errors.New("connection refused")
	}
	cs := r.run(t)
	if cs[0].Status != report.Error || cs[0].Error != "port 8080 of app is gone" || len(cs[0].NextSteps) != 1 {
		t.Errorf("%s %v", describe(&cs[0]), cs[0].NextSteps)
	}
	if cs[1].Status != report.Error || !strings.Contains(cs[1].Error, "connection refused") || len(cs[1].NextSteps) == 0 {
		t.Errorf("%s %v", describe(&cs[1]), cs[1].NextSteps)
	}
}

func TestRedactedCredentialsComeFromTheOptions(t *testing.T) {
	secret := answers(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	tp := recordTape(t, secret, nil, func(base string, begin func(int)) {
		begin(1)
		ask(t, "GET", "http://"+base+"/", "", "Authorization", "Bearer s3cret")
	})
	r := newRig(t, tp, secret)
	c := r.run(t)[0]
	if c.Status != report.Fail || len(c.NextSteps) == 0 || !strings.Contains(c.NextSteps[0].Code, "Authorization: ${AUTHORIZATION}") {
		t.Errorf("%s %v", describe(&c), c.NextSteps)
	}
	r.opt.Headers = map[string]string{"authorization": "Bearer s3cret"}
	if c := r.run(t)[0]; c.Status != report.Pass {
		t.Error(describe(&c))
	}
}

func TestHTTP2CasesAreSentAsTheyWere(t *testing.T) {
	var mu sync.Mutex
	var got []string
	echo := answers(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		got = append(got, fmt.Sprintf("%s %s %s %s %v %d %v", r.Proto, r.Method, r.Host, r.URL, r.Header["X-Two"], len(b), r.Trailer))
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 4 {
			fmt.Fprintf(w, "data: %d of %d\n\n", i, len(b))
			w.(http.Flusher).Flush()
			time.Sleep(gap)
		}
	})
	client := &http.Transport{Protocols: new(http.Protocols)}
	client.Protocols.SetUnencryptedHTTP2(true)
	defer client.CloseIdleConnections()
	tp := recordTape(t, echo, nil, func(base string, begin func(int)) {
		for i, size := range []int{0, 11, 300 << 10, 3 << 20} {
			begin(i + 1)
			req, _ := http.NewRequest("POST", "http://"+base+"/p?q=1", strings.NewReader(strings.Repeat("x", size)))
			req.Header["X-Two"] = []string{"a", "b"}
			resp, err := client.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	then := got
	got = nil
	r := newRig(t, tp, echo)
	r.opt.Limits = compare.Limits{} // a case that is late is sent twice
	for _, c := range r.run(t) {
		if c.Status != report.Pass {
			t.Error(describe(&c))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(then) {
		t.Errorf("now  %q\nthen %q", got, then)
	}
}

func TestTwoWayStreamsAreSkippedWithAReason(t *testing.T) {
	upgrade := answers(func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
		buf.Flush()
	})
	tp := recordTape(t, upgrade, nil, func(base string, begin func(int)) {
		begin(1)
		conn, err := net.Dial("tcp", base)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.ReadAll(conn)
	})
	c := newRig(t, tp, upgrade).run(t)[0]
	if c.Status != report.Skipped || !strings.Contains(c.Reason, "echo") {
		t.Error(describe(&c))
	}
}

func TestWhatDidNotStreamMayRunSideBySide(t *testing.T) {
	var running, most atomic.Int32
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "n="+r.URL.Query().Get("n")) })
	make := func(outside *http.Client) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer running.Add(-1)
			resp, err := outside.Get(outsideHost + "/?n=" + r.URL.Path[1:])
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			time.Sleep(50 * time.Millisecond)
			io.Copy(w, resp.Body)
		})
	}
	tp := recordTape(t, make, origin, askAll(t, "GET", "/1", "/2", "/3", "/4", "/5", "/6"))
	most.Store(0)
	r := newRig(t, tp, make)
	r.opt.Parallel = 3
	for _, c := range r.run(t) {
		if c.Status != report.Pass || len(c.Calls) != 1 || c.Calls[0].Now == nil {
			t.Error(describe(&c), c.Calls)
		}
	}
	if n := most.Load(); n < 2 || n > 3 {
		t.Errorf("%d ran at once", n)
	}
}

var _ httpstream.Sink = (*exchange)(nil)
