package runner

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream/compare"
)

// stalling is the streaming app, which is silent for a while in the runs that
// stalls says, and keeps a state if it says so.
func stalling(stalls func(run int32) bool, keepsState bool) app {
	var runs atomic.Int32
	return func(outside *http.Client) http.Handler {
		inner := twin("")(outside)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := runs.Add(1)
			if stalls(n) {
				time.Sleep(900 * time.Millisecond)
			}
			if keepsState && n > 1 {
				w.Header().Set("X-State", "used")
			}
			inner.ServeHTTP(w, r)
		})
	}
}

func TestOnlyASecondTryConfirmsThatAnAnswerIsLate(t *testing.T) {
	needs.Time(t)
	tp := recordTape(t, twin(""), tokens(), askAll(t, "GET", "/chat"))
	for _, tc := range []struct {
		name   string
		stalls func(run int32) bool
		state  bool
		want   report.Status
		says   string
	}{
		{"never late", func(int32) bool { return false }, false, report.Pass, ""},
		{"late once", func(n int32) bool { return n == 1 }, false, report.Pass, "the second try was as recorded"},
		{"late every time", func(int32) bool { return true }, false, report.Fail, "confirms"},
		{"late once, with an answer that changes when it is asked for again", func(n int32) bool { return n == 1 }, true, report.Pass, "keeps state"},
		{"late every time, and it changes", func(int32) bool { return true }, true, report.Fail, "confirms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, parallel := range []int{1, 2} {
				r := newRig(t, tp, stalling(tc.stalls, tc.state))
				r.opt.Parallel = parallel
				r.opt.Limits.First = compare.Bound{Ratio: 1.5, Floor: 500 * time.Millisecond}
				c := r.run(t)[0]
				if c.Status != tc.want || !strings.Contains(c.SecondTry, tc.says) || (c.SecondTry == "") != (tc.says == "") {
					t.Errorf("%d at once: %s; second try: %q", parallel, describe(&c), c.SecondTry)
				}
				if len(c.Calls) != 1 || c.Calls[0].Now == nil {
					t.Errorf("its calls are not as they were: %+v", c.Calls)
				}
			}
		})
	}
}

// TestACallThatTheAppBreaksOffFailsItsCase has an app that answers the same, and
// reads less of what it asked for.
func TestACallThatTheAppBreaksOffFailsItsCase(t *testing.T) {
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 4 {
			io.WriteString(w, "some\n")
			w.(http.Flusher).Flush()
			time.Sleep(30 * time.Millisecond)
		}
	})
	reader := func(leaves func(n int32) bool) app {
		var runs atomic.Int32
		return func(outside *http.Client) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := runs.Add(1)
				ctx, cancel := context.WithCancel(r.Context())
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, "GET", outsideHost+"/stream", nil)
				resp, err := outside.Do(req)
				if err != nil {
					http.Error(w, err.Error(), http.StatusBadGateway)
					return
				}
				defer resp.Body.Close()
				if leaves(n) {
					io.ReadFull(resp.Body, make([]byte, 5))
					cancel()
				} else {
					io.Copy(io.Discard, resp.Body)
				}
				io.WriteString(w, "ok")
			})
		}
	}
	never, always := func(int32) bool { return false }, func(int32) bool { return true }
	tp := recordTape(t, reader(never), origin, askAll(t, "GET", "/"))
	for _, tc := range []struct {
		name   string
		leaves func(int32) bool
		want   report.Status
	}{
		{"read to its end", never, report.Pass},
		{"broken off", always, report.Fail},
		{"broken off once", func(n int32) bool { return n == 1 }, report.Pass},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newRig(t, tp, reader(tc.leaves)).run(t)[0]
			if c.Status != tc.want || (len(c.Left) == 1) != (tc.want == report.Fail) {
				t.Errorf("%s; left %v", describe(&c), c.Left)
			}
			if text := report.CaseText(&c, 0); tc.want == report.Fail && !strings.Contains(text, "call 1 was broken off by the app") {
				t.Error(text)
			}
		})
	}
}
