package report

import (
	"errors"
	"fmt"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/noise"
)

const ms = time.Millisecond

// stream is a timeline of n chunks that come every gap.
func stream(start, first, gap time.Duration, n, bytes int, how httpstream.End) *Timeline {
	t := &Timeline{Start: start}
	for i := range n {
		t.Add(first+time.Duration(i)*gap, bytes+7*(i%5))
	}
	t.Finish(t.Last+ms, string(how))
	return t
}

func call(n int, url string, rec, now *Timeline) Call {
	return Call{
		event.Call{Number: n, File: fmt.Sprintf("tapes/default/calls/%04d-post-api.openai.com-v1-chat-completions.yaml", n), Service: "api", Method: "POST", URL: url},
		Sides{rec, now},
	}
}

const completions = "https://api.openai.com/v1/chat/completions"

// sampleRun has every outcome once.
func sampleRun() *Run {
	r := &Run{
		Project: "chat", Tapes: []string{"tapes/default"}, Version: "v1.2.3", Speed: 1,
		Started: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Took: 9340 * ms,
		Cases: []CaseResult{
			passed(1, "get-health", "GET", "http://localhost:8080/health"),
			changedText(), buffered(), missed(), crashed(), closedEarly(),
			passed(7, "get-models", "GET", "http://localhost:8080/models?page=1"),
			skipped(), rerecorded(), otherOrder(),
		},
		Outside: []event.Miss{{
			Service: "worker", Method: "GET", URL: "https://telemetry.example.com/v1/ping?ts=1767225600",
			Closest:     &event.Call{Number: 9, File: "tapes/default/calls/0009-get-telemetry.example.com-v1-ping.yaml", Method: "GET", URL: "https://telemetry.example.com/v1/ping?ts=1767139200"},
			Differences: []event.Difference{{Where: event.At(event.Query, "ts"), Recorded: "1767139200", Now: "1767225600"}},
		}},
		Errors:   []event.Problem{{Err: errors.New("the command ./scripts/load.sh ended with exit code 2"), Next: "run it by itself against wiretape compose replay"}},
		Warnings: []event.Problem{{Err: errors.New("the network shared is external to the project and can't be cut off"), Next: "leave it out of the services under test"}},
	}
	r.Conclude()
	return r
}

func result(n int, name, method, url string) CaseResult {
	base := fmt.Sprintf("%04d-%s", n, name)
	return CaseResult{
		Tape: "tapes/default", Name: base, Number: n, File: "tapes/default/cases/" + base + ".yaml",
		Stream: "tapes/default/streams/case-" + base + ".ndjson", Service: "api", Method: method, URL: url,
	}
}

func passed(n int, name, method, url string) CaseResult {
	c := result(n, name, method, url)
	c.Took = 12 * ms
	c.Verdict = &compare.Verdict{Pass: true, Unit: "event"}
	c.Answer = Sides{stream(0, 4*ms, ms, 1, 80, httpstream.EOF), stream(0, 5*ms, ms, 1, 80, httpstream.EOF)}
	return c
}

func changedText() CaseResult {
	c := result(2, "post-chat", "POST", "http://localhost:8080/chat?session=7f3b6a52-8f1c-4b57-9d53-0cf1a0e2b7aa&mode=stream")
	c.Took = 1240 * ms
	rec := "The weather in Lisbon is warm and sunny today, with a light breeze from the sea. In the evening it cools down to 16 degrees, so take a jacket with you if you plan to stay out late.\nEnjoy your stay!"
	now := "The weather in Lisbon is cold and rainy today, with a light breeze from the sea. In the evening it cools down to 16 degrees, so take a jacket with you if you plan to stay out late.\nEnjoy your stay!"
	c.Verdict = &compare.Verdict{
		Unit: "event", More: 3,
		Differences: []compare.Difference{
			{
				Kind: compare.Header, Where: "X-Request-Id", Recorded: "0a1b2c3d-1111-4222-8333-444455556666", Now: "9f8e7d6c-5555-4666-8777-888899990000",
				Title: "header X-Request-Id", Message: "header X-Request-Id: recorded 0a1b2c3d-1111-4222-8333-444455556666, now 9f8e7d6c-5555-4666-8777-888899990000",
				Rule: &noise.Rule{Key: "response.header", Value: "X-Request-Id"},
			},
			{
				Kind: compare.Changed, Unit: "event", Index: 4, NowIndex: 4, Where: "$.choices[0].delta.content", Recorded: `"warm"`, Now: `"cold"`,
				Title: "event 4 data $.choices[0].delta.content", Message: `event 4 data $.choices[0].delta.content: recorded "warm", now "cold"`,
				Rule: &noise.Rule{Key: "response.body", Value: "$.choices[0].delta.content"},
			},
			{
				Kind: compare.Changed, Unit: "event", Index: 1, NowIndex: 1, Where: "$.id", Recorded: `"chatcmpl-8fKq0sJ2mC4vT6xZ1aB3dE5g"`, Now: `"chatcmpl-9gLr1tK3nD5wU7yA2bC4eF6h"`,
				Title: "event 1 data $.id", Message: `event 1 data $.id: recorded "chatcmpl-8fKq0sJ2mC4vT6xZ1aB3dE5g", now "chatcmpl-9gLr1tK3nD5wU7yA2bC4eF6h"`,
				Rule: &noise.Rule{Key: "response.body", Value: "$.id"},
			},
			{
				Kind: compare.Missing, Unit: "event", Index: 12, Recorded: `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":12}}`,
				Title: "event 12 is missing", Message: `event 12 is missing: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],…`,
			},
			{Kind: compare.Reordered, Unit: "event", Index: 5, NowIndex: 7, Message: "event 5 comes as event 7 now"},
		},
		Answer: &compare.AnswerDifference{Format: "openai-chat", Pieces: []compare.PieceDifference{
			{Name: "text", Kind: "text", Recorded: rec, Now: now, Words: compare.DiffWords(rec, now)},
			{Name: "tool call 1", Kind: "tool", Recorded: `{"city":"Lisbon"}`, Now: `{"city":"Porto"}`, RecordedTool: "get_weather", NowTool: "get_weather", Arguments: []compare.Difference{
				{Kind: compare.Changed, Where: "$.city", Recorded: `"Lisbon"`, Now: `"Porto"`, Title: "$.city", Message: `$.city: recorded "Lisbon", now "Porto"`},
			}},
		}},
	}
	c.Calls = []Call{call(1, completions, stream(12*ms, 140*ms, 45*ms, 22, 180, httpstream.EOF), stream(14*ms, 143*ms, 45*ms, 22, 180, httpstream.EOF))}
	c.Answer = Sides{stream(0, 146*ms, 45*ms, 22, 60, httpstream.EOF), stream(0, 150*ms, 45*ms, 21, 60, httpstream.EOF)}
	return c
}

func buffered() CaseResult {
	c := result(3, "post-chat-with-tools", "POST", "http://localhost:8080/chat")
	c.Took = 2210 * ms
	c.Calls = []Call{
		call(2, completions, stream(10*ms, 200*ms, 60*ms, 12, 200, httpstream.EOF), stream(11*ms, 204*ms, 60*ms, 12, 200, httpstream.EOF)),
		call(3, "https://api.weather.example/v2/forecast?city=Lisbon", stream(880*ms, 990*ms, 0, 1, 3200, httpstream.EOF), stream(885*ms, 993*ms, 0, 1, 3200, httpstream.EOF)),
		call(4, completions, stream(1010*ms, 1200*ms, 40*ms, 24, 200, httpstream.EOF), stream(1012*ms, 1203*ms, 40*ms, 24, 200, httpstream.EOF)),
	}
	c.Answer = Sides{stream(0, 1206*ms, 40*ms, 24, 60, httpstream.EOF), stream(0, 2190*ms, 0, 24, 60, httpstream.EOF)}
	c.Verdict = &compare.Verdict{
		Unit: "event",
		Differences: []compare.Difference{{
			Kind: compare.Buffered, Recorded: "24 events in 24 moments, from 1206 ms to 2126 ms", Now: "24 events in one burst, from 2190 ms to 2190 ms",
			Title: "buffered: it came in one burst", Message: "buffered: it came in one burst; recorded 24 events in 24 moments, from 1206 ms to 2126 ms, now 24 events in one burst, from 2190 ms to 2190 ms; 984 ms of the delay is in the app",
		}},
		Delay: &compare.Delay{Total: 984 * ms, Outside: 6 * ms, App: 978 * ms},
	}
	return c
}

func missed() CaseResult {
	c := result(4, "post-search", "POST", "http://localhost:8080/search")
	c.Took = 80 * ms
	c.Verdict = &compare.Verdict{Unit: "chunk", Differences: []compare.Difference{
		{Kind: compare.Status, Where: "status", Recorded: "200", Now: "502", Title: "status", Message: "status: recorded 200 OK, now 502 Bad Gateway"},
	}}
	c.Calls = []Call{call(5, "https://search.example.com/query", stream(8*ms, 30*ms, 5*ms, 3, 900, httpstream.EOF), nil)}
	c.Answer = Sides{stream(0, 48*ms, 0, 1, 900, httpstream.EOF), stream(0, 60*ms, 0, 1, 120, httpstream.EOF)}
	c.Misses = []event.Miss{{
		Service: "api", Method: "POST", URL: "https://search.example.com/query", Case: 4, At: 9 * ms,
		Closest: &event.Call{Number: 5, File: "tapes/default/calls/0005-post-search.example.com-query.yaml", Method: "POST", URL: "https://search.example.com/query"},
		Differences: []event.Difference{
			{Where: event.At(event.Body, "$.trace_id"), Recorded: `"a3f1"`, Now: `"b4e2"`},
			{Where: event.At(event.Body, "$.filters"), Recorded: "(none)", Now: `{"language":"en"}`},
		},
	}}
	return c
}

func crashed() CaseResult {
	c := result(5, "get-report.pdf", "GET", "http://localhost:8080/report.pdf")
	c.Took = 30 * time.Second
	c.Error = "the app took longer than the limit of 30 s; its container restarted twice in that time"
	c.Answer = Sides{Recorded: stream(0, 20*ms, 2*ms, 600, 16000, httpstream.EOF)}
	return c
}

func closedEarly() CaseResult {
	c := result(6, "get-events", "GET", "http://localhost:8080/events")
	c.Took = 700 * ms
	c.Answer = Sides{stream(0, 20*ms, 90*ms, 10, 90, httpstream.Cancelled), stream(0, 21*ms, 90*ms, 6, 90, httpstream.Reset)}
	c.Verdict = &compare.Verdict{Unit: "event", Interrupted: true, Differences: []compare.Difference{
		{Kind: compare.Ended, Where: "end", Recorded: "eof", Now: "reset: connection reset by peer", Title: "end of the stream", Message: "end of the stream: recorded eof, now reset: connection reset by peer"},
		{Kind: compare.SlowGap, Recorded: "90 ms", Now: "2400 ms", Message: "silent for 2400 ms from 110 ms on, the longest recorded gap is 90 ms, allowed 770 ms; 2300 ms of the delay is outside, in the calls"},
	}, Delay: &compare.Delay{Total: 2310 * ms, Outside: 2300 * ms, App: 10 * ms}, Now: compare.Timing{GapFrom: 110 * ms, GapTo: 2510 * ms}, Recorded: compare.Timing{GapTo: 90 * ms}}
	return c
}

func skipped() CaseResult {
	c := result(8, "get-admin", "GET", "http://localhost:9090/admin")
	c.Reason = "nothing listens on port 9090 of api any more; publish it, or remove the case"
	return c
}

func rerecorded() CaseResult {
	c := passed(9, "get-price", "GET", "http://localhost:8080/price")
	c.Rerecorded = true
	c.Verdict = &compare.Verdict{Unit: "chunk", Differences: []compare.Difference{
		{Kind: compare.Changed, Where: "$.price", Recorded: "9007199254740992", Now: "9007199254740993", Title: "body $.price", Message: "body $.price: recorded 9007199254740992, now 9007199254740993", Rule: &noise.Rule{Key: "response.body", Value: "$.price"}},
	}}
	return c
}

func otherOrder() CaseResult {
	c := passed(10, "post-batch", "POST", "http://localhost:8080/batch")
	c.Calls = []Call{
		call(7, completions, stream(2*ms, 20*ms, 2*ms, 5, 100, httpstream.EOF), stream(4*ms, 22*ms, 2*ms, 5, 100, httpstream.EOF)),
		call(8, completions, stream(3*ms, 21*ms, 2*ms, 5, 100, httpstream.EOF), stream(2*ms, 20*ms, 2*ms, 5, 100, httpstream.EOF)),
	}
	return c
}
