package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A reporter tells the user what happens in a session: as lines for people, or
// as JSON events for machines, one a line. docs/cli.md documents the events.
type reporter struct {
	mu    sync.Mutex
	out   *batch
	json  bool
	color bool
	count counts
	// redact takes the secrets out of events that no agent has done so for, in proxy;
	// nil leaves them.
	redact *tape.Redactor
	calls  callLines
	line   *liveLine // nil where there is none
	cases  runningCases
	// mendMiss is what to do about a miss that the app is right to make.
	mendMiss string
}

// counts are what a session's summary adds up.
type counts struct {
	Calls, Cases, Misses, Opaque, Refused, Untrusted, Closed, Errors, Passed int
	// PassedOn and Recorded are misses that were answered from the outside.
	PassedOn, Recorded int
}

// summary is the last event of a session.
type summary struct {
	Type     string `json:"type"` // "summary"
	Mode     string `json:"mode"`
	Calls    int    `json:"calls"`
	Cases    int    `json:"cases"`
	Misses   int    `json:"misses"` // that failed
	PassedOn int    `json:"passed_on,omitempty"`
	Recorded int    `json:"recorded,omitempty"`
	Opaque   int    `json:"opaque"`
	// Refused, Untrusted and Closed are connections without an exchange: upstream could
	// not be reached, and a client rejected our certificate, or went away after it.
	Refused   int      `json:"refused,omitempty"`
	Untrusted int      `json:"untrusted,omitempty"`
	Closed    int      `json:"closed,omitempty"`
	Tape      string   `json:"tape,omitempty"`
	Complete  *bool    `json:"complete,omitempty"` // of a recording
	Problems  []string `json:"problems,omitempty"`
	OK        bool     `json:"ok"`
	Took      float64  `json:"took_s"`
	// Results are those of the cases, in test.
	Results *report.Counts `json:"results,omitempty"`
}

// output is what a verb prints.
type output int

const (
	forPeople   output = iota // lines of text
	forMachines               // --json: one object a line
)

// outputOf reads --json.
func outputOf(c *cli.Context) output {
	if c.Bool("json") {
		return forMachines
	}
	return forPeople
}

// callLines is where people are told of calls and misses.
type callLines int

const (
	asTheyEnd callLines = iota
	inReport            // the report at the end has them
)

func newReporter(w io.Writer, o output) *reporter {
	r := &reporter{
		out: newBatch(w), json: o == forMachines, color: o == forPeople && colored(w),
		mendMiss: "add it to the tape with wiretape compose test --on-miss record",
	}
	// What is logged goes past the line.
	if line := newLiveLine(w); line != nil && o == forPeople && !logrus.IsLevelEnabled(logrus.DebugLevel) {
		r.line, r.out = line, newBatch(line)
		r.cases.line = line
	}
	return r
}

// close ends what is printed: what follows goes past it.
func (r *reporter) close() {
	r.out.flush()
	r.line.off()
}

// colored tells whether output goes to a terminal whose user has nothing against colours.
func colored(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }

// sgr is s in a colour; code is an SGR parameter.
func sgr(code, s string) string { return "\x1b[" + code + "m" + s + "\x1b[0m" }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// paint colours s where the output is a terminal; code is an SGR parameter.
func (r *reporter) paint(code, s string) string {
	if !r.color {
		return s
	}
	return sgr(code, s)
}

func (r *reporter) emit(v any) {
	if line, err := json.Marshal(v); err == nil {
		_, _ = r.out.Write(append(line, '\n'))
	}
}

// note is a step of the session, for people only.
func (r *reporter) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.out.flush()
	msg := fmt.Sprintf(format, args...)
	if r.json {
		r.emit(event.Event{Notice: &event.Notice{Kind: event.Step, Detail: msg}})
		return
	}
	fmt.Fprintln(r.out, r.paint("2", msg))
}

// warn is what the user should act on.
func (r *reporter) warn(msg, hint string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.out.flush()
	if r.json {
		r.emit(event.Event{Notice: &event.Notice{Kind: event.Warning, Detail: msg, Next: hint}})
		return
	}
	fmt.Fprintln(r.out, r.paint("33", "warning: ")+msg)
	if hint != "" {
		fmt.Fprintln(r.out, "  next: "+hint)
	}
}

// event tells of what happened.
func (r *reporter) event(e *event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.redact != nil {
		e = agent.RedactEvent(r.redact, e)
	}
	r.tally(e)
	if r.json {
		r.emit(e)
		return
	}
	call := e.Exchange != nil && e.Exchange.Kind == event.CallEnded
	if r.calls == inReport && call || e.Notice != nil && e.Notice.Kind == event.Closed {
		return // the summary counts them
	}
	fmt.Fprint(r.out, r.text(e))
}

// notice tells of something beside the exchanges.
func (r *reporter) notice(n event.Notice) { r.event(&event.Event{Notice: &n}) }

func (r *reporter) tally(e *event.Event) {
	c := &r.count
	switch {
	case e.Miss != nil:
		switch e.Miss.Answered {
		case event.Passed:
			c.PassedOn++
		case event.Recorded:
			c.Recorded++
		default:
			c.Misses++
		}
	case e.Exchange != nil && e.Exchange.Kind == event.CaseEnded:
		c.Cases++
	case e.Exchange != nil:
		c.Calls++
	case e.Notice != nil:
		c.notice(e.Notice.Kind)
	}
}

func (c *counts) notice(kind event.NoticeKind) {
	switch kind {
	case event.Opaque:
		c.Opaque++
	case event.Unreachable:
		c.Refused++
	case event.Untrusted:
		c.Untrusted++
	case event.Closed:
		c.Closed++
	case event.Unrecorded:
		c.Passed++
	case event.Failed:
		c.Errors++
	}
}

func (r *reporter) counts() counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// text is one event for people, with its line feed.
func (r *reporter) text(e *event.Event) string {
	switch {
	case e.Miss != nil:
		return r.missLines(e.Miss)
	case e.Exchange != nil:
		return r.exchangeLine(e.Exchange)
	}
	return r.noticeLine(e.Notice)
}

func (r *reporter) noticeLine(n *event.Notice) string {
	word := map[event.NoticeKind]string{
		event.Opaque: "not recorded", event.Untrusted: "certificate rejected", event.Unreachable: "unreachable",
		event.Unrecorded: "incomplete", event.Misused: "not served",
	}[n.Kind]
	if word == "" {
		word = string(n.Kind)
	}
	code := "33"
	if n.Kind == event.Failed || n.Kind == event.Unrecorded || n.Kind == event.Untrusted {
		code = "31"
	}
	s := r.paint(code, word)
	if n.About != "" {
		s += "  " + n.About
	}
	if n.Service != "" {
		s += "  from " + n.Service
	}
	if n.Detail != "" {
		s += ": " + n.Detail
	}
	if n.Bytes > 0 {
		s += ", " + report.Size(n.Bytes) + " passed"
	}
	s += "\n"
	if n.Next != "" {
		s += "  next: " + n.Next + "\n"
	}
	return s
}

func (r *reporter) exchangeLine(e *event.Exchange) string {
	status := fmt.Sprint(e.Status)
	if e.Status == 0 {
		status = "no answer"
	}
	switch {
	case e.Status == 0 || e.Status >= 500:
		status = r.paint("31", status)
	case e.Status >= 400:
		status = r.paint("33", status)
	default:
		status = r.paint("32", status)
	}
	s := fmt.Sprintf("%s %4d  ", e.Kind, e.Number)
	if e.Service != "" {
		s += fmt.Sprintf("%-10s ", e.Service)
	}
	if e.Method != "" { // a call that failed before there was a request has none
		s += e.Method + " "
	}
	s += shortURL(e.URL) + "  " + status
	if e.Chunks > 0 {
		s += fmt.Sprintf("  %s, %s", report.Plural(e.Chunks, "chunk"), report.Size(e.Bytes))
	}
	if e.Took > 0 {
		s += fmt.Sprintf("  first %s, all %s", report.Short(e.First), report.Short(e.Took))
	}
	if e.Late != nil {
		s += fmt.Sprintf("  late %s, at most %s", report.Short(e.Late.Median), report.Short(e.Late.Max))
	}
	if e.How != "" && e.How != httpstream.EOF {
		s += "  " + r.paint("33", string(e.How))
	}
	if e.Failed != "" {
		s += "  " + e.Failed
	}
	return s + "\n"
}

// shortURL leaves out the middle of a URL that would fill several lines: its host and
// its end tell most calls apart, what differs in a miss is shown below it, and JSON
// events and tape show have all of it.
func shortURL(url string) string {
	const begin, end = 80, 39
	r := []rune(url)
	if len(r) <= begin+1+end {
		return url
	}
	return string(r[:begin]) + "…" + string(r[len(r)-end:])
}

func (r *reporter) missLines(m *event.Miss) string {
	var b strings.Builder
	word := r.paint("31", "miss")
	switch m.Answered {
	case event.Passed:
		word = r.paint("33", "passed through")
	case event.Recorded:
		word = r.paint("33", "newly recorded")
	}
	fmt.Fprintf(&b, "%s  %s %s", word, m.Method, shortURL(m.URL))
	if m.Service != "" {
		fmt.Fprintf(&b, "  from %s", m.Service)
	}
	b.WriteByte('\n')
	switch {
	case m.Used > 0:
		fmt.Fprintf(&b, "  it was recorded %s, and the app asked once more\n", report.Times(m.Used))
	case m.Closest == nil:
		b.WriteString("  nothing like it was recorded\n")
	default:
		fmt.Fprintf(&b, "  closest: call %d  %s %s\n", m.Closest.Number, m.Closest.Method, shortURL(m.Closest.URL))
	}
	for _, d := range m.Differences {
		fmt.Fprintf(&b, "    %s\n      recorded: %s\n      now:      %s\n", d.Title(), d.Recorded, d.Now)
	}
	if m.More > 0 {
		fmt.Fprintf(&b, "    and %s more\n", report.Plural(m.More, "difference"))
	}
	if m.Answered == event.Refused {
		b.WriteString("  next: if the app is right to ask this, " + r.mendMiss + "\n")
	}
	return b.String()
}

// finish prints the summary; s has what the reporter can't count.
func (r *reporter) finish(s summary) {
	r.line.off()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.out.flush()
	s.Type = "summary"
	s.Calls, s.Cases, s.Misses, s.Opaque = r.count.Calls, r.count.Cases, r.count.Misses, r.count.Opaque
	s.PassedOn, s.Recorded = r.count.PassedOn, r.count.Recorded
	s.Refused, s.Untrusted, s.Closed = r.count.Refused, r.count.Untrusted, r.count.Closed
	if r.json {
		r.emit(s)
		return
	}
	parts := []string{report.Plural(s.Calls, "call")}
	if s.Mode == "record" || s.Cases > 0 {
		parts = append(parts, report.Plural(s.Cases, "case"))
	}
	if s.Mode != "record" || s.Misses > 0 {
		parts = append(parts, report.Plural(s.Misses, "miss"))
	}
	if s.PassedOn > 0 {
		parts = append(parts, report.Plural(s.PassedOn, "call")+" passed through")
	}
	if s.Recorded > 0 {
		parts = append(parts, report.Plural(s.Recorded, "call")+" newly recorded")
	}
	if s.Opaque > 0 {
		parts = append(parts, fmt.Sprintf("%d not recorded", s.Opaque))
	}
	if s.Refused > 0 {
		parts = append(parts, fmt.Sprintf("%d unreachable", s.Refused))
	}
	if s.Untrusted > 0 {
		parts = append(parts, report.Plural(s.Untrusted, "certificate")+" rejected")
	}
	if s.Closed > 0 {
		parts = append(parts, report.Plural(s.Closed, "connection")+" closed before any request")
	}
	word := r.paint("32", "ok")
	if !s.OK {
		word = r.paint("31", "failed")
	}
	fmt.Fprintf(r.out, "%s: %s in %s", word, strings.Join(parts, ", "), report.Short(time.Duration(s.Took*float64(time.Second))))
	if s.Mode == "record" && s.Tape != "" {
		fmt.Fprintf(r.out, ", tape %s", s.Tape)
	}
	fmt.Fprintln(r.out)
	for _, p := range s.Problems {
		fmt.Fprintf(r.out, "  problem: %s\n", p)
	}
}

// setCalls says where people are told of calls and misses from here on.
func (r *reporter) setCalls(where callLines) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = where
}

// result tells of a case that ended.
func (r *reporter) result(c *report.CaseResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Cases++
	if r.json {
		r.emit(struct {
			Type string `json:"type"`
			*report.CaseResult
		}{"result", c})
		return
	}
	_, _ = io.WriteString(r.out, report.Line(c, r.color, columns()))
}

// finishTest prints the report and the summary.
func (r *reporter) finishTest(run *report.Run, s summary, html string) {
	if r.json || len(run.Cases) == 0 && len(run.Outside) == 0 && len(run.Errors) == 0 {
		r.finish(s)
		return
	}
	r.line.off()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.out.flush()
	fmt.Fprintln(r.out)
	_ = report.Text(r.out, run, report.TextOptions{Color: r.color, Width: columns(), Report: html})
}

// columns is the width of the terminal where the shell tells it; 0 means that it is not known.
func columns() int {
	n, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || n < 40 {
		return 0
	}
	return n
}
