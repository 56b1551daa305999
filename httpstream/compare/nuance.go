package compare

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// nuance says how two texts differ that look alike; empty where they don't.
func nuance(rec, now string) string {
	if len(rec) > maxWords || len(now) > maxWords || rec == now || !utf8.ValidString(rec) || !utf8.ValidString(now) {
		return ""
	}
	switch {
	case unixLines(rec) == unixLines(now):
		return fmt.Sprintf("line ends, %s when recorded and %s now", lineEnds(rec), lineEnds(now))
	case strings.TrimRight(rec, "\r\n") == strings.TrimRight(now, "\r\n"):
		if len(rec) > len(now) {
			return "without the last line end now"
		}
		return "with a line end more now"
	case norm.NFC.String(rec) == norm.NFC.String(now):
		return fmt.Sprintf("the same text in another Unicode normal form, %s when recorded and %s now", normalForm(rec), normalForm(now))
	case withoutInvisible(rec) == withoutInvisible(now):
		return fmt.Sprintf("invisible characters, %s when recorded and %s now", invisibleOf(rec), invisibleOf(now))
	case strings.Join(strings.Fields(rec), "") == strings.Join(strings.Fields(now), ""):
		return "white space"
	}
	return ""
}

func unixLines(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

func lineEnds(s string) string {
	crlf := strings.Count(s, "\r\n")
	cr, lf := strings.Count(s, "\r")-crlf, strings.Count(s, "\n")-crlf
	var kinds []string
	for _, k := range []struct {
		n    int
		name string
	}{{crlf, "CRLF"}, {lf, "LF"}, {cr, "CR"}} {
		if k.n > 0 {
			kinds = append(kinds, k.name)
		}
	}
	return strings.Join(kinds, " and ")
}

func normalForm(s string) string {
	switch {
	case norm.NFC.IsNormalString(s):
		return "NFC"
	case norm.NFD.IsNormalString(s):
		return "NFD"
	}
	return "neither NFC nor NFD"
}

// invisible tells characters that take no room, or look like a space.
func invisible(r rune) bool {
	return r != ' ' && r != '\n' && (unicode.In(r, unicode.Cf, unicode.Zs, unicode.Zl, unicode.Zp, unicode.Cc, unicode.Variation_Selector))
}

func withoutInvisible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Zs) {
			return ' '
		} else if invisible(r) {
			return -1
		}
		return r
	}, s)
}

func invisibleOf(s string) string {
	var names []string
	for _, r := range s {
		name := fmt.Sprintf("%U", r)
		if !invisible(r) || len(names) > 0 && names[len(names)-1] == name {
			continue
		}
		if len(names) == 3 {
			return strings.Join(names, ", ") + ", …"
		}
		names = append(names, name)
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// reveal writes what can't be seen, and what only changes the character before
// it, as escapes.
func reveal(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case (invisible(r) || unicode.Is(unicode.M, r)) && r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case invisible(r) || unicode.Is(unicode.M, r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
