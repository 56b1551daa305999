package llm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream/internal/yamlfile"
	"github.com/wiretape/wiretape/httpstream/jsonvalue"
)

// assembled is what events of one stream make: "text: …", "tool call 1: f(…)".
func assembled(t testing.TB, table *Table, events ...string) string {
	t.Helper()
	a := NewAssembly(table)
	for _, e := range events {
		d, err := jsonvalue.Parse([]byte(e))
		if err != nil {
			t.Fatalf("%s: %v", e, err)
		}
		a.Take(d.Value)
	}
	lines := []string{a.Format()}
	for _, name := range a.Names() {
		p := a.Piece(name)
		text := p.Text()
		if p.Kind == Tool {
			text = fmt.Sprintf("%s(%s)", p.Function, text)
		}
		lines = append(lines, name+": "+text)
	}
	if a.Usage() != "" {
		lines = append(lines, "usage: "+a.Usage())
	}
	return strings.Join(lines, "\n")
}

func TestAnswersArePutTogether(t *testing.T) {
	for _, tc := range []struct {
		name   string
		events []string
		want   string
	}{
		{"chat with two choices and tools", []string{
			`{"choices":[{"index":0,"delta":{"content":"Hel"}},{"index":1,"delta":{"content":"x"}}]}`,
			`{"choices":[{"delta":{"content":"lo","tool_calls":[{"index":1,"function":{"name":"f","arguments":"{\"a"}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"\":1}"}}]},"finish_reason":"stop"}]}`,
			`{"choices":[],"usage":{"total_tokens":7}}`,
		}, "openai-chat\ntext: Hello\nchoice 2 text: x\ntool call 2: f({\"a\":1})\nfinish reason: stop\nusage: {\"total_tokens\":7}"},
		{"responses", []string{
			`{"type":"response.output_text.delta","output_index":1,"content_index":2,"delta":"a"}`,
			`{"type":"response.output_item.added","item":{"name":"f"}}`,
			`{"type":"response.function_call_arguments.delta","delta":"{}"}`,
			`{"type":"response.completed","response":{"status":"completed"}}`,
		}, "openai-responses\noutput 2 part 3 text: a\ntool call: f({})\nfinish reason: completed"},
		{"messages", []string{
			`{"type":"message_start","message":{"usage":{"input_tokens":3}}}`,
			`{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","name":"f","input":{}}}`,
			`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"q\":2}"}}`,
			`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}`,
		}, "anthropic\nblock 2 tool call: f({\"q\":2})\nstop reason: tool_use\nusage: {\"input_tokens\":3,\"output_tokens\":9}"},
		{"a whole message", []string{
			`{"type":"message","content":[{"type":"text","text":"a"},{"type":"tool_use","name":"f","input":{"b":1}}],"stop_reason":"end"}`,
		}, "anthropic\ntext: a\nblock 2 tool call: f({\"b\":1})\nstop reason: end"},
		{"candidates", []string{
			`{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"a"},{"functionCall":{"name":"f","args":{}}},{"functionCall":{"name":"g"}}]},"finishReason":"STOP"}]}`,
		}, "gemini\nreasoning: hm\ntext: a\ntool call 1: f({})\ntool call 2: g()\nfinish reason: STOP"},
		{"lines of ollama", []string{
			`{"model":"m","done":false,"message":{"content":"a"}}`,
			`{"model":"m","done":true,"message":{"tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]},"done_reason":"stop","eval_count":4}`,
		}, "ollama\ntext: a\ntool call 1: f({\"x\":1})\nfinish reason: stop\nusage: {\"eval_count\":4}"},
		{"anything else", []string{`{"text":"a"}`, `[1]`, `null`}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := assembled(t, Standard(), tc.events...); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestDeltasAreKnownByTheirPlaces(t *testing.T) {
	for _, tc := range []struct {
		format, where string
		want          bool
	}{
		{"openai-chat", "$.choices[3].delta.content", true},
		{"openai-chat", "$.choices[0].delta.tool_calls[2].function.arguments", true},
		{"openai-chat", "$.choices[0].finish_reason", false},
		{"openai-chat", "$.delta", false},
		{"openai-responses", "$.delta", true},
		{"anthropic", "$.delta.partial_json", true},
		{"gemini", "$.candidates[0].content.parts[1].text", true},
		{"ollama", "$.response", true},
		{"unknown", "$.response", false},
	} {
		if got := IsDelta(Standard().Deltas(tc.format), tc.where); got != tc.want {
			t.Errorf("%s %s: %t", tc.format, tc.where, got)
		}
	}
}

// BenchmarkTake measures what a delta costs beside its decoding.
func BenchmarkTake(b *testing.B) {
	d, err := jsonvalue.Parse([]byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"w"}}]}`))
	if err != nil {
		b.Fatal(err)
	}
	a := NewAssembly(Standard())
	b.ReportAllocs()
	for b.Loop() {
		a.Take(d.Value)
	}
}

func parse(t testing.TB, text string) ([]Format, error) {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return Parse("wiretape.yaml", &n)
}

const ownYAML = `
- name: acme
  match: { path: /v1/generate*, has: $.output }
  text: $.output.delta
  reasoning: [$.output.thinking, $.output.thought]
  finish: $.output.stop
  tool: { each: "$.output.calls[*]", index: $.index, name: $.function, arguments: $.args }
  usage: $.usage
- name: acme-many
  match: { has: $.outputs }
  each: $.outputs[*]
  index: $.nr
  text: $['the delta']
  tool: { name: $.call.name, arguments: $.call.args }
`

func TestAUsersFormatPutsAnswersTogether(t *testing.T) {
	own, err := parse(t, ownYAML)
	if err != nil {
		t.Fatal(err)
	}
	table, err := NewTable(own...)
	if err != nil {
		t.Fatal(err)
	}
	events := []string{
		`{"output":{"thought":"hm","delta":"Hel"}}`,
		`{"output":{"delta":"lo","calls":[{"index":1,"function":"f","args":"{\"a"},{"index":0,"function":"g","args":{"b":1}}]}}`,
		`{"output":{"calls":[{"index":1,"args":"\":2}"}],"stop":"end"},"usage":{"out":3}}`,
	}
	want := "acme\nreasoning: hm\ntext: Hello\ntool call 2: f({\"a\":2})\ntool call 1: g({\"b\":1})\nfinish reason: end\nusage: {\"out\":3}"
	if got := assembled(t, table.For("/v1/generate-stream"), events...); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := assembled(t, table.For("/other"), events...); got != "" {
		t.Errorf("of another path: %s", got)
	}
	many := []string{`{"outputs":[{"nr":1,"the delta":"b"},{"nr":0,"the delta":"a","call":{"name":"f","args":{}}}]}`, `{"outputs":[{"nr":1,"the delta":"B"}]}`}
	if got := assembled(t, table.For("/"), many...); got != "acme-many\nanswer 2 text: bB\ntext: a\ntool call: f({})" {
		t.Errorf("got\n%s", got)
	}
	if !IsDelta(table.Deltas("acme"), "$.output.calls[4].args") || IsDelta(table.Deltas("acme"), "$.output.stop") {
		t.Errorf("deltas of acme are %q", table.Deltas("acme"))
	}
	if got := assembled(t, table.For("/"), `{"choices":[{"delta":{"content":"a"}}]}`); got != "openai-chat\ntext: a" {
		t.Errorf("a format that is built in: %s", got)
	}
}

func TestMistakesInFormatsAreNamedWithFileAndLine(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"no list", "a: b", "wiretape.yaml:1: llm_formats should be a list"},
		{"no mapping", "- a", "wiretape.yaml:1: a format should be a mapping"},
		{"an unknown key", "- name: a\n  match: {has: $.a}\n  text: $.b\n  txt: $.c", `wiretape.yaml:4: unknown key "txt" in a format; use name, match, each, index, text, reasoning, finish, tool or usage`},
		{"no name", "- match: {has: $.a}\n  text: $.b", "wiretape.yaml:1: a format needs a name"},
		{"a name that is taken", "- name: gemini\n  match: {has: $.a}\n  text: $.b", `wiretape.yaml:1: there is a format "gemini" already; give it another name`},
		{"no match", "- name: a\n  text: $.b", "wiretape.yaml:1: a: say under match which answers it is for: path, has or both"},
		{"no text", "- name: a\n  match: {has: $.a}", "wiretape.yaml:1: a: say where the text is, or the tool calls"},
		{"a bad path", "- name: a\n  match: {has: $.a}\n  text: output", `wiretape.yaml:3: text: "output" is no JSONPath (RFC 9535): `},
		{"a bad pattern", "- name: a\n  match: {path: v1}\n  text: $.a", `wiretape.yaml:2: "v1" is no pattern for paths; write it like /v1/generate*`},
		{"an unknown key under match", "- name: a\n  match: {host: x}\n  text: $.a", `wiretape.yaml:2: unknown key "host" under match; use path or has`},
		{"a tool without arguments", "- name: a\n  match: {has: $.a}\n  tool: {name: $.f}", "wiretape.yaml:3: tool needs name and arguments"},
		{"a key that is there twice", "- name: a\n  match: {has: $.a}\n  text: $.a\n  text: $.b", `wiretape.yaml:4: "text" is here twice; join the two`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse(t, tc.in)
			var mistake *yamlfile.Error
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || !errors.As(err, &mistake) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	if f, err := parse(t, ""); f != nil || err != nil {
		t.Errorf("nothing: %v, %v", f, err)
	}
}

// FuzzFormats checks that what is taken can be used, and that mistakes have a place.
func FuzzFormats(f *testing.F) {
	f.Add(ownYAML, `{"output":{"delta":"a"}}`)
	f.Add("- {name: a, match: {has: '$..x'}, text: '$[?@.a]'}", `[{"x":1}]`)
	f.Fuzz(func(t *testing.T, text, event string) {
		var n yaml.Node
		if yaml.Unmarshal([]byte(text), &n) != nil {
			return
		}
		own, err := Parse("f", &n)
		if err != nil {
			if !errors.As(err, new(*yamlfile.Error)) {
				t.Fatalf("%q: %v has no place", text, err)
			}
			return
		}
		table, err := NewTable(own...)
		if err != nil {
			t.Fatalf("%q is taken, but: %v", text, err)
		}
		d, err := jsonvalue.Parse([]byte(event))
		if err != nil {
			return
		}
		before := jsonvalue.Show(d.Value)
		a := NewAssembly(table.For("/"))
		a.TakeAll(d.Value)
		for _, name := range a.Names() {
			if a.Piece(name) == nil {
				t.Fatalf("no piece %q", name)
			}
		}
		if jsonvalue.Show(d.Value) != before {
			t.Fatalf("%s became %s", before, jsonvalue.Show(d.Value))
		}
	})
}
