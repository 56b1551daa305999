package compare

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff/lcs"
)

// A Span is a piece of a word difference.
type Span struct {
	// Op is "=" for text on both sides, "-" for recorded only, "+" for now only.
	Op   string `json:"op"`
	Text string `json:"text"`
}

// Words is the difference between two texts, word by word.
type Words []Span

// DiffWords compares two texts word by word; nil if they are equal.
func DiffWords(recorded, now string) Words {
	if recorded == now {
		return nil
	}
	a, b := splitWords(recorded), splitWords(now)
	var w Words
	done := 0
	for _, d := range lcs.DiffLines(a, b) {
		w = w.add("=", a[done:d.Start])
		w = w.add("-", a[d.Start:d.End])
		w = w.add("+", b[d.ReplStart:d.ReplEnd])
		done = d.End
	}
	return w.add("=", a[done:]).joined()
}

func (w Words) add(op string, words []string) Words {
	if len(words) == 0 {
		return w
	}
	return append(w, Span{op, strings.Join(words, "")})
}

// joined makes one change of two that only white space parts: "[-a b-]{+c d+}"
// reads better than "[-a-]{+c+} [-b-]{+d+}".
func (w Words) joined() Words {
	var out Words
	var del, ins strings.Builder
	flush := func() {
		if del.Len() > 0 {
			out = append(out, Span{"-", del.String()})
		}
		if ins.Len() > 0 {
			out = append(out, Span{"+", ins.String()})
		}
		del.Reset()
		ins.Reset()
	}
	for i, s := range w {
		switch {
		case s.Op == "-":
			del.WriteString(s.Text)
		case s.Op == "+":
			ins.WriteString(s.Text)
		case i > 0 && i < len(w)-1 && strings.TrimSpace(s.Text) == "" && del.Len() > 0 && ins.Len() > 0:
			del.WriteString(s.Text)
			ins.WriteString(s.Text)
		default:
			flush()
			out = append(out, s)
		}
	}
	flush()
	return out
}

// String writes removed text as [-…-] and added text as {+…+}, as wdiff does.
func (w Words) String() string {
	var b strings.Builder
	for _, s := range w {
		switch s.Op {
		case "-":
			b.WriteString("[-" + s.Text + "-]")
		case "+":
			b.WriteString("{+" + s.Text + "+}")
		default:
			b.WriteString(s.Text)
		}
	}
	return b.String()
}

// splitWords cuts a text into words, runs of white space, and single other
// characters. Scripts that write without spaces are cut into characters.
func splitWords(s string) []string {
	var words []string
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		kind := wordKind(r)
		for kind != otherRune && n < len(s) {
			r, size := utf8.DecodeRuneInString(s[n:])
			if wordKind(r) != kind {
				break
			}
			n += size
		}
		words = append(words, s[:n])
		s = s[n:]
	}
	return words
}

const (
	otherRune = iota
	letterRune
	spaceRune
)

func wordKind(r rune) int {
	switch {
	case unicode.IsSpace(r):
		return spaceRune
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai):
		return otherRune
	case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r), r == '_':
		return letterRune
	}
	return otherRune
}
