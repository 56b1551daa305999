package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/noise"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestATimelineIsBoundedAndItsFiguresAreExact(t *testing.T) {
	var line Timeline
	const n = 200_000
	for i := range n {
		at := time.Duration(i) * 50 * time.Microsecond
		if i > n/2 {
			at += 3 * time.Second
		}
		line.Add(at, 10)
	}
	line.Finish(20*time.Second, "eof")
	if len(line.Chunks) > maxChunks || len(line.Chunks) < maxChunks/8 {
		t.Errorf("%d chunks", len(line.Chunks))
	}
	var sum int64
	for i, c := range line.Chunks {
		sum += c.Bytes
		if i > 0 && c.At <= line.Chunks[i-1].At {
			t.Fatalf("chunk %d does not come after the one before", i)
		}
	}
	if line.Count != n || line.Bytes != 10*n || sum != 10*n {
		t.Errorf("count %d, bytes %d, sum %d", line.Count, line.Bytes, sum)
	}
	if got := line.GapTo - line.GapFrom; got != 3*time.Second+50*time.Microsecond {
		t.Errorf("gap %v", got)
	}
	if line.First() != 0 || line.End != 20*time.Second {
		t.Errorf("from %v to %v", line.First(), line.End)
	}
}

func TestAllChunksAtOneTimeStayBounded(t *testing.T) {
	var line Timeline
	for range 10_000 {
		line.Add(time.Second, 1)
	}
	if len(line.Chunks) > maxChunks || line.Bytes != 10_000 {
		t.Errorf("%d chunks, %d bytes", len(line.Chunks), line.Bytes)
	}
}

func TestACaseBeginsFromItsTape(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	w, err := tape.Create(dir, tape.Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	head := httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200}
	write := func(id int64, x *tape.Exchange, lines ...tape.Line) {
		var list []*tape.Line
		for i := range lines {
			list = append(list, &lines[i])
		}
		records, err := new(tape.Encoder).Whole(id, x, list...)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if err := w.Apply(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	chunk := func(at time.Duration, s string) tape.Line {
		return tape.Line{At: at, Chunk: httpstream.Chunk{Data: []byte(s)}}
	}
	end := func(at time.Duration) tape.Line {
		return tape.Line{At: at, End: &httpstream.EndInfo{How: httpstream.EOF}}
	}
	write(1, &tape.Exchange{
		Kind: tape.Case, Number: 1, Service: "api", Started: 5 * time.Second,
		Request:  tape.Request{Proto: "HTTP/1.1", Method: "POST", URL: "http://localhost/chat", Took: 10 * ms},
		Response: &tape.Response{At: 90 * ms, Head: head},
	}, chunk(100*ms, "one"), chunk(150*ms, "three"), end(160*ms))
	write(2, &tape.Exchange{
		Kind: tape.Call, Number: 1, Case: 1, Service: "api", Started: 5*time.Second + 20*ms,
		Request:  tape.Request{Proto: "HTTP/1.1", Method: "GET", URL: "https://api.example.com/a", Took: 5 * ms},
		Response: &tape.Response{At: 30 * ms, Head: head},
	}, chunk(40*ms, "x"), end(50*ms))
	write(3, &tape.Exchange{
		Kind: tape.Call, Number: 2, Service: "api", Started: 9 * time.Second,
		Request: tape.Request{Proto: "HTTP/1.1", Method: "GET", URL: "https://api.example.com/b"}, Failed: "connection refused",
	})
	if err := w.Close(nil); err != nil {
		t.Fatal(err)
	}
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := FromTape(tp, tp.Cases[0])
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "0001-post-chat" || c.Number != 1 || c.Method != "POST" || c.Tape != dir || c.File != tp.Cases[0].File {
		t.Errorf("%+v", c)
	}
	if _, err := os.Stat(c.Stream); err != nil {
		t.Error(err)
	}
	if a := c.Answer.Recorded; a.First() != 100*ms || a.Last != 150*ms || a.End != 160*ms || a.Bytes != 8 || a.Count != 2 {
		t.Errorf("%+v", a)
	}
	// The call's request was complete at 5.025 s, the case's at 5.010 s.
	if len(c.Calls) != 1 || c.Calls[0].Recorded.Start != 15*ms || c.Calls[0].Recorded.First() != 55*ms || c.Calls[0].Recorded.End != 65*ms {
		t.Fatalf("%+v", c.Calls)
	}
	rec, now := c.CallTimings()
	if len(now) != 0 || len(rec) != 1 || rec[0] != (compare.CallTiming{Number: 1, URL: "https://api.example.com/a", Start: 15 * ms, First: 55 * ms, Last: 55 * ms, End: 65 * ms}) {
		t.Errorf("%+v %+v", rec, now)
	}
	c.CallMade(event.Call{Number: 1}, stream(16*ms, 56*ms, 0, 1, 1, httpstream.EOF))
	c.CallMade(event.Call{Method: "GET", URL: "https://other.example/"}, stream(18*ms, 60*ms, 0, 1, 1, httpstream.EOF))
	if len(c.Calls) != 2 || c.Calls[0].Now == nil || c.Calls[0].URL == "" || c.Calls[1].Recorded != nil {
		t.Errorf("%+v", c.Calls)
	}
}

func TestWhatACaseComesTo(t *testing.T) {
	ok := &compare.Verdict{Pass: true}
	rec := stream(0, ms, ms, 1, 1, httpstream.EOF)
	for name, test := range map[string]struct {
		c    CaseResult
		want Status
	}{
		"equal":                       {CaseResult{Verdict: ok}, Pass},
		"different":                   {CaseResult{Verdict: &compare.Verdict{Differences: []compare.Difference{{Message: "x"}}}}, Fail},
		"an error":                    {CaseResult{Error: "crashed"}, Error},
		"an error beside a verdict":   {CaseResult{Error: "crashed", Verdict: ok}, Error},
		"never compared":              {CaseResult{}, Error},
		"skipped":                     {CaseResult{Reason: "port gone"}, Skipped},
		"a miss":                      {CaseResult{Verdict: ok, Misses: []event.Miss{{URL: "u"}}}, Fail},
		"a miss that passed through":  {CaseResult{Verdict: ok, Misses: []event.Miss{{URL: "u", Answered: event.Passed}}}, Pass},
		"a call that was not made":    {CaseResult{Verdict: ok, Calls: []Call{{event.Call{Number: 1}, Sides{Recorded: rec}}}}, Fail},
		"re-recorded":                 {CaseResult{Verdict: &compare.Verdict{}, Rerecorded: true}, Pass},
		"the runner's word goes":      {CaseResult{Status: Pass, Verdict: ok, NotMade: []event.Call{{Number: 1}}}, Pass},
		"an error without any detail": {CaseResult{Status: Error}, Error},
	} {
		r := &Run{Cases: []CaseResult{test.c}}
		r.Conclude()
		c := &r.Cases[0]
		if c.Status != test.want {
			t.Errorf("%s: %s", name, c.Status)
		}
		if c.bad() && len(c.NextSteps) == 0 && c.Error != "" {
			t.Errorf("%s: no next step", name)
		}
		if wantOK := !c.bad(); r.OK() != wantOK {
			t.Errorf("%s: ok is %v", name, r.OK())
		}
		// Nothing may be said of a case that has hardly anything to say.
		for _, f := range []func(io.Writer, *Run) error{HTML, JUnit, JSON, Summary} {
			render(t, f, r)
		}
	}
}

func TestOnlyTimingFailsACaseThatAnsweredWell(t *testing.T) {
	late := compare.Verdict{Differences: []compare.Difference{{Kind: compare.Pace}}}
	line := &Timeline{}
	for _, tc := range []struct {
		name string
		c    CaseResult
		want bool
	}{
		{"late", CaseResult{Verdict: &late}, true},
		{"late, and a call was missed", CaseResult{Verdict: &late, Misses: []event.Miss{{}}}, false},
		{"late, and a miss was passed through", CaseResult{Verdict: &late, Misses: []event.Miss{{Answered: event.Passed}}}, true},
		{"late, and a call was not made", CaseResult{Verdict: &late, Calls: []Call{{Sides: Sides{Recorded: line}}}}, false},
		{"late, and all calls were made", CaseResult{Verdict: &late, Calls: []Call{{Sides: Sides{line, line}}}}, true},
		{"passed", CaseResult{Verdict: &compare.Verdict{Pass: true}}, false},
		{"not compared", CaseResult{Error: "gone"}, false},
	} {
		if tc.c.OnlyTiming() != tc.want {
			t.Errorf("%s: %v", tc.name, tc.c.OnlyTiming())
		}
	}
}

func TestARunFailsForWhatIsOutsideTheCases(t *testing.T) {
	for _, r := range []*Run{{Outside: []event.Miss{{}}}, {Errors: []event.Problem{{}}}} {
		if r.OK() {
			t.Errorf("%+v is ok", r)
		}
	}
	if r := (&Run{Outside: []event.Miss{{Answered: event.Recorded}}, Warnings: []event.Problem{{}}}); !r.OK() {
		t.Error("warnings fail a run")
	}
}

// What a step tells people to add has to be what the readers of wiretape.yaml take.
func TestSuggestedRulesAreUnderstood(t *testing.T) {
	r := sampleRun()
	rules, limits := 0, 0
	for _, c := range r.Cases {
		for _, s := range c.NextSteps {
			var node yaml.Node
			if !strings.Contains(s.Do, "wiretape.yaml") {
				continue
			}
			if err := yaml.Unmarshal([]byte(s.Code), &node); err != nil {
				t.Errorf("%s: %v", s.Code, err)
			}
			var err error
			if strings.Contains(s.Do, "noise") {
				rules++
				_, err = noise.Parse("wiretape.yaml", &node)
			} else {
				limits++
				_, err = compare.ParseLimits("wiretape.yaml", &node)
			}
			if err != nil {
				t.Errorf("%s: %v", s.Code, err)
			}
		}
	}
	if rules < 3 || limits < 2 {
		t.Errorf("only %d rules and %d limits", rules, limits)
	}
	long := ruleLines([]noise.Rule{{Key: "response.body", Value: "$['it''s']" + strings.Repeat(".name", 12)}, {Key: "response.body", Value: `$["a"]`}, {Key: "response.text", Value: `\d{2}:\d{2}'`}})
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(long), &node); err != nil {
		t.Fatalf("%s: %v", long, err)
	}
}

func TestASuggestedLimitWouldPass(t *testing.T) {
	c := closedEarly()
	steps := slowSteps(&c, "longest_gap", 3, c.Verdict.Recorded.Gap(), c.Verdict.Now.Gap())
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(steps[1].Code), &node); err != nil {
		t.Fatal(err)
	}
	l, err := compare.ParseLimits("wiretape.yaml", &node)
	if err != nil {
		t.Fatal(err)
	}
	if allowed := time.Duration(l.Gap.Ratio*float64(c.Verdict.Recorded.Gap())) + l.Gap.Floor; allowed < c.Verdict.Now.Gap() {
		t.Errorf("%s allows %v of %v", steps[1].Code, allowed, c.Verdict.Now.Gap())
	}
}

func TestCommandsNameTheirProjectTapeAndCase(t *testing.T) {
	r := &Run{Flags: []string{"-f", "my app.yaml"}}
	c := &CaseResult{Tape: "tapes/eu", Name: "0001-get-a", Service: "web"}
	if got := c.command(r, "--update"); got != "wiretape compose test -f 'my app.yaml' --tape tapes/eu --update --case 0001-get-a" {
		t.Error(got)
	}
	c.Tape = "./tapes/default"
	if got := c.command(r); got != "wiretape compose test -f 'my app.yaml' --case 0001-get-a" {
		t.Error(got)
	}
	if got := c.watch(r).Code; !strings.HasSuffix(got, "docker compose -f 'my app.yaml' logs --follow web") {
		t.Error(got)
	}
}

func TestAMissReadsFromTheBodyThatTheAppGot(t *testing.T) {
	const body = `{"error":{"type":"wiretape_miss","message":"wiretape: …"},"method":"GET","url":"https://h/","case":3,"used":2,
		"closest":{"number":7,"file":"tapes/default/calls/0007-get-h.yaml","method":"GET","url":"https://h/?a=1"},
		"differences":[{"where":"query a","recorded":"1","now":"(none)"}],"more_differences":4}`
	var m event.Miss
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	want := event.Miss{
		Method: "GET", URL: "https://h/", Case: 3, Used: 2, More: 4,
		Closest:     &event.Call{Number: 7, File: "tapes/default/calls/0007-get-h.yaml", Method: "GET", URL: "https://h/?a=1"},
		Differences: []event.Difference{{Where: event.At(event.Query, "a"), Recorded: "1", Now: "(none)"}},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("%+v", m)
	}
}

func TestReportsAreWrittenWholeAndForTheUserAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "report")
	for range 2 { // the second time over the first
		if err := WriteAll(dir, sampleRun()); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", e.Name(), info.Mode().Perm())
		}
	}
	if want := []string{HTMLFile, JUnitFile, JSONFile}; !reflect.DeepEqual(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(d); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", d, info.Mode(), err)
		}
	}
	file := filepath.Join(dir, JSONFile)
	before, _ := os.ReadFile(file)
	err = writeFile(file, func(w io.Writer) error {
		fmt.Fprint(w, "half")
		return io.ErrUnexpectedEOF
	})
	after, _ := os.ReadFile(file)
	if err == nil || string(before) != string(after) {
		t.Errorf("a report that failed replaced the one before: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := WriteAll(file, sampleRun()); err == nil || !strings.Contains(err.Error(), "--report") {
		t.Errorf("a file in the place of the folder: %v", err)
	}
}
