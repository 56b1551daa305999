package runner

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/compose/report"
)

// BenchmarkAThousandShortCases is compose test at --speed 0, but for containers and the
// way of the results to the CLI: each case makes the app ask the outside once.
func BenchmarkAThousandShortCases(b *testing.B) {
	const cases = 1000
	tp := recordTape(b, asksOnce, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"path":%q,"said":"hello"}`, r.URL.Path)
	}), func(base string, begin func(int)) {
		for i := range cases {
			begin(i + 1)
			resp, err := http.Post(fmt.Sprintf("http://%s/ask/%d", base, i), "application/json", strings.NewReader(`{"q":1}`))
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	r := newRigAt(b, tp, asksOnce, 0)
	for b.Loop() {
		for _, c := range r.run(b) {
			if c.Status != report.Pass {
				b.Fatal(describe(&c))
			}
		}
		r.playback.ReleaseAll()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*cases), "µs/case")
}

// asksOnce is an app that passes on what the outside says.
func asksOnce(outside *http.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := outside.Get(outsideHost + r.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", "application/json")
		io.Copy(w, resp.Body)
	})
}
