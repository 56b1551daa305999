package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible makes text safe to show: control characters, those that change the
// direction or hide, and what is not UTF-8 are escaped as in Go, but for the
// characters in keep.
func visible(s, keep string) string {
	clean := true
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !strconv.IsPrint(r) && !strings.ContainsRune(keep, r) {
			q := strconv.QuoteToASCII(s[i : i+n])
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// oneLine is text without anything that moves a cursor.
func oneLine(s string) string { return visible(s, "") }

// runeCells is how many columns of a terminal a character takes, near enough.
func runeCells(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60,
		r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// cells is how many columns a text takes.
func cells(s string) int {
	n := 0
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

// front and back are the longest pieces at the two ends of s that fit into n columns.
func front(s string, n int) string {
	for i, r := range s {
		if n -= runeCells(r); n < 0 {
			return s[:i]
		}
	}
	return s
}

func back(s string, n int) string {
	i := len(s)
	for i > 0 {
		r, size := utf8.DecodeLastRuneInString(s[:i])
		if n -= runeCells(r); n < 0 {
			break
		}
		i -= size
	}
	for i < len(s) { // a mark does not stand without its letter
		r, size := utf8.DecodeRuneInString(s[i:])
		if runeCells(r) > 0 {
			break
		}
		i += size
	}
	return s[i:]
}

// shorten cuts text that takes more than n columns in its middle.
func shorten(s string, n int) string {
	if cells(s) <= n {
		return s
	}
	if n < 1 {
		return ""
	}
	tail := (n - 1) / 2
	return front(s, n-1-tail) + "…" + back(s, tail)
}

// shortenPair shortens two texts to n columns each, so that what differs stays
// in sight: what they share goes first, from its middle.
func shortenPair(a, b string, n int) (string, string) {
	if cells(a) <= n && cells(b) <= n {
		return a, b
	}
	head, tail := shared(a, b)
	longest := max(cells(a[head:len(a)-tail]), cells(b[head:len(b)-tail]))
	room := (n - longest) / 2
	if longest > maxToken {
		room = max(n-longest, n/2) / 2
	}
	room = max(room, 0)
	before, after := shorten(a[:head], room), shorten(a[len(a)-tail:], room)
	if spare := room - cells(after); spare > 0 {
		before = shorten(a[:head], room+spare)
	} else if spare := room - cells(before); spare > 0 {
		after = shorten(a[len(a)-tail:], room+spare)
	}
	middle := n - cells(before) - cells(after)
	return before + shorten(a[head:len(a)-tail], middle) + after,
		before + shorten(b[head:len(b)-tail], middle) + after
}

// shared is how many bytes two texts have in common at each end, in whole characters.
func shared(a, b string) (head, tail int) {
	for head < len(a) && head < len(b) {
		r, n := utf8.DecodeRuneInString(a[head:])
		if q, m := utf8.DecodeRuneInString(b[head:]); q != r || m != n || a[head:head+n] != b[head:head+n] {
			break
		}
		head += n
	}
	// A number or a word that differs is shown whole.
	for start := head; start > 0 && head-start < maxToken; start-- {
		if !inToken(a[start-1]) {
			head = start
			break
		}
	}
	for tail < len(a)-head && tail < len(b)-head {
		r, n := utf8.DecodeLastRuneInString(a[head : len(a)-tail])
		q, m := utf8.DecodeLastRuneInString(b[head : len(b)-tail])
		if q != r || m != n || a[len(a)-tail-n:len(a)-tail] != b[len(b)-tail-n:len(b)-tail] {
			break
		}
		tail += n
	}
	return head, tail
}

// maxToken is how long a number or a word may be to be kept in one piece.
const maxToken = 40

func inToken(c byte) bool {
	return c == '.' || c == '-' || c == '+' || c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// xmlText leaves out what XML 1.0 has no way to write (section 2.2, Char).
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r', r >= 0x20 && r <= 0xd7ff,
			r >= 0xe000 && r <= 0xfffd, r >= 0x10000 && r <= utf8.MaxRune:
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// commandData and commandProperty escape the two parts of a GitHub workflow
// command, as @actions/core does.
func commandData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(visible(s, "\n"))
}

func commandProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(commandData(s))
}

// markdown writes text that GitHub shows as it is, within one line or table
// cell: a character reference has no meaning but the character (CommonMark 2.5).
func markdown(s string) string {
	var b strings.Builder
	for _, r := range oneLine(s) {
		if r < utf8.RuneSelf && r != ' ' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// yamlText writes a text as a YAML scalar in one line, in quotes.
func yamlText(s string) string {
	if oneLine(s) == s && strings.ContainsAny(s, `"\`) {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// ShellQuote writes one word for a POSIX shell. Control characters are not
// passed on, not even in quotes: the word is printed before it is copied.
func ShellQuote(s string) string {
	s = oneLine(s)
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
