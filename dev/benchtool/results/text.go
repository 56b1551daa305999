package results

import (
	"fmt"
	"io"
	"unicode/utf8"
)

// WriteText writes a figure for the terminal.
func (f *Figure) WriteText(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", f.Name, f.Title)
	fmt.Fprintf(w, "  %s\n", f.Method)
	for _, t := range f.Tables {
		t.writeText(w)
	}
	for _, n := range f.Notes {
		fmt.Fprintf(w, "  %s\n", n)
	}
	fmt.Fprintf(w, "  %s\n", f.quiet())
	for _, g := range f.Goals {
		fmt.Fprintf(w, "  goal: %s %s, %s: %s\n", g.What, g.Unit.Format(g.Got), g.bound(), f.Verdict(g))
	}
	fmt.Fprintln(w)
}

func (g Goal) bound() string {
	if g.AtLeast {
		return "at least " + g.Unit.Format(g.Bound)
	}
	return "at most " + g.Unit.Format(g.Bound)
}

// columns are the heads of a table, and of each series its cells.
func (t *Table) columns() []string {
	if t.single() {
		return []string{t.What, "median", "lowest", "highest", "rounds"}
	}
	return []string{t.What, "p50", "p99", "max", "p50 over rounds", "p99 over rounds", "n"}
}

// single reports whether all series have one value a round.
func (t *Table) single() bool {
	for _, s := range t.Series {
		if !s.Single() {
			return false
		}
	}
	return true
}

func (t *Table) cells(s *Series) []string {
	u := t.Unit
	if t.single() {
		low, high := s.Between(P50)
		return []string{s.Label, u.Format(s.Median(P50)), u.Format(low), u.Format(high), fmt.Sprint(len(s.Rounds))}
	}
	span := func(of func(Round) float64) string {
		if len(s.Rounds) < 2 {
			return "–"
		}
		low, high := s.Between(of)
		return u.Format(low) + " – " + u.Format(high)
	}
	return []string{s.Label, u.Format(s.At(0.5)), u.Format(s.At(0.99)), u.Format(s.At(1)), span(P50), span(P99), fmt.Sprint(s.N())}
}

func (t *Table) writeText(w io.Writer) {
	head := t.columns()
	rows := [][]string{head}
	for _, s := range t.Series {
		if len(s.Rounds) > 0 {
			rows = append(rows, t.cells(s))
		}
	}
	width := make([]int, len(head))
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for n, r := range rows {
		for i, c := range r {
			if i == 0 {
				indent := 4
				if n == 0 {
					indent = 2
				}
				fmt.Fprintf(w, "%*s%s%*s", indent, "", c, width[0]+4-indent-utf8.RuneCountInString(c), "")
				continue
			}
			fmt.Fprintf(w, "  %*s%s", width[i]-utf8.RuneCountInString(c), "", c)
		}
		fmt.Fprintln(w)
	}
	for _, s := range t.Series {
		if s.Cannot != "" {
			fmt.Fprintf(w, "    %s: %s\n", s.Label, s.Cannot)
		}
	}
}
