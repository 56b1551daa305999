package report

import (
	"fmt"
	"html"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/wiretape/wiretape/httpstream/event"
)

const (
	// maxAnnotations is how many errors of one step GitHub shows.
	maxAnnotations = 10
	// maxSummary keeps the job summary below GitHub's 1 MiB a step, what other
	// commands of the step wrote included.
	maxSummary = 512 << 10
	// maxDetails is how many cases have their details in the job summary.
	maxDetails = 50
)

// Annotations writes a workflow command for each failure, to standard output in
// GitHub Actions. dir is the working directory as a path from the root of the
// repository; files are named from there. Absolute files get no place.
func Annotations(w io.Writer, r *Run, dir string) error {
	var lines []string
	for _, c := range r.ordered() {
		if !c.bad() {
			continue
		}
		message := headline(c)
		for _, s := range c.NextSteps {
			message += "\nnext: " + s.Do
			if s.Code != "" {
				message += ":\n" + s.Code
			}
		}
		lines = append(lines, annotation(dir, c.File, fmt.Sprintf("%s: %s", c.Status, c.Name), message))
	}
	for i := range r.Outside {
		if m := &r.Outside[i]; m.Answered == event.Refused {
			lines = append(lines, annotation(dir, "", "miss while no case ran",
				fmt.Sprintf("no recorded call answers %s %s\n%s", m.Method, m.URL, missSentence(m))))
		}
	}
	for _, n := range r.Errors {
		message := n.Message()
		if n.Next != "" {
			message += "\nnext: " + n.Next
		}
		lines = append(lines, annotation(dir, "", "wiretape", message))
	}
	if more := len(lines) - maxAnnotations; more > 0 {
		lines = append(lines[:maxAnnotations-1], annotation(dir, "", "wiretape",
			fmt.Sprintf("%d more failures, all of them are in the job summary and the report", more+1)))
	}
	_, err := io.WriteString(w, strings.Join(lines, ""))
	return err
}

func annotation(dir, file, title, message string) string {
	var b strings.Builder
	b.WriteString("::error ")
	if file != "" && !filepath.IsAbs(file) {
		if p := path.Join(filepath.ToSlash(dir), filepath.ToSlash(file)); !strings.HasPrefix(p, "..") {
			fmt.Fprintf(&b, "file=%s,line=1,", commandProperty(p))
		}
	}
	fmt.Fprintf(&b, "title=%s::%s\n", commandProperty(title), commandData(message))
	return b.String()
}

// Summary writes the run as Markdown, to be appended to the file that
// GITHUB_STEP_SUMMARY names.
func Summary(w io.Writer, r *Run) error {
	var b strings.Builder
	word := "✅ ok"
	if !r.OK() {
		word = "❌ failed"
	}
	heading := "wiretape"
	if r.Project != "" {
		heading += " " + markdown(r.Project)
	}
	fmt.Fprintf(&b, "## %s\n\n**%s**: %s in %s\n\n", heading, word, strings.Join(totals(r), ", "), Short(r.Took))
	for _, n := range r.Errors {
		fmt.Fprintf(&b, "- ❌ %s%s\n", markdown(n.Message()), nextClause(n.Next))
	}
	for _, n := range r.Warnings {
		fmt.Fprintf(&b, "- ⚠️ %s%s\n", markdown(n.Message()), nextClause(n.Next))
	}
	if len(r.Errors)+len(r.Warnings) > 0 {
		b.WriteByte('\n')
	}
	r.summaryTable(&b)
	r.summaryDetails(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func nextClause(next string) string {
	if next == "" {
		return ""
	}
	return "; next: " + markdown(next)
}

// summaryTable lists what needs a person; cases that passed are only counted.
func (r *Run) summaryTable(b *strings.Builder) {
	rows := 0
	row := func(word, what, why string) {
		if rows == 0 {
			b.WriteString("| | case | what |\n|---|---|---|\n")
		}
		rows++
		fmt.Fprintf(b, "| %s | %s | %s |\n", word, markdown(what), markdown(shorten(oneLine(why), 200)))
	}
	left := 0
	for _, c := range r.ordered() {
		switch {
		case !c.bad() && !c.Rerecorded && c.Status != Skipped:
		case b.Len() > maxSummary/2:
			left++
		case c.bad():
			row("❌ "+string(c.Status), c.Name, headline(c))
		case c.Rerecorded:
			row("✏️ re-recorded", c.Name, headline(c))
		default:
			row("⏭️ skipped", c.Name, c.Reason)
		}
	}
	for i := range r.Outside {
		switch m := &r.Outside[i]; {
		case m.Answered != event.Refused:
		case b.Len() > maxSummary/2:
			left++
		default:
			row("❌ miss", "(no case)", m.Method+" "+m.URL)
		}
	}
	if left > 0 {
		fmt.Fprintf(b, "\nand %d more, which are in the report\n", left)
	}
	b.WriteByte('\n')
}

func (r *Run) summaryDetails(b *strings.Builder) {
	left, shown := 0, 0
	for _, c := range r.ordered() {
		if !c.bad() {
			break // they come first
		}
		text := html.EscapeString(CaseText(c, 0))
		if shown == maxDetails || b.Len()+len(text) > maxSummary {
			left++
			continue
		}
		shown++
		fmt.Fprintf(b, "<details><summary>%s</summary>\n\n<pre>%s</pre>\n\n</details>\n\n",
			markdown(c.Name), text)
	}
	if left > 0 {
		fmt.Fprintf(b, "the details of %d more are in the report\n\n", left)
	}
}
