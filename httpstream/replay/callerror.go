package replay

import "fmt"

// A CallError says why a call was not played as it was recorded, where that is
// not the tape's fault.
type CallError struct {
	Number int
	Detail string
	Hint   string // what to do
}

func (e *CallError) Error() string { return fmt.Sprintf("call %d: %s", e.Number, e.Detail) }

// LeftError names a call whose client went away before the end that was recorded,
// or is nil. Whether that is a failure is for the case to say that the call is of.
func (e *Event) LeftError() error {
	if !e.Left || e.Exchange == nil {
		return nil
	}
	return &CallError{
		Number: e.Exchange.Number,
		Detail: fmt.Sprintf("the client went away after %d bytes of the answer, which was recorded to its end", e.Bytes),
		Hint:   "see in the client's log why it gave up",
	}
}
