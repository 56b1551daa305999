package runner

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream/tape"
)

const (
	// telling is how long a text must be for it to tell by being found in another.
	telling = 6
	// maxRead is how much of an answer is looked at.
	maxRead = 256 << 10
)

// Attribute says of the tape's calls, as exactly as the tape allows, which cases
// they belong to. Time alone, which is what the recorder had, tells too little of
// two kinds: calls that one of several cases made that ran side by side, which
// what only one of them has then binds to it; and calls that the app makes by
// itself, which fell into a case by chance. These belong to none.
func Attribute(t *tape.Tape, known *Correlation) {
	letGo(t, known)
	var read []*evidence // of t.Cases
	for _, call := range t.Calls {
		if len(call.Cases) == 0 {
			continue
		}
		if read == nil {
			read = make([]*evidence, len(t.Cases))
		}
		var cases []*evidence
		for i, x := range t.Cases {
			if !slices.Contains(call.Cases, x.Number) {
				continue
			}
			if read[i] == nil {
				read[i] = evidenceOf(t, x)
			}
			cases = append(cases, read[i])
		}
		if bound := bind(evidenceOf(t, call), cases); len(bound) > 0 {
			call.Belong(bound...)
		}
	}
}

// place is what a call asks, whatever the query.
func place(x *tape.Exchange) string {
	address, _, _ := strings.Cut(x.Request.URL, "?")
	return x.Service + " " + x.Request.Method + " " + address
}

// letGo makes calls nobody's that no case caused: what polls, and what reports
// after an answer (telemetry). They are told by where they go: the app asked there
// while no case ran, and never, or before any case as well, where nothing but a
// case can have been the cause.
func letGo(t *tape.Tape, known *Correlation) {
	if len(t.Cases) == 0 {
		return
	}
	first := t.Cases[0].Started
	before, between := map[string]bool{}, map[string]bool{}
	for _, x := range t.Calls {
		switch {
		case x.Case != 0 || len(x.Cases) > 0:
		case x.Started < first:
			before[place(x)] = true
		default:
			between[place(x)] = true
		}
	}
	if len(between) == 0 {
		return
	}
	ended := firstEnd(t)
	caused := map[string]bool{}
	for _, x := range t.Calls {
		if (x.Case != 0 || len(x.Cases) > 0) && x.Started < ended {
			caused[place(x)] = true
		}
	}
	for _, x := range t.Calls {
		p := place(x)
		if between[p] && (before[p] || !caused[p]) && len(known.Named(x.Request.Header)) == 0 {
			x.Belong()
		}
	}
}

// firstEnd is when the first case ended. Before, no case can have left anything
// behind.
func firstEnd(t *tape.Tape) time.Duration {
	end := time.Duration(-1)
	for _, x := range t.Cases {
		if end >= 0 && x.Started >= end {
			break
		}
		if at := endOf(t, x); end < 0 || at < end {
			end = at
		}
	}
	return end
}

// endOf is when an exchange ended, since the recording began. What of it can't be
// read counts as not there; whoever plays it says so.
func endOf(t *tape.Tape, x *tape.Exchange) time.Duration {
	end := x.Started
	if !x.TwoWay {
		end += x.Request.Took
	}
	origin := end
	if x.Response != nil {
		end = max(end, origin+x.Response.At)
	}
	stream, err := t.Stream(x)
	if err != nil {
		return end
	}
	defer stream.Close()
	for line, err := range stream.Lines() {
		if err != nil {
			break
		}
		if !line.FromClient {
			end = max(end, origin+line.At)
		}
	}
	return end
}

// evidence is what one exchange can be told by.
type evidence struct {
	number         int
	asked, got     facts
	askedIn, gotIn string // all text of the request, and of the answer
}

// facts are values by name, and long texts.
type facts struct {
	values map[string]bool
	texts  []string
}

func evidenceOf(t *tape.Tape, x *tape.Exchange) *evidence {
	e := &evidence{number: x.Number}
	e.asked.values, e.got.values = map[string]bool{}, map[string]bool{}
	e.asked.url(x.Request.URL)
	if data, err := x.RequestBody(); err == nil {
		e.asked.body(x.Request.Header.Get("Content-Type"), data)
	}
	if x.Response != nil {
		e.got.body(x.Response.Head.Header.Get("Content-Type"), answerOf(t, x))
	}
	e.askedIn, e.gotIn = strings.Join(e.asked.texts, "\n"), strings.Join(e.got.texts, "\n")
	return e
}

func answerOf(t *tape.Tape, x *tape.Exchange) []byte {
	stream, err := t.Stream(x)
	if err != nil {
		return nil
	}
	defer stream.Close()
	var b bytes.Buffer
	for line, err := range stream.Lines() {
		if err != nil || b.Len() > maxRead {
			break
		}
		if !line.FromClient {
			b.Write(line.Data)
		}
	}
	return b.Bytes()
}

func (f *facts) url(raw string) {
	_, rest, _ := strings.Cut(raw, "://")
	rest, query, _ := strings.Cut(rest, "?")
	segments := strings.Split(rest, "/")[1:]
	for i, s := range segments {
		if u, err := url.PathUnescape(s); err == nil {
			s = u
		}
		parent := ""
		if i > 0 {
			parent = segments[i-1]
		}
		f.add(parent, s)
	}
	f.form(query)
}

func (f *facts) form(query string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		f.text(query)
		return
	}
	for name, list := range values {
		for _, v := range list {
			f.add(name, v)
		}
	}
}

func (f *facts) body(contentType string, data []byte) {
	if len(data) == 0 {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var doc any
	switch err := dec.Decode(&doc); {
	case err == nil && !dec.More():
		f.json("", doc)
	case strings.HasPrefix(strings.ToLower(contentType), "application/x-www-form-urlencoded"):
		f.form(string(data))
	default:
		f.text(string(data))
	}
}

func (f *facts) json(name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			f.json(k, child)
		}
	case []any:
		for _, child := range v {
			f.json(name, child)
		}
	case string:
		f.add(name, v)
	case json.Number:
		f.add(name, v.String())
	}
}

func (f *facts) add(name, value string) {
	if name != "" && value != "" {
		f.values[name+"\x00"+value] = true
	}
	f.text(value)
}

func (f *facts) text(s string) {
	if s = strings.TrimSpace(s); s != "" {
		f.texts = append(f.texts, s)
	}
}

// words are the texts, and the words in them, that are long enough to tell.
func (f *facts) words(yield func(string) bool) {
	for _, text := range f.texts {
		if len(text) >= telling && !yield(text) {
			return
		}
		for word := range strings.FieldsFuncSeq(text, notInWord) {
			if len(word) >= telling && word != text && !yield(word) {
				return
			}
		}
	}
}

func notInWord(r rune) bool {
	return r < 0x80 && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// bind returns those of the cases that have something which no other of them has
// and the call has too: in what was asked, which an app passes on, or else in the
// answers, which an app passes back.
func bind(call *evidence, cases []*evidence) []int {
	var asked, answered []int
	for _, c := range cases {
		others := slices.DeleteFunc(slices.Clone(cases), func(o *evidence) bool { return o == c })
		if passesOn(call, c, others) {
			asked = append(asked, c.number)
		}
		if passesBack(call, c, others) {
			answered = append(answered, c.number)
		}
	}
	switch both := intersect(asked, answered); {
	case len(both) > 0:
		return both
	case len(asked) > 0:
		return asked
	}
	return answered
}

func passesOn(call, c *evidence, others []*evidence) bool {
	for v := range c.asked.values {
		if call.asked.values[v] && !slices.ContainsFunc(others, func(o *evidence) bool { return o.asked.values[v] }) {
			return true
		}
	}
	for word := range c.asked.words {
		if strings.Contains(call.askedIn, word) && !slices.ContainsFunc(others, func(o *evidence) bool { return strings.Contains(o.askedIn, word) }) {
			return true
		}
	}
	return false
}

func passesBack(call, c *evidence, others []*evidence) bool {
	for v := range call.got.values {
		if c.got.values[v] && !slices.ContainsFunc(others, func(o *evidence) bool { return o.got.values[v] }) {
			return true
		}
	}
	for word := range call.got.words {
		if strings.Contains(c.gotIn, word) && !slices.ContainsFunc(others, func(o *evidence) bool { return strings.Contains(o.gotIn, word) }) {
			return true
		}
	}
	return false
}
