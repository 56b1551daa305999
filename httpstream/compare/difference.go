package compare

import (
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream/internal/legible"
	"github.com/wiretape/wiretape/httpstream/noise"
)

// A Kind sorts differences.
type Kind string

const (
	Status    Kind = "status"
	Header    Kind = "header"
	Trailer   Kind = "trailer"
	Interim   Kind = "interim"   // a 1xx answer other than 100
	Missing   Kind = "missing"   // a unit or value that was recorded and is not there now
	Extra     Kind = "extra"     // a unit or value that is there now and was not recorded
	Reordered Kind = "reordered" // the same unit or value in another place
	Changed   Kind = "changed"   // another value in the same place
	Bytes     Kind = "bytes"     // other bytes, from an offset on
	Content   Kind = "content"   // the body is of another kind, not decodable, or not allowed
	Ended     Kind = "ended"     // the stream ended otherwise, or no answer came
	Buffered  Kind = "buffered"  // streamed when recorded, held back now
	SlowFirst Kind = "slow-first"
	SlowGap   Kind = "slow-gap"
	Pace      Kind = "pace"      // the answer as a whole took longer
	Recording Kind = "recording" // the recording can't be compared with
)

// Timing tells whether a difference is about when an answer came, not about what
// came: a busy machine can be the cause, so a second try should confirm it.
func (k Kind) Timing() bool {
	switch k {
	case Buffered, SlowFirst, SlowGap, Pace:
		return true
	}
	return false
}

// A Place is where in an answer, or in one of its units, a difference is: one of these
// parts, and else a field's name (Status, Header, Trailer and a unit's own fields) or a
// JSONPath (RFC 9535), which alone begins with "$".
type Place string

// The parts that have no name of their own.
const (
	AtStatus Place = "status"
	AtHead   Place = "head" // the answer's, where it came at another time
	InBody   Place = "body"
	AtLength Place = "length" // of the body
	AtEnd    Place = "end"    // of the answer, or of a unit
)

// Path is the place as a JSONPath; false if it is none.
func (p Place) Path() (string, bool) { return string(p), strings.HasPrefix(string(p), "$") }

// A Difference is one thing that is not as it was recorded. It is plain data.
type Difference struct {
	Kind Kind `json:"kind"`
	// Unit is what Index counts: "event", "comment", "line", "part", …
	Unit string `json:"unit,omitempty"`
	// Index is the unit's position in the recording, from 1, or in the present
	// answer where the unit was not recorded; 0 if the difference is in no unit.
	Index int `json:"index,omitempty"`
	// NowIndex is the unit's position in the present answer; 0 if it is not there.
	NowIndex int `json:"now_index,omitempty"`
	// Where is the place inside the unit or the answer; empty for the whole of it.
	Where Place `json:"where,omitempty"`
	// Offset is the byte offset of a Bytes difference, from 0.
	Offset   int64  `json:"offset,omitempty"`
	Recorded string `json:"recorded,omitempty"`
	Now      string `json:"now,omitempty"`
	// Title says what differs and how, without Recorded and Now and without what
	// Tail says. It is empty where Message has all that there is to say.
	Title string `json:"title,omitempty"`
	// Message says it all in one line, without a capital or a full stop.
	Message string `json:"message"`
	// Words is the word difference of a changed text.
	Words Words `json:"words,omitempty"`
	// At is when it was noticed, in nanoseconds since the request was complete.
	At time.Duration `json:"at,omitempty"`
	// Rule is the noise rule that would ignore just this; nil if there is none.
	Rule *noise.Rule `json:"rule,omitempty"`
	// Run counts the units right after this one that are missing, or extra, as well,
	// and Follow those that differ in the same way or because of it. They are not
	// among the differences.
	Run    int `json:"run,omitempty"`
	Follow int `json:"follow,omitempty"`
	// Delta is set for a whole unit that only adds to what Verdict.Answer shows.
	Delta bool `json:"delta,omitempty"`

	nuance string // how two values differ that look alike
}

// A Verdict is the result of comparing one answer.
type Verdict struct {
	Pass        bool         `json:"pass"`
	Differences []Difference `json:"differences,omitempty"`
	// More counts the differences beyond Options.MaxDifferences.
	More int `json:"more,omitempty"`
	// Unit names what was counted: "event", "line", "part", "chunk".
	Unit string `json:"unit"`
	// Recorded and Now are the two answers' timing.
	Recorded Timing `json:"recorded"`
	Now      Timing `json:"now"`
	// Interrupted is set where the recording ends before the answer did, because
	// the client went away or the recording stopped: only what was recorded was
	// compared.
	Interrupted bool `json:"interrupted,omitempty"`
	// Delay says where the time went; nil if the calls' timing is not known.
	Delay *Delay `json:"delay,omitempty"`
	// Answer is what a language model said, put together; nil where the stream
	// is none, or nothing in it differs.
	Answer *AnswerDifference `json:"answer,omitempty"`
}

// OnlyTiming tells whether an answer failed, and only for when it came.
func (v *Verdict) OnlyTiming() bool {
	for i := range v.Differences {
		if !v.Differences[i].Kind.Timing() {
			return false
		}
	}
	return !v.Pass && v.More == 0
}

// A log gathers differences up to a number and counts the rest.
type log struct {
	max    int
	list   []Difference
	more   int
	report func(Difference)
	at     time.Duration
	from   followers
}

// add takes a function so that what only counts is never formatted.
func (l *log) add(build func() Difference) {
	if len(l.list) >= l.max && l.from.folded+l.more > maxFolded {
		l.more++
		return
	}
	d := build()
	switch {
	case l.from.fold(l.list, &d, len(l.list) < l.max):
	case len(l.list) >= l.max:
		l.more++
	default:
		l.must(d)
	}
}

// must adds what is reported even when the rest is only counted: there are but a
// few of these, and they matter most.
func (l *log) must(d Difference) {
	d.At = l.at
	d.Title, d.Message = legible.Printable(d.Title), legible.Printable(d.Message)
	d.Recorded, d.Now = legible.UTF8(d.Recorded), legible.UTF8(d.Now)
	for i := range d.Words {
		d.Words[i].Text = legible.UTF8(d.Words[i].Text)
	}
	l.list = append(l.list, d)
	if l.report != nil {
		l.report(d)
	}
}

func (l *log) count() int { return len(l.list) + l.more + l.from.folded }

// finish writes what follows from each difference into its message.
func (l *log) finish() {
	for i := range l.list {
		if tail := l.list[i].Tail(); tail != "" {
			l.list[i].Message += "; " + tail
		}
	}
}

const (
	maxShown = 240 // bytes of a value in a Difference
	maxQuote = 80  // bytes of a value in a message
)

// firstDifference is the length of the common prefix.
func firstDifference[S ~string | ~[]byte](a, b S) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// pair shows two values around the place where they part. A number or a word that
// differs is shown from its beginning.
func pair(rec, now string, n int) (string, string) {
	at := firstDifference(rec, now)
	for start := at; start > 0 && at-start < n/2; start-- {
		if c := rec[start-1]; c != '.' && c != '-' && c != '+' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			at = start
			break
		}
	}
	return legible.Excerpt(rec, at, n), legible.Excerpt(now, at, n)
}

// wasNow titles the difference of a changed value.
func (d Difference) wasNow(title, rec, now string) Difference {
	r, n := pair(rec, now, maxQuote)
	return d.titled(title, ": recorded "+r+", now "+n)
}

// isMissing titles what was recorded and is not there now.
func (d Difference) isMissing(what, value string) Difference {
	return d.titled(what+" is missing", ": "+legible.Excerpt(value, 0, maxQuote))
}

// isExtra titles what is there now and was not recorded.
func (d Difference) isExtra(what, value string) Difference {
	return d.titled(what+" was not recorded", ": "+legible.Excerpt(value, 0, maxQuote))
}

// titled sets the title, and the message, which has the values as well.
func (d Difference) titled(title, values string) Difference {
	d.Title, d.Message = title, title+values
	return d
}
