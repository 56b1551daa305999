package agent

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/match"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// redact takes the secrets out of what the worker tells: whatever leaves it passes
// here. Records are redacted where they are made, byte for byte as a tape has them.
func (m *FromAgent) redact(r *tape.Redactor) {
	switch {
	case m.Event != nil:
		m.Event = m.Event.Redacted(r)
	case m.Result != nil:
		redactCase(r, m.Result)
	case m.Log != nil:
		m.Log = &Log{Level: m.Log.Level, Message: r.Text(m.Log.Message)}
	case m.Fatal != nil:
		f := *m.Fatal
		f.Error, f.Hint = r.Text(f.Error), r.Text(f.Hint)
		m.Fatal = &f
	case m.Reply != nil:
		reply := *m.Reply
		reply.Error = r.Text(reply.Error)
		m.Reply = &reply
	}
}

// Redacted is the event without the secrets in its texts.
func (e *Event) Redacted(r *tape.Redactor) *Event {
	out := *e
	out.URL, out.Detail, out.Hint = r.URL(e.URL), r.Text(e.Detail), r.Text(e.Hint)
	out.Miss = redactJSON(r, e.Miss)
	return &out
}

// redactJSON redacts every string of a JSON value; the bytes stay if there is no
// secret in them.
func redactJSON(r *tape.Redactor, raw json.RawMessage) json.RawMessage {
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return raw
	}
	changed := false
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			s := r.Text(v)
			changed = changed || s != v
			return s
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
		}
		return v
	}
	v = walk(v)
	if !changed {
		return raw
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return out
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
		u.URL, u.Detail = r.URL(u.URL), r.Text(u.Detail)
	}
	for i := range c.Misses {
		m := &c.Misses[i]
		m.URL = r.URL(m.URL)
		if m.Closest != nil {
			m.Closest.URL = r.URL(m.Closest.URL)
		}
		for j := range m.Differences {
			d := &m.Differences[j]
			d.Recorded, d.Now = redactAt(r, d.Where, d.Recorded), redactAt(r, d.Where, d.Now)
		}
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

// redactDifference redacts what an answer's head has; its body is the tape's to have
// or not.
func redactDifference(r *tape.Redactor, d *compare.Difference) {
	switch d.Kind {
	case compare.Header, compare.Status, compare.Interim, compare.Ended:
	default:
		return
	}
	redacted := func(s string) string {
		if d.Kind == compare.Header {
			return r.Field(strings.TrimPrefix(d.Where, "trailer "), s)
		}
		return r.Text(s)
	}
	for _, v := range []*string{&d.Recorded, &d.Now} {
		if s := redacted(*v); s != *v {
			d.Message = strings.ReplaceAll(d.Message, *v, s)
			*v = s
		}
	}
	d.Message = r.Text(d.Message)
}

// redactAt redacts a value of a request by its place, as match names places.
func redactAt(r *tape.Redactor, where, value string) string {
	kind, name, _ := strings.Cut(where, " ")
	switch {
	case value == match.None || value == match.Empty:
		return value
	case kind == "header":
		return r.Field(name, value)
	case kind == "query":
		return strings.TrimPrefix(r.Query(name+"="+value), name+"=")
	}
	return r.Text(value)
}
