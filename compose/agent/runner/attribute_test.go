package runner

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// sideBySide records cases that all run at the same time: each has reached the
// app, and the app has asked the outside for each, before the first is answered.
func sideBySide(t *testing.T, make func(meet func()) app, origin http.Handler, asks ...func(base string)) *tape.Tape {
	t.Helper()
	var meeting sync.WaitGroup
	meeting.Add(len(asks))
	meet := func() {
		meeting.Done()
		meeting.Wait()
	}
	return recordTape(t, make(meet), origin, func(base string, begin func(int)) {
		var wg sync.WaitGroup
		for _, ask := range asks {
			wg.Go(func() { ask(base) })
		}
		wg.Wait()
		begin(len(asks))
	})
}

// numbered answers each request with another number.
func numbered() http.Handler {
	var n atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, `{"ticket":"ticket-%06d"}`, n.Add(1)) })
}

// caller asks the outside what ask makes of a request, and answers with what it got.
func caller(ask func(r *http.Request) *http.Request, meet func()) app {
	return func(outside *http.Client) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if meet != nil {
				meet()
			}
			resp, err := outside.Do(ask(r))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if meet != nil {
				time.Sleep(20 * time.Millisecond)
			}
			w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
			w.Write(body)
		})
	}
}

func outsideRequest(method, path, body string) *http.Request {
	req, err := http.NewRequest(method, outsideHost+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	return req
}

// TestCasesThatRanSideBySidePass records four cases at once, in each way of telling
// whose call is whose, and in none.
func TestCasesThatRanSideBySidePass(t *testing.T) {
	const all = 4
	for _, tc := range []struct {
		name  string
		ask   func(base string, i int) (url, body string, header []string)
		call  func(r *http.Request) *http.Request
		bound bool // each call is told to be one case's
	}{
		{"a trace that the app passes on", func(base string, i int) (string, string, []string) {
			return "/ask", "", []string{"traceparent", fmt.Sprintf("00-%032x-b7ad6b7169203331-01", i+1)}
		}, func(r *http.Request) *http.Request {
			req := outsideRequest("GET", "/ticket", "")
			req.Header.Set("traceparent", r.Header.Get("traceparent"))
			return req
		}, true},
		{"a value of the query", func(base string, i int) (string, string, []string) {
			return "/ask?id=" + strconv.Itoa(i), "", nil
		}, func(r *http.Request) *http.Request { return outsideRequest("GET", "/ticket?id="+r.FormValue("id"), "") }, true},
		{"a text inside another", func(base string, i int) (string, string, []string) {
			return "/ask", fmt.Sprintf(`{"question":"what is number %d?"}`, i), []string{"Content-Type", "application/json"}
		}, func(r *http.Request) *http.Request {
			body, _ := io.ReadAll(r.Body)
			text := strings.TrimSuffix(strings.TrimPrefix(string(body), `{"question":"`), `"}`)
			return outsideRequest("POST", "/ticket", fmt.Sprintf(`{"messages":[{"role":"user","content":"Answer: %s"}]}`, text))
		}, true},
		{"an answer that the app passes back", func(base string, i int) (string, string, []string) { return "/ask", "", nil },
			func(r *http.Request) *http.Request { return outsideRequest("GET", "/ticket", "") }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asks []func(string)
			for i := range all {
				asks = append(asks, func(base string) {
					path, body, header := tc.ask(base, i)
					method := "GET"
					if body != "" {
						method = "POST"
					}
					ask(t, method, "http://"+base+path, body, header...)
				})
			}
			tp := sideBySide(t, func(meet func()) app { return caller(tc.call, meet) }, numbered(), asks...)
			r := newRig(t, tp, caller(tc.call, nil))
			for _, x := range tp.Calls {
				if (x.Case == 0) == tc.bound {
					t.Errorf("call %d is of case %d, or of %d", x.Number, x.Case, x.Cases)
				}
			}
			for _, parallel := range []int{1, all} {
				r.opt.Parallel = parallel
				r.playback.ReleaseAll()
				for _, c := range r.run(t) {
					if c.Status != report.Pass || len(c.Calls) != 1 {
						t.Errorf("%d at once: %s, %d calls", parallel, describe(&c), len(c.Calls))
					}
				}
			}
		})
	}
}

// TestWhatCannotBeToldIsShared has calls that two cases made in whatever way: both
// pass as they were, and what no case makes or one makes too often still fails.
func TestWhatCannotBeToldIsShared(t *testing.T) {
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	get := func(times map[string]int, meet func()) app {
		return func(outside *http.Client) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if meet != nil {
					meet()
				}
				for range times[r.URL.Path] {
					if resp, err := outside.Get(outsideHost + "/same"); err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}
				if meet != nil {
					time.Sleep(20 * time.Millisecond)
				}
				io.WriteString(w, "done")
			})
		}
	}
	recorded := map[string]int{"/a": 1, "/b": 2}
	tp := sideBySide(t, func(meet func()) app { return get(recorded, meet) }, origin,
		func(base string) { ask(t, "GET", "http://"+base+"/a", "") }, func(base string) { ask(t, "GET", "http://"+base+"/b", "") })
	for _, tc := range []struct {
		name string
		now  map[string]int
		fail bool
	}{
		{"as recorded", recorded, false},
		{"one less", map[string]int{"/a": 1, "/b": 1}, true},
		{"one more", map[string]int{"/a": 1, "/b": 3}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			failed := ""
			for _, c := range newRig(t, tp, get(tc.now, nil)).run(t) {
				if c.Status != report.Pass {
					failed += describe(&c)
				}
			}
			if (failed != "") != tc.fail {
				t.Errorf("failed: %q", failed)
			}
		})
	}
}

func TestParallelCasesKeepTheirAnswersOfIdenticalCalls(t *testing.T) {
	call := func(r *http.Request) *http.Request { return outsideRequest("GET", "/ticket", "") }
	tp := recordTape(t, caller(call, nil), numbered(), askAll(t, "GET", "/1", "/2", "/3", "/4", "/5", "/6"))
	slow := func(outside *http.Client) http.Handler { // the later, the sooner
		h := caller(call, nil)(outside)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(r.URL.Path[1:])
			time.Sleep(time.Duration(6-n) * 10 * time.Millisecond)
			h.ServeHTTP(w, r)
		})
	}
	r := newRig(t, tp, slow)
	r.opt.Parallel = 6
	for _, c := range r.run(t) {
		if c.Status != report.Pass {
			t.Error(describe(&c))
		}
	}
}

// reporter answers, and reports to the outside some time after that.
func reporter(body func(path string) string, delay time.Duration, times int, done *sync.WaitGroup) app {
	return func(outside *http.Client) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if resp, err := outside.Get(outsideHost + "/work" + r.URL.Path); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			io.WriteString(w, "ok")
			done.Go(func() {
				time.Sleep(delay)
				for range times {
					resp, err := outside.Post(outsideHost+"/telemetry", "text/plain", strings.NewReader(body(r.URL.Path)))
					if err == nil {
						resp.Body.Close()
					}
				}
			})
		})
	}
}

// TestWhatComesAfterTheAnswerFailsNoOtherCase moves what an app reports after its
// answers to where other cases run.
func TestWhatComesAfterTheAnswerFailsNoOtherCase(t *testing.T) {
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	paths := []string{"/1", "/2", "/3", "/4"}
	for _, kind := range []struct {
		name string
		body func(path string) string
	}{
		{"equal reports", func(string) string { return "done" }},
		{"reports of what was asked", func(path string) string { return "done with " + path }},
	} {
		var done sync.WaitGroup
		tp := recordTape(t, reporter(kind.body, 15*time.Millisecond, 1, &done), origin, func(base string, begin func(int)) {
			for i, p := range paths {
				begin(i + 1)
				ask(t, "GET", "http://"+base+p, "")
			}
			done.Wait()
		})
		for _, delay := range []time.Duration{0, 5 * time.Millisecond, 15 * time.Millisecond, 60 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s %s after the answer", kind.name, delay), func(t *testing.T) {
				r := newRig(t, tp, reporter(kind.body, delay, 1, &done))
				r.opt.Linger = 150 * time.Millisecond
				for _, c := range r.run(t) {
					if c.Status != report.Pass {
						t.Error(describe(&c))
					}
				}
				if missed := r.missedOutside(); len(missed) > 0 {
					t.Errorf("misses of no case: %q", missed)
				}
			})
		}
		t.Run(kind.name+" that are one too many are noticed", func(t *testing.T) {
			r := newRig(t, tp, reporter(kind.body, 60*time.Millisecond, 2, &done))
			r.opt.Linger = 150 * time.Millisecond
			for _, c := range r.run(t) {
				if c.Status != report.Pass {
					t.Error(describe(&c))
				}
			}
			if len(r.missedOutside()) == 0 {
				t.Error("nothing was noticed")
			}
		})
	}
}

// TestWhatIsMissingStillFailsBesideAPoller has an app that asks the outside by
// itself all the time.
func TestWhatIsMissingStillFailsBesideAPoller(t *testing.T) {
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	poller := func(calls map[string]string, stop chan struct{}, polled *sync.WaitGroup) app {
		return func(outside *http.Client) http.Handler {
			get := func(path string) {
				if resp, err := outside.Get(outsideHost + path); err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
			get("/poll")
			polled.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(7 * time.Millisecond):
						get("/poll")
					}
				}
			})
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(20 * time.Millisecond)
				if p := calls[r.URL.Path]; p != "" {
					get(p)
				}
				io.WriteString(w, "ok")
			})
		}
	}
	recorded := map[string]string{"/1": "/a", "/2": "/b"}
	stop, polled := make(chan struct{}), &sync.WaitGroup{}
	tp := recordTape(t, poller(recorded, stop, polled), origin, func(base string, begin func(int)) {
		for i, p := range []string{"/1", "/2"} {
			begin(i + 1)
			ask(t, "GET", "http://"+base+p, "")
			time.Sleep(30 * time.Millisecond) // so that it polls while no case runs
		}
		close(stop)
		polled.Wait()
	})
	for _, tc := range []struct {
		name string
		now  map[string]string
		want string
	}{
		{"as recorded", recorded, "pass pass"},
		{"a call is not made", map[string]string{"/1": "/a"}, "pass fail"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stop, polled := make(chan struct{}), &sync.WaitGroup{}
			var got []string
			for _, c := range newRig(t, tp, poller(tc.now, stop, polled)).run(t) {
				got = append(got, string(c.Status))
			}
			close(stop)
			polled.Wait()
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("got %s, want %s", s, tc.want)
			}
		})
	}
}
