package compare

import (
	"reflect"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream/noise"
)

func parseYAML(t testing.TB, text string) *yaml.Node {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return &n
}

const noiseYAML = `
response.body: ["$.id", "$..created"]
response.header: X-Request-*
response.sse: [id, retry]
response.text: ['\d{2}:\d{2}:\d{2}']
request.body: ["$.key"]
request.header: [Idempotency-Key]
request.query: [ts, "t*"]
request.path: ['[0-9a-f]{8}']
request.text: '\d{4}-\d\d-\d\d'
cases:
  "0003-*":
    response.body: ["$.price"]
  "0004-*":
    request.text: [now]
  "*-chat":
    response.header: [ETag]
`

func TestLimitsAreReadFromYAML(t *testing.T) {
	l, err := ParseLimits("f", parseYAML(t, "buffered: false\nfirst_event: {ratio: 2, floor: 1s}\nlongest_gap: false\npace: {ratio: 2, floor: 3s}"))
	want := Limits{First: Bound{Ratio: 2, Floor: 1e9}, Gap: DefaultLimits().Gap, Pace: Bound{Ratio: 2, Floor: 3e9}, Speed: 1}
	want.Gap.Off = true
	if err != nil || l != want {
		t.Errorf("%+v, %v", l, err)
	}
	for in, want := range map[string]string{
		"buffered: 3": "f:1: buffered should be true or false", "x: 1": `f:1: unknown key "x" under shape`,
		"first_event: {ratio: 0.5}": "f:1: ratio should be a number of at least 1", "first_event: {floor: 5}": "f:1: floor should be a duration like 500ms",
		"first_event: {flor: 5s}": `f:1: unknown key "flor" under first_event`, "longest_gap: no way": "f:1: longest_gap should be",
		"- x": "f:1: shape should be a mapping",
	} {
		if _, err := ParseLimits("f", parseYAML(t, in)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// TestRulesAreNeverChangedByARun also shows that cases can run in parallel: the
// race detector would see a write.
func TestRulesAreNeverChangedByARun(t *testing.T) {
	r, err := noise.Parse("f", parseYAML(t, noiseYAML))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := noise.Parse("f", parseYAML(t, noiseYAML))
	rec := answer("application/json", `{"id":1,"price":2,"list":[{"created":1}]}`)
	now := answer("application/json", `{"id":2,"price":3,"list":[{"created":2}]}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if v := verdict(rec, now, Options{Rules: r.For("0003-a").With(r.For("0003-b"))}); !v.Pass {
					t.Error(messages(v))
				}
				// The price is noise in case 3 only.
				if v := verdict(rec, now, Options{Rules: r.For("0004-a")}); messages(v) != "[changed] body $.price: recorded 2, now 3" {
					t.Error(messages(v))
				}
			}
		})
	}
	wg.Wait()
	if !reflect.DeepEqual(r, before) {
		t.Error("the rules changed")
	}
}

func TestNoiseInAnswers(t *testing.T) {
	tests := []struct {
		name     string
		rec, now reply
		rules    []string
		want     []string
	}{
		{"a path in the data of events", events(`{"id":1,"v":1}`, `{"id":2,"v":2}`), events(`{"id":8,"v":1}`, `{"id":9,"v":2}`),
			[]string{"response.body", "$.id"}, nil},
		{"all else in them still counts", events(`{"id":1,"v":1}`), events(`{"id":8,"v":2}`), []string{"response.body", "$.id"},
			[]string{"[changed] event 1 data $.v: recorded 1, now 2"}},
		{"fields of events", answer(sseType, "id: 1\nevent: a\ndata: x\n\n"), answer(sseType, "id: 2\nretry: 3\nevent: a\ndata: x\n\n"),
			[]string{"response.sse", "id", "response.sse", "retry"}, nil},
		{"other fields still count", answer(sseType, "id: 1\nevent: a\ndata: x\n\n"), answer(sseType, "id: 2\nevent: b\ndata: x\n\n"),
			[]string{"response.sse", "id"}, []string{"[changed] event 1 event: recorded a, now b"}},
		{"comments", answer(sseType, ": ping\ndata: x\n\n"), answer(sseType, "data: x\n\n: a\n: b\n"), []string{"response.sse", "comment"}, nil},
		{"data", events("a", "b"), events("c", "d"), []string{"response.sse", "data"}, nil},
		{"a block of which nothing is left", answer(sseType, "retry: 1\n\ndata: x\n\n"), events("x"), []string{"response.sse", "retry"}, nil},
		{"text", answer("text/plain", "at 10:00:00\nb\n"), answer("text/plain", "at 23:59:59\nb\n"), []string{"response.text", `\d\d:\d\d:\d\d`}, nil},
		{"text around it still counts", answer("text/plain", "at 10:00:00\n"), answer("text/plain", "At 23:59:59\n"), []string{"response.text", `\d\d:\d\d:\d\d`},
			[]string{`[changed] line 1: recorded "at …\n", now "At …\n"`}},
		{"text in events", events("run 17 done"), events("run 4 done"), []string{"response.text", `\d+`}, nil},
		{"an array element keeps the place of its neighbours", answer("application/json", `[1,2,3]`), answer("application/json", `[9,2,4]`),
			[]string{"response.body", "$[0]"}, []string{"[changed] body $[2]: recorded 3, now 4"}},
		{"a path that is not there on one side", answer("application/json", `{"a":1}`), answer("application/json", `{"a":1,"id":3}`),
			[]string{"response.body", "$.id"}, nil},
		{"a name that occurs twice", answer("application/json", `{"id":1,"id":2}`), answer("application/json", `{"id":3}`), []string{"response.body", "$.id"}, nil},
		{"the whole document", answer("application/json", `1`), answer("application/json", `[]`), []string{"response.body", "$"}, nil},
		{"a filter", answer("application/json", `[{"k":"t","v":1},{"k":"u","v":1}]`), answer("application/json", `[{"k":"t","v":2},{"k":"u","v":1}]`),
			[]string{"response.body", "$[?@.k=='t'].v"}, nil},
		{"trailers and the headers of parts are headers", answer("multipart/mixed; boundary=b", "--b\r\nX-Id: 1\r\n\r\n--b--"),
			answer("multipart/mixed; boundary=b", "--b\r\nX-Id: 2\r\n\r\n--b--"), []string{"response.header", "x-id"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := verdict(tt.rec, tt.now, Options{Rules: rules(t, tt.rules...)})
			if tt.want == nil {
				wantPass(t, v)
				return
			}
			wantFail(t, v, tt.want...)
		})
	}
}

// TestTheRuleOfADifferenceIgnoresIt: what a difference suggests must work.
func TestTheRuleOfADifferenceIgnoresIt(t *testing.T) {
	pairs := [][2]reply{
		{answer("application/json", `{"a b":[{"x'y":1}],"é":2}`), answer("application/json", `{"a b":[{"x'y":2}],"é":3,"new\n":1}`)},
		{answer(sseType, "id: 1\ndata: {\"a\":[1,{\"b\":2}]}\n\n"), answer(sseType, "id: 2\ndata: {\"a\":[1,{\"b\":3}]}\n\n")},
		{reply{status: 200, header: headers("ETag", "1"), end: events().end}, reply{status: 200, header: headers("ETag", "2", "X", "1"), end: events().end}},
	}
	for _, p := range pairs {
		v := verdict(p[0], p[1], Options{})
		var rs []noise.Rule
		for _, d := range v.Differences {
			rs = append(rs, *d.Rule)
		}
		r, err := noise.New(rs...)
		if err != nil {
			t.Fatal(err)
		}
		if len(rs) < 2 {
			t.Fatalf("too few: %v", rs)
		}
		wantPass(t, verdict(p[0], p[1], Options{Rules: r}))
	}
}

func TestSuggestions(t *testing.T) {
	event := func(id, at, token string) string {
		return `{"id":"` + id + `","created":` + at + `,"choices":[{"delta":{"content":"` + token + `"}},{"k":` + at + `}]}`
	}
	rec := events(event("chatcmpl-Ab12345678", "1700000000", "a"), event("chatcmpl-Ab12345678", "1700000000", "b"))
	run := events(event("chatcmpl-Zz98765432", "1700000555", "a"), event("chatcmpl-Zz98765432", "1700000555", "B"))
	rec.header = append(rec.header, headers("X-Request-Id", "4b5ec92c-c1a3-4c6b-9b6c-0d1d4a8ea111")...)
	run.header = append(run.header, headers("X-Request-Id", "0b5ec92c-c1a3-4c6b-9b6c-0d1d4a8ea112", "X-New", "1")...)
	opt := Options{MaxDifferences: 1000}
	got := noise.Suggest(Changes(verdict(rec, run, opt), verdict(rec, rec, opt)))
	var lines []string
	for _, s := range got {
		known := ""
		if s.Known {
			known = " known"
		}
		lines = append(lines, s.Key+" "+s.Value+known+" # "+s.Comment)
	}
	want := []string{
		`response.body $.choices[0].delta.content # changes by itself, look why before you ignore it: "b", then "B"`,
		`response.body $.choices[1].k known # a Unix time: 1700000000, then 1700000555`,
		`response.body $.created known # a Unix time: 1700000000, then 1700000555`,
		`response.body $.id known # an id: "chatcmpl-Ab12345678", then "chatcmpl-Zz98765432"`,
		`response.header X-New # is not always there; look why before you ignore it`,
		`response.header X-Request-Id known # a UUID: 4b5ec92c-c1a3-4c6b-9b6c-0d1d4a8ea111, then 0b5ec92c-c1a3-4c6b-9b6c-0d1d4a8ea112`,
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	var rs []noise.Rule
	for _, s := range got {
		rs = append(rs, s.Rule)
	}
	r, err := noise.New(rs...)
	if err != nil {
		t.Fatal(err)
	}
	wantPass(t, verdict(rec, run, Options{Rules: r}))

	lists := noise.Suggest(Changes(verdict(answer("application/json", `{"a":[{"id":1,"b":[1]},{"id":2,"b":[2]}]}`),
		answer("application/json", `{"a":[{"id":3,"b":[4]},{"id":5,"b":[6]}]}`), opt)))
	if len(lists) != 2 || lists[0].Value != "$.a[*].b[0]" || lists[1].Value != "$.a[*].id" || lists[1].Count != 2 {
		t.Errorf("%+v", lists)
	}
	text := noise.Suggest(Changes(verdict(answer("text/plain", "took 12 ms at 10:11:12\n"), answer("text/plain", "took 9 ms at 23:11:12\n"), opt)))
	if len(text) != 2 || text[0].Key != "response.text" || !text[0].Known {
		t.Errorf("%+v", text)
	}
	ping := noise.Suggest(Changes(verdict(answer(sseType, ": ping\n: ping\ndata: a\n\n"), answer(sseType, ": ping\ndata: a\n\n"), opt)))
	if len(ping) != 1 || ping[0].Rule != (noise.Rule{Key: "response.sse", Value: "comment"}) || ping[0].Known {
		t.Errorf("%+v", ping)
	}
	if none := noise.Suggest(Changes(verdict(events("a", "b", "c"), events("b", "a"), opt), verdict(answer("text/plain", "a"), answer("text/plain", "b"), opt))); none != nil {
		t.Errorf("%+v", none)
	}
}
