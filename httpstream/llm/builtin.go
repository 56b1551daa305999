package llm

// Builtin is the formats of known APIs. They are told apart by what each of their
// events has.
func Builtin() []Format {
	return []Format{openAIChat(), openAIResponses(), anthropic(), gemini(), ollama()}
}

func typed(path string, types ...any) When { return When{{Path: path, In: types}} }

func has(paths ...string) When {
	var w When
	for _, p := range paths {
		w = append(w, Cond{Path: p})
	}
	return w
}

// openAIChat is chat.completion.chunk, chat.completion and text_completion objects.
func openAIChat() Format {
	return Format{
		Name: "openai-chat", Is: []When{has("$.choices")}, Usage: []string{"$.usage"},
		Parts: []Part{{Each: []string{"$.choices[*]"}, Of: "choice", Number: []string{"$.index"}, Parts: []Part{
			{Name: "reasoning", Kind: Reasoning, Text: []string{
				"$.delta.reasoning_content", "$.delta.reasoning", "$.message.reasoning_content", "$.message.reasoning",
			}},
			{Name: "text", Kind: Text, Text: []string{"$.delta.content", "$.message.content", "$.text"}},
			{Name: "refusal", Kind: Refusal, Text: []string{"$.delta.refusal", "$.message.refusal"}},
			{
				Each: []string{"$.delta.tool_calls[*]", "$.message.tool_calls[*]"}, Number: []string{"$.index"}, Counting: ByIndex,
				Name: "tool call", Kind: Tool, Function: "$.function.name", Text: []string{"$.function.arguments"},
			},
			{
				Each: []string{"$.delta.function_call", "$.message.function_call"},
				Name: "function call", Kind: Tool, Function: "$.name", Text: []string{"$.arguments"},
			},
			{Name: "finish reason", Kind: Finish, Text: []string{"$.finish_reason"}},
		}}},
	}
}

// openAIResponses is the events of the Responses API.
func openAIResponses() Format {
	part := []string{"$.content_index", "$.summary_index"}
	delta := []string{"$.delta"}
	return Format{
		Name: "openai-responses", Is: []When{typed("$.type", "response.*")}, Usage: []string{"$.response.usage"},
		Parts: []Part{
			{Of: "output", Number: []string{"$.output_index"}, Parts: []Part{
				{When: typed("$.type", "response.output_text.delta"), Of: "part", Number: part, Name: "text", Kind: Text, Text: delta},
				{When: typed("$.type", "response.refusal.delta"), Of: "part", Number: part, Name: "refusal", Kind: Refusal, Text: delta},
				{
					When: typed("$.type", "response.reasoning_text.delta", "response.reasoning_summary_text.delta"),
					Of:   "part", Number: part, Name: "reasoning", Kind: Reasoning, Text: delta,
				},
				{
					When: append(typed("$.type", "response.output_item.added"), has("$.item.name")...),
					Name: "tool call", Kind: Tool, Function: "$.item.name", Text: []string{"$.item.arguments", "$.item.input"},
				},
				{
					When: typed("$.type", "response.function_call_arguments.delta", "response.mcp_call_arguments.delta", "response.custom_tool_call_input.delta"),
					Name: "tool call", Kind: Tool, Text: delta,
				},
			}},
			{
				When: typed("$.type", "response.completed", "response.incomplete", "response.failed"),
				Name: "finish reason", Kind: Finish, Text: []string{"$.response.status"},
			},
		},
	}
}

// anthropic is the events of the Messages API, and its whole answer.
func anthropic() Format {
	block := []Part{
		{When: typed("$.type", "text"), Name: "text", Kind: Text, Text: []string{"$.text"}},
		{When: typed("$.type", "thinking"), Name: "reasoning", Kind: Reasoning, Text: []string{"$.thinking"}},
		{
			When: typed("$.type", "tool_use", "server_tool_use", "mcp_tool_use"),
			Name: "tool call", Kind: Tool, Function: "$.name", Value: "$.input", EmptyIsNone: true,
		},
	}
	index := []string{"$.index"}
	return Format{
		Name: "anthropic",
		Is: []When{
			append(typed("$.type", "message"), has("$.content")...),
			typed("$.type", "message_delta", "message_start", "content_block_start", "content_block_delta"),
		},
		Usage: []string{"$.message.usage", "$.usage"},
		Parts: []Part{
			{When: typed("$.type", "message"), Each: []string{"$.content[*]"}, Of: "block", Parts: block},
			{When: typed("$.type", "message"), Name: "stop reason", Kind: Finish, Text: []string{"$.stop_reason"}},
			{When: typed("$.type", "content_block_start"), Of: "block", Number: index, Parts: []Part{{Each: []string{"$.content_block"}, Parts: block}}},
			{When: typed("$.type", "content_block_delta"), Of: "block", Number: index, Parts: []Part{
				{When: typed("$.delta.type", "text_delta"), Name: "text", Kind: Text, Text: []string{"$.delta.text"}},
				{When: typed("$.delta.type", "thinking_delta"), Name: "reasoning", Kind: Reasoning, Text: []string{"$.delta.thinking"}},
				{When: typed("$.delta.type", "input_json_delta"), Name: "tool call", Kind: Tool, Text: []string{"$.delta.partial_json"}},
			}},
			{When: typed("$.type", "message_delta"), Name: "stop reason", Kind: Finish, Text: []string{"$.delta.stop_reason"}},
		},
	}
}

// gemini is GenerateContentResponse objects.
func gemini() Format {
	return Format{
		Name: "gemini", Is: []When{has("$.candidates")}, Usage: []string{"$.usageMetadata"},
		Parts: []Part{{Each: []string{"$.candidates[*]"}, Of: "candidate", Number: []string{"$.index"}, Parts: []Part{
			{Each: []string{"$.content.parts[*]"}, Parts: []Part{
				{When: typed("$.thought", true), Name: "reasoning", Kind: Reasoning, Text: []string{"$.text"}},
				{When: When{{Path: "$.thought", In: []any{true}, Not: true}}, Name: "text", Kind: Text, Text: []string{"$.text"}},
				{Each: []string{"$.functionCall"}, Counting: Next, Name: "tool call", Kind: Tool, Function: "$.name", Value: "$.args"},
			}},
			{Name: "finish reason", Kind: Finish, Text: []string{"$.finishReason"}},
		}}},
	}
}

// ollama is the lines of /api/chat and /api/generate.
func ollama() Format {
	return Format{
		Name:  "ollama",
		Is:    []When{has("$.done", "$.model", "$.message"), has("$.done", "$.model", "$.response")},
		Usage: []string{"$.prompt_eval_count", "$.eval_count"},
		Parts: []Part{
			{Name: "reasoning", Kind: Reasoning, Text: []string{"$.message.thinking", "$.thinking"}},
			{Name: "text", Kind: Text, Text: []string{"$.message.content", "$.response"}},
			{
				Each: []string{"$.message.tool_calls[*].function"}, Counting: Next,
				Name: "tool call", Kind: Tool, Function: "$.name", Value: "$.arguments",
			},
			{Name: "finish reason", Kind: Finish, Text: []string{"$.done_reason"}},
		},
	}
}
