// Package report renders the outcome of a test run: as text for a terminal, as
// JUnit XML, JSON and one HTML page, and as annotations and a job summary for
// GitHub Actions. It decides nothing that the verdicts have not decided, and
// everything that it prints from the outside is escaped for where it goes.
//
// The voice of all of them: no capital at the start, no full stop, and always
// a next step.
//
// # report.json
//
// One JSON object: "format" (1), "ok", "counts", and the fields of Run. All
// names are snake_case. Names that end in _ns are durations in nanoseconds; so
// are, under "verdict", "at", "total", "outside", "app" and the fields of
// "recorded" and "now", which come from package compare. Times inside a case
// count from the end of the case's request. A chunk is written as an array of
// two: nanoseconds, bytes. Fields that are empty may be left out; a reader
// should ignore those that it does not know. A change that breaks a reader
// raises "format".
package report

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
)

// A Run is one run of the tests: all that a report is made of. It is plain data.
type Run struct {
	Project string        `json:"project,omitempty"` // the compose project's name
	Tapes   []string      `json:"tapes"`             // folders, as the user should see them
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took_ns"`
	Version string        `json:"version"` // of wiretape
	// Speed is what the calls were played at: 1 as recorded, 2 twice as fast, 0 as
	// fast as it goes.
	Speed float64 `json:"speed"`
	// Flags are the project flags of this run ("-f", "dev.yaml"), repeated in the
	// commands that the next steps suggest. --tape and --case are added by case.
	Flags []string     `json:"flags,omitempty"`
	Cases []CaseResult `json:"cases"`
	// Outside are the misses while no case ran.
	Outside []event.Miss `json:"outside,omitempty"`
	// Errors are what went wrong beside the cases, and fail the run: the command
	// failed, the app never got ready. Warnings are the rest worth knowing.
	Errors   []event.Problem `json:"errors,omitempty"`
	Warnings []event.Problem `json:"warnings,omitempty"`
}

// A Status is the outcome of one case.
type Status string

const (
	Pass    Status = "pass"
	Fail    Status = "fail"    // the answer, its timing or its calls are not as recorded
	Error   Status = "error"   // the case could not be played or compared
	Skipped Status = "skipped" // not tried; Reason says why
)

// A CaseResult is the outcome of one case. FromTape begins one, Conclude ends it.
type CaseResult struct {
	Tape    string `json:"tape"`             // folder
	File    string `json:"file"`             // the case's file, as the user should see it
	Name    string `json:"name"`             // the file's base, "0003-post-chat"
	Number  int    `json:"number"`           // in the tape
	Stream  string `json:"stream"`           // the recorded answer's file; empty if it has none
	Service string `json:"service"`          // that was asked
	Method  string `json:"method"`           //
	URL     string `json:"url"`              //
	Status  Status `json:"status"`           //
	Reason  string `json:"reason,omitempty"` // why it was skipped
	// Error is why it could not be compared: the app never got ready, crashed, took
	// longer than its limit.
	Error string `json:"error,omitempty"`
	// Began is when it was sent, by the clock of the engine's host.
	Began   time.Time        `json:"began,omitzero"`
	Took    time.Duration    `json:"took_ns"`
	Verdict *compare.Verdict `json:"verdict,omitempty"`
	// Answer is when the app's answer came.
	Answer Sides `json:"answer"`
	// Calls are those that the app made, in recorded order and then the others.
	Calls []Call `json:"calls,omitempty"`
	// NotMade are the recorded calls that were not made now.
	NotMade []event.Call `json:"not_made,omitempty"`
	// Misses are the calls that no recorded one answers.
	Misses []event.Miss `json:"misses,omitempty"`
	// Unlike are the calls in which the app said something else than when it was
	// recorded, such as another WebSocket message, though the call was answered.
	Unlike []CallDifference `json:"unlike,omitempty"`
	// Left are the calls that the app broke off, though they were recorded to their end.
	Left []event.Call `json:"left,omitempty"`
	// SecondTry says what became of a case that was sent a second time, because at
	// first only its timing was not as it should be.
	SecondTry string `json:"second_try,omitempty"`
	// OrderChanged is set where the same calls were made in another order. That
	// alone fails no case, since apps make calls side by side.
	OrderChanged *Order `json:"order_changed,omitempty"`
	// Rerecorded is set where the tape has the new answer now (--update).
	Rerecorded bool `json:"rerecorded,omitempty"`
	// Logs are the last lines that the project's services wrote meanwhile.
	Logs []LogLine `json:"logs,omitempty"`
	// NextSteps are what to do about it.
	NextSteps []Step `json:"next_steps,omitempty"`
}

// A CallDifference is what the app said otherwise in a call that was played all the same.
type CallDifference struct {
	event.Call
	Problem event.Problem // "the client's message 4 differs: …"
}

// callDifferenceJSON is the JSON form.
type callDifferenceJSON struct {
	event.Call
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// MarshalJSON writes the call's fields, detail and hint.
func (d CallDifference) MarshalJSON() ([]byte, error) {
	return json.Marshal(callDifferenceJSON{d.Call, d.Problem.Message(), d.Problem.Next})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *CallDifference) UnmarshalJSON(data []byte) error {
	var j callDifferenceJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	d.Call, d.Problem = j.Call, event.Problem{Call: j.Number, Err: errors.New(j.Detail), Next: j.Hint}
	return nil
}

// Sides are both sides of a comparison; nil where there is none.
type Sides struct {
	Recorded *Timeline `json:"recorded,omitempty"`
	Now      *Timeline `json:"now,omitempty"`
}

// A LogLine is one line that a service wrote.
type LogLine struct {
	Service string `json:"service"`
	// At counts from when the case was sent.
	At   time.Duration `json:"at_ns"`
	Text string        `json:"text"`
}

// A Call is one call that the app made for a case, when recorded, now, or both.
type Call struct {
	event.Call
	Sides
}

// An Order is the order of the calls that were made on both sides, by number.
type Order struct {
	Recorded []int `json:"recorded"`
	Now      []int `json:"now"`
}

// A Step is something to do next. Code, if there is any, is to be copied as it
// is: a command, a file's name, or lines of YAML.
type Step struct {
	Do   string `json:"do"`
	Code string `json:"code,omitempty"`
}

// Counts are what a run adds up to.
type Counts struct {
	Cases      int `json:"cases"`
	Pass       int `json:"pass"`
	Fail       int `json:"fail"`
	Error      int `json:"error"`
	Skipped    int `json:"skipped"`
	Rerecorded int `json:"rerecorded"`
	Misses     int `json:"misses"` // that failed, inside cases and outside
	// PassedOn and Recorded are the misses that were answered from the outside.
	PassedOn int `json:"passed_on,omitempty"`
	Recorded int `json:"recorded,omitempty"`
}

// Count adds the run up.
func (r *Run) Count() Counts {
	c := Counts{Cases: len(r.Cases)}
	c.addMisses(r.Outside)
	for i := range r.Cases {
		x := &r.Cases[i]
		switch x.Status {
		case Pass:
			c.Pass++
		case Fail:
			c.Fail++
		case Error:
			c.Error++
		case Skipped:
			c.Skipped++
		}
		if x.Rerecorded {
			c.Rerecorded++
		}
		c.addMisses(x.Misses)
	}
	return c
}

func (c *Counts) addMisses(misses []event.Miss) {
	for i := range misses {
		switch misses[i].Answered {
		case "":
			c.Misses++
		case event.Recorded:
			c.Recorded++
		default:
			c.PassedOn++
		}
	}
}

// OK tells whether nothing failed: no case, no call outside the cases, and
// nothing beside them.
func (r *Run) OK() bool {
	c := r.Count()
	return c.Fail == 0 && c.Error == 0 && failing(r.Outside) == 0 && len(r.Errors) == 0
}

func failing(misses []event.Miss) int {
	n := 0
	for i := range misses {
		if misses[i].Answered == event.Refused {
			n++
		}
	}
	return n
}

// bad tells whether a case needs a person.
func (c *CaseResult) bad() bool { return c.Status == Fail || c.Status == Error }

// ordered are pointers to the cases in the order of a report: what could not be
// compared or differs first, then what was re-recorded or has something to say,
// then the rest; each in the order of the run.
func (r *Run) ordered() []*CaseResult {
	var ranks [4][]*CaseResult
	for i := range r.Cases {
		c := &r.Cases[i]
		rank := 3
		switch {
		case c.bad():
			rank = 0
		case c.Rerecorded:
			rank = 1
		case c.Status == Skipped || c.OrderChanged != nil || len(c.Misses) > 0 || c.SecondTry != "":
			rank = 2
		}
		ranks[rank] = append(ranks[rank], c)
	}
	all := make([]*CaseResult, 0, len(r.Cases))
	for _, cs := range ranks {
		all = append(all, cs...)
	}
	return all
}
