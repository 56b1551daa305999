package llm

import (
	"fmt"
	"strings"
	"testing"

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
