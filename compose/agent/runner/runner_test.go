package runner

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream/compare"
)

// gap is between two events of a stream: well above what counts as one moment.
const gap = 25 * time.Millisecond

// tokens is the outside world of the streaming app.
func tokens() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 6 {
			fmt.Fprintf(w, "data: {\"token\":\"t%d\",\"id\":900719925474099%d}\n\n", i, i)
			w.(http.Flusher).Flush()
			time.Sleep(gap)
		}
	})
}

// twin is an app that streams what the outside streams, with a defect or none.
func twin(defect string) app {
	return func(outside *http.Client) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			resp, err := outside.Get(outsideHost + "/tokens?n=6")
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			w.Header().Set("Content-Type", "text/event-stream")
			events := bufio.NewScanner(resp.Body)
			events.Split(splitEvents)
			var held []string
			for i := 0; events.Scan(); i++ {
				event := events.Text()
				switch {
				case defect == "buffers", defect == "reorders" && i == 2:
					held = append(held, event)
					continue
				case defect == "drops the last event" && i == 5:
					continue
				case defect == "changes one byte" && i == 3:
					event = strings.Replace(event, "t3", "t8", 1)
				case defect == "is off by one" && i == 2:
					event = strings.Replace(event, "9007199254740992", "9007199254740993", 1)
				case defect == "closes early" && i == 3:
					panic(http.ErrAbortHandler)
				}
				io.WriteString(w, event)
				for _, h := range held {
					io.WriteString(w, h)
				}
				held = nil
				w.(http.Flusher).Flush()
			}
			io.WriteString(w, strings.Join(held, ""))
			if defect == "sends one more event" {
				io.WriteString(w, "data: more\n\n")
			}
		})
	}
}

func splitEvents(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.Index(data, []byte("\n\n")); i >= 0 {
		return i + 2, data[:i+2], nil
	}
	return 0, nil, nil
}

// ask sends a request and reads the answer.
func ask(t testing.TB, method, url, body string, header ...string) string {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return string(b)
}

func TestABrokenAppFailsForTheRightReason(t *testing.T) {
	tp := recordTape(t, twin(""), tokens(), func(base string, begin func(int)) {
		begin(1)
		ask(t, "POST", "http://"+base+"/chat?user=1", `{"q":1}`, "Content-Type", "application/json")
	})
	for _, tc := range []struct {
		defect string
		kind   compare.Kind // "" for none
		says   string
	}{
		{"", "", ""},
		{"buffers", compare.Buffered, ""},
		{"drops the last event", compare.Missing, "event 6"},
		{"sends one more event", compare.Extra, "event 7"},
		{"reorders", compare.Reordered, "event"},
		{"changes one byte", compare.Changed, "$.token"},
		{"is off by one", compare.Changed, "9007199254740993"},
		{"closes early", compare.Ended, "inside the body"},
	} {
		name := tc.defect
		if name == "" {
			name = "is right"
		}
		t.Run("an app that "+name, func(t *testing.T) {
			c := newRig(t, tp, twin(tc.defect)).run(t)[0]
			if tc.kind == "" {
				if c.Status != report.Pass {
					t.Fatalf("want a pass; %s", describe(&c))
				}
				return
			}
			if c.Status != report.Fail || !says(&c, tc.kind, tc.says) {
				t.Errorf("want %s %q; %s", tc.kind, tc.says, describe(&c))
			}
		})
	}
}

// says tells whether a difference of that kind has text in it.
func says(c *report.CaseResult, kind compare.Kind, text string) bool {
	if c.Verdict == nil {
		return false
	}
	for _, d := range c.Verdict.Differences {
		if d.Kind == kind && strings.Contains(fmt.Sprint(d.Message, d.Where, d.Recorded, d.Now), text) {
			return true
		}
	}
	return false
}

// TestTheUnbrokenTwinPassesFiftyTimes runs it while every CPU is busy.
func TestTheUnbrokenTwinPassesFiftyTimes(t *testing.T) {
	needs.Time(t)
	tp := recordTape(t, twin(""), tokens(), func(base string, begin func(int)) {
		begin(1)
		ask(t, "POST", "http://"+base+"/chat", "hello")
	})
	var stop atomic.Bool
	var busy sync.WaitGroup
	for range runtime.NumCPU() {
		busy.Go(func() {
			for !stop.Load() {
			}
		})
	}
	defer busy.Wait()
	defer stop.Store(true)
	r := newRig(t, tp, twin(""))
	for i := range 50 {
		if c := r.run(t)[0]; c.Status != report.Pass {
			t.Fatalf("run %d: %s", i+1, describe(&c))
		}
	}
}

func TestCallsAreTheirCases(t *testing.T) {
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.String()) })
	caller := func(calls map[string][]string) app {
		return func(outside *http.Client) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for _, path := range calls[r.URL.Path] {
					resp, err := outside.Get(outsideHost + path)
					if err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}
				io.WriteString(w, "ok")
			})
		}
	}
	recorded := map[string][]string{"/one": {"/a", "/b?x=1"}, "/two": {"/a"}, "/three": nil}
	tp := recordTape(t, caller(recorded), origin, func(base string, begin func(int)) {
		for i, path := range []string{"/one", "/two", "/three"} {
			begin(i + 1)
			ask(t, "GET", "http://"+base+path, "")
		}
	})
	for _, tc := range []struct {
		name string
		now  map[string][]string
		want [3]string // not made, missed
	}{
		{"as recorded", recorded, [3]string{"pass", "pass", "pass"}},
		{"one call is not made", map[string][]string{"/one": {"/a"}, "/two": {"/a"}}, [3]string{"fail -/b?x=1", "pass", "pass"}},
		{"one is made twice, and the next case keeps its own", map[string][]string{"/one": {"/a", "/a", "/b?x=1"}, "/two": {"/a"}}, [3]string{"fail +/a", "pass", "pass"}},
		{"one was not recorded", map[string][]string{"/one": {"/a", "/b?x=1"}, "/two": {"/a", "/c"}}, [3]string{"pass", "fail +/c", "pass"}},
		{"a query value is another", map[string][]string{"/one": {"/a", "/b?x=2"}, "/two": {"/a"}}, [3]string{"fail -/b?x=1 +/b?x=2", "pass", "pass"}},
		{"in another order", map[string][]string{"/one": {"/b?x=1", "/a"}, "/two": {"/a"}}, [3]string{"pass reordered", "pass", "pass"}},
		{"one is another case's", map[string][]string{"/one": {"/a", "/b?x=1"}, "/two": {"/a"}, "/three": {"/b?x=1"}}, [3]string{"pass", "pass", "fail +/b?x=1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i, c := range newRig(t, tp, caller(tc.now)).run(t) {
				got := string(c.Status)
				for _, m := range c.NotMade {
					got += " -" + strings.TrimPrefix(m.URL, outsideHost)
				}
				for _, m := range c.Misses {
					got += " +" + strings.TrimPrefix(m.URL, outsideHost)
				}
				if c.OrderChanged != nil {
					got += " reordered"
				}
				if got != tc.want[i] {
					t.Errorf("got %q, want %q; %s", got, tc.want[i], describe(&c))
				}
			}
		})
	}
}
