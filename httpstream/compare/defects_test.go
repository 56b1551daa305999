package compare

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// An app with planted defects: streams as language models and other services
// send them, each with what an app may do wrong to it.

func openAI(words ...string) reply {
	r := answer(sseType)
	r.header = append(r.header, headers("Cache-Control", "no-cache", "X-Request-Id", "req-1")...)
	add := func(s string) {
		r.pieces = append(r.pieces, timed{time.Duration(len(r.pieces)+1) * 50 * time.Millisecond, "data: " + s + "\n\n"})
	}
	for i, w := range words {
		role := ""
		if i == 0 {
			role = `"role":"assistant",`
		}
		add(fmt.Sprintf(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o","choices":[{"index":0,"delta":{%s"content":%q},"finish_reason":null}]}`, role, w))
	}
	add(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`)
	add("[DONE]")
	return r
}

func responsesAPI(words ...string) reply {
	r := answer(sseType)
	n := 0
	add := func(kind, rest string) {
		r.pieces = append(r.pieces, timed{time.Duration(n+1) * 50 * time.Millisecond,
			fmt.Sprintf("event: %s\ndata: {\"type\":%q,\"sequence_number\":%d%s}\n\n", kind, kind, n, rest)})
		n++
	}
	add("response.created", `,"response":{"id":"resp_1","status":"in_progress"}`)
	for _, w := range words {
		if w == "!ping" {
			add("keepalive", "")
			continue
		}
		add("response.output_text.delta", fmt.Sprintf(`,"item_id":"msg_1","output_index":0,"content_index":0,"delta":%q`, w))
	}
	add("response.completed", `,"response":{"id":"resp_1","status":"completed"}`)
	return r
}

func anthropic() reply {
	return answer(sseType,
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[]}}\n\n",
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"get_weather\",\"input\":{}}}\n\n",
		"event: ping\ndata: {\"type\":\"ping\"}\n\n",
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"city\\\":\"}}\n\n",
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\\\"Lisbon\\\"}\"}}\n\n",
		"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
		"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":12}}\n\n",
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
}

// frames are length-prefixed messages, as gRPC sends them.
func frames(messages ...string) reply {
	r := answer("application/grpc")
	for i, m := range messages {
		r.pieces = append(r.pieces, timed{time.Duration(i+1) * 20 * time.Millisecond, "\x00\x00\x00\x00" + string(rune(len(m))) + m})
	}
	r.end.Trailer = headers("Grpc-Status", "0", "Grpc-Message", "")
	return r
}

func gzipped(r reply, level int) reply {
	var all []byte
	for _, p := range r.pieces {
		all = append(all, p.data...)
	}
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, level)
	_, _ = w.Write(all)
	_ = w.Close()
	r.header = append(headers("Content-Encoding", "gzip"), r.header...)
	r.pieces = []timed{{20 * time.Millisecond, b.String()}}
	return r
}

// with returns the reply with a change that leaves the original alone.
func (r reply) with(change func(*reply)) reply {
	r.pieces, r.header = slices.Clone(r.pieces), slices.Clone(r.header)
	r.end.Trailer = slices.Clone(r.end.Trailer)
	change(&r)
	return r
}

func (r reply) edited(piece int, from, to string) reply {
	return r.with(func(r *reply) {
		if !strings.Contains(r.pieces[piece].data, from) {
			panic(from + " is not in " + r.pieces[piece].data)
		}
		r.pieces[piece].data = strings.Replace(r.pieces[piece].data, from, to, 1)
	})
}

func (r reply) everywhere(from, to string) reply {
	return r.with(func(r *reply) {
		for i := range r.pieces {
			r.pieces[i].data = strings.ReplaceAll(r.pieces[i].data, from, to)
		}
	})
}

func (r reply) field(name, value string) reply {
	return r.with(func(r *reply) {
		r.header = slices.DeleteFunc(r.header, func(f httpstream.Field) bool { return f.Name == name })
		if value != "" {
			r.header = append(r.header, httpstream.Field{Name: name, Value: value})
		}
	})
}

func (r reply) dropped(i, j int) reply {
	return r.with(func(r *reply) { r.pieces = slices.Delete(r.pieces, i, j) })
}

func (r reply) inserted(i int, data string) reply {
	return r.with(func(r *reply) { r.pieces = slices.Insert(r.pieces, i, timed{r.pieces[i].at, data}) })
}

func (r reply) timedBy(f func(i int, at time.Duration) time.Duration) reply {
	return r.with(func(r *reply) {
		for i := range r.pieces {
			r.pieces[i].at = f(i, r.pieces[i].at)
		}
	})
}

func (r reply) statusIs(code int) reply { r.status = code; return r }

func TestPlantedDefects(t *testing.T) {
	words := strings.SplitAfter("The quick brown fox jumps over the lazy dog and runs away from the very old farm house again ", " ")
	chat := openAI(words[:len(words)-1]...)
	resp := responsesAPI(words[:len(words)-1]...)
	claude := anthropic()
	const ndjsonType, jsonType, textType = "application/x-ndjson", "application/json", "text/plain; charset=utf-8"
	ollama := answer(ndjsonType, "{\"model\":\"m\",\"message\":{\"content\":\"Hello\"},\"done\":false}\n",
		"{\"model\":\"m\",\"message\":{\"content\":\" you\"},\"done\":false}\n", "{\"model\":\"m\",\"message\":{\"content\":\"\"},\"done\":true,\"total_duration\":5191566416}\n")
	doc := answer(jsonType, `{"id":"ord_1","total":10.50,"big":9007199254740993,"items":[{"sku":"a","n":1},{"sku":"b","n":2},{"sku":"c","n":3}],"note":"café","empty":null,"ok":true}`)
	text := answer(textType, "first line\nsecond line\nthird line\n")
	long := answer(textType, strings.Repeat("a line of text\n", 40))
	page := answer("multipart/mixed; boundary=b1", "--b1\r\nContent-Type: application/json\r\n\r\n{\"a\":1}\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1--\r\n")
	grpc := frames("one", "two", "three")
	binary := answer("application/octet-stream", "\x00\x01\x02\x03\x04\x05", "\x06\x07\x08\x09")
	zipped := gzipped(doc, gzip.BestSpeed)
	cookie := doc.field("Set-Cookie", "sid=REDACTED; Path=/; HttpOnly")
	cut := chat.with(func(r *reply) {
		r.pieces = r.pieces[:6]
		r.end = httpstream.EndInfo{How: httpstream.Closed, Detail: "the server closed the connection inside the body"}
	})
	head := reply{method: "HEAD", status: 200, header: headers("Content-Type", jsonType, "Content-Length", "120", "Content-Encoding", "gzip"), end: httpstream.EndInfo{How: httpstream.EOF}}
	ms := time.Millisecond

	tests := []struct {
		name     string
		rec, now reply
		want     string // how the first message begins; empty to pass
		most     int    // differences that may be reported; 0 means 1
	}{
		// Server-sent events.
		{"chat: as recorded", chat, chat, "", 0},
		{"chat: cut into other chunks", chat, chat.split(rand.New(rand.NewPCG(1, 2))).timedBy(func(i int, at time.Duration) time.Duration { return at }), "", 0},
		{"chat: members in another order", chat, chat.everywhere(`"object":"chat.completion.chunk","created":1700000000`, `"created":1700000000,"object":"chat.completion.chunk"`), "", 0},
		{"chat: CRLF for LF between fields", chat, chat.everywhere("\n", "\r\n"), "", 0},
		{"chat: white space in the JSON", chat, chat.everywhere(`"index":0`, `"index" : 0`), "", 0},
		{"chat: escapes for characters", chat, chat.everywhere("quick", `qu\u0069ck`), "", 0},
		{"chat: one letter", chat, chat.edited(3, "fox", "fix"), "event 4 data $.choices[0].delta.content: recorded", 0},
		{"chat: one token less", chat, chat.dropped(3, 4), "event 4 is missing", 0},
		{"chat: one token twice", chat, chat.inserted(4, chat.pieces[3].data), "event 5 was not recorded", 0},
		{"chat: two tokens swapped", chat, chat.with(func(r *reply) { r.pieces[3].data, r.pieces[4].data = r.pieces[4].data, r.pieces[3].data }), "event 5 comes as event 4 now", 0},
		{"chat: two tokens in one event", chat, chat.dropped(4, 5).edited(3, "fox ", "fox jumps "), "event 4 is missing", 2},
		{"chat: no [DONE]", chat, chat.dropped(len(chat.pieces)-1, len(chat.pieces)), "event 21 is missing: data: [DONE]", 0},
		{"chat: [DONE] twice", chat, chat.inserted(20, "data: [DONE]\n\n"), "event 22 was not recorded: data: [DONE]", 0},
		{"chat: another finish reason", chat, chat.edited(19, `"stop"`, `"length"`), `event 20 data $.choices[0].finish_reason: recorded "stop", now "length"`, 0},
		{"chat: another id in all events", chat, chat.everywhere("chatcmpl-1", "chatcmpl-2"), `event 1 data $.id: recorded "chatcmpl-1", now "chatcmpl-2"; 19 events follow from it`, 0},
		{"chat: another model in all events, and one word", chat, chat.everywhere("gpt-4o", "gpt-4").edited(3, "fox", "fix"), `event 1 data $.model: recorded "gpt-4o", now "gpt-4"; 19 events follow from it`, 2},
		{"chat: an SSE event name more", chat, chat.everywhere("data: {", "event: message\ndata: {"), "event 1 event was not recorded: message; 19 events follow from it", 0},
		{"chat: a comment more", chat, chat.inserted(3, ": keep-alive\n\n"), "comment 1 was not recorded:  keep-alive", 0},
		{"chat: an error event in the middle", chat, chat.inserted(5, "event: error\ndata: {\"error\":\"overloaded\"}\n\n"), `event 6 was not recorded: event: error, data: {"error":"overloaded"}`, 0},
		{"chat: an early close inside the framing", chat, cut, "event 7 is missing", 3},
		{"chat: a role is gone", chat, chat.edited(0, `"role":"assistant",`, ""), `event 1 data $.choices[0].delta.role is missing: "assistant"`, 0},
		{"chat: null is not absent", chat, chat.edited(2, `,"finish_reason":null`, ""), "event 3 data $.choices[0].finish_reason is missing: null", 0},
		{"chat: a number as a text", chat, chat.edited(2, "1700000000", `"1700000000"`), `event 3 data $.created: recorded 1700000000, now "1700000000"`, 0},
		{"chat: a broken JSON", chat, chat.edited(2, "}]}", "}]"), "event 3 data is no JSON now", 0},
		{"chat: the last event without its end", chat, chat.edited(20, "\n\n", "\n"), "event 21: recorded complete, now cut off before its end", 0},
		{"chat: data over two lines", chat, chat.edited(2, `,"choices"`, "\ndata: ,\"choices\""), "", 0},

		{"responses: an event inserted, and all numbers behind it shifted", resp,
			responsesAPI(slices.Insert(slices.Clone(words[:len(words)-1]), 5, "!ping")...), "event 7 was not recorded: event: keepalive", 0},
		{"responses: an event left out", resp, responsesAPI(slices.Delete(slices.Clone(words[:len(words)-1]), 5, 6)...), "event 7 is missing: event: response.output_text.delta", 0},
		{"responses: a number left out", resp, resp.edited(9, `"sequence_number":9,`, ""), "event 10 data $.sequence_number is missing: 9", 0},
		{"responses: failed at the end", resp, resp.with(func(r *reply) {
			r.pieces[len(r.pieces)-1].data = "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":20,\"response\":{\"id\":\"resp_1\",\"status\":\"failed\"}}\n\n"
		}), "event 21 event: recorded response.completed, now response.failed", 4},

		{"claude: as recorded", claude, claude, "", 0},
		{"claude: fields of the events in another order", claude, claude.with(func(r *reply) {
			for i := range r.pieces {
				event, data, _ := strings.Cut(strings.TrimSuffix(r.pieces[i].data, "\n\n"), "\n")
				r.pieces[i].data = data + "\n" + event + "\n\n"
			}
		}), "", 0},
		{"claude: no ping", claude, claude.dropped(2, 3), "event 3 is missing: event: ping", 0},
		{"claude: another argument", claude, claude.edited(4, "Lisbon", "Porto"), `event 5 data $.delta.partial_json: recorded`, 0},
		{"claude: another tool", claude, claude.edited(1, "get_weather", "get_time"), `event 2 data $.content_block.name: recorded "get_weather", now "get_time"`, 0},
		{"claude: tokens counted otherwise", claude, claude.edited(6, "12", "13"), "event 7 data $.usage.output_tokens: recorded 12, now 13", 0},

		// Lines, documents, texts.
		{"ollama: as recorded", ollama, ollama, "", 0},
		{"ollama: no last line end", ollama, ollama.edited(2, "}\n", "}"), "", 0},
		{"ollama: CRLF and blank lines", ollama, ollama.everywhere("\n", "\r\n\r\n"), "", 0},
		{"ollama: a no-break space before a line", ollama, ollama.edited(1, "{\"model", "\u00a0{\"model"), "line 2 is no JSON now", 0},
		{"ollama: a duration", ollama, ollama.edited(2, "5191566416", "5191566417"), "line 3 $.total_duration: recorded 5191566416, now 5191566417", 0},
		{"json: as recorded, written otherwise", doc, answer(jsonType, "{\n  \"ok\": true, \"empty\": null, \"note\": \"caf\\u00e9\", \"total\": 1.05e1, \"big\": 9007199254740993, \"id\": \"ord_1\",\n \"items\": [{\"n\":1,\"sku\":\"a\"},{\"sku\":\"b\",\"n\":2},{\"sku\":\"c\",\"n\":3}]}"), "", 0},
		{"json: a number beyond float64", doc, doc.edited(0, "9007199254740993", "9007199254740992"), "body $.big: recorded 9007199254740993, now 9007199254740992", 0},
		{"json: a cent", doc, doc.edited(0, "10.50", "10.51"), "body $.total: recorded 10.50, now 10.51", 0},
		{"json: an element less", doc, doc.edited(0, `{"sku":"a","n":1},`, ""), `body $.items[0] is missing: {"n":1,"sku":"a"}`, 0},
		{"json: elements swapped", doc, doc.edited(0, `{"sku":"a","n":1},{"sku":"b","n":2}`, `{"sku":"b","n":2},{"sku":"a","n":1}`), "body $.items[", 0},
		{"json: another normal form", doc, doc.edited(0, "café", "cafe\u0301"), "body $.note: the same text in another Unicode normal form, NFC when recorded and NFD now", 0},
		{"json: a zero-width space", doc, doc.edited(0, "café", "caf\u200bé"), "body $.note: invisible characters, none when recorded and U+200B now", 0},
		{"json: a no-break space", doc.edited(0, "café", "a b"), doc.edited(0, "café", "a\u00a0b"), "body $.note: invisible characters, none when recorded and U+00A0 now", 0},
		{"json: true is not 1", doc, doc.edited(0, `"ok":true`, `"ok":1`), "body $.ok: recorded true, now 1", 0},
		{"json: null is not empty", doc, doc.edited(0, `"empty":null`, `"empty":""`), `body $.empty: recorded null, now ""`, 0},
		{"json: a name twice", doc, doc.edited(0, `"ok":true`, `"ok":false,"ok":true`), "body $.ok: the name occurs more than once now", 0},
		{"json: cut off", doc, doc.edited(0, `,"ok":true}`, ""), "body is no JSON now", 0},
		{"json: an HTML page instead", doc, answer("text/html", "<h1>Bad Gateway</h1>").statusIs(502), "status: recorded 200 OK, now 502 Bad Gateway", 5},
		{"text: as recorded", text, text, "", 0},
		{"text: a line inserted", text, text.edited(0, "second", "one more\nsecond"), "line 2 was not recorded: one more", 0},
		{"text: no last line end", text, text.edited(0, "third line\n", "third line"), "line 3: without the last line end now", 0},
		{"text: CRLF", long, long.everywhere("\n", "\r\n"), "line 1: line ends, LF when recorded and CRLF now: recorded \"a line of text\\n\", now \"a line of text\\r\\n\"; 39 lines follow from it", 0},
		{"text: a space at the end of a line", text, text.edited(0, "second line", "second line "), "line 2: white space", 0},

		// Parts, bytes, encodings.
		{"multipart: another boundary", page, answer("multipart/mixed; boundary=zzz", strings.ReplaceAll(page.pieces[0].data, "b1", "zzz")), "", 0},
		{"multipart: another value", page, page.edited(0, `{"a":1}`, `{"a":2}`), "part 1 body $.a: recorded 1, now 2", 0},
		{"multipart: no last boundary", page, page.edited(0, "\r\n--b1--\r\n", ""), "part 2: recorded complete, now cut off before its end", 0},
		{"grpc: as recorded", grpc, grpc, "", 0},
		{"grpc: another status in the trailers", grpc, grpc.with(func(r *reply) { r.end.Trailer[0].Value = "13" }), "trailer Grpc-Status: recorded 0, now 13", 0},
		{"grpc: no trailers", grpc, grpc.with(func(r *reply) { r.end.Trailer = nil }), "trailer Grpc-Message is missing", 2},
		{"grpc: a message less", grpc, grpc.dropped(1, 2), "body: byte 12: recorded", 3},
		{"bytes: one bit", binary, binary.edited(1, "\x07", "\x06"), `body: byte 7: recorded 0x07`, 0},
		{"bytes: shorter", binary, binary.edited(1, "\x09", ""), "body: 10 bytes recorded, 9 now", 0},
		{"gzip: another level", zipped, gzipped(doc, gzip.BestCompression), "", 0},
		{"gzip: no longer", zipped, doc, "header Content-Encoding is missing: gzip", 0},
		{"gzip: another value", zipped, gzipped(doc.edited(0, "ord_1", "ord_2"), gzip.BestSpeed), `body $.id: recorded "ord_1", now "ord_2"`, 0},
		{"gzip: cut off", zipped, zipped.with(func(r *reply) { r.pieces[0].data = r.pieces[0].data[:len(r.pieces[0].data)-9] }), "body: it can't be decoded", 2},
		{"head: as recorded, with an encoding", head, head, "", 0},
		{"head: another length", head, head.field("Content-Length", "121"), "header Content-Length: recorded 120, now 121", 0},
		{"304: as recorded, with an encoding", head.statusIs(304).with(func(r *reply) { r.method = "GET" }), head.statusIs(304), "", 0},

		// Heads and ends.
		{"head: another status", doc, doc.statusIs(201), "status: recorded 200 OK, now 201 Created", 0},
		{"head: a header less", chat, chat.field("Cache-Control", ""), "header Cache-Control is missing: no-cache", 0},
		{"head: a header more", doc, doc.field("X-Debug", "1"), "header X-Debug was not recorded: 1", 0},
		{"head: another charset", text, text.field("Content-Type", "text/plain; charset=latin1"), "header Content-Type: recorded text/plain; charset=utf-8, now", 0},
		{"cookie: another secret", cookie, cookie.field("Set-Cookie", "sid=s3cr3t; Path=/; HttpOnly"), "", 0},
		{"cookie: an attribute less", cookie, cookie.field("Set-Cookie", "sid=s3cr3t; Path=/"), "header Set-Cookie: recorded sid=REDACTED; Path=/; HttpOnly, now sid=REDACTED; Path=/", 0},
		{"cookie: empty", cookie, cookie.field("Set-Cookie", "sid=; Path=/; HttpOnly"), "header Set-Cookie: recorded", 0},
		{"end: reset after the last event", chat, chat.ended(httpstream.Reset), "end of the stream: recorded eof, now reset", 0},
		{"end: closed for reset", chat.ended(httpstream.Reset), chat.ended(httpstream.Closed), "end of the stream: recorded reset, now closed", 0},

		// Timing.
		{"pace: ten times slower", chat, chat.timedBy(func(_ int, at time.Duration) time.Duration { return 10 * at }), "slower throughout", 0},
		{"pace: a tenth slower", chat, chat.timedBy(func(_ int, at time.Duration) time.Duration { return at * 11 / 10 }), "", 0},
		{"pace: all in one burst", chat, chat.timedBy(func(int, time.Duration) time.Duration { return 1050 * ms }), "buffered: it came in one burst", 0},
		{"pace: eight events at once", chat, chat.timedBy(func(i int, at time.Duration) time.Duration {
			if i >= 5 && i < 13 {
				return 650 * ms
			}
			return at
		}), "buffered: events 6 to 13 came at once", 0},
		{"pace: four events at a time", chat, chat.timedBy(func(i int, _ time.Duration) time.Duration { return time.Duration(i/4*4+4) * 50 * ms }), "buffered: it came in fewer steps", 0},
		{"pace: a stall of two seconds", chat, chat.timedBy(func(i int, at time.Duration) time.Duration {
			if i > 9 {
				return at + 2*time.Second
			}
			return at
		}), "silent for 2050 ms from 500 ms on", 0},
		{"pace: a late first event", chat, chat.timedBy(func(_ int, at time.Duration) time.Duration { return at + 900*ms }), "the first event came after 950 ms", 0},
		{"pace: a stall of 200 ms", chat, chat.timedBy(func(i int, at time.Duration) time.Duration {
			if i == 9 {
				return at + 200*ms
			}
			return max(at, at+time.Duration(max(0, 10-max(i, 10)))*ms)
		}).timedBy(func(i int, at time.Duration) time.Duration { return at + time.Duration(min(max(i-9, 0), 1))*200*ms }), "", 0},
		{"pace: the whole three times as fast", chat, chat.timedBy(func(_ int, at time.Duration) time.Duration { return at / 3 }), "", 0},
	}
	if len(tests) < 70 {
		t.Errorf("only %d", len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := verdict(tt.rec, tt.now, Options{Limits: DefaultLimits()})
			if tt.want == "" {
				wantPass(t, v)
				return
			}
			switch most := max(1, tt.most); {
			case v.Pass || len(v.Differences) == 0:
				t.Errorf("passed, want %s", tt.want)
			case !strings.HasPrefix(v.Differences[0].Message, tt.want):
				t.Errorf("got:\n%s\nwant: %s", messages(v), tt.want)
			case len(v.Differences)+v.More > most:
				t.Errorf("%d differences, want at most %d:\n%s", len(v.Differences)+v.More, most, messages(v))
			}
		})
	}
}

// TestAShiftOfThousandsIsOneDifference: the window is far smaller than the stream.
func TestAShiftOfThousandsIsOneDifference(t *testing.T) {
	many := func(skip int) reply {
		r := answer(sseType)
		n := 0
		for i := range 3000 {
			if i == skip {
				n++
			}
			r.pieces = append(r.pieces, timed{time.Duration(i) * time.Millisecond, fmt.Sprintf("id: %d\ndata: {\"seq\":%d,\"text\":\"w%x\"}\n\n", n, n, i*7919)})
			n++
		}
		return r
	}
	v := verdict(many(-1), many(700), Options{})
	if v.Pass || len(v.Differences) > 4 || v.More > 0 {
		t.Errorf("%d differences and %d more:\n%.2000s", len(v.Differences), v.More, messages(v))
	}
}

func TestANumberThatDiffersIsShownWhole(t *testing.T) {
	long := strings.Repeat("x", 500) + " "
	v := verdict(answer("application/json", `{"a":"`+long+`123456789012345678901 end"}`), answer("application/json", `{"a":"`+long+`123456789012345678902 end"}`), Options{})
	for _, want := range []string{"123456789012345678901", "123456789012345678902"} {
		if !strings.Contains(v.Differences[0].Message, want) {
			t.Errorf("%s is not in %s", want, v.Differences[0].Message)
		}
	}
}

// TestDifferencesBeyondTheLastReportedAreCounted: what is not kept is no cause.
func TestDifferencesBeyondTheLastReportedAreCounted(t *testing.T) {
	many := func(text string) reply {
		r := answer(sseType)
		for i := range 600 {
			r.pieces = append(r.pieces, timed{time.Duration(i) * time.Millisecond, fmt.Sprintf("data: {\"a%d\":\"%s\",\"n\":%d}\n\n", i%300, text, i)})
			if i%100 == 50 && text == "now" {
				r.pieces = append(r.pieces, timed{time.Duration(i) * time.Millisecond, "data: more\n\n"})
			}
		}
		return r
	}
	for _, most := range []int{1, 5, 100} {
		v := verdict(many("then"), many("now"), Options{MaxDifferences: most})
		total := v.More
		for _, d := range v.Differences {
			total += 1 + d.Run + d.Follow
		}
		if v.Pass || len(v.Differences) != most || total < 600 {
			t.Errorf("at most %d: %d differences, %d in all", most, len(v.Differences), total)
		}
	}
}
