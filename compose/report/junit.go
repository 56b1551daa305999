package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
)

// The elements and attributes are those that the schemas in use have in common
// (Jenkins' junit-10.xsd is one); times are in seconds.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr,omitempty"`
		Properties []junitProperty `xml:"properties>property,omitempty"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name      string       `xml:"name,attr"`
		Classname string       `xml:"classname,attr"`
		Time      string       `xml:"time,attr"`
		Failure   *junitDetail `xml:"failure"`
		Error     *junitDetail `xml:"error"`
		Skipped   *junitDetail `xml:"skipped"`
	}
	junitDetail struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",cdata"`
	}
)

// JUnit writes the run as JUnit XML: a suite for each tape, and one for what
// went wrong outside the cases, if anything did.
func JUnit(w io.Writer, r *Run) error {
	doc := junitSuites{Name: "wiretape", Time: seconds(r.Took)}
	if r.Project != "" {
		doc.Name = xmlText("wiretape " + r.Project)
	}
	for _, tape := range r.tapesInOrder() {
		s := junitSuite{Name: xmlText(tape), Timestamp: timestamp(r.Started)}
		var took time.Duration
		for i := range r.Cases {
			if c := &r.Cases[i]; c.Tape == tape {
				took += c.Took
				s.add(caseOf(c))
			}
		}
		s.Time = seconds(took)
		s.properties(r)
		doc.Suites = append(doc.Suites, s)
	}
	if s := r.outsideSuite(); s.Tests > 0 {
		s.properties(r)
		doc.Suites = append(doc.Suites, s)
	}
	for i := range doc.Suites {
		s := &doc.Suites[i]
		doc.Tests += s.Tests
		doc.Failures += s.Failures
		doc.Errors += s.Errors
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// tapesInOrder are the tapes of the run, and those of cases that it does not name.
func (r *Run) tapesInOrder() []string {
	var tapes []string
	seen := map[string]bool{}
	add := func(tape string) {
		if !seen[tape] {
			seen[tape] = true
			tapes = append(tapes, tape)
		}
	}
	for _, t := range r.Tapes {
		add(t)
	}
	for i := range r.Cases {
		add(r.Cases[i].Tape)
	}
	return tapes
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func (s *junitSuite) properties(r *Run) {
	s.Properties = []junitProperty{
		{"wiretape.version", xmlText(r.Version)},
		{"wiretape.speed", strconv.FormatFloat(r.Speed, 'g', -1, 64)},
	}
}

func caseOf(c *CaseResult) junitCase {
	out := junitCase{Name: xmlText(c.Name), Classname: xmlText(c.Tape), Time: seconds(c.Took)}
	switch c.Status {
	case Fail:
		out.Failure = &junitDetail{xmlText(headline(c)), failureType(c), xmlText("\n" + CaseText(c, 0))}
	case Error:
		out.Error = &junitDetail{xmlText(headline(c)), "error", xmlText("\n" + CaseText(c, 0))}
	case Skipped:
		out.Skipped = &junitDetail{Message: xmlText(c.Reason)}
	}
	return out
}

// failureType is what headline is about, in a word.
func failureType(c *CaseResult) string {
	switch {
	case failing(c.Misses) > 0:
		return "miss"
	case len(c.Unlike) > 0:
		return "unlike"
	case c.Verdict != nil && len(c.Verdict.Differences) > 0:
		return string(headDifference(c.Verdict).Kind)
	case len(c.NotMade) > 0:
		return "not-made"
	case len(c.Left) > 0:
		return "left"
	}
	return string(compare.Changed)
}

func (r *Run) outsideSuite() junitSuite {
	const name = "outside the cases"
	s := junitSuite{Name: name, Time: seconds(0), Timestamp: timestamp(r.Started)}
	for i := range r.Outside {
		m := &r.Outside[i]
		if m.Answered != event.Refused {
			continue
		}
		p := newPrinter(false, 0)
		p.misses(r.Outside[i : i+1])
		p.next(outsideSteps(&Run{Tapes: r.Tapes, Flags: r.Flags, Outside: r.Outside[i : i+1]}))
		title := xmlText(oneLine(m.Method + " " + m.URL))
		s.add(junitCase{
			Name: "miss " + title, Classname: name, Time: seconds(0),
			Failure: &junitDetail{"no recorded call answers " + title, "miss", xmlText("\n" + p.b.String())},
		})
	}
	for i := range r.Errors {
		n := &r.Errors[i]
		p := newPrinter(false, 0)
		p.note("error", plain, n)
		s.add(junitCase{
			Name: fmt.Sprintf("session %d", i+1), Classname: name, Time: seconds(0),
			Error: &junitDetail{xmlText(oneLine(n.Message())), "error", xmlText("\n" + p.b.String())},
		})
	}
	return s
}

func seconds(d time.Duration) string { return strconv.FormatFloat(max(d, 0).Seconds(), 'f', 3, 64) }

// timestamp is ISO 8601 without a zone, which is all that some readers take; UTC.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05")
}
