package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A reporter tells the user what happens in a session: as lines for people, or
// as JSON events for machines, one a line. docs/cli.md documents the events.
type reporter struct {
	mu    sync.Mutex
	out   io.Writer
	json  bool
	color bool
	count counts
	// redact takes the secrets out of events that no agent has done so for, in proxy;
	// nil leaves them.
	redact *tape.Redactor
	calls  callLines
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
	return &reporter{
		out: w, json: o == forMachines, color: o == forPeople && isTerminal(w) && os.Getenv("NO_COLOR") == "",
		mendMiss: "add it to the tape with wiretape compose test --on-miss record",
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// paint colours s where the output is a terminal; code is an SGR parameter.
func (r *reporter) paint(code, s string) string {
	if !r.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (r *reporter) emit(v any) {
	if line, err := json.Marshal(v); err == nil {
		r.out.Write(append(line, '\n'))
	}
}

// note is a step of the session, for people only.
func (r *reporter) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	msg := fmt.Sprintf(format, args...)
	if r.json {
		r.emit(map[string]string{"type": "note", "detail": msg})
		return
	}
	fmt.Fprintln(r.out, r.paint("2", msg))
}

// warn is what the user should act on.
func (r *reporter) warn(msg, hint string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.json {
		r.emit(agent.Event{Type: "warning", Detail: msg, Hint: hint})
		return
	}
	fmt.Fprintln(r.out, r.paint("33", "warning: ")+msg)
	if hint != "" {
		fmt.Fprintln(r.out, "  next: "+hint)
	}
}

// event tells of what the agent saw.
func (r *reporter) event(e *agent.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.redact != nil {
		e = e.Redacted(r.redact)
	}
	r.tally(e)
	if r.json {
		r.emit(e)
		return
	}
	if e.Type == "closed" || r.calls == inReport && (e.Type == "call" || e.Type == "miss") {
		return // the summary counts them
	}
	fmt.Fprint(r.out, r.line(e))
}

func (r *reporter) tally(e *agent.Event) {
	c := &r.count
	switch e.Type {
	case "call":
		c.Calls++
	case "case":
		c.Cases++
	case "miss":
		switch e.Answered {
		case agent.Passthrough:
			c.PassedOn++
		case agent.RecordMiss:
			c.Recorded++
		default:
			c.Misses++
		}
	case "opaque":
		c.Opaque++
	case "refused":
		c.Refused++
	case "untrusted":
		c.Untrusted++
	case "closed":
		c.Closed++
	case "passed":
		c.Passed++
	case "error":
		c.Errors++
	}
}

func (r *reporter) counts() counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// line is one event for people, with its line feed.
func (r *reporter) line(e *agent.Event) string {
	switch e.Type {
	case "call", "case":
		return r.exchangeLine(e)
	case "miss":
		return r.missLines(e)
	}
	word := map[string]string{
		"opaque": "not recorded", "untrusted": "certificate rejected", "refused": "unreachable",
		"passed": "incomplete", "error": "error", "misused": "not served",
	}[e.Type]
	if word == "" {
		word = e.Type
	}
	code := "33"
	if e.Type == "error" || e.Type == "passed" || e.Type == "untrusted" {
		code = "31"
	}
	s := r.paint(code, word)
	if e.URL != "" {
		s += "  " + e.URL
	}
	if e.Service != "" {
		s += "  from " + e.Service
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Bytes > 0 {
		s += ", " + report.Size(e.Bytes) + " passed"
	}
	s += "\n"
	if e.Hint != "" {
		s += "  next: " + e.Hint + "\n"
	}
	return s
}

func (r *reporter) exchangeLine(e *agent.Event) string {
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
	s := fmt.Sprintf("%s %4d  ", e.Type, e.Number)
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
		s += fmt.Sprintf("  first %s, all %s", short(e.First), short(e.Took))
	}
	if e.Late != nil {
		s += fmt.Sprintf("  late %s, at most %s", short(e.Late.Median), short(e.Late.Max))
	}
	if e.End != "" && e.End != "eof" {
		s += "  " + r.paint("33", e.End)
	}
	if e.Detail != "" {
		s += "  " + e.Detail
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

// missBody is what the app got, as match.Miss.JSON writes it.
type missBody struct {
	Closest *struct {
		Number int    `json:"number"`
		Method string `json:"method"`
		URL    string `json:"url"`
		File   string `json:"file"`
	} `json:"closest"`
	Differences []struct {
		Where    string `json:"where"`
		Recorded string `json:"recorded"`
		Now      string `json:"now"`
		Message  string `json:"message"`
	} `json:"differences"`
	More int `json:"more_differences"`
	Used int `json:"used"`
}

func (r *reporter) missLines(e *agent.Event) string {
	var b strings.Builder
	word := r.paint("31", "miss")
	switch e.Answered {
	case agent.Passthrough:
		word = r.paint("33", "passed through")
	case agent.RecordMiss:
		word = r.paint("33", "newly recorded")
	}
	fmt.Fprintf(&b, "%s  %s %s", word, e.Method, shortURL(e.URL))
	if e.Service != "" {
		fmt.Fprintf(&b, "  from %s", e.Service)
	}
	b.WriteByte('\n')
	var m missBody
	if json.Unmarshal(e.Miss, &m) != nil {
		return b.String()
	}
	switch {
	case m.Used > 0:
		fmt.Fprintf(&b, "  it was recorded %s, and the app asked once more\n", report.Times(m.Used))
	case m.Closest == nil:
		b.WriteString("  nothing like it was recorded\n")
	default:
		fmt.Fprintf(&b, "  closest: call %d  %s %s\n", m.Closest.Number, m.Closest.Method, shortURL(m.Closest.URL))
	}
	for _, d := range m.Differences {
		fmt.Fprintf(&b, "    %s\n      recorded: %s\n      now:      %s\n", cmp.Or(d.Message, d.Where), d.Recorded, d.Now)
	}
	if m.More > 0 {
		fmt.Fprintf(&b, "    and %s more\n", report.Plural(m.More, "difference"))
	}
	if e.Answered == "" {
		b.WriteString("  next: if the app is right to ask this, " + r.mendMiss + "\n")
	}
	return b.String()
}

// short writes a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1e3)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// finish prints the summary; s has what the reporter can't count.
func (r *reporter) finish(s summary) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	fmt.Fprintf(r.out, "%s: %s in %s", word, strings.Join(parts, ", "), short(time.Duration(s.Took*float64(time.Second))))
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
	io.WriteString(r.out, report.Line(c, r.color, columns()))
}

// finishTest prints the report and the summary.
func (r *reporter) finishTest(run *report.Run, s summary, html string) {
	if r.json || len(run.Cases) == 0 && len(run.Outside) == 0 && len(run.Errors) == 0 {
		r.finish(s)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(r.out)
	report.Text(r.out, run, report.TextOptions{Color: r.color, Width: columns(), Report: html})
}

// columns is the width of the terminal where the shell tells it; 0 means that it is not known.
func columns() int {
	n, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || n < 40 {
		return 0
	}
	return n
}
