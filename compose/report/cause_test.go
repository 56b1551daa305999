package report

import (
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
)

func TestTheCauseComesFirstAndTheRestIsFolded(t *testing.T) {
	delta := func(i int) compare.Difference {
		return compare.Difference{
			Kind: compare.Changed, Unit: "event", Index: i, Where: "$.choices[0].delta.content", Recorded: `"a"`, Now: `"b"`,
			Title: "event data $.choices[0].delta.content", Message: "event data $.choices[0].delta.content: recorded a, now b",
		}
	}
	id := compare.Difference{
		Kind: compare.Changed, Unit: "event", Index: 1, Where: "$.id", Recorded: `"x"`, Now: `"y"`, Follow: 22,
		Title: "event 1 data $.id", Message: `event 1 data $.id: recorded "x", now "y"; 22 events follow from it`,
	}
	reset := compare.Difference{Kind: compare.Ended, Where: "end", Recorded: "eof", Now: "reset: gone", Title: "end of the stream", Message: "end of the stream: recorded eof, now reset: gone"}
	missing := compare.Difference{Kind: compare.Missing, Unit: "event", Index: 8, Recorded: "data: z", Run: 12, Title: "event 8 is missing", Message: "event 8 is missing: data: z; 12 events after it as well"}
	status := compare.Difference{Kind: compare.Status, Where: "status", Recorded: "200", Now: "500", Title: "status", Message: "status: recorded 200 OK, now 500 Internal Server Error"}
	header := compare.Difference{Kind: compare.Header, Where: "Content-Type", Recorded: "a", Now: "b", Title: "header Content-Type", Message: "header Content-Type: recorded a, now b"}
	body := compare.Difference{Kind: compare.Content, Recorded: "{}", Now: "oops", Title: "body is no JSON now", Message: "body is no JSON now: recorded {}, now oops"}
	answer := compare.AnswerDifference{Format: "openai-chat", Pieces: []compare.PieceDifference{{Name: "text", Kind: "text", Recorded: "a", Now: "b", Words: compare.DiffWords("a", "b")}}}
	asked := event.Miss{Method: "POST", URL: "https://api.example/v1", Closest: &event.Call{Number: 3}}

	for _, tc := range []struct {
		name  string
		c     CaseResult
		order []string // what the text has, in this order
		not   []string
	}{
		{"what a model said", CaseResult{Verdict: &compare.Verdict{Answer: &answer, Differences: []compare.Difference{delta(1), delta(2), delta(3)}}},
			[]string{"text, put together", "[-a-]{+b+}", "3 events follow from it"}, []string{"delta.content\n"}},
		{"the same text in other pieces", CaseResult{Verdict: &compare.Verdict{Answer: &compare.AnswerDifference{Format: "openai-chat", Same: true}, Differences: []compare.Difference{delta(1)}}},
			[]string{"the text put together from the deltas is the same, cut into other pieces", "1 event follows from it"}, nil},
		{"one value in all events", CaseResult{Verdict: &compare.Verdict{Differences: []compare.Difference{id}}},
			[]string{"event 1 data $.id; 22 events follow from it", `recorded  "x"`, `now       "y"`}, nil},
		{"a reset before what is missing", CaseResult{Verdict: &compare.Verdict{Differences: []compare.Difference{missing, reset}}},
			[]string{"end of the stream", "event 8 is missing; 12 events after it as well"}, []string{"--update", "docker compose logs api"}},
		{"another status", CaseResult{Verdict: &compare.Verdict{Differences: []compare.Difference{status, header, id, body}}},
			[]string{"status", "now       500", "event 1 data $.id", "2 more differences follow from it"}, []string{"Content-Type"}},
		{"a changed request", CaseResult{
			Misses: []event.Miss{asked}, NotMade: []event.Call{{Number: 3, Method: "POST", URL: "https://api.example/v1"}, {Number: 4, Method: "GET", URL: "https://b.example/"}},
			Verdict: &compare.Verdict{Differences: []compare.Difference{status, id}},
		}, []string{"miss  POST https://api.example/v1", "1 call follows from it, not made:", "call 4 was not made", "24 differences in the answer follow from it"}, []string{"call 3 was not made", "status"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := tc.c
			c.Name, c.Service = "0001-post-chat", "api"
			run := &Run{Cases: []CaseResult{c}}
			run.Conclude()
			text := CaseText(&run.Cases[0], 200)
			rest := text
			for _, want := range tc.order {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("%q is not there, or not in order:\n%s", want, text)
				}
				rest = after
			}
			for _, no := range tc.not {
				if strings.Contains(text, no) {
					t.Errorf("%q is there:\n%s", no, text)
				}
			}
		})
	}
}

func TestANumberIsNeverCutInTheMiddle(t *testing.T) {
	for _, width := range []int{40, 60, 80} {
		p := newPrinter(false, width)
		p.pair("  ", strings.Repeat("lorem ", 40)+"12345678901234567 ipsum", strings.Repeat("lorem ", 40)+"12345678901234568 ipsum")
		for _, want := range []string{"12345678901234567", "12345678901234568"} {
			if !strings.Contains(p.b.String(), want) {
				t.Errorf("width %d: %s", width, p.b.String())
			}
		}
	}
}
