package body

import (
	"strings"

	"github.com/wiretape/wiretape/httpstream/internal/legible"
)

// A Token is what a piece of a value is that is shown in colours.
type Token = legible.Token

const (
	Name    = legible.Name
	String  = legible.String
	Number  = legible.Number
	Literal = legible.Literal
	Remark  = legible.Remark
)

// A Style is how bodies are shown to people.
type Style struct {
	Paint  func(Token, string) string // nil for no colours
	Value  int                        // bytes of a string in JSON that are shown; 0 for all
	Text   int                        // bytes of other texts; 0 for all
	Width  int                        // where JSON is broken into lines; 0 for a single line
	Indent string                     // in front of each line but the first
}

// Show shows what bytes mean: JSON as a value, text as it reads, with its lines, and of
// other bytes the beginning. Nothing of it does anything to a terminal.
func (s Style) Show(data []byte, kind Kind) string {
	blob := BlobOf(data)
	return s.blob(&blob, kind)
}

func (s Style) blob(b *Blob, kind Kind) string {
	if kind == Bytes {
		return legible.Bytes(b.Data, b.Size)
	}
	if kind != Text && !b.Cut() {
		if shown, ok := legible.JSON(b.Data, legible.Style{Paint: s.Paint, Most: s.Value, Width: s.Width}); ok {
			return strings.ReplaceAll(shown, "\n", "\n"+s.Indent)
		}
	}
	return s.text(strings.TrimRight(b.Text(), "\r\n"))
}

// text is what reads as text, line by line.
func (s Style) text(text string) string {
	if s.Text > 0 {
		text = legible.Excerpt(text, 0, s.Text)
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = legible.Printable(strings.ReplaceAll(strings.TrimSuffix(line, "\r"), "\t", "    "))
	}
	return strings.Join(lines, "\n"+s.Indent)
}

// Unit shows a unit: its name, and what it holds.
func (s Style) Unit(u *Unit) string {
	shown := []string{s.remark(u.Name())}
	for _, f := range u.Fields {
		shown = append(shown, s.remark(legible.Printable(f.Name)+":")+" "+s.text(f.Value))
	}
	if u.HasBody {
		shown = append(shown, s.blob(&u.Body, u.Kind))
	}
	if u.Partial {
		shown = append(shown, s.remark("(unfinished)"))
	}
	return strings.Join(shown, "  ")
}

func (s Style) remark(text string) string {
	if s.Paint == nil {
		return text
	}
	return s.Paint(Remark, text)
}
