package tape

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// ErrTruncated is what a stream file without an end line is: its recording was killed.
var ErrTruncated = errors.New("the stream is truncated")

// A FormatError says where a tape can't be read, why, and what to do.
type FormatError struct {
	File string
	Line int // from 1; 0 if the error is not about one line
	Msg  string
	Hint string // what to do next; may be empty
	Err  error  // ErrTruncated, fs.ErrNotExist, …; may be nil
}

func (e *FormatError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
	}
	return e.File + ": " + e.Msg
}

func (e *FormatError) Unwrap() error { return e.Err }

// noTape is the error for a folder that holds no tape.
func noTape(dir string) error {
	return &FormatError{
		File: dir,
		Msg:  "there is no tape here",
		Hint: "record one first, with wiretape compose record",
		Err:  fs.ErrNotExist,
	}
}

// quoteList renders the names of keys for a message.
func quoteList(keys []string) string {
	return strings.Join(keys, ", ")
}
