package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Miss is a call that no recorded one answers, and why. Texts are redacted.
type Miss struct {
	Service string `json:"service,omitempty"` // that made it
	Method  string `json:"method"`
	URL     string `json:"url"`
	// OtherURLs are what else the request may have been for.
	OtherURLs []string `json:"other_urls,omitempty"`
	// Case is the number of the case that it was made in; 0 for none.
	Case int `json:"case,omitempty"`
	// Used is how many identical calls were recorded, all of them answered already.
	// Where it is 0, no recorded call is identical.
	Used int `json:"used,omitempty"`
	// Closest is the recorded call that comes nearest; nil if none is near.
	Closest *Call `json:"closest,omitempty"`
	// Differences are those between Closest and the request; More were left out.
	Differences []Difference `json:"differences,omitempty"`
	More        int          `json:"more_differences,omitempty"`
	// At is when it was made, from the end of the case's request.
	At time.Duration `json:"at_ns,omitempty"`
	// Answered says what became of it. Only one that was Refused fails a case.
	Answered Answered `json:"answered,omitempty"`
}

// Answered is what a call got that the tape does not answer.
type Answered string

const (
	Refused  Answered = ""            // the 502 that names the miss
	Passed   Answered = "passthrough" // the answer of where it was meant to go
	Recorded Answered = "record"      // that, and it was recorded
)

// A Call names a recorded call.
type Call struct {
	Number  int    `json:"number,omitempty"` // on the tape; 0 if it was not recorded
	File    string `json:"file,omitempty"`
	Service string `json:"service,omitempty"` // that made it
	Method  string `json:"method"`
	URL     string `json:"url"`
	// Case is the number of the case that it belongs to; 0 where it is nobody's or may
	// be one of several. It is not part of the JSON form.
	Case int `json:"-"`
}

// A Difference is one place in which a request is not as recorded.
type Difference struct {
	Where Place `json:"where"`
	// Recorded and Now are the values, of long ones an excerpt; JSON values as JSON
	// text. One that is missing is None.
	Recorded string `json:"recorded"`
	Now      string `json:"now"`
	// Message says it in words, where the values alone do not.
	Message string `json:"message,omitempty"`
	// Credential is set where credentials came, went or changed their scheme.
	Credential bool `json:"credential,omitempty"`
}

// What stands for a value in a Difference.
const (
	None  = "(none)"  // there is none
	Empty = "(empty)" // there is one, without anything in it
)

// Title is what a difference is about: its message, or else its place.
func (d Difference) Title() string {
	if d.Message != "" {
		return d.Message
	}
	return d.Where.String()
}

// String is a part of a sentence.
func (d Difference) String() string {
	if d.Message != "" {
		return d.Message
	}
	return d.Where.String() + " was " + d.Recorded + ", is " + d.Now
}

// Clone is a copy that shares nothing with m.
func (m *Miss) Clone() *Miss {
	c := *m
	c.OtherURLs, c.Differences = slices.Clone(m.OtherURLs), slices.Clone(m.Differences)
	if m.Closest != nil {
		closest := *m.Closest
		c.Closest = &closest
	}
	return &c
}

// String is one line, for people.
func (m *Miss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no recorded call answers %s %s", m.Method, strings.Join(append([]string{m.URL}, m.OtherURLs...), " or "))
	switch {
	case m.Used == 1:
		b.WriteString(": the one that is identical has answered already")
	case m.Used > 1:
		fmt.Fprintf(&b, ": the %d that are identical have answered already", m.Used)
	case m.Closest != nil:
		fmt.Fprintf(&b, "; closest is call %d", m.Closest.Number)
		for i, d := range m.Differences {
			if i == 3 {
				fmt.Fprintf(&b, ", and %d more", len(m.Differences)-i+m.More)
				break
			}
			sep := ", "
			if i == 0 {
				sep = ": "
			}
			b.WriteString(sep + d.String())
		}
	}
	return b.String()
}

// missBody is a miss as the app is told of it.
type missBody struct {
	Error missError `json:"error"`
	*Miss
}

// missError is where the SDKs of HTTP APIs look for a message.
type missError struct {
	Type    string `json:"type"` // "wiretape_miss"
	Message string `json:"message"`
}

func (m *Miss) body() missBody {
	return missBody{missError{"wiretape_miss", "wiretape: " + m.String()}, m}
}

// Body is the JSON body of the answer to a miss. It begins with an "error" object,
// and goes on with the fields of the miss.
func (m *Miss) Body() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m.body()); err != nil {
		return []byte("{}\n") // strings and numbers always encode
	}
	return b.Bytes()
}
