// The example's chat app: POST /chat streams an answer of OpenAI's or
// Anthropic's model as server-sent events. Nothing in it knows of wiretape.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
)

type question struct {
	Provider string `json:"provider"` // "openai" or "anthropic"
	Message  string `json:"message"`
}

func main() {
	app := &app{
		// Retries would hide a broken recording in this example.
		openai:    openai.NewClient(openaioption.WithMaxRetries(0)),
		anthropic: anthropic.NewClient(anthropicoption.WithMaxRetries(0)),
		store:     os.Getenv("STORE_URL"),
	}
	http.HandleFunc("POST /chat", app.chat)
	http.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	log.Fatal(http.ListenAndServe(":8080", nil))
}

type app struct {
	openai    openai.Client
	anthropic anthropic.Client
	store     string
}

func (a *app) chat(w http.ResponseWriter, r *http.Request) {
	var q question
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := a.remember(r.Context(), q); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	ask := a.askOpenAI
	if q.Provider == "anthropic" {
		ask = a.askAnthropic
	}
	w.Header().Set("Content-Type", "text/event-stream")
	emit := func(delta string) {
		data, _ := json.Marshal(map[string]string{"delta": delta})
		fmt.Fprintf(w, "data: %s\n\n", data)
		w.(http.Flusher).Flush()
	}
	if err := ask(r.Context(), q.Message, emit); err != nil {
		data, _ := json.Marshal(map[string]string{"error": err.Error()})
		fmt.Fprintf(w, "event: error\ndata: %s\n\n", data)
		return
	}
	io.WriteString(w, "event: done\ndata: {}\n\n")
}

func (a *app) askOpenAI(ctx context.Context, message string, emit func(string)) error {
	stream := a.openai.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{
		Model:    "gpt-4o",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(message)},
	})
	defer stream.Close()
	for stream.Next() {
		for _, choice := range stream.Current().Choices {
			if choice.Delta.Content != "" {
				emit(choice.Delta.Content)
			}
		}
	}
	return stream.Err()
}

func (a *app) askAnthropic(ctx context.Context, message string, emit func(string)) error {
	stream := a.anthropic.Messages.NewStreaming(ctx, anthropic.MessageNewParams{
		Model:     "claude-sonnet-4-5",
		MaxTokens: 1024,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(message))},
	})
	defer stream.Close()
	for stream.Next() {
		if delta, ok := stream.Current().AsAny().(anthropic.ContentBlockDeltaEvent); ok && delta.Delta.Text != "" {
			emit(delta.Delta.Text)
		}
	}
	return stream.Err()
}

// remember keeps the question in the project's own store, which wiretape leaves alone.
func (a *app) remember(ctx context.Context, q question) error {
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.store+"/questions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the store: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return errors.New("the store answered " + resp.Status)
	}
	return nil
}
