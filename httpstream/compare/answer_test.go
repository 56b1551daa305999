package compare

import (
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream/llm"
)

func TestAnswersOfLanguageModelsArePutTogether(t *testing.T) {
	sse := func(lines ...string) reply {
		var ps []string
		for _, l := range lines {
			ps = append(ps, "data: "+l+"\n\n")
		}
		return answer(sseType, ps...)
	}
	ndjson := func(lines ...string) reply { return answer("application/x-ndjson", strings.Join(lines, "\n")) }
	tests := []struct {
		format string
		make   func(lines ...string) reply
		lines  []string
		// change is old, new, and what the difference must say.
		change [][3]string
	}{
		{"openai-chat", sse, []string{
			`{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"The quick"}}]}`,
			`{"choices":[{"index":0,"delta":{"content":" brown fox"}}]}`,
			`{"choices":[{"index":1,"delta":{"content":"second"}}]}`,
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"get_weather","arguments":"{\"city\":"}}]}}]}`,
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Wien\",\"n\":1}"}}]}}]}`,
			`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`, `[DONE]`},
			[][3]string{
				{"brown", "red", "text: The quick [-brown-]{+red+} fox"},
				{"second", "third", "choice 2 text: [-second-]{+third+}"},
				{"Wien", "Graz", `tool call 1: get_weather $.city: recorded "Wien", now "Graz"`},
				{"get_weather", "get_time", `tool call 1: get_weather → get_time`},
				{`"finish_reason":"tool_calls"`, `"finish_reason":"stop"`, "finish reason: [-tool_calls-]{+stop+}"},
			}},
		{"openai-responses", sse, []string{
			`{"type":"response.created","response":{}}`,
			`{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hello "}`,
			`{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"world"}`,
			`{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","name":"f","arguments":""}}`,
			`{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\"a\":9007199254740993}"}`,
			`{"type":"response.completed","response":{"status":"completed"}}`},
			[][3]string{{"world", "there", "text: Hello [-world-]{+there+}"},
				{"740993}", "740992}", "output 2 tool call: f $.a: recorded 9007199254740993, now 9007199254740992"}}},
		{"anthropic", sse, []string{
			`{"type":"message_start","message":{}}`,
			`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
			`{"type":"ping"}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Let me "}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"look."}}`,
			`{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"search","input":{}}}`,
			`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"q\":"}}`,
			`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"[1,2]}"}}`,
			`{"type":"message_delta","delta":{"stop_reason":"tool_use"}}`},
			[][3]string{{"look.", "see.", "text: Let me [-look-]{+see+}."}, {"[1,2]", "[1,3]", "block 2 tool call: search $.q[1]: recorded 2, now 3"},
				{`"stop_reason":"tool_use"`, `"stop_reason":"end_turn"`, "stop reason: [-tool_use-]{+end_turn+}"}}},
		{"gemini", sse, []string{
			`{"candidates":[{"content":{"parts":[{"text":"thinking","thought":true}]}}]}`,
			`{"candidates":[{"content":{"parts":[{"text":"It is "},{"text":"sunny"}]}}]}`,
			`{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"x":1}}}]},"finishReason":"STOP"}]}`},
			[][3]string{{"sunny", "rainy", "text: It is [-sunny-]{+rainy+}"}, {"thinking", "musing", "reasoning: [-thinking-]{+musing+}"},
				{`"x":1`, `"x":2`, "tool call 1: f $.x: recorded 1, now 2"}}},
		{"gemini", func(lines ...string) reply { return answer("application/json", "["+strings.Join(lines, ",\r\n")+"]") }, []string{
			`{"candidates":[{"content":{"parts":[{"text":"one "}]}}]}`, `{"candidates":[{"content":{"parts":[{"text":"two"}]}}]}`},
			[][3]string{{"two", "three", "text: one [-two-]{+three+}"}}},
		{"ollama", ndjson, []string{
			`{"model":"m","message":{"role":"assistant","content":"Hi "},"done":false}`,
			`{"model":"m","message":{"content":"you"},"done":false}`,
			`{"model":"m","message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":"b"}}}]},"done":false}`,
			`{"model":"m","message":{"content":""},"done":true,"done_reason":"stop"}`},
			[][3]string{{"you", "all", "text: Hi [-you-]{+all+}"}, {`"a":"b"`, `"a":"c"`, `tool call 1: f $.a: recorded "b", now "c"`}}},
		{"ollama", ndjson, []string{`{"model":"m","response":"a ","done":false}`, `{"model":"m","response":"b","done":true,"done_reason":"stop"}`},
			[][3]string{{`"b"`, `"c"`, "text: a [-b-]{+c+}"}}},
	}
	for _, tt := range tests {
		t.Run(tt.format, func(t *testing.T) {
			rec := tt.make(tt.lines...)
			v := verdict(rec, rec, Options{})
			wantPass(t, v)
			if v.Answer != nil {
				t.Error("an answer that does not differ is explained")
			}
			for _, c := range tt.change {
				changed := make([]string, len(tt.lines))
				for i, l := range tt.lines {
					changed[i] = strings.Replace(l, c[0], c[1], 1)
				}
				v := verdict(rec, tt.make(changed...), Options{})
				if v.Pass || v.Answer == nil || v.Answer.Format != tt.format || len(v.Answer.Pieces) != 1 {
					t.Fatalf("%s: %+v\n%s", c[1], v.Answer, messages(v))
				}
				p := v.Answer.Pieces[0]
				got := p.Name + ": "
				switch {
				case p.RecordedTool != p.NowTool:
					got += p.RecordedTool + " → " + p.NowTool
				case p.Arguments != nil:
					got += p.RecordedTool + " " + p.Arguments[0].Message
				default:
					got += p.Words.String()
				}
				if got != c[2] {
					t.Errorf("got  %s\nwant %s", got, c[2])
				}
			}
		})
	}
}

func TestTheSameTextInOtherDeltasIsSaidToBeTheSame(t *testing.T) {
	delta := func(s string) string { return `{"choices":[{"index":0,"delta":{"content":"` + s + `"}}]}` }
	v := verdict(events(delta("Hello "), delta("world"), delta("!")), events(delta("Hello world"), delta("!")), Options{})
	if v.Pass || v.Answer == nil || !v.Answer.Same {
		t.Errorf("%+v\n%s", v.Answer, messages(v))
	}
}

func TestAMissingDeltaIsAMissingWord(t *testing.T) {
	var all []string
	for _, w := range strings.Fields("one two three four five six seven eight nine ten") {
		all = append(all, `{"choices":[{"delta":{"content":"`+w+` "}}]}`)
	}
	v := verdict(events(all...), events(append(append([]string{}, all[:3]...), all[4:]...)...), Options{})
	if len(v.Differences) != 1 || v.Differences[0].Kind != Missing || v.Differences[0].Index != 4 {
		t.Error(messages(v))
	}
	if got := v.Answer.Pieces[0].Words.String(); got != "one two three[- four-] five six seven eight nine ten " {
		t.Error(got)
	}
}

func TestNoiseInDeltasIsNotExplained(t *testing.T) {
	delta := func(id, s string) string { return `{"id":"` + id + `","choices":[{"delta":{"content":"` + s + `"}}]}` }
	v := verdict(events(delta("1", "a")), events(delta("2", "a")), Options{Rules: rules(t, "response.body", "$.id")})
	wantPass(t, v)
}

func TestHugeAnswersAreCut(t *testing.T) {
	word := strings.Repeat("w", 1000)
	var rec, now []string
	for range 600 {
		rec = append(rec, `{"choices":[{"delta":{"content":"`+word+`"}}]}`)
		now = append(now, `{"choices":[{"delta":{"content":"`+word+`"}}]}`)
	}
	now[1] = strings.ReplaceAll(now[1], "w", "v")
	v := verdict(events(rec...), events(now...), Options{})
	if v.Answer == nil || !v.Answer.Cut || len(v.Answer.Pieces[0].Recorded) > llm.MaxAnswer {
		t.Error("not cut")
	}
}
