package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
)

var (
	//go:embed page.html
	pageTemplate string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string
)

const (
	// maxPageFindings is how many differences of one case the page has.
	maxPageFindings = 40
	// maxOpen is how many failed cases are unfolded at the start.
	maxOpen = 10
	// Columns of a word difference that stay around a change, and in all.
	pageContext, pageWords = 400, 20_000
)

// A page is what the template needs.
type page struct {
	Run     *Run
	OK      bool
	Counts  Counts
	Tapes   string
	Started string
	Took    string
	Cases   []pageCase
	Outside []pageMiss
	Steps   []Step // for Outside
	Style   template.CSS
	Script  template.JS
	// Policy forbids the page to load anything and any script but its own.
	Policy string
}

type pageCase struct {
	*CaseResult
	ID       int
	Word     string // "fail", "error", "pass", "new", "skipped"
	Open     bool
	Headline string
	Took     string
	Findings []pageFinding
	More     int
	Delay    string
	Chart    *chart
	Figures  []figure
	Misses   []pageMiss
	Missed   bool // some call had no answer: that comes first
	Order    string
	Filter   string // what the search looks at
}

type pageFinding struct {
	finding
	Spans []compare.Span
	Cut   bool
}

type pageMiss struct {
	*event.Miss
	Word, Sentence string
}

// A figure is one row of the table beside the chart.
type figure struct {
	Label, Title  string
	Recorded, Now figureSide
}

type figureSide struct {
	First, Last, Gap, Chunks, Bytes, End string
}

// HTML writes the run as one page that loads nothing, and needs no script to be read.
func HTML(w io.Writer, r *Run) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"show":  func(s string) string { return visible(s, "\n\t") },
		"short": shorten,
	}).Parse(pageTemplate)
	if err != nil {
		return err
	}
	return t.Execute(w, newPage(r))
}

func newPage(r *Run) *page {
	sum := sha256.Sum256([]byte(pageScript))
	p := &page{
		Run: r, OK: r.OK(), Counts: r.Count(), Took: Short(r.Took),
		Tapes: strings.Join(r.tapesInOrder(), ", "), Steps: outsideSteps(r),
		Style: template.CSS(pageStyle), Script: template.JS(pageScript),
		Policy: "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; script-src 'sha256-" +
			base64.StdEncoding.EncodeToString(sum[:]) + "'",
	}
	if !r.Started.IsZero() {
		p.Started = r.Started.Format("2006-01-02 15:04:05 MST")
	}
	for i := range r.Outside {
		p.Outside = append(p.Outside, newPageMiss(&r.Outside[i]))
	}
	open := 0
	for i, c := range r.ordered() {
		pc := newPageCase(r, c, i+1)
		pc.Open = c.bad() && open < maxOpen
		if pc.Open {
			open++
		}
		p.Cases = append(p.Cases, pc)
	}
	return p
}

func newPageCase(r *Run, c *CaseResult, id int) pageCase {
	pc := pageCase{
		CaseResult: c, ID: id, Word: string(c.Status), Took: took(c.Took), Missed: failing(c.Misses) > 0,
		Delay: delaySentence(c.Verdict), Chart: newChart(c, r.Speed),
		Filter: strings.ToLower(oneLine(c.Name + " " + c.Service + " " + c.Method + " " + c.URL)),
	}
	if c.Rerecorded && !c.bad() {
		pc.Word = "new"
	}
	if c.bad() || c.Rerecorded || c.Status == Skipped {
		pc.Headline = headline(c)
	}
	var list []finding
	list, pc.More = findings(c.Verdict, maxPageFindings)
	for _, f := range list {
		pf := pageFinding{finding: f}
		var words compare.Words
		words, pf.Cut = cutWords(elide(f.Words, pageContext), pageWords)
		pf.Spans = words
		pc.Findings = append(pc.Findings, pf)
	}
	for i := range c.Misses {
		pc.Misses = append(pc.Misses, newPageMiss(&c.Misses[i]))
	}
	if c.OrderChanged != nil {
		pc.Order = orderSentence(c.OrderChanged)
	}
	for i := range c.Calls {
		call := &c.Calls[i]
		f := figure{Recorded: newFigureSide(call.Recorded), Now: newFigureSide(call.Now)}
		var path string
		f.Label, path, f.Title = callLabel(call)
		f.Label += path
		pc.Figures = append(pc.Figures, f)
	}
	if c.Answer.Recorded != nil || c.Answer.Now != nil {
		pc.Figures = append(pc.Figures, figure{
			"answer", "the app's answer", newFigureSide(c.Answer.Recorded), newFigureSide(c.Answer.Now),
		})
	}
	return pc
}

func newPageMiss(m *event.Miss) pageMiss { return pageMiss{m, missWord(m), missSentence(m)} }

func took(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return Short(d)
}

func newFigureSide(t *Timeline) figureSide {
	if t == nil {
		return figureSide{"–", "–", "–", "–", "–", "–"}
	}
	s := figureSide{First: "–", Last: "–", Gap: "–", Chunks: listed([]int{t.Count}), Bytes: Size(t.Bytes), End: t.How}
	if t.Count > 0 {
		s.First, s.Last = Short(t.First()), Short(t.Last)
	}
	if t.Count > 1 {
		s.Gap = Short(t.GapTo - t.GapFrom)
	}
	if t.Failed != "" {
		s.End = oneLine(t.Failed)
	}
	return s
}
