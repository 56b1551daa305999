package compare

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/wiretape/wiretape/httpstream/jsonvalue"
)

// An object gives typed access to a decoded JSON object; what is missing or of
// another type is the zero value.
type object map[string]any

func asObject(v any) object { o, _ := v.(map[string]any); return o }

func (o object) object(name string) object { return asObject(o[name]) }
func (o object) list(name string) []any    { l, _ := o[name].([]any); return l }
func (o object) str(name string) string    { s, _ := o[name].(string); return s }
func (o object) has(name string) bool      { _, ok := o[name]; return ok }

func (o object) num(name string, missing int) int {
	n, ok := o[name].(json.Number)
	if !ok {
		return missing
	}
	i, err := strconv.Atoi(string(n))
	if err != nil {
		return missing
	}
	return i
}

// take adds what one event holds, if it is of a format that is known.
func (a *assembly) take(v any) {
	o := asObject(v)
	format, add := a.recognize(o)
	if format == "" {
		return
	}
	if a.format == "" {
		a.format = format
	}
	if a.format == format {
		add(o)
	}
}

// recognize tells the formats apart by what each of their events has.
func (a *assembly) recognize(o object) (string, func(object)) {
	kind := o.str("type")
	switch {
	case o.has("choices"):
		return "openai-chat", a.openAIChat
	case len(kind) > 9 && kind[:9] == "response.":
		return "openai-responses", a.openAIResponses
	case kind == "message" && o.has("content"), kind == "message_delta", kind == "message_start",
		kind == "content_block_start", kind == "content_block_delta":
		return "anthropic", a.anthropic
	case o.has("candidates"):
		return "gemini", a.gemini
	case o.has("done") && o.has("model") && (o.has("message") || o.has("response")):
		return "ollama", a.ollama
	}
	return "", nil
}

// openAIChat takes chat.completion.chunk, chat.completion and text_completion objects.
func (a *assembly) openAIChat(o object) {
	for i, v := range o.list("choices") {
		choice := asObject(v)
		at := choice.num("index", i)
		name := func(n string) string { return numbered("choice", at, n) }
		delta := choice.object("delta")
		if delta == nil {
			delta = choice.object("message")
		}
		a.add(name("reasoning"), "reasoning", delta.str("reasoning_content")+delta.str("reasoning"))
		a.add(name("text"), "text", delta.str("content")+choice.str("text"))
		a.add(name("refusal"), "refusal", delta.str("refusal"))
		for k, v := range delta.list("tool_calls") {
			call := asObject(v)
			f := call.object("function")
			a.call(name(fmt.Sprintf("tool call %d", call.num("index", k)+1)), f.str("name"), f.str("arguments"))
		}
		if f := delta.object("function_call"); f != nil {
			a.call(name("function call"), f.str("name"), f.str("arguments"))
		}
		a.add(name("finish reason"), "finish", choice.str("finish_reason"))
	}
}

// openAIResponses takes the events of the Responses API.
func (a *assembly) openAIResponses(o object) {
	item := o.num("output_index", 0)
	name := func(n string) string { return numbered("output", item, n) }
	part := func(n string) string {
		index := o.num("content_index", o.num("summary_index", 0))
		return name(numbered("part", index, n))
	}
	switch o.str("type") {
	case "response.output_text.delta":
		a.add(part("text"), "text", o.str("delta"))
	case "response.refusal.delta":
		a.add(part("refusal"), "refusal", o.str("delta"))
	case "response.reasoning_text.delta", "response.reasoning_summary_text.delta":
		a.add(part("reasoning"), "reasoning", o.str("delta"))
	case "response.output_item.added":
		if it := o.object("item"); it.str("name") != "" {
			a.call(name("tool call"), it.str("name"), it.str("arguments")+it.str("input"))
		}
	case "response.function_call_arguments.delta", "response.mcp_call_arguments.delta", "response.custom_tool_call_input.delta":
		a.call(name("tool call"), "", o.str("delta"))
	case "response.completed", "response.incomplete", "response.failed":
		a.add("finish reason", "finish", o.object("response").str("status"))
	}
}

// anthropic takes the events of the Messages API, and its whole answer.
func (a *assembly) anthropic(o object) {
	index := o.num("index", 0)
	switch o.str("type") {
	case "message":
		for i, v := range o.list("content") {
			a.anthropicBlock(i, asObject(v))
		}
		a.add("stop reason", "finish", o.str("stop_reason"))
	case "content_block_start":
		a.anthropicBlock(index, o.object("content_block"))
	case "content_block_delta":
		delta := o.object("delta")
		name := func(n string) string { return numbered("block", index, n) }
		switch delta.str("type") {
		case "text_delta":
			a.add(name("text"), "text", delta.str("text"))
		case "thinking_delta":
			a.add(name("reasoning"), "reasoning", delta.str("thinking"))
		case "input_json_delta":
			a.call(name("tool call"), "", delta.str("partial_json"))
		}
	case "message_delta":
		a.add("stop reason", "finish", o.object("delta").str("stop_reason"))
	}
}

func (a *assembly) anthropicBlock(index int, block object) {
	name := func(n string) string { return numbered("block", index, n) }
	switch block.str("type") {
	case "text":
		a.add(name("text"), "text", block.str("text"))
	case "thinking":
		a.add(name("reasoning"), "reasoning", block.str("thinking"))
	case "tool_use", "server_tool_use", "mcp_tool_use":
		arguments := ""
		if input := block.object("input"); len(input) > 0 { // empty where deltas follow
			arguments = jsonvalue.Show(map[string]any(input))
		}
		a.call(name("tool call"), block.str("name"), arguments)
	}
}

// gemini takes GenerateContentResponse objects.
func (a *assembly) gemini(o object) {
	for i, v := range o.list("candidates") {
		candidate := asObject(v)
		at := candidate.num("index", i)
		name := func(n string) string { return numbered("candidate", at, n) }
		for _, v := range candidate.object("content").list("parts") {
			part := asObject(v)
			if thought, _ := part["thought"].(bool); thought {
				a.add(name("reasoning"), "reasoning", part.str("text"))
			} else {
				a.add(name("text"), "text", part.str("text"))
			}
			if f := part.object("functionCall"); f != nil {
				a.wholeCall(name, f.str("name"), f["args"])
			}
		}
		a.add(name("finish reason"), "finish", candidate.str("finishReason"))
	}
}

// ollama takes the lines of /api/chat and /api/generate.
func (a *assembly) ollama(o object) {
	message := o.object("message")
	a.add("reasoning", "reasoning", message.str("thinking")+o.str("thinking"))
	a.add("text", "text", message.str("content")+o.str("response"))
	for _, v := range message.list("tool_calls") {
		f := asObject(v).object("function")
		a.wholeCall(func(n string) string { return n }, f.str("name"), f["arguments"])
	}
	a.add("finish reason", "finish", o.str("done_reason"))
}

// wholeCall takes a tool call that comes in one piece and has no number.
func (a *assembly) wholeCall(name func(string) string, tool string, arguments any) {
	for i := 1; i <= maxPieces; i++ {
		n := name(fmt.Sprintf("tool call %d", i))
		if a.pieces[n] == nil {
			text, isText := arguments.(string)
			if !isText && arguments != nil {
				text = jsonvalue.Show(arguments)
			}
			a.call(n, tool, text)
			return
		}
	}
}
