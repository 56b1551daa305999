package replay

import (
	"errors"

	"github.com/wiretape/wiretape/httpstream/event"
)

// Outcome is what became of a request, to be told of.
func (e *Event) Outcome() event.Event {
	x := &event.Exchange{
		Kind: event.CallEnded, Service: e.Service, Method: e.Method, URL: e.URL, Status: e.Status,
		Case: e.Case, Chunks: e.Chunks, Bytes: e.Bytes, First: e.First, Took: e.Took, How: e.How,
	}
	if e.Miss != nil {
		return event.Event{Exchange: x, Miss: e.Miss}
	}
	x.Number = e.Exchange.Number
	if e.Late.Max > 0 {
		x.Late = &event.Lateness{Median: e.Late.P50, Max: e.Late.Max}
	}
	return event.Event{Exchange: x}
}

// Failure tells of a request that could not be answered as it was recorded.
func (e *Event) Failure(err error) *event.Notice {
	n := &event.Notice{Kind: event.Failed, Service: e.Service, About: e.URL, Case: e.Case, Detail: err.Error()}
	if c := (*event.Problem)(nil); errors.As(err, &c) {
		n.Number, n.Next = c.Call, c.Next
	}
	return n
}
