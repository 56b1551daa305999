package report

import (
	"io"
	"strings"

	"github.com/wiretape/wiretape/httpstream/event"
)

// TextOptions configure the report for a terminal.
type TextOptions struct {
	Color bool // colour is asked for: a terminal, and no NO_COLOR
	Width int  // columns; 0 means 80
	// All lists the cases that passed, too, and every difference.
	All bool
	// Report is the HTML page, to be named if there is one.
	Report string
}

const (
	maxFindings = 8  // of one case, in text
	maxMisses   = 5  // of one case, in text
	maxLogs     = 12 // lines of the app's log of one case, in text
	everything  = 1000
)

// Text writes the report for a terminal: failures first, each with what to do
// next, and one line of summary last.
func Text(w io.Writer, r *Run, o TextOptions) error {
	p := newPrinter(o.Color, o.Width)
	most := maxFindings
	if o.All {
		most = everything
	}
	for _, c := range r.ordered() {
		switch {
		case c.bad() || c.Rerecorded && c.Verdict != nil:
			p.caseText(c, most)
			p.line()
		case o.All || c.Rerecorded || c.Status == Skipped || len(c.Misses) > 0 || c.OrderChanged != nil || c.SecondTry != "":
			p.caseBrief(c)
		}
	}
	p.outside(r)
	for i := range r.Warnings {
		p.note("warning", yellow, &r.Warnings[i])
	}
	for i := range r.Errors {
		p.note("error", red, &r.Errors[i])
	}
	if o.Report != "" {
		p.line(span{"report: ", dim}, span{oneLine(o.Report), plain})
	}
	p.summary(r)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// CaseText is all that there is to say about one case, without colour; width 0
// means 80 columns.
func CaseText(c *CaseResult, width int) string {
	p := newPrinter(false, width)
	p.caseText(c, maxFindings)
	return p.b.String()
}

// Line is one line about a case that is done, for a run that goes on.
func Line(c *CaseResult, color bool, width int) string {
	p := newPrinter(color, width)
	p.title(c)
	return p.b.String()
}

// SummaryLine is the last line of Text, with its line feed.
func SummaryLine(r *Run, color bool) string {
	p := newPrinter(color, 0)
	p.summary(r)
	return p.b.String()
}

func (p *printer) summary(r *Run) {
	word := span{"ok", green}
	if !r.OK() {
		word = span{"failed", red}
	}
	p.line(word, span{": " + strings.Join(totals(r), ", ") + " in " + Short(r.Took), plain})
}

func statusWord(c *CaseResult) span {
	switch {
	case c.Status == Fail:
		return span{"fail ", red}
	case c.Status == Error:
		return span{"error", red}
	case c.Status == Skipped:
		return span{"skip ", yellow}
	case c.Rerecorded:
		return span{"new  ", yellow}
	}
	return span{"pass ", green}
}

// title is the first line of a case. Its name is never cut, because it is what
// --case takes; the URL is.
func (p *printer) title(c *CaseResult) {
	name, method := oneLine(c.Name), oneLine(c.Method)
	took := ""
	if c.Took > 0 {
		took = "  " + Short(c.Took)
	}
	const before, least = len("error  "), 12
	head := []span{statusWord(c), {"  ", plain}, {name, bold}}
	room := p.width - before - cells(name) - cells(method) - len("  ") - len(" ") - cells(took)
	if method == "" {
		p.line(append(head, span{took, dim})...)
		return
	}
	if room < least {
		p.line(append(head, span{took, dim})...)
		head = []span{{"      ", plain}}
		room = p.width - before - cells(method) - len("  ")
		took = ""
	}
	p.line(append(head, span{"  " + method + " " + shorten(oneLine(c.URL), room), plain}, span{took, dim})...)
}

// caseBrief is a case that needs no one, with what is worth knowing about it.
func (p *printer) caseBrief(c *CaseResult) {
	p.title(c)
	if c.Reason != "" {
		p.wrap("  ", "    ", span{oneLine(c.Reason), plain})
	}
	p.calls(c)
	p.next(c.NextSteps)
}

func (p *printer) caseText(c *CaseResult, most int) {
	p.title(c)
	if c.Error != "" {
		p.wrap("  ", "    ", span{oneLine(c.Error), red})
	}
	missed := failing(c.Misses) > 0 || len(c.Unlike) > 0
	if missed { // what differs follows from it, most likely
		p.calls(c)
	}
	list, more := findings(c.Verdict, most)
	if n := len(list) + more; missed && n > 0 && most < everything {
		p.line(span{"  " + answerFollows(c.Verdict), plain})
		list, more = nil, 0
	}
	for i := range list {
		p.finding(&list[i])
	}
	if more > 0 {
		p.line(span{"  and " + Plural(more, "more difference"), dim})
	}
	if c.Verdict != nil && c.Verdict.Interrupted {
		p.wrap("  ", "    ", span{"the recording ends before the answer did: only what was recorded was compared", dim})
	}
	if s := delaySentence(c.Verdict); s != "" {
		p.wrap("  ", "    ", span{s, plain})
	}
	if !missed {
		p.calls(c)
	}
	p.logs(c.Logs)
	p.next(c.NextSteps)
}

// logs are the last lines that services wrote, the service's name before each.
func (p *printer) logs(lines []LogLine) {
	if len(lines) == 0 {
		return
	}
	head := "  the app's log meanwhile"
	if n := len(lines) - maxLogs; n > 0 {
		head += ", without " + Plural(n, "line") + " before"
		lines = lines[n:]
	}
	p.line(span{head + ":", plain})
	for _, l := range lines {
		p.line(span{"    " + shorten(oneLine(l.Service+" | "+l.Text), p.width-4), dim})
	}
}

func (p *printer) finding(f *finding) {
	p.wrap("  ", "    ", span{oneLine(f.Title), plain})
	switch {
	case len(f.Words) > 0:
		p.words("    ", f.Words)
	case f.Pair:
		p.pair("    ", f.Recorded, f.Now)
	}
}

func (p *printer) calls(c *CaseResult) {
	p.misses(c.Misses)
	for i, u := range c.Unlike {
		if i == maxMisses {
			p.line(span{"  and " + Plural(len(c.Unlike)-i, "more call") + " with another message", dim})
			break
		}
		p.wrap("  ", "    ", span{"call " + listed([]int{u.Number}) + ": " + oneLine(u.Problem.Message()), plain})
	}
	notMade, asked := c.notMade()
	if asked > 0 && len(notMade) > 0 {
		p.line(span{"  " + follows(len(notMade), "call") + ", not made:", plain})
	}
	for i, ref := range notMade {
		if i == maxMisses {
			p.line(span{"  and " + Plural(len(notMade)-i, "more call") + " not made", dim})
			break
		}
		head := "  call " + listed([]int{ref.Number}) + " was not made  "
		p.line(span{head, plain}, span{p.request(ref.Method, ref.URL, cells(head)), plain})
	}
	for i, ref := range c.Left {
		if i == maxMisses {
			p.line(span{"  and " + Plural(len(c.Left)-i, "more call") + " broken off", dim})
			break
		}
		head := "  call " + listed([]int{ref.Number}) + " was broken off by the app, and was recorded to its end  "
		p.line(span{head, plain}, span{p.request(ref.Method, ref.URL, cells(head)), plain})
	}
	if c.SecondTry != "" {
		p.wrap("  ", "    ", span{oneLine(c.SecondTry), plain})
	}
	if c.OrderChanged != nil {
		p.wrap("  ", "    ", span{orderSentence(c.OrderChanged), plain})
	}
}

// request is a method and a URL in what is left of a line.
func (p *printer) request(method, url string, column int) string {
	method = oneLine(method)
	return method + " " + shorten(oneLine(url), p.width-column-cells(method)-1)
}

func (p *printer) misses(misses []event.Miss) {
	for i := range misses {
		if i == maxMisses {
			p.line(span{"  and " + Plural(len(misses)-i, "more miss"), dim})
			return
		}
		m := &misses[i]
		word, style := missWord(m), yellow
		if m.Answered == event.Refused {
			style = red
		}
		p.line(span{"  ", plain}, span{word, style}, span{"  " + p.request(m.Method, m.URL, len(word)+4), plain})
		p.line(span{"    " + shorten(oneLine(missSentence(m)), p.width-4), plain})
		for _, d := range m.Differences {
			p.line(span{"    " + shorten(oneLine(d.Title()), p.width-4), plain})
			p.pair("      ", d.Recorded, d.Now)
		}
		if m.More > 0 {
			p.line(span{"    and " + Plural(m.More, "more difference"), dim})
		}
	}
}

// next prints the steps. Code is on lines of its own and never cut, so that it
// can be copied.
func (p *printer) next(steps []Step) {
	lead := "  next: "
	for _, s := range steps {
		text := oneLine(s.Do)
		if s.Code != "" {
			text += ":"
		}
		p.wrap(lead, "        ", span{text, plain})
		lead = "        "
		for line := range strings.Lines(s.Code) {
			p.line(span{"          " + oneLine(strings.TrimRight(line, "\n")), bold})
		}
	}
}

func (p *printer) outside(r *Run) {
	if len(r.Outside) == 0 {
		return
	}
	p.line(span{"calls while no case ran", bold})
	p.misses(r.Outside)
	p.next(outsideSteps(r))
	p.line()
}

func (p *printer) note(word, style string, n *event.Problem) {
	p.wrap("", "  ", span{word + ": ", style}, span{oneLine(n.Message()), plain})
	if n.Next != "" {
		p.wrap("  next: ", "        ", span{oneLine(n.Next), plain})
	}
}
