package agent

import (
	"encoding/json"

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
