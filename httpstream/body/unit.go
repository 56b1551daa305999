package body

import (
	"fmt"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/legible"
)

// A Kind is what the bytes of a body, or of a unit, mean.
type Kind int

const (
	Bytes     Kind = iota
	Text           // less what is noise in it
	JSON           // a value, if it is JSON, else text
	Container      // a value, if it is a JSON object or array, else text
)

// A Unit is what a body is made of: an event, a comment, a line, a part.
type Unit struct {
	Label   string // what people call it
	Index   int    // from 1, among units of its label
	At      time.Duration
	Partial bool // its format says that it is not complete
	Open    bool // the end of the stream ended it, so there could have been more
	Fields  httpstream.Fields
	HasBody bool // an event may have no data
	Body    Blob
	Kind    Kind
}

// Labels of units.
const (
	Event    = "event"
	Comment  = "comment"
	Line     = "line"
	Part     = "part"
	Preamble = "preamble"
	Epilogue = "epilogue"
)

// Name is "event 3".
func (u *Unit) Name() string { return fmt.Sprintf("%s %d", u.Label, u.Index) }

// Summary shows a whole unit in one line of at most about most bytes.
func (u *Unit) Summary(most int) string {
	var parts []string
	for _, f := range u.Fields {
		parts = append(parts, f.Name+": "+f.Value)
	}
	switch {
	case !u.HasBody:
	case u.Kind == Bytes:
		parts = append(parts, legible.Bytes(u.Body.Data, u.Body.Size))
	case u.Label == Event:
		parts = append(parts, "data: "+u.Body.Text())
	default:
		parts = append(parts, strings.TrimRight(u.Body.Text(), "\r\n"))
	}
	s := strings.Join(parts, ", ")
	if u.Partial {
		s += " (unfinished)"
	}
	return legible.Excerpt(s, 0, most)
}

// A Parser cuts a body into units as its bytes come. What it emits never depends
// on how the bytes were split over writes.
type Parser interface {
	Write(at time.Duration, p []byte)
	// Close emits what has no end; at is the time of the stream's end.
	Close(at time.Duration)
	// Held is how many bytes were read of the unit that is not complete yet.
	Held() int64
}
