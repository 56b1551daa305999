package compare

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// The tests here each hold a point where a comparison by type, by length or by
// a folded value would pass what is wrong.

func TestEventFieldsAreComparedByValue(t *testing.T) {
	tests := []struct{ name, rec, now, want string }{
		{"id", "id: 1\ndata: x\n\n", "id: 2\ndata: x\n\n", "[changed] event 1 id: recorded 1, now 2"},
		{"event", "event: a\ndata: x\n\n", "event: b\ndata: x\n\n", "[changed] event 1 event: recorded a, now b"},
		{"retry", "retry: 10\n\n", "retry: 20\n\n", "[changed] event 1 retry: recorded 10, now 20"},
		{"no id", "id: 1\ndata: x\n\n", "data: x\n\n", "[missing] event 1 id is missing: 1"},
		{"an id more", "data: x\n\n", "id\ndata: x\n\n", "[extra] event 1 id was not recorded: "},
		{"data of the same length", "data: abc\n\n", "data: abd\n\n", `[changed] event 1 data: recorded "abc", now "abd"`},
		{"data that is a bare number is text", "data: 1\n\n", "data: 1.0\n\n", `[changed] event 1 data: recorded "1", now "1.0"`},
		{"the lines of data", "data: a\ndata: b\n\n", "data: a b\n\n", `[changed] event 1 data: white space: recorded "a\nb", now "a b"`},
		{"no data", "id: 1\ndata\n\n", "id: 1\n\n", "[missing] event 1 data is missing: "},
		{"a comment", ": ping\n\n", ": pong\n\n", `[changed] comment 1: recorded " ping", now " pong"`},
		{"an unknown field", "foo: 1\ndata: x\n\n", "data: x\n\n", "[missing] event 1 unknown is missing: foo: 1"},
		{"a last event without its blank line", "data: x\n\n", "data: x\n", "[changed] event 1: recorded complete, now cut off before its end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantFail(t, verdict(answer(sseType, tt.rec), answer(sseType, tt.now), Options{}), tt.want)
			wantPass(t, verdict(answer(sseType, tt.rec), answer(sseType, tt.rec), Options{}))
		})
	}
}

func TestPartsAreComparedByValue(t *testing.T) {
	mixed := func(boundary, body string) reply {
		return answer("multipart/mixed; boundary="+boundary, strings.ReplaceAll(body, "B", boundary))
	}
	rec := "--B\r\nContent-Type: application/json\r\nX: 1\r\n\r\n{\"a\":1}\r\n--B\r\nContent-Type: image/png\r\n\r\n\x00\x01\x02\r\n--B--\r\n"
	tests := []struct {
		name, now string
		want      []string
	}{
		{"another boundary is no difference", rec, nil},
		{"bytes of the same length", strings.Replace(rec, "\x01", "\x07", 1), []string{"[bytes] part 2 body: byte 1: recorded 0x01, now 0x07"}},
		{"a header", strings.Replace(rec, "X: 1", "X: 2", 1), []string{"[changed] part 1 X: recorded 1, now 2"}},
		{"JSON in a part", strings.Replace(rec, `"a":1`, `"a": 2`, 1), []string{"[changed] part 1 body $.a: recorded 1, now 2"}},
		{"a missing part", rec[:strings.Index(rec, "--B\r\nContent-Type: image")] + "--B--\r\n",
			[]string{"[missing] part 2 is missing: Content-Type: image/png, 3 bytes: 00 01 02"}},
		{"a preamble", "hello\r\n" + rec, []string{`[extra] preamble 1 was not recorded: 5 bytes: "hello"`}},
		{"an epilogue", rec + "bye", []string{`[extra] epilogue 1 was not recorded: 3 bytes: "bye"`}},
		{"a part that is cut off", strings.TrimSuffix(rec, "\r\n--B--\r\n"),
			[]string{"[changed] part 2: recorded complete, now cut off before its end"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := verdict(mixed("one", rec), mixed("Other-2", tt.now), Options{})
			if tt.want == nil {
				wantPass(t, v)
				return
			}
			wantFail(t, v, tt.want...)
		})
	}
}

func TestBrokenRecordingsFail(t *testing.T) {
	r := events("a", "b")
	r.broken = true
	wantFail(t, verdict(r, events("a", "b", "c"), Options{}),
		"[recording] the recording can't be read: the stream file has no end line: it is truncated; record the case again")

	rec := events("a").recorded()
	rec.Next = func() (tape.Line, error) { return tape.Line{}, fmt.Errorf("streams/0001.ndjson:3: not JSON") }
	wantFail(t, events("a").play(New(rec, Options{})),
		"[recording] the recording can't be read: streams/0001.ndjson:3: not JSON; record the case again")
}

func TestARecordingWithoutAnAnswerMatchesNothing(t *testing.T) {
	want := "[recording] the recording holds no answer, so there is nothing to compare with; record the case again"
	wantFail(t, events("a").play(New(Recorded{Method: "GET"}, Options{})), want)
	wantFail(t, New(Recorded{Method: "GET"}, Options{}).Failed(0, "refused"), want)

	failed := Recorded{Method: "GET", Failed: "connection refused"}
	wantPass(t, New(failed, Options{}).Failed(0, "connection refused"))
	wantFail(t, events("a").play(New(failed, Options{})), "[ended] answer: recorded connection refused, now 200 OK")
}

func TestAnAnswerWithoutAStreamIsEmpty(t *testing.T) {
	rec := reply{status: 200, end: httpstream.EndInfo{How: httpstream.EOF}}.recorded()
	rec.Next = nil
	wantPass(t, reply{status: 200, end: httpstream.EndInfo{How: httpstream.EOF}}.play(New(rec, Options{})))
	more := answer("", "x")
	more.header = nil
	wantFail(t, more.play(New(rec, Options{})), "[bytes] body: 0 bytes recorded, 1 now")
}

func TestNoAnswerFails(t *testing.T) {
	wantFail(t, New(events("a").recorded(), Options{}).Failed(time.Second, "connection refused"),
		"[ended] no answer: connection refused; recorded 200 OK")
}

func TestZeroCRLFInAChunkIsData(t *testing.T) {
	body := []string{"data: 0\r\n", "0\r\n", "\r\n"}
	wantPass(t, verdict(answer(sseType, body...), answer(sseType, strings.Join(body, "")), Options{}))
	wantFail(t, verdict(answer("text/plain", "a0\r\n", "\r\nb"), answer("text/plain", "a0\r\n"), Options{}),
		"[missing] line 2 is missing: ", "[missing] line 3 is missing: b")
}

func TestUTF8SplitOverReadsStaysWhole(t *testing.T) {
	whole := "data: {\"t\":\"héllo 😀\"}\n\n"
	for i := 1; i < len(whole); i++ {
		v := verdict(answer(sseType, whole), answer(sseType, whole[:i], whole[i:]), Options{})
		wantPass(t, v)
	}
	v := verdict(answer(sseType, whole), answer(sseType, "data: {\"t\":\"h\ufffdllo 😀\"}\n\n"), Options{})
	wantFail(t, v, "[changed] event 1 data $.t: recorded \"héllo 😀\", now \"h\ufffdllo 😀\"")
}

func TestEventTimesAreKept(t *testing.T) {
	v := verdict(events("a", "b", "c"), events("a", "b", "c"), Options{})
	if v.Recorded.First != 20*time.Millisecond || v.Recorded.Last != 60*time.Millisecond || v.Recorded.Count != 3 || v.Unit != "event" {
		t.Errorf("got %+v", v.Recorded)
	}
	if v.Now != v.Recorded {
		t.Errorf("now %+v, recorded %+v", v.Now, v.Recorded)
	}
}

func TestARecordingThatTheClientLeftIsComparedAsFarAsItGoes(t *testing.T) {
	rec := answer(sseType, "data: a\n\n", "data: b\n\n", "data: {\"c").ended(httpstream.Cancelled)
	c := New(rec.recorded(), Options{})
	c.Head(0, &httpstream.ResponseHead{Status: 200, Header: rec.header})
	for _, s := range []struct {
		data   string
		enough bool
	}{{"data: a\n", false}, {"\n", false}, {"data: b\n\n", true}, {"data: {\"c\":1}\n\n", true}, {"data: d\n\n", true}} {
		c.Chunk(0, []byte(s.data))
		if c.Enough() != s.enough {
			t.Errorf("after %q: enough = %t", s.data, !s.enough)
		}
	}
	v := c.End(0, httpstream.EndInfo{How: httpstream.Cancelled})
	wantPass(t, v)
	if !v.Interrupted {
		t.Error("not marked")
	}

	wantPass(t, verdict(rec, events("a", "b"), Options{}))
	wantFail(t, verdict(rec, events("a"), Options{}), "[missing] event 2 is missing: data: b")
	wantFail(t, verdict(rec, events("a", "x", "d"), Options{}), `[changed] event 2 data: recorded "b", now "x"`)
	wantFail(t, verdict(rec, events("a", "b").ended(httpstream.Reset), Options{}),
		"[ended] end of the stream: recorded cancelled, now reset")
	if New(events("a").recorded(), Options{}).Enough() {
		t.Error("a complete recording never has enough")
	}
}

func TestInterruptedTextBytesAndPartsAreComparedAsPrefix(t *testing.T) {
	const mp = "multipart/x-mixed-replace; boundary=b"
	tests := []struct{ name, kind, rec, good, bad, want string }{
		{"text", "text/plain", "one\ntw", "one\ntwo\nthree", "one\ntrouble\n", `[changed] line 2: recorded "tw", now "trouble\n"`},
		{"bytes", "image/png", "\x00\x01", "\x00\x01\x02", "\x00\x02\x02", `[bytes] body: byte 1: recorded 0x01 "\x01", now 0x02 "\x02\x02"`},
		{"a part", mp, "--b\r\nA: 1\r\n\r\nxy", "--b\r\nA: 1\r\n\r\nxyz\r\n--b", "--b\r\nA: 1\r\n\r\nxz\r\n--b",
			"[changed] part 1: recorded cut off before its end, now complete\n[bytes] part 1 body: byte 1: recorded 0x79, now 0x7a"},
		{"JSON", "application/json", `{"a":1`, `{"a":1}`, `{"a":2}`,
			`[bytes] body: byte 5: recorded 0x31 "1", now 0x32 "2}" (the recording stops inside the document, so noise rules don't apply; record the case again)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := answer(tt.kind, tt.rec).ended(httpstream.Cancelled)
			c := New(rec.recorded(), Options{})
			c.Head(0, &httpstream.ResponseHead{Status: 200, Header: rec.header})
			c.Chunk(0, []byte(tt.good))
			if !c.Enough() {
				t.Error("not enough")
			}
			wantPass(t, c.End(0, httpstream.EndInfo{How: httpstream.Cancelled}))
			v := verdict(rec, answer(tt.kind, tt.bad), Options{})
			if v.Pass || messages(v) != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", messages(v), tt.want)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	with := func(pairs ...string) reply {
		return reply{status: 200, header: headers(pairs...), end: httpstream.EndInfo{How: httpstream.EOF}}
	}
	tests := []struct {
		name     string
		rec, now reply
		opt      Options
		want     []string
	}{
		{"the order of names does not matter", with("A", "1", "B", "2"), with("b", "2", "a", "1"), Options{}, nil},
		{"the order of values does", with("A", "1", "A", "2"), with("A", "2", "A", "1"), Options{},
			[]string{"[header] header A: recorded 1 | 2, now 2 | 1"}},
		{"several Set-Cookie are never folded", with("Set-Cookie", "a=1", "Set-Cookie", "b=2"), with("Set-Cookie", "a=1, b=2"), Options{},
			[]string{"[header] header Set-Cookie: recorded a=REDACTED | b=REDACTED, now a=REDACTED"}},
		{"a cookie less", with("Set-Cookie", "a=1", "Set-Cookie", "b=2"), with("Set-Cookie", "a=1"), Options{},
			[]string{"[header] header Set-Cookie: recorded a=REDACTED | b=REDACTED, now a=REDACTED"}},
		{"what was redacted stands for any text", with("Set-Cookie", "sid=REDACTED; Path=/"), with("Set-Cookie", "sid=x9; Path=/"), Options{}, nil},
		{"around what was redacted all counts", with("Set-Cookie", "sid=REDACTED; Path=/"), with("Set-Cookie", "sid=x9; Path=/a"), Options{},
			[]string{"[header] header Set-Cookie: recorded sid=REDACTED; Path=/, now sid=REDACTED; Path=/a"}},
		{"the connection's fields and the clock are ignored",
			with("Date", "Mon", "Connection", "close", "Transfer-Encoding", "chunked", "Content-Length", "3", "Age", "1", "Keep-Alive", "x"),
			with("Date", "Tue", "Connection", "keep-alive"), Options{}, nil},
		{"a missing header", with("ETag", `"1"`), with(), Options{}, []string{`[header] header ETag is missing: "1"`}},
		{"a header that was not recorded", with(), with("X-A", "1"), Options{}, []string{`[header] header X-A was not recorded: 1`}},
		{"a rule with a star", with("X-Request-Id", "1", "X-Request-Start", "2"), with("x-request-id", "3"),
			Options{Rules: rules(t, "response.header", "X-Request-*")}, nil},
		{"another boundary of a type that is not multipart", with("Content-Type", "text/plain; boundary=a"),
			with("Content-Type", "text/plain; boundary=b"), Options{},
			[]string{"[header] header Content-Type: recorded text/plain; boundary=a, now text/plain; boundary=b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := verdict(tt.rec, tt.now, tt.opt)
			if tt.want == nil {
				wantPass(t, v)
				return
			}
			wantFail(t, v, tt.want...)
		})
	}
}

func TestStatusTrailersInterimAndEnd(t *testing.T) {
	rec := events("a")
	now := events("a")
	now.status = 500
	wantFail(t, verdict(rec, now, Options{}), "[status] status: recorded 200 OK, now 500 Internal Server Error")

	rec.end.Trailer, now = headers("Grpc-Status", "0"), events("a")
	now.end.Trailer = headers("grpc-status", "13")
	wantFail(t, verdict(rec, now, Options{}), "[trailer] trailer Grpc-Status: recorded 0, now 13")

	wantFail(t, verdict(events("a"), events("a").ended(httpstream.Reset), Options{}), "[ended] end of the stream: recorded eof, now reset")

	early := events("a").recorded()
	early.Interim = []tape.Response{{Head: httpstream.ResponseHead{Status: 100}}, {Head: httpstream.ResponseHead{Status: 103, Header: headers("Link", "a")}}}
	wantFail(t, events("a").play(New(early, Options{})), "[interim] interim answer 1: recorded 103 Early Hints, now none")
	early = events("a").recorded()
	early.Interim = []tape.Response{{Head: httpstream.ResponseHead{Status: 103, Header: headers("Link", "a")}}}
	c := New(early, Options{})
	c.Interim(0, &httpstream.ResponseHead{Status: 103, Header: headers("Link", "b")})
	wantFail(t, events("a").play(c), "[interim] interim Link: recorded a, now b")
}

func TestBodiesWhereNoneAreAllowed(t *testing.T) {
	for _, tt := range []struct {
		method string
		status int
		want   string
	}{
		{"HEAD", 200, "HEAD answered with 200 OK"}, {"GET", 204, "GET answered with 204 No Content"}, {"GET", 304, "GET answered with 304 Not Modified"},
	} {
		rec := reply{method: tt.method, status: tt.status, end: httpstream.EndInfo{How: httpstream.EOF}}
		now := rec
		now.pieces = []timed{{0, "x"}}
		wantFail(t, verdict(rec, now, Options{}), "[content] a body where none is allowed: "+tt.want, "[bytes] body: 0 bytes recorded, 1 now")
		wantPass(t, verdict(rec, rec, Options{}))
	}
	rec := reply{method: "HEAD", status: 200, header: headers("Content-Length", "5"), end: httpstream.EndInfo{How: httpstream.EOF}}
	now := rec
	now.header = headers("Content-Length", "6")
	wantFail(t, verdict(rec, now, Options{}), "[header] header Content-Length: recorded 5, now 6")
}

func TestAnotherContentTypeIsComparedByBytes(t *testing.T) {
	v := verdict(events("a"), answer("application/json", `{"error":1}`), Options{})
	wantFail(t, v, "[header] header Content-Type: recorded text/event-stream, now application/json",
		`[bytes] body: byte 0: recorded 0x64 "data: a\n\n", now 0x7b "{\"error\":1}" (of another content type)`,
		`[bytes] body: 9 bytes differ, the last at offset 8 (of another content type)`,
		`[bytes] body: 9 bytes recorded, 11 now (of another content type)`)
}

func TestWhatWasRedactedIsRedactedNowAndCompared(t *testing.T) {
	own := tape.NewRedactor(tape.RedactRules{Headers: []string{"X-Session-*"}})
	for _, tt := range []struct {
		name, field, rec, now string
		redact                *tape.Redactor
		want                  string // empty to pass
	}{
		{"another secret", "Set-Cookie", "sid=REDACTED; Path=/; HttpOnly", "sid=abc; Path=/; HttpOnly", nil, ""},
		{"an attribute that is gone", "Set-Cookie", "sid=REDACTED; Path=/; HttpOnly; Secure", "sid=abc; Path=/; Secure", nil,
			"recorded sid=REDACTED; Path=/; HttpOnly; Secure, now sid=REDACTED; Path=/; Secure"},
		{"an attribute more", "Set-Cookie", "sid=REDACTED", "sid=abc; Domain=evil.example", nil, "recorded sid=REDACTED, now sid=REDACTED; Domain=evil.example"},
		{"an empty cookie", "Set-Cookie", "sid=REDACTED; Path=/", "sid=; Path=/", nil, "recorded sid=REDACTED; Path=/, now sid=; Path=/"},
		{"another name", "Set-Cookie", "sid=REDACTED", "tid=abc", nil, "recorded sid=REDACTED, now tid=REDACTED"},
		{"another secret in a target", "Location", "https://a.example/cb?token=REDACTED&x=1", "https://a.example/cb?token=abc&x=1", nil, ""},
		{"another parameter", "Location", "https://a.example/cb?token=REDACTED&x=1", "https://a.example/cb?token=abc&y=2&x=1", nil,
			"recorded https://a.example/cb?token=REDACTED&x=1, now https://a.example/cb?token=REDACTED&y=2&x=1"},
		{"another host behind a password", "Location", "https://REDACTED@a.example/cb", "https://u:p@evil.example/x@a.example/cb", nil,
			"recorded https://REDACTED@a.example/cb, now https://REDACTED@evil.example/x@a.example/cb"},
		{"an empty parameter", "Location", "/cb?token=REDACTED", "/cb?token=", nil, "recorded /cb?token=REDACTED, now /cb?token="},
		{"another scheme", "Authorization", "Bearer REDACTED", "Basic abc", nil, "recorded Bearer REDACTED, now Basic REDACTED"},
		{"a rule of the user's", "X-Session-Id", "REDACTED", "abc", own, ""},
		{"redacted by hand", "X-Trace", "v1-REDACTED-00", "v1-abc-00", nil, ""},
		{"redacted by hand, empty now", "X-Trace", "v1-REDACTED-00", "v1--00", nil, "recorded v1-REDACTED-00, now v1--00"},
		{"redacted by hand, all of it", "X-Trace", "REDACTED", "abc", nil, ""},
		{"redacted by hand, gone", "X-Trace", "REDACTED", "", nil, "recorded REDACTED, now "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec, now := events("a"), events("a")
			rec.header = append(headers(tt.field, tt.rec), rec.header...)
			now.header = append(headers(tt.field, tt.now), now.header...)
			v := verdict(rec, now, Options{Redact: tt.redact})
			if tt.want == "" {
				wantPass(t, v)
				return
			}
			wantFail(t, v, "[header] header "+tt.field+": "+tt.want)
		})
	}
}

func TestNoSecretOfNowIsReported(t *testing.T) {
	rec, now := events("a"), events("a")
	rec.header = append(headers("Set-Cookie", "plain=old-secret", "X-Api-Key", "old-secret"), rec.header...)
	now.header = append(headers("Set-Cookie", "plain=live-secret", "X-Api-Key", "live-secret", "X-Auth-Token", "live-secret",
		"Link", "<https://h/?api_key=live-secret>; rel=next"), now.header...)
	now.end.Trailer = headers("X-Access-Token", "live-secret")
	now.end.How = httpstream.EOF
	v := verdict(rec, now, Options{})
	failed := New(rec.recorded(), Options{}).Failed(0, `Get "https://u:live-secret@h/?api_key=live-secret": EOF`)
	text, err := json.Marshal([]*Verdict{v, failed})
	if err != nil || v.Pass || failed.Pass || strings.Contains(string(text), "-secret") {
		t.Errorf("%v: %s", err, text)
	}
}

func TestAFailureIsComparedByHowItFailed(t *testing.T) {
	malformed := func(detail string) httpstream.EndInfo {
		return httpstream.EndInfo{How: httpstream.Malformed, Detail: detail}
	}
	reset := httpstream.EndInfo{How: httpstream.Reset, Detail: "the server reset the connection without an answer"}
	for _, tt := range []struct {
		name     string
		rec, now httpstream.EndInfo
		want     string
	}{
		{"as recorded", reset, reset, ""},
		{"malformed in the same way", malformed("malformed HTTP: two status lines"), malformed("malformed HTTP: two status lines"), ""},
		{"malformed in another way", malformed("malformed HTTP: two status lines"), malformed("malformed HTTP: a CR without LF"),
			"[ended] no answer, as recorded, but for another reason: recorded malformed HTTP: two status lines, now malformed HTTP: a CR without LF"},
		{"a reset that was a time limit", reset, httpstream.EndInfo{How: httpstream.Reset, Detail: "still not at its end after 30s"},
			"[ended] no answer, as recorded, but for another reason: recorded the server reset the connection without an answer, now still not at its end after 30s"},
		{"inside the head that was before it", reset, httpstream.EndInfo{How: httpstream.Reset, Detail: "the server reset the connection inside the head"},
			"[ended] no answer, as recorded, but for another reason: recorded the server reset the connection without an answer, now the server reset the connection inside the head"},
		{"another address", httpstream.EndInfo{How: httpstream.Reset, Detail: "dial 172.18.0.3:80: refused"}, httpstream.EndInfo{How: httpstream.Reset, Detail: "dial 172.19.0.2:80: refused"}, ""},
		{"another code", httpstream.EndInfo{How: httpstream.Reset, Code: 2, Detail: "the server reset the stream"}, httpstream.EndInfo{How: httpstream.Reset, Code: 8, Detail: "the server reset the stream"},
			"[ended] no answer, as recorded, but for another reason: recorded reset (HTTP/2 error code 2): the server reset the stream, now reset (HTTP/2 error code 8): the server reset the stream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := reply{end: tt.rec}.recorded()
			r.Head, r.Failed = nil, tt.rec.Detail
			v := New(r, Options{}).End(time.Second, tt.now)
			if tt.want == "" {
				wantPass(t, v)
				return
			}
			wantFail(t, v, tt.want)
		})
	}
	rec, now := events("a"), events("a")
	rec.end, now.end = malformed("malformed HTTP: a chunk size"), malformed("malformed HTTP: a CR without LF")
	wantPass(t, verdict(rec, rec, Options{}))
	wantFail(t, verdict(rec, now, Options{}), "[ended] end of the stream: recorded malformed: malformed HTTP: a chunk size, now malformed: malformed HTTP: a CR without LF")
}

func TestAnAnswerWithoutABodyHasNoEncoding(t *testing.T) {
	for _, coding := range []string{"gzip", "deflate", "br"} {
		for _, r := range []reply{{method: "HEAD", status: 200}, {method: "GET", status: 304}, {method: "GET", status: 204}} {
			r.header, r.end = headers("Content-Type", "application/json", "Content-Encoding", coding), httpstream.EndInfo{How: httpstream.EOF}
			wantPass(t, verdict(r, r, Options{}))
		}
	}
}

func TestSSEFieldOrderAndNDJSONWhiteSpace(t *testing.T) {
	wantPass(t, verdict(answer(sseType, "id: 1\nevent: x\ndata: a\n\n"), answer(sseType, "data: a\nevent: y\nevent: x\nid: 1\n\n"), Options{}))
	wantFail(t, verdict(answer(sseType, "data: a\ndata: b\n\n"), answer(sseType, "data: b\ndata: a\n\n"), Options{}),
		`[changed] event 1 data: recorded "a\nb", now "b\na"`)
	const ndjson = "application/x-ndjson"
	wantPass(t, verdict(answer(ndjson, "{\"a\":1}\n\t{\"b\":2}\r\n"), answer(ndjson, " {\"a\":1} \n\n{\"b\":2}"), Options{}))
	for _, space := range []string{"\v", "\f", "\u00a0", "\u0085", "\u2028"} {
		if v := verdict(answer(ndjson, "{\"a\":1}\n"), answer(ndjson, space+"{\"a\":1}\n"), Options{}); v.Pass {
			t.Errorf("%q before a record is no white space", space)
		}
	}
}

func TestASecretOfTheSameShapeCountsAsTheSame(t *testing.T) {
	const recorded, now = "ghp_xA0000000000000000000000000000000000", "ghp_yB1111111111111111111111111111111111"
	for _, kind := range []string{"application/json", "text/event-stream", "application/x-ndjson", "text/plain"} {
		body := "data: {\"key\":\"%s\",\"password\":\"%s\",\"n\":1}\n\n"
		if kind == "application/json" {
			body = strings.TrimPrefix(body, "data: ")
		}
		rec, present := answer(kind, fmt.Sprintf(body, recorded, "xxxxxx0")), answer(kind, fmt.Sprintf(body, now, "hunter2"))
		wantPass(t, verdict(rec, present, Options{}))
		longer := verdict(rec, answer(kind, fmt.Sprintf(body, now, "hunter22")), Options{})
		if longer.Pass || strings.Contains(messages(longer), "hunter") || strings.Contains(messages(longer), now) {
			t.Errorf("%s: one of another length gives %s", kind, messages(longer))
		}
		kept := Options{Redact: tape.NewRedactor(tape.RedactRules{KeepBodies: true})}
		if v := verdict(rec, present, kept); v.Pass {
			t.Errorf("%s: another value counts as the same where bodies are kept", kind)
		}
	}
}
