package match

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func call(n int, method, url, contentType, body string) *tape.Exchange {
	x := &tape.Exchange{Kind: tape.Call, Number: n, Request: tape.Request{Method: method, URL: url}}
	if contentType != "" {
		x.Request.Header = httpstream.Fields{{Name: "Content-Type", Value: contentType}}
	}
	if body != "" {
		x.Request.Body = tape.Body{Data: []byte(body), Size: int64(len(body))}
	}
	return x
}

func ask(method, url, contentType, body string) Query {
	x := call(0, method, url, contentType, body)
	return Query{Method: method, URL: url, Header: x.Request.Header, Body: x.Request.Body.Data}
}

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

func multipartBody(boundary string, parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "--%s\r\n%s\r\n", boundary, p)
	}
	return b.String() + "--" + boundary + "--\r\n"
}

func TestMatchTellsRequestsApart(t *testing.T) {
	part := "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: application/json\r\n\r\n"
	for _, tc := range []struct {
		name           string
		recorded, now  Query
		rules          Rules
		same           bool
		whereDifferent string // of the first difference
	}{
		{"equal requests match", ask("GET", "https://h/a?x=1", "", ""), ask("GET", "https://h/a?x=1", "", ""), Rules{}, true, ""},
		{"the method counts", ask("GET", "https://h/a", "", ""), ask("HEAD", "https://h/a", "", ""), Rules{}, false, "method"},
		{"the method's case counts", ask("GET", "https://h/a", "", ""), ask("get", "https://h/a", "", ""), Rules{}, false, "method"},
		{"the scheme counts", ask("GET", "https://h:9/a", "", ""), ask("GET", "http://h:9/a", "", ""), Rules{}, false, "scheme"},
		{"the port counts", ask("GET", "https://h/a", "", ""), ask("GET", "https://h:8443/a", "", ""), Rules{}, false, "host"},
		{"the default port does not count", ask("GET", "https://h:443/a", "", ""), ask("GET", "https://H/a", "", ""), Rules{}, true, ""},
		{"an IPv6 host keeps its brackets", ask("GET", "http://[::1]:80/", "", ""), ask("GET", "http://[::1]", "", ""), Rules{}, true, ""},
		{"user information does not count", ask("GET", "https://REDACTED@h/", "", ""), ask("GET", "https://h/", "", ""), Rules{}, true, ""},
		{"to ask the server is not to ask its root", ask("OPTIONS", "https://h", "", ""), ask("OPTIONS", "https://h/", "", ""), Rules{}, false, "path"},
		{"other methods have no such form", ask("GET", "https://h", "", ""), ask("GET", "https://h/", "", ""), Rules{}, true, ""},
		{"the path counts", ask("GET", "https://h/a", "", ""), ask("GET", "https://h/a/", "", ""), Rules{}, false, "path"},
		{"needless escapes in the path do not count", ask("GET", "https://h/%7ea%2f", "", ""), ask("GET", "https://h/~a%2F", "", ""), Rules{}, true, ""},
		{"an escaped slash is not a slash", ask("GET", "https://h/a%2Fb", "", ""), ask("GET", "https://h/a/b", "", ""), Rules{}, false, "path"},
		{"the order of query names does not count", ask("GET", "https://h/?a=1&b=2&a=3", "", ""), ask("GET", "https://h/?b=2&a=3&a=1", "", ""), Rules{}, true, ""},
		{"how often a query value comes counts", ask("GET", "https://h/?a=1&a=1", "", ""), ask("GET", "https://h/?a=1", "", ""), Rules{}, false, "query a"},
		{"query escapes do not count", ask("GET", "https://h/?a=x+y%26", "", ""), ask("GET", "https://h/?a=x%20y%26", "", ""), Rules{}, true, ""},
		{"an ignored query name does not count", ask("GET", "https://h/?a=1&t=5", "", ""), ask("GET", "https://h/?t=6&t=7&a=1", "", ""), Rules{IgnoreQuery: func(n string) bool { return n == "t" }}, true, ""},

		{"JSON space and order do not count", ask("POST", "https://h/", jsonType, `{"a":[1,{"b":null}],"c":"é"}`), ask("POST", "https://h/", "Application/JSON; charset=utf-8", "{\n\"c\": \"\\u00e9\", \"a\": [1.0, {\"b\":null}]}"), Rules{}, true, ""},
		{"each line of NDJSON is a value", ask("POST", "https://h/_bulk", "application/x-ndjson", "{\"a\":1,\"b\":2}\n{\"c\":1}\n"), ask("POST", "https://h/_bulk", "application/x-ndjson", "{\"b\":2.0,\"a\":1}\r\n\n{\"c\": 1}"), Rules{}, true, ""},
		{"the order of lines counts", ask("POST", "https://h/", "application/x-ndjson", "{\"a\":1}\n{\"a\":2}"), ask("POST", "https://h/", "application/x-ndjson", "{\"a\":2}\n{\"a\":1}"), Rules{}, false, "body $.a"},
		{"how many lines there are counts", ask("POST", "https://h/", "application/x-ndjson", "[1]\n[1]"), ask("POST", "https://h/", "application/x-ndjson", "[1]"), Rules{}, false, "body"},
		{"lines that are no JSON are bytes", ask("POST", "https://h/", "application/x-ndjson", "{}\nx y"), ask("POST", "https://h/", "application/x-ndjson", "{ }\nx y"), Rules{}, false, "body"},
		{"JSON array order counts", ask("POST", "https://h/", jsonType, `[1,2]`), ask("POST", "https://h/", jsonType, `[2,1]`), Rules{}, false, "body $[0]"},
		{"large JSON integers are exact", ask("POST", "https://h/", jsonType, `{"id":9007199254740993}`), ask("POST", "https://h/", jsonType, `{"id":9007199254740992}`), Rules{}, false, "body $.id"},
		{"JSON numbers are values, not text", ask("POST", "https://h/", jsonType, `[1e2, 0.10, -0, 1E+2]`), ask("POST", "https://h/", jsonType, `[100, 1e-1, 0.0, 100.000]`), Rules{}, true, ""},
		{"a JSON string is not a number", ask("POST", "https://h/", jsonType, `{"a":"1"}`), ask("POST", "https://h/", jsonType, `{"a":1}`), Rules{}, false, "body $.a"},
		{"a JSON null is not an absent member", ask("POST", "https://h/", jsonType, `{"a":null}`), ask("POST", "https://h/", jsonType, `{}`), Rules{}, false, "body $.a"},
		{"duplicate JSON names are compared as bytes", ask("POST", "https://h/", jsonType, `{"a":1,"a":2}`), ask("POST", "https://h/", jsonType, `{"a":2}`), Rules{}, false, "body"},
		{"broken JSON that is equal byte by byte matches", ask("POST", "https://h/", jsonType, `{"a":1,`), ask("POST", "https://h/", jsonType, `{"a":1,`), Rules{}, true, ""},
		{"halves of surrogate pairs stay different", ask("POST", "https://h/", jsonType, `"\ud800"`), ask("POST", "https://h/", jsonType, `"\ud801"`), Rules{}, false, "body"},
		{"a type with +json is JSON", ask("POST", "https://h/", "application/vnd.api+json", `{"a": 1}`), ask("POST", "https://h/", "application/vnd.api+json", `{"a":1}`), Rules{}, true, ""},
		{"text is compared as bytes", ask("POST", "https://h/", "text/plain", `{"a": 1}`), ask("POST", "https://h/", "text/plain", `{"a":1}`), Rules{}, false, "body"},
		{"noise in JSON does not count", ask("POST", "https://h/", jsonType, `{"a":1,"id":"x"}`), ask("POST", "https://h/", jsonType, `{"a":1,"id":"y"}`), Rules{IgnoreBody: dropID}, true, ""},
		{"an empty body is not an empty object", ask("POST", "https://h/", jsonType, ""), ask("POST", "https://h/", jsonType, "{}"), Rules{}, false, "body"},

		{"noise in a prompt does not count", ask("POST", "https://h/", jsonType, `{"messages":[{"content":"Today is\n2026-11-24.\nHi"}]}`), ask("POST", "https://h/", jsonType, `{"messages":[{"content":"Today is\n2025-01-02.\nHi"}]}`), Rules{IgnoreText: dropDates}, true, ""},
		{"the rest of a prompt counts", ask("POST", "https://h/", jsonType, `["2026-11-24 a"]`), ask("POST", "https://h/", jsonType, `["2026-11-24 b"]`), Rules{IgnoreText: dropDates}, false, "body $[0]"},
		{"names in JSON are no text", ask("POST", "https://h/", jsonType, `{"2026-11-24":1}`), ask("POST", "https://h/", jsonType, `{"2026-11-25":1}`), Rules{IgnoreText: dropDates}, false, "body $['2026-11-24']"},
		{"noise in text does not count", ask("POST", "https://h/", "text/plain", "a\n2026-11-24\n"), ask("POST", "https://h/", "text/plain", "a\n2025-01-02\n"), Rules{IgnoreText: dropDates}, true, ""},
		{"the end of a text counts", ask("POST", "https://h/", "text/plain", "2026-11-24\n"), ask("POST", "https://h/", "text/plain", "2026-11-24"), Rules{IgnoreText: dropDates}, false, "body"},
		{"noise in a form does not count", ask("POST", "https://h/", formType, "a=2026-11-24&a=x"), ask("POST", "https://h/", formType, "a=x&a=1999-01-01"), Rules{IgnoreText: dropDates}, true, ""},
		{"noise in a part does not count", ask("POST", "https://h/", "multipart/form-data; boundary=xx", multipartBody("xx", part+`"2026-11-24"`)), ask("POST", "https://h/", "multipart/form-data; boundary=yy", multipartBody("yy", part+`"2025-01-02"`)), Rules{IgnoreText: dropDates}, true, ""},
		{"bytes are no text", ask("POST", "https://h/", "image/png", "\x002026-11-24"), ask("POST", "https://h/", "image/png", "\x002025-01-02"), Rules{IgnoreText: dropDates}, false, "body"},
		{"noise in a path does not count", ask("GET", "https://h/2026-11-24/x?a=1", "", ""), ask("GET", "https://h/2025-01-02/x?a=1", "", ""), Rules{IgnorePath: dropDates}, true, ""},
		{"the rest of a path counts", ask("GET", "https://h/2026-11-24/x", "", ""), ask("GET", "https://h/2025-01-02/y", "", ""), Rules{IgnorePath: dropDates}, false, "path"},

		{"form order does not count", ask("POST", "https://h/", formType, "a=1&b=x+y"), ask("POST", "https://h/", formType, "b=x%20y&a=1"), Rules{}, true, ""},
		{"form values count", ask("POST", "https://h/", formType, "a=1"), ask("POST", "https://h/", formType, "a=2"), Rules{}, false, "body field a"},
		{"the multipart boundary does not count", ask("POST", "https://h/", "multipart/form-data; boundary=xx", multipartBody("xx", part+`{"n": 1}`)), ask("POST", "https://h/", "multipart/form-data; boundary=\"y y\"", multipartBody("y y", part+`{"n":1.0}`)), Rules{}, true, ""},
		{"multipart values count", ask("POST", "https://h/", "multipart/form-data; boundary=xx", multipartBody("xx", part+`{"n":1}`)), ask("POST", "https://h/", "multipart/form-data; boundary=yy", multipartBody("yy", part+`{"n":2}`)), Rules{}, false, "body part a $.n"},
		{"a missing part counts", ask("POST", "https://h/", "multipart/form-data; boundary=xx", multipartBody("xx", part+`1`, part+`2`)), ask("POST", "https://h/", "multipart/form-data; boundary=yy", multipartBody("yy", part+`1`)), Rules{}, false, "body part a"},

		{"the media type counts where there is a body", ask("POST", "https://h/", "text/plain", "x"), ask("POST", "https://h/", "text/html", "x"), Rules{}, false, "header Content-Type"},
		{"the media type does not count without a body", ask("GET", "https://h/", "text/plain", ""), ask("GET", "https://h/", "", ""), Rules{}, true, ""},
		{"an ignored header does not count", ask("POST", "https://h/", "text/plain", "x"), ask("POST", "https://h/", "text/html", "x"), Rules{IgnoreHeader: func(n string) bool { return strings.EqualFold(n, "content-type") }}, true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := call(1, tc.recorded.Method, tc.recorded.URL, tc.recorded.Header.Get("Content-Type"), string(tc.recorded.Body))
			got, miss := NewIndex([]*tape.Exchange{x}, tc.rules).Match(tc.now)
			if (got == x) != tc.same {
				t.Fatalf("match = %v, miss %v", got, miss)
			}
			if tc.same {
				return
			}
			if miss.Closest.Number != x.Number || len(miss.Differences) == 0 {
				t.Fatalf("closest %v, differences %v", miss.Closest, miss.Differences)
			}
			if got := miss.Differences[0].Where.String(); got != tc.whereDifferent {
				t.Errorf("first difference is at %q, want %q", got, tc.whereDifferent)
			}
		})
	}
}

// A pattern, as all regular expressions, is compiled once.
var date = regexp.MustCompile(`\d{4}-\d\d-\d\d`)

func dropDates(s string) string { return date.ReplaceAllLiteralString(s, "\x00…\x00") }

func dropID(x any) any {
	if m, ok := x.(map[string]any); ok {
		delete(m, "id")
	}
	return x
}

func TestChosenHeadersCount(t *testing.T) {
	x := call(1, "GET", "https://h/", "", "")
	x.Request.Header = httpstream.Fields{{Name: "X-Version", Value: "1"}}
	ix := NewIndex([]*tape.Exchange{x}, Rules{Headers: []string{"x-version"}})
	q := ask("GET", "https://h/", "", "")
	q.Header = httpstream.Fields{{Name: "X-Version", Value: "2"}}
	_, miss := ix.Match(q)
	if miss == nil || len(miss.Differences) != 1 || miss.Differences[0] != (event.Difference{Where: event.At(event.Header, "X-Version"), Recorded: "1", Now: "2"}) {
		t.Fatalf("miss %+v", miss)
	}
	q.Header[0].Value = "1"
	if got, _ := ix.Match(q); got != x {
		t.Fatal("equal header does not match")
	}
}

func numbers(ix *Index, q Query, times int) string {
	var b strings.Builder
	for range times {
		x, miss := ix.Match(q)
		if miss != nil {
			fmt.Fprintf(&b, "miss%d ", miss.Used)
			continue
		}
		fmt.Fprintf(&b, "%d ", x.Number)
	}
	return strings.TrimSpace(b.String())
}

func TestIdenticalCallsAnswerInRecordedOrder(t *testing.T) {
	calls := func(cases ...int) []*tape.Exchange {
		var xs []*tape.Exchange
		for i, c := range cases {
			x := call(i+1, "GET", "https://h/", "", "")
			x.Case = c
			xs = append(xs, x)
		}
		return xs
	}
	for _, tc := range []struct {
		name  string
		cases []int
		now   int
		reuse bool
		want  string
	}{
		{"each once, then a miss", []int{0, 0}, 0, false, "1 2 miss2 miss2"},
		{"over again where reuse is allowed", []int{0, 0}, 0, true, "1 2 1 2"},
		{"those of the case first, then of none, but not those of others", []int{1, 0, 2, 3, 2}, 2, false, "3 5 2 miss5"},
		{"those of any case while none runs", []int{1, 0, 2}, 0, false, "2 1 3 miss3"},
		{"those of others where the case has none", []int{1, 3}, 2, false, "1 2 miss2 miss2"},
		{"over again in the same order", []int{1, 0, 2}, 2, true, "3 2 3 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := ask("GET", "https://h/", "", "")
			q.Case = tc.now
			if got := numbers(NewIndex(calls(tc.cases...), Rules{Reuse: tc.reuse}), q, 4); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestACaseTakesNothingFromAnother(t *testing.T) {
	var calls []*tape.Exchange
	for i, number := range []int{2, 2, 3} {
		x := call(i+1, "GET", "https://h/", "", "")
		x.Case = number
		calls = append(calls, x)
	}
	ix := NewIndex(calls, Rules{})
	q := ask("GET", "https://h/", "", "")
	for _, step := range []struct {
		number int
		want   string
	}{{1, "1 2"}, {2, "1 2 miss3"}, {3, "3"}} {
		q.Case = step.number
		if got := numbers(ix, q, len(strings.Fields(step.want))); got != step.want {
			t.Errorf("case %d got %q, want %q", step.number, got, step.want)
		}
	}
	ix.Release(2)
	q.Case = 2
	if got := numbers(ix, q, 3); got != "1 2 miss3" {
		t.Errorf("the case that runs once more got %q", got)
	}
}

func TestACaseMayHaveRulesOfItsOwn(t *testing.T) {
	body := func(number int, id string) *tape.Exchange {
		x := call(number, "POST", "https://h/?ts="+id, "application/json", `{"q":1,"id":"`+id+`"}`)
		x.Case = number
		return x
	}
	loose := Rules{IgnoreBody: dropID, IgnoreQuery: func(n string) bool { return n == "ts" }}
	ix := NewIndex([]*tape.Exchange{body(1, "a"), body(2, "b")}, Rules{OfCase: func(n int) *Rules {
		if n == 2 {
			return &loose
		}
		return nil
	}})
	now := ask("POST", "https://h/?ts=x", "application/json", `{"q":1,"id":"x"}`)
	for _, step := range []struct {
		number int
		want   string
	}{{1, "miss0"}, {2, "2 miss1"}} {
		now.Case = step.number
		if got := numbers(ix, now, len(strings.Fields(step.want))); got != step.want {
			t.Errorf("case %d got %q, want %q", step.number, got, step.want)
		}
	}
	ix.Release(2)
	now.Case = 0
	if got := numbers(ix, now, 1); got != "2" {
		t.Errorf("without a case got %q", got)
	}
	now.Case = 2
	if x := ix.Peek(&Query{Method: "POST", URL: "https://h/?ts=y", Scope: now.Scope}); x == nil || x.Number != 2 {
		t.Errorf("peeked at %v", x)
	}
}

func TestServicesGetTheirOwnCalls(t *testing.T) {
	var calls []*tape.Exchange
	for i, service := range []string{"a", "b", "a", "b", "c"} {
		x := call(i+1, "GET", "https://h/", "", "")
		x.Service = service
		calls = append(calls, x)
	}
	for _, tc := range []struct {
		name, service string
		reuse         bool
		want          string
	}{
		{"in their order, whatever the others do", "b", false, "2 4 miss2"},
		{"over again without those of the others", "a", true, "1 3 1"},
		{"those of the others where it made none", "new", false, "1 2 3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := ask("GET", "https://h/", "", "")
			q.Service = tc.service
			if got := numbers(NewIndex(calls, Rules{Reuse: tc.reuse}), q, 3); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParallelIdenticalCallsEachGetTheirOwn(t *testing.T) {
	const n = 100
	var calls []*tape.Exchange
	for i := range n {
		calls = append(calls, call(i+1, "POST", "https://h/", jsonType, `{"a":1}`))
	}
	ix := NewIndex(calls, Rules{})
	var got sync.Map
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			x, miss := ix.Match(ask("POST", "https://h/", jsonType, `{"a": 1}`))
			if miss != nil {
				t.Error(miss)
				return
			}
			if _, twice := got.LoadOrStore(x.Number, true); twice {
				t.Errorf("call %d given out twice", x.Number)
			}
		})
	}
	wg.Wait()
	if left := ix.Unused(); len(left) != 0 {
		t.Errorf("%d calls unused", len(left))
	}
}

func TestLargeBodiesMatchByHash(t *testing.T) {
	small := call(1, "POST", "https://h/", "text/plain", "hello")
	large := call(2, "POST", "https://h/", "text/plain", "")
	large.Request.Body = tape.Body{InStream: true, Size: 3, SHA256: "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"}
	ix := NewIndex([]*tape.Exchange{small, large}, Rules{Reuse: true})

	if x, miss := ix.Match(ask("POST", "https://h/", "text/plain", "abc")); x != large {
		t.Errorf("data against a recorded hash: %v", miss)
	}
	q := ask("POST", "https://h/", "text/plain", "")
	q.BodySHA256, q.BodySize = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", 5
	if x, miss := ix.Match(q); x != small {
		t.Errorf("a hash against recorded data: %v", miss)
	}
	q.BodySize = 6
	if x, _ := ix.Match(q); x != nil {
		t.Errorf("another size matched call %d", x.Number)
	}
}

func TestTwoWayCallsMatchByTheirHead(t *testing.T) {
	one, two := call(1, "POST", "https://h/chat", "application/grpc", "a"), call(2, "POST", "https://h/chat", "application/grpc", "b")
	two.TwoWay = true
	ix := NewIndex([]*tape.Exchange{one, two, call(3, "POST", "https://h/x", "", "")}, Rules{})
	if !ix.TwoWay(&Query{Method: "POST", URL: "https://H:443/chat"}) || ix.TwoWay(&Query{Method: "POST", URL: "https://h/x"}) || ix.TwoWay(&Query{Method: "GET", URL: "https://h/chat"}) {
		t.Error("TwoWay is wrong")
	}
	if x := ix.Peek(&Query{Method: "POST", URL: "https://h/chat"}); x != one {
		t.Errorf("peek gave %v", x)
	}
	q := ask("POST", "https://h/chat", "application/grpc", "")
	q.HeadOnly = true
	if got := numbers(ix, q, 3); got != "1 2 miss2" {
		t.Errorf("got %q", got)
	}
	if x := ix.Peek(&Query{Method: "GET", URL: "https://h/"}); x != nil {
		t.Errorf("peek gave %v", x)
	}
}

func TestHeadAndBodyLookupsShareWhatIsTaken(t *testing.T) {
	ix := NewIndex([]*tape.Exchange{
		call(1, "POST", "https://h/", "text/plain", "a"), call(2, "POST", "https://h/", "text/plain", "b"),
	}, Rules{Reuse: true})
	whole := ask("POST", "https://h/", "text/plain", "a")
	head := whole
	head.HeadOnly = true
	got := numbers(ix, whole, 1) + numbers(ix, head, 1) + numbers(ix, whole, 1) + numbers(ix, head, 2)
	if got != "1212 1" && got != "1211 2" {
		t.Errorf("got %s", got)
	}
}

func TestRefusedConnectionsComeInRecordedOrder(t *testing.T) {
	refused := func(n int, url string) *tape.Exchange {
		return &tape.Exchange{Number: n, Failed: "connection refused", Request: tape.Request{URL: url}}
	}
	ix := NewIndex([]*tape.Exchange{
		refused(1, "tcp://up:443"), refused(2, "https://up"), call(3, "GET", "https://up/", "", ""),
		refused(4, "http://down:81"),
	}, Rules{})
	for i, want := range []bool{true, true, false, false} {
		if got := ix.Refused("up:443", Scope{}) != nil; got != want {
			t.Errorf("connection %d: refused %v, want %v", i+1, got, want)
		}
	}
	for range 3 {
		if x := ix.Refused("DOWN:81", Scope{}); x == nil || x.Number != 4 {
			t.Errorf("down: %v", x)
		}
	}
	if ix.Refused("other:80", Scope{}) != nil {
		t.Error("an unknown host is refused")
	}
	if x, miss := ix.Match(ask("GET", "https://up/", "", "")); x == nil {
		t.Error(miss)
	}
}

func TestRedactedRequestsMatchAndNeverShowTheSecret(t *testing.T) {
	x := call(1, "GET", "https://h/?api_key=REDACTED&a=1", "", "")
	x.Request.Header = httpstream.Fields{{Name: "Authorization", Value: "Bearer REDACTED"}}
	rules := Rules{Headers: []string{"Authorization"}}
	q := ask("GET", "https://h/?a=1&api_key=hunter2", "", "")
	q.Header = httpstream.Fields{{Name: "Authorization", Value: "Bearer hunter2"}}
	if got, miss := NewIndex([]*tape.Exchange{x}, rules).Match(q); got != x {
		t.Fatal(miss)
	}
	q.URL = "https://h/?a=2&api_key=hunter2"
	_, miss := NewIndex([]*tape.Exchange{x}, rules).Match(q)
	if text := string(miss.Body()) + miss.String(); strings.Contains(text, "hunter2") {
		t.Errorf("the miss shows the secret: %s", text)
	}
}

func TestWhatDiffersIsShown(t *testing.T) {
	long := strings.Repeat("é, a long prompt; ", 100)
	for _, tc := range []struct{ name, was, is, wantWas, wantIs string }{
		{"far into a prompt", long + "day 1" + long, long + "day 2" + long, "prompt; day 1é, a", "prompt; day 2é, a"},
		{"at its end", long, long + "!", `prompt; "`, `prompt; !"`},
		{"at its beginning", "1" + long, "2" + long, `"1é`, `"2é`},
		{"a space that does not break", "a b", "a\u00a0b", `"a b"`, `"a\u00a0b"`},
		{"what has no width", "ab", "a\u200bb", `"ab"`, `"a\u200bb"`},
		{"another normal form", "caf\u00e9", "cafe\u0301", `"café"`, `"cafe\u0301"`},
		{"accents elsewhere stay", "e\u0301 one x", "e\u0301 two x", "e\u0301 one", "e\u0301 two"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			quote := func(s string) string { b, _ := json.Marshal([]string{s}); return string(b) }
			x := call(1, "POST", "https://h/", jsonType, quote(tc.was))
			_, miss := NewIndex([]*tape.Exchange{x}, Rules{}).Match(ask("POST", "https://h/", jsonType, quote(tc.is)))
			d := miss.Differences[0]
			if !strings.Contains(d.Recorded, tc.wantWas) || !strings.Contains(d.Now, tc.wantIs) {
				t.Errorf("it shows %s and %s", d.Recorded, d.Now)
			}
		})
	}
}

func TestCredentialsInBodiesAreNotShown(t *testing.T) {
	field := func(name string) string {
		return "Content-Disposition: form-data; name=\"" + name + "\"\r\n\r\n"
	}
	const multipartType = "multipart/form-data; boundary=xx"
	for _, tc := range []struct{ name, contentType, was, is, where string }{
		{"a form's field", formType, "client_secret=&a=1", "client_secret=hunter3&a=1", "body field client_secret"},
		{"a member", jsonType, `{"api_key":null}`, `{"api_key":"hunter3"}`, "body $.api_key"},
		{"a new member", jsonType, `{}`, `{"password":"hunter3"}`, "body $.password"},
		{"below a member", jsonType, `{"accessToken":{"v":["hunter2"]}}`, `{"accessToken":{"v":["hunter3"]}}`, "body $.accessToken.v[0]"},
		{"inside of what is shown", jsonType, `{"a":1}`, `{"a":[{"token":"hunter3","b":1}]}`, "body $.a"},
		{"a part", multipartType, multipartBody("xx", field("api_key")), multipartBody("xx", field("api_key")+"hunter3"), "body part api_key"},
		{"a new part", multipartType, multipartBody("xx", field("a")+"1"), multipartBody("xx", field("a")+"1", field("secret")+"hunter3"), "body part secret"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := call(1, "POST", "https://h/", tc.contentType, tc.was)
			_, miss := NewIndex([]*tape.Exchange{x}, Rules{}).Match(ask("POST", "https://h/", tc.contentType, tc.is))
			if miss == nil || len(miss.Differences) != 1 || miss.Differences[0].Where.String() != tc.where {
				t.Fatalf("miss %+v", miss)
			}
			text := miss.String() + string(miss.Body())
			if strings.Contains(text, "hunter") || !strings.Contains(text, "REDACTED") {
				t.Errorf("the miss says %s", text)
			}
		})
	}
}

func TestASecretInABodyMayBeAnotherThanTheRecordedOne(t *testing.T) {
	const multipartType = "multipart/form-data; boundary=xx"
	field := "Content-Disposition: form-data; name=\"api_key\"\r\n\r\n"
	for _, tc := range []struct{ name, contentType, was, is string }{
		{"a form's field", formType, "client_secret=xx&a=1", "a=1&client_secret=hunter3"},
		{"a member", jsonType, `{"api_key":"xxxxxxx","a":1}`, `{"a":1,"api_key":"hunter\"3"}`},
		{"a number", jsonType, `{"password":1000}`, `{"password":12}`},
		{"a token in a text", jsonType, `["use ghp_xA0000000000000000000000000000000000"]`, `["use ghp_yB1111111111111111111111111111111111"]`},
		{"a part", multipartType, multipartBody("xx", field+"xx"), multipartBody("xx", field+"hunter3")},
		{"bytes", "text/plain", "key: sk-xx000000000000000000000000", "key: sk-yyyyyyyyyyyyyyyyyyyyyyyyyyyy1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := call(1, "POST", "https://h/", tc.contentType, tc.was)
			if got, miss := NewIndex([]*tape.Exchange{x}, Rules{}).Match(ask("POST", "https://h/", tc.contentType, tc.is)); got != x {
				t.Error(miss)
			}
			kept := Rules{Redact: tape.NewRedactor(tape.RedactRules{KeepBodies: true})}
			if got, _ := NewIndex([]*tape.Exchange{x}, kept).Match(ask("POST", "https://h/", tc.contentType, tc.is)); got != nil {
				t.Error("another value counts as the same where bodies are kept")
			}
		})
	}
}

func TestMissNamesTheClosestCall(t *testing.T) {
	calls := []*tape.Exchange{
		call(1, "GET", "https://other/v1/chat", "", ""),
		call(2, "POST", "https://h/v1/embed", jsonType, `{}`),
		call(3, "POST", "https://h/v1/chat", jsonType, `{"model":"a","messages":[{"content":"old"}]}`),
		call(4, "POST", "https://h/v1/chat", jsonType, `{"model":"b","messages":[{"content":"old"}],"n":1}`),
	}
	ix := NewIndex(calls, Rules{})
	for _, tc := range []struct {
		name    string
		q       Query
		closest int
		where   string
	}{
		{"the fewest differences", ask("POST", "https://h/v1/chat", jsonType, `{"model":"a","messages":[{"content":"new"}]}`), 3, "body $.messages[0].content"},
		{"another method at the same place", ask("PUT", "https://h/v1/embed", jsonType, `{}`), 2, "method"},
		{"the most similar path", ask("GET", "https://other/v1/models", "", ""), 1, "path"},
		{"another host with the same path", ask("GET", "https://third/v1/chat", "", ""), 1, "host"},
		{"nothing like it", ask("GET", "https://third/x", "", ""), 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x, miss := ix.Match(tc.q)
			if x != nil {
				t.Fatalf("matched call %d", x.Number)
			}
			var reply struct {
				Error       struct{ Message string }
				Closest     struct{ Number int }
				Differences []event.Difference
			}
			if err := json.Unmarshal(miss.Body(), &reply); err != nil {
				t.Fatal(err)
			}
			if reply.Closest.Number != tc.closest || !strings.Contains(reply.Error.Message, tc.q.URL) {
				t.Fatalf("reply %s", miss.Body())
			}
			if tc.where != "" && reply.Differences[0].Where.String() != tc.where {
				t.Errorf("differences %+v", reply.Differences)
			}
		})
	}
}

func TestLongValuesAndListsAreShortened(t *testing.T) {
	x := call(1, "POST", "https://h/", jsonType, `["`+strings.Repeat("é", 500)+`",`+strings.Repeat("1,", 50)+`1]`)
	_, miss := NewIndex([]*tape.Exchange{x}, Rules{}).Match(ask("POST", "https://h/", jsonType, `[]`))
	if len(miss.Differences) != maxDifferences || miss.More != 52-maxDifferences {
		t.Errorf("%d differences and %d more", len(miss.Differences), miss.More)
	}
	if n := len([]rune(miss.Differences[0].Recorded)); n > 121 {
		t.Errorf("a value of %d characters", n)
	}
}
