package replay

import (
	"fmt"

	"github.com/wiretape/wiretape/httpstream/event"
)

// Why a call was not played as it was recorded, where that is not the tape's fault, is
// an *event.Problem of that Call.

// LeftError names a call whose client went away before the end that was recorded,
// or is nil. Whether that is a failure is for the case to say that the call is of.
func (e *Event) LeftError() error {
	if !e.Left || e.Exchange == nil {
		return nil
	}
	return &event.Problem{
		Kind: event.Mismatch, Call: e.Exchange.Number,
		Err:  fmt.Errorf("the client went away after %d bytes of the answer, which was recorded to its end", e.Bytes),
		Next: "see in the client's log why it gave up",
	}
}
