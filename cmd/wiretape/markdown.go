package main

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// SGR parameters of a page on a terminal.
const (
	sgrBold = "1"
	sgrCode = "36"
)

// renderMarkdown makes a page of the documentation readable on a terminal: paragraphs are
// wrapped, tables become lists, and links are what they say. It knows what these pages have.
func renderMarkdown(page string, width int, color bool) string {
	m := &markdown{width: width, color: color}
	for line := range strings.Lines(page) {
		m.line(strings.TrimRight(line, "\n"))
	}
	m.end()
	return strings.TrimLeft(m.out.String(), "\n")
}

// A markdown is a page that is being rendered.
type markdown struct {
	out    strings.Builder
	width  int
	color  bool
	code   bool // within a fence
	block  []string
	indent string // of the block's further lines
	first  string // what stands in front of the block
	table  [][]string
}

var (
	listItem  = regexp.MustCompile(`^( *)(- |[0-9]+\. )(.*)$`)
	separator = regexp.MustCompile(`^\|[ |:-]*-[ |:-]*$`)
)

func (m *markdown) line(line string) {
	text := strings.TrimSpace(line)
	if strings.HasPrefix(text, "```") {
		m.end()
		m.code = !m.code
		return
	}
	switch item := listItem.FindStringSubmatch(line); {
	case m.code:
		m.out.WriteString("    " + m.paint(sgrCode, line) + "\n")
	case text == "":
		m.end()
		m.blank()
	case strings.HasPrefix(line, "    ") && len(m.block) == 0:
		m.out.WriteString(m.paint(sgrCode, line) + "\n")
	case strings.HasPrefix(line, "#"):
		m.end()
		m.blank()
		m.out.WriteString(m.paint(sgrBold, plainText(strings.TrimLeft(line, "# "))) + "\n")
	case strings.HasPrefix(line, "|"):
		if len(m.table) == 0 {
			m.end()
		}
		if !separator.MatchString(line) {
			m.table = append(m.table, cells(line))
		}
	case item != nil:
		m.end()
		m.first = item[1] + item[2]
		m.indent = strings.Repeat(" ", len(m.first))
		m.block = []string{item[3]}
	default:
		m.block = append(m.block, text)
	}
}

// blank leaves a line out, once.
func (m *markdown) blank() {
	if text := m.out.String(); text != "" && !strings.HasSuffix(text, "\n\n") {
		m.out.WriteByte('\n')
	}
}

// end writes the paragraph, the item or the table that goes on no further.
func (m *markdown) end() {
	if len(m.block) > 0 {
		m.wrap(m.first, m.indent, strings.Join(m.block, " "))
	}
	m.block, m.first, m.indent = nil, "", ""
	if len(m.table) > 0 {
		m.rows(m.table[0], m.table[1:])
	}
	m.table = nil
}

// rows writes a table as a list: what a row is about, and below it the rest.
func (m *markdown) rows(head []string, rows [][]string) {
	const deep = "      "
	for _, row := range rows {
		m.wrap("  ", "  ", "**"+row[0]+"**")
		for i, cell := range row[1:] {
			if cell == "" {
				continue
			}
			// The last column is what the row says; the others are told by their names.
			if i+2 < len(row) && i+1 < len(head) && head[i+1] != "" {
				cell = head[i+1] + ": " + cell
			}
			m.wrap(deep, deep, cell)
		}
	}
}

// cells are those of a table's line; a \| is no end of one.
func cells(line string) []string {
	const bar = "\x00"
	line = strings.ReplaceAll(strings.Trim(strings.TrimSpace(line), "|"), `\|`, bar)
	var out []string
	for cell := range strings.SplitSeq(line, "|") {
		out = append(out, strings.TrimSpace(strings.ReplaceAll(cell, bar, "|")))
	}
	return out
}

// wrap writes text in lines of the width.
func (m *markdown) wrap(first, indent, text string) {
	m.out.WriteString(first)
	at, begun := utf8.RuneCountInString(first), false
	for _, w := range m.words(text) {
		if begun && at+1+w.width > m.width {
			m.out.WriteString("\n" + indent)
			at, begun = len(indent), false
		}
		if begun {
			m.out.WriteByte(' ')
			at++
		}
		m.out.WriteString(w.text)
		at, begun = at+w.width, true
	}
	m.out.WriteByte('\n')
}

// A word is what stands between two spaces, in its colours.
type word struct {
	text  string
	width int
}

// words are those of a text. Each has its own colours, so that a line can be broken
// between any two.
func (m *markdown) words(text string) []word {
	text = links.ReplaceAllString(text, "$1")
	var out []word
	var now word
	var style string
	var run strings.Builder
	flush := func() {
		now.width += utf8.RuneCountInString(run.String())
		now.text += m.paint(style, run.String())
		run.Reset()
	}
	for len(text) > 0 {
		switch {
		case text[0] == '`':
			flush()
			style = toggled(style, sgrCode)
			text = text[1:]
		case strings.HasPrefix(text, "**") && style != sgrCode:
			flush()
			style = toggled(style, sgrBold)
			text = text[2:]
		case text[0] == ' ':
			flush()
			if now.width > 0 {
				out = append(out, now)
			}
			now = word{}
			text = text[1:]
		default:
			r, n := utf8.DecodeRuneInString(text)
			run.WriteRune(r)
			text = text[n:]
		}
	}
	flush()
	if now.width > 0 {
		out = append(out, now)
	}
	return out
}

// links are those of Markdown; what they lead to is told by the page's own name.
var links = regexp.MustCompile(`\[([^\]]+)\]\([^)]*\)`)

// toggled is a style after its mark.
func toggled(style, mark string) string {
	if style == mark {
		return ""
	}
	return mark
}

func plainText(text string) string {
	return strings.NewReplacer("`", "", "**", "").Replace(links.ReplaceAllString(text, "$1"))
}

func (m *markdown) paint(code, text string) string {
	if !m.color || code == "" || text == "" {
		return text
	}
	return sgr(code, text)
}
