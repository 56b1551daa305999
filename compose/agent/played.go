package agent

import (
	"encoding/json"
	"errors"

	"github.com/wiretape/wiretape/httpstream/replay"
)

// PlayedEvent tells of a request that was answered from the tape, or missed.
func PlayedEvent(e replay.Event) *Event {
	ev := &Event{
		Type: "call", Service: e.Service, Method: e.Method, URL: e.URL, Status: e.Status,
		Case: e.Case, Chunks: e.Chunks, Bytes: e.Bytes, First: e.First, Took: e.Took, End: string(e.How),
	}
	if e.Miss != nil {
		ev.Type, ev.Miss = "miss", json.RawMessage(e.Miss.JSON())
		return ev
	}
	ev.Number = e.Exchange.Number
	if e.Late.Max > 0 {
		ev.Late = &Lateness{Median: e.Late.P50, Max: e.Late.Max}
	}
	return ev
}

// ErrorEvent tells of a call that could not be played as it was recorded.
func ErrorEvent(e replay.Event, err error) *Event {
	ev := &Event{Type: "error", Service: e.Service, URL: e.URL, Case: e.Case, Detail: err.Error()}
	if c := (*replay.CallError)(nil); errors.As(err, &c) {
		ev.Number, ev.Hint = c.Number, c.Hint
	}
	return ev
}
