package report

import (
	"strings"

	"github.com/wiretape/wiretape/httpstream/compare"
)

// Styles are SGR parameters (ECMA-48 8.3.117).
const (
	plain   = ""
	bold    = "1"
	dim     = "2"
	red     = "31"
	green   = "32"
	yellow  = "33"
	removed = "9;31" // struck out, so that colour is not all that tells
	added   = "4;32"
)

// A span is a piece of text in one style.
type span struct{ text, style string }

// A printer lays text out in columns. What it is given is escaped already.
type printer struct {
	b     strings.Builder
	color bool
	width int
}

func newPrinter(color bool, width int) *printer {
	const least, usual = 40, 80
	if width <= 0 {
		width = usual
	}
	return &printer{color: color, width: max(width, least)}
}

func (p *printer) paint(s span) string {
	if !p.color || s.style == plain || s.text == "" {
		return s.text
	}
	return "\x1b[" + s.style + "m" + s.text + "\x1b[0m"
}

// line prints spans as they are.
func (p *printer) line(spans ...span) {
	for _, s := range spans {
		p.b.WriteString(p.paint(s))
	}
	p.b.WriteByte('\n')
}

// wrap prints spans behind first, broken at spaces where the width ends; further
// lines begin with hang. A line feed in a text begins a line, too.
func (p *printer) wrap(first, hang string, spans ...span) {
	p.b.WriteString(first)
	column, start := cells(first), cells(first)
	var space span // before the next word, unless that begins a line
	newLine := func() {
		p.b.WriteString("\n" + hang)
		column = cells(hang)
		start, space = column, span{}
	}
	for _, s := range spans {
		for text := s.text; text != ""; {
			word := nextWord(text)
			text = text[len(word):]
			switch {
			case word == "\n":
				newLine()
				continue
			case word[0] == ' ':
				space = span{space.text + word, s.style}
				continue
			case column > start && column+len(space.text)+cells(word) > p.width:
				newLine()
			}
			if column > start {
				p.b.WriteString(p.paint(space))
				column += len(space.text)
			}
			space = span{}
			for column+cells(word) > p.width {
				fits := front(word, p.width-column)
				p.b.WriteString(p.paint(span{fits, s.style}))
				word = word[len(fits):]
				newLine()
			}
			p.b.WriteString(p.paint(span{word, s.style}))
			column += cells(word)
		}
	}
	p.b.WriteByte('\n')
}

// nextWord is the word, the spaces, or the line feed that a text begins with.
func nextWord(s string) string {
	if s[0] == '\n' {
		return s[:1]
	}
	isSpace := s[0] == ' '
	end := strings.IndexFunc(s, func(r rune) bool { return r == '\n' || (r == ' ') != isSpace })
	if end < 0 {
		return s
	}
	return s[:end]
}

// words prints a word difference; without colour, as wdiff does. The bar in
// front keeps what an app said from being read as a command by a CI that looks
// for them at the start of lines.
func (p *printer) words(indent string, words compare.Words) {
	const context, limit = 60, 900
	words, cut := cutWords(elide(words, context), limit)
	spans := make([]span, 0, len(words)+1)
	for _, w := range words {
		text := visible(w.Text, "\n")
		switch {
		case w.Op == "=":
			spans = append(spans, span{text, plain})
		case w.Op == "-" && p.color:
			spans = append(spans, span{text, removed})
		case w.Op == "-":
			spans = append(spans, span{"[-" + text + "-]", plain})
		case p.color:
			spans = append(spans, span{text, added})
		default:
			spans = append(spans, span{"{+" + text + "+}", plain})
		}
	}
	if cut {
		spans = append(spans, span{" (cut here, all of it is in the JSON report)", dim})
	}
	p.wrap(indent+"│ ", indent+"│ ", spans...)
}

// pair prints the two values of a difference, shortened to the width.
func (p *printer) pair(indent, recorded, now string) {
	const rec, cur = "recorded  ", "now       "
	a, b := shortenPair(outerSpaces(oneLine(recorded)), outerSpaces(oneLine(now)), p.width-len(indent)-len(rec))
	p.line(span{indent, plain}, span{rec, dim}, value(a, red))
	p.line(span{indent, plain}, span{cur, dim}, value(b, green))
}

func value(s, style string) span {
	if s == "" {
		return span{"(nothing)", dim}
	}
	return span{s, style}
}

// outerSpaces makes spaces at the ends visible, where they would not be.
func outerSpaces(s string) string {
	const sign = "␠"
	text := strings.Trim(s, " ")
	if text == s {
		return s
	}
	head := len(s) - len(strings.TrimLeft(s, " "))
	return strings.Repeat(sign, head) + text + strings.Repeat(sign, len(s)-head-len(text))
}
