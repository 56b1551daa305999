package results

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The parts of a page that are written here stand between such lines.
const (
	summaryPart = "summary"
	figuresPart = "figures"
)

func marker(part, which string) string {
	return "<!-- " + which + " of what dev/bench writes: " + part + " -->"
}

// Render writes tables between the markers of a page, and a plot of each figure
// that has one into the folder beside the page that has its name.
func (f *File) Render(page string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	dir := strings.TrimSuffix(page, filepath.Ext(page))
	if err := f.writePlots(dir); err != nil {
		return err
	}
	s := string(text)
	for part, content := range map[string]string{summaryPart: f.summary(), figuresPart: f.sections(filepath.Base(dir))} {
		begin, end := marker(part, "begin"), marker(part, "end")
		before, rest, ok := strings.Cut(s, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			return fmt.Errorf("%s has no lines %q and %q, between which the %s goes", page, begin, end, part)
		}
		s = before + begin + "\n\n" + content + "\n" + end + after
	}
	return os.WriteFile(page, []byte(s), 0o644)
}

// summary is a table of all goals.
func (f *File) summary() string {
	var b strings.Builder
	b.WriteString("| figure | what | measured | goal | |\n|---|---|---|---|---|\n")
	for _, fig := range f.Figures {
		for _, g := range fig.Goals {
			fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s | %s |\n", fig.Name, fig.anchor(), g.What, g.Unit.Format(g.Got), g.bound(), fig.Verdict(g))
		}
	}
	return b.String()
}

func (f *Figure) heading() string { return f.Name + ": " + f.Title }

// anchor is how GitHub links the heading.
func (f *Figure) anchor() string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return -1
	}, strings.ToLower(f.heading()))
}

func (f *File) sections(dir string) string {
	var parts []string
	for _, fig := range f.Figures {
		parts = append(parts, fig.section(dir))
	}
	return strings.Join(parts, "\n")
}

// section is the part of a page about a figure.
func (f *Figure) section(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s\n", f.heading(), f.Method)
	n := 0
	for _, t := range f.Tables {
		if t.Plot {
			n++
			fmt.Fprintf(&b, "\n![%s: %s](%s/%s)\n", f.Name, t.What, dir, f.plotName(n))
		}
		b.WriteString("\n" + t.markdown())
	}
	for _, note := range f.Notes {
		fmt.Fprintf(&b, "\n- %s", note)
	}
	fmt.Fprintf(&b, "\n- %s\n", f.Machine.line(f))
	return b.String()
}

func (t *Table) markdown() string {
	var b strings.Builder
	head := t.columns()
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), "---|"+strings.Repeat("--:|", len(head)-1))
	for _, s := range t.Series {
		cells := make([]string, len(head))
		switch {
		case s.Cannot != "":
			cells[0], cells[1] = s.Label, "– "+escaped(s.Cannot)
		case len(s.Rounds) > 0:
			cells = t.cells(s)
		default:
			continue
		}
		if s.Role == Ours {
			cells[0] = "**" + cells[0] + "**"
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

// escaped is text of others in a cell of a table.
func escaped(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(s)
}

// line says where and when a figure was measured.
func (m Machine) line(f *Figure) string {
	parts := []string{m.When, fmt.Sprintf("%d CPUs (%s), %d GiB", m.CPUs, m.Model, (m.Memory+1<<29)>>30), "Linux " + m.Kernel, m.Go}
	if m.Engine != "" {
		parts = append(parts, m.Engine)
	}
	return strings.Join(append(parts, m.Wiretape, f.quiet()), "; ")
}
