package event

import (
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// An Exchange is one that ended, recorded or played.
type Exchange struct {
	Kind    ExchangeKind   `json:"-"`
	Service string         `json:"service,omitempty"`  // that called, or was called
	Number  int            `json:"number,omitempty"`   // on the tape; 0 for a miss
	Case    int            `json:"case,omitempty"`     // that a call belongs to; 0 for none, or where it may be one of several
	Method  string         `json:"method,omitempty"`   // empty where it failed before there was a request
	URL     string         `json:"url,omitempty"`      // redacted
	Status  int            `json:"status,omitempty"`   // 0 if no answer came
	Chunks  int            `json:"chunks,omitempty"`   // of the answer
	Bytes   int64          `json:"bytes,omitempty"`    // of the answer's body
	First   time.Duration  `json:"first_ns,omitempty"` // from the request to the answer's head
	Took    time.Duration  `json:"took_ns,omitempty"`  // from the request to the answer's end
	How     httpstream.End `json:"end,omitempty"`
	Late    *Lateness      `json:"late,omitempty"` // of one that was played
	// TwoWay is set for a recorded one in which the answer did not wait for the request's end.
	TwoWay bool `json:"-"`
	// Failed is what went wrong before any answer, of a recorded one.
	Failed string `json:"detail,omitempty"`
}

// ExchangeKind tells who asked.
type ExchangeKind string

const (
	CallEnded ExchangeKind = "call" // of the app, to the outside
	CaseEnded ExchangeKind = "case" // of a client, to the app
)

// Lateness is how long after their deadlines the chunks of one answer left.
type Lateness struct {
	Median time.Duration `json:"median_ns"`
	Max    time.Duration `json:"max_ns"`
}
