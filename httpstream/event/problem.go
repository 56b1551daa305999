package event

import (
	"encoding/json"
	"errors"
	"fmt"
)

// A Problem is an error with what to do about it. Its JSON form has the message, and
// nothing of what errors.Is and errors.As find.
type Problem struct {
	Kind ProblemKind // whose turn it is; empty where nobody has said
	Call int         // the recorded call that it is about; 0 for none
	Err  error
	Next string // the next step, for the user; may be empty
	// Said is set where the user was told already.
	Said bool
}

// ProblemKind says whose turn it is. The command line gives each an exit code.
type ProblemKind string

const (
	// Usage is an error of the user's: flags, the compose file, the command to run.
	Usage ProblemKind = "usage"
	// Environment is something that Docker, the kernel or compose can't do here.
	Environment ProblemKind = "environment"
	// Privilege is something of the environment's for which a privilege is missing.
	Privilege ProblemKind = "privilege"
	// App is a service that doesn't come up, or is not there any more.
	App ProblemKind = "app"
	// Mismatch is a test that failed, or an app that asked for what is not on the tape.
	Mismatch ProblemKind = "mismatch"
	// BrokenTape is a tape that can't be read.
	BrokenTape ProblemKind = "tape"
	// Incomplete is a recording that lacks something.
	Incomplete ProblemKind = "incomplete"
	// Interrupted is a session that the user ended.
	Interrupted ProblemKind = "interrupted"
)

// Problemf is a Problem with a text.
func Problemf(kind ProblemKind, next, format string, args ...any) *Problem {
	return &Problem{Kind: kind, Err: fmt.Errorf(format, args...), Next: next}
}

// Error is the message, behind the call that it is about.
func (p *Problem) Error() string {
	if p.Call != 0 {
		return fmt.Sprintf("call %d: %s", p.Call, p.Message())
	}
	return p.Message()
}

// Message is what happened.
func (p *Problem) Message() string {
	if p.Err == nil {
		return ""
	}
	return p.Err.Error()
}

func (p *Problem) Unwrap() error { return p.Err }

// problemJSON is the JSON form.
type problemJSON struct {
	Kind    ProblemKind `json:"kind,omitempty"`
	Call    int         `json:"call,omitempty"`
	Message string      `json:"message"`
	Next    string      `json:"next,omitempty"`
}

// MarshalJSON writes the JSON form.
func (p Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(problemJSON{p.Kind, p.Call, p.Message(), p.Next})
}

// UnmarshalJSON reads the JSON form; Err has the message alone.
func (p *Problem) UnmarshalJSON(data []byte) error {
	var j problemJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*p = Problem{Kind: j.Kind, Call: j.Call, Err: errors.New(j.Message), Next: j.Next}
	return nil
}
