package agent

import (
	"errors"
	"strings"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// redact takes the secrets out of what the worker tells: whatever leaves it passes
// here. Records are redacted where they are made, byte for byte as a tape has them.
func (m *FromAgent) redact(r *tape.Redactor) {
	switch {
	case m.Event != nil:
		m.Event = RedactEvent(r, m.Event)
	case m.Result != nil:
		redactCase(r, m.Result)
	case m.Log != nil:
		m.Log = &Log{Level: m.Log.Level, Message: r.Text(m.Log.Message)}
	case m.Fatal != nil:
		f := *m.Fatal
		f.Err, f.Next = errors.New(r.Text(f.Message())), r.Text(f.Next)
		m.Fatal = &f
	case m.Reply != nil:
		reply := *m.Reply
		reply.Error = r.Text(reply.Error)
		m.Reply = &reply
	}
}

// RedactEvent is an event without the secrets in its texts.
func RedactEvent(r *tape.Redactor, e *event.Event) *event.Event {
	var out event.Event
	if e.Exchange != nil {
		x := *e.Exchange
		x.URL, x.Failed = r.URL(x.URL), r.Text(x.Failed)
		out.Exchange = &x
	}
	if e.Miss != nil {
		out.Miss = e.Miss.Clone()
		redactMiss(r, out.Miss)
	}
	if e.Notice != nil {
		n := *e.Notice
		n.About, n.Detail, n.Next = r.URL(n.About), r.Text(n.Detail), r.Text(n.Next)
		out.Notice = &n
	}
	return &out
}

func redactMiss(r *tape.Redactor, m *event.Miss) {
	m.URL = r.URL(m.URL)
	for i := range m.OtherURLs {
		m.OtherURLs[i] = r.URL(m.OtherURLs[i])
	}
	if m.Closest != nil {
		m.Closest.URL = r.URL(m.Closest.URL)
	}
	for i := range m.Differences {
		d := &m.Differences[i]
		d.Recorded, d.Now = redactAt(r, d.Where, d.Recorded), redactAt(r, d.Where, d.Now)
		d.Message = r.Text(d.Message)
	}
}

func redactCase(r *tape.Redactor, c *report.CaseResult) {
	c.URL, c.Reason, c.Error = r.URL(c.URL), r.Text(c.Reason), r.Text(c.Error)
	redactSides(r, &c.Answer)
	for i := range c.Calls {
		c.Calls[i].URL = r.URL(c.Calls[i].URL)
		redactSides(r, &c.Calls[i].Sides)
	}
	for i := range c.NotMade {
		c.NotMade[i].URL = r.URL(c.NotMade[i].URL)
	}
	for i := range c.Left {
		c.Left[i].URL = r.URL(c.Left[i].URL)
	}
	for i := range c.Unlike {
		u := &c.Unlike[i]
		u.URL, u.Problem.Err = r.URL(u.URL), errors.New(r.Text(u.Problem.Message()))
	}
	for i := range c.Misses {
		redactMiss(r, &c.Misses[i])
	}
	for i := range c.NextSteps {
		c.NextSteps[i].Do = r.Text(c.NextSteps[i].Do)
	}
	if c.Verdict == nil {
		return
	}
	for i := range c.Verdict.Differences {
		redactDifference(r, &c.Verdict.Differences[i])
	}
}

func redactSides(r *tape.Redactor, s *report.Sides) {
	for _, t := range []*report.Timeline{s.Recorded, s.Now} {
		if t != nil {
			t.Failed = r.Text(t.Failed)
		}
	}
}

// redactDifference redacts what an answer's heads and trailer have; its body is the
// tape's to have or not.
func redactDifference(r *tape.Redactor, d *compare.Difference) {
	redacted := r.Text
	switch d.Kind {
	case compare.Header, compare.Trailer, compare.Interim:
		if d.Where != "" { // a field's name; an interim answer as a whole has none
			redacted = func(s string) string { return r.Field(string(d.Where), s) }
		}
	case compare.Status, compare.Ended:
	default:
		return
	}
	for _, v := range []*string{&d.Recorded, &d.Now} {
		if s := redacted(*v); s != *v {
			d.Title, d.Message = strings.ReplaceAll(d.Title, *v, s), strings.ReplaceAll(d.Message, *v, s)
			*v = s
		}
	}
	d.Title, d.Message = r.Text(d.Title), r.Text(d.Message)
}

// redactAt redacts a value of a request by its place.
func redactAt(r *tape.Redactor, where event.Place, value string) string {
	switch {
	case value == event.None || value == event.Empty:
		return value
	case where.Kind == event.Header:
		return r.Field(where.Name, value)
	case where.Kind == event.Query:
		return strings.TrimPrefix(r.Query(where.Name+"="+value), where.Name+"=")
	}
	return r.Text(value)
}
