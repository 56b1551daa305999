package noise

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream/internal/yamlfile"
	"github.com/wiretape/wiretape/httpstream/jsonvalue"
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

func TestRulesAreReadFromYAML(t *testing.T) {
	r, err := Parse("wiretape.yaml", parseYAML(t, noiseYAML))
	if err != nil {
		t.Fatal(err)
	}
	body := func(r Rules) string {
		doc, _ := jsonvalue.Parse([]byte(`{"id":1,"price":2,"deep":[{"created":3,"x":4}]}`))
		return jsonvalue.Show(r.IgnoreResponseBody(doc.Value))
	}
	chat, other := r.For("0003-chat"), r.For("0004-post")
	if got := body(other); got != `{"deep":[{"x":4}],"price":2}` {
		t.Error(got)
	}
	if got := body(chat); got != `{"deep":[{"x":4}]}` {
		t.Error(got)
	}
	if !chat.IgnoreResponseHeader("etag") || other.IgnoreResponseHeader("etag") {
		t.Error("the rules of a case are not its own")
	}
	if !other.IgnoreResponseHeader("x-request-id") || !other.IgnoreRequestHeader("IDEMPOTENCY-KEY") || !other.IgnoreRequestQuery("tz") || other.IgnoreRequestQuery("Ts") {
		t.Error("names")
	}
	if got := other.IgnoreText("at 12:00:59 x"); got != "at "+Ignored+" x" {
		t.Error(got)
	}
	if got := jsonvalue.Show(other.IgnoreRequestBody(map[string]any{"key": "a", "b": json.Number("1")})); got != `{"b":1}` {
		t.Error(got)
	}
	if got := other.RequestPath()("/v1/deadbeef/x"); got != "/v1/"+Ignored+"/x" {
		t.Error(got)
	}
	if got := other.RequestText()("2026-11-24, now"); got != Ignored+", "+Ignored {
		t.Error(got)
	}
	if r.OwnRequests("0003-chat") != "" || r.OwnRequests("0004-a") != r.OwnRequests("0004-b") || r.OwnRequests("0004-a") == "" {
		t.Error("which cases have rules for requests is wrong")
	}
	if none := (Rules{}); none.RequestPath() != nil || none.RequestText() != nil {
		t.Error("rules from nowhere")
	}
	for _, empty := range []string{"", "null", "cases:\n", "response.body:\n"} {
		if r, err := Parse("f", parseYAML(t, empty)); err != nil || !reflect.DeepEqual(r.For("x"), Rules{}.For("x")) {
			t.Errorf("%q: %v", empty, err)
		}
	}
	if _, err := Parse("f", nil); err != nil {
		t.Error(err)
	}
}

func TestMistakesInRulesAreNamedWithFileAndLine(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"an unknown key", "response.body: [\"$.a\"]\nresponse.boby: []",
			`f.yaml:2: unknown key "response.boby" under noise; use one of response.body, response.header, response.sse, response.text, request.body, request.header, request.query, request.path, request.text, cases`},
		{"a bad JSONPath", "response.body:\n  - \"$.a\"\n  - \"$.[\"", `f.yaml:3: response.body: "$.[" is no JSONPath (RFC 9535): `},
		{"a bad regular expression", "response.text: ['(']", "f.yaml:1: response.text: error parsing regexp: missing closing ): `(`"},
		{"a regular expression that matches nothing at all", "response.text: ['a*']", `f.yaml:1: response.text: "a*" matches the empty text`},
		{"a bad SSE field", "response.sse: [ids]", `f.yaml:1: response.sse: "ids" is no part of an event; use one of event, data, id, retry, comment, unknown`},
		{"a header with a value", "response.header: ['Date: x']", `f.yaml:1: response.header: "Date: x" is no header name`},
		{"a bad pattern of names", "request.query: ['[']", `f.yaml:1: request.query: "[": syntax error in pattern`},
		{"a bad pattern of cases", "cases:\n  '[': {}", `f.yaml:2: "[" is no pattern for case names`},
		{"a mapping for a list", "response.body:\n  a: b", "f.yaml:2: response.body should be a list"},
		{"a list in a list", "response.body: [[a]]", "f.yaml:1: response.body: each entry should be a text"},
		{"an empty entry", "response.header: ['']", "f.yaml:1: response.header: an empty rule ignores nothing; remove it"},
		{"a list of rules", "- a", "f.yaml:1: noise should be a mapping"},
		{"cases within a case", "cases:\n  a:\n    cases: {}", `f.yaml:3: unknown key "cases" under noise`},
		{"a list of cases", "cases: [a]", "f.yaml:1: noise.cases should be a mapping"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f.yaml", parseYAML(t, tt.in))
			var fe *yamlfile.Error
			if !errors.As(err, &fe) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	_, err := Parse("f.yaml", parseYAML(t, "a: 1\nb: 2\nresponse.sse: [x]"))
	if n := strings.Count(err.Error(), "\n") + 1; n != 3 {
		t.Errorf("%d of 3 mistakes reported: %v", n, err)
	}
}

func TestIgnoringDoesNotChangeTheValue(t *testing.T) {
	r, err := New(Rule{RequestBody, "$.a[*].id"}, Rule{RequestBody, "$.a[0]"}, Rule{RequestBody, "$.b.c"})
	if err != nil {
		t.Fatal(err)
	}
	in := `{"a":[{"id":1,"x":2},{"id":3,"x":4}],"b":{"c":{"d":5}}}`
	var v any
	if err := json.Unmarshal([]byte(in), &v); err != nil {
		t.Fatal(err)
	}
	out := r.IgnoreRequestBody(v)
	if left, _ := json.Marshal(v); string(left) != in {
		t.Errorf("changed to %s", left)
	}
	o := out.(map[string]any)
	if a := o["a"].([]any); len(a) != 2 || len(a[1].(map[string]any)) != 1 || a[0] != Ignored {
		t.Errorf("got %v", out)
	}
	if len(o["b"].(map[string]any)) != 0 {
		t.Errorf("got %v", out)
	}
}

func TestSuggestionsAreAddedToYAMLWithTheirComments(t *testing.T) {
	doc := parseYAML(t, "# ours\nnoise:\n  response.header: ETag # keep\n  response.body: [\"$.id\"]\nhosts: [a]\n")
	noise := doc.Content[0].Content[1]
	s := []Suggestion{
		{Rule: Rule{"response.body", "$.id"}, Comment: "there already"},
		{Rule: Rule{"response.body", "$['it''s']"}, Comment: "a Unix\ntime"},
		{Rule: Rule{"response.header", "X-Request-Id"}, Comment: "a UUID"},
		{Rule: Rule{"response.sse", "id"}, Comment: "an id"},
	}
	if n := AddToYAML(noise, "", s); n != 3 {
		t.Errorf("%d added", n)
	}
	if n := AddToYAML(noise, "0003-*", s[3:]); n != 1 {
		t.Errorf("%d added", n)
	}
	if n := AddToYAML(noise, "0003-*", s[3:]); n != 0 {
		t.Errorf("%d added again", n)
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := `# ours
noise:
    response.header:
        - ETag # keep
        - 'X-Request-Id' # a UUID
    response.body:
        - "$.id"
        - '$[''it''''s'']' # a Unix time
    response.sse:
        - 'id' # an id
    cases:
        "0003-*":
            response.sse:
                - 'id' # an id
hosts: [a]
`
	if string(out) != want {
		t.Errorf("got\n%s", out)
	}
	again := parseYAML(t, string(out))
	if _, err := Parse("f", again.Content[0].Content[1]); err == nil {
		t.Error("$['it''s'] should not parse")
	}
	var empty yaml.Node
	AddToYAML(&empty, "", s[2:3])
	if r, err := Parse("f", &empty); err != nil || !r.IgnoreResponseHeader("x-request-id") {
		t.Error(err)
	}
}

func FuzzRules(f *testing.F) {
	f.Add(noiseYAML)
	f.Add("response.body: [\"$[?@.a > 1 && match(@.b, 'x')]\"]")
	f.Add("cases: {a: &x {response.sse: id}, b: *x}")
	f.Fuzz(func(t *testing.T, in string) {
		var n yaml.Node
		if yaml.Unmarshal([]byte(in), &n) != nil {
			return
		}
		r, err := Parse("f", &n)
		if err != nil {
			var fe *yamlfile.Error
			if !errors.As(err, &fe) {
				t.Fatalf("%q: %v has no place", in, err)
			}
			return
		}
		doc, _ := jsonvalue.Parse([]byte(`{"a":[1,{"b":"x"}],"id":2}`))
		r.For("a").IgnoreResponseBody(doc.Value)
	})
}
