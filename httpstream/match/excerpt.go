package match

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream/event"
)

const (
	maxShown    = 120 // characters of a value
	shownBefore = 40  // bytes before the first difference of long values
)

// excerpt makes both values of a difference readable: of long ones what is around
// their first difference, and what can't be seen, if that is what differs, in
// escapes. NUL is around what noise has taken out.
func excerpt(was, is string) (string, string) {
	was, is = readable(was), readable(is)
	if was == event.None || is == event.None {
		return shorten(was), shorten(is)
	}
	same := commonPrefix(was, is)
	if invisible(was[same:]) || invisible(is[same:]) {
		if a, b := escapeInvisible(was), escapeInvisible(is); a != b {
			was, is = a, b
		} else { // one of them has the escape itself
			was, is = strconv.QuoteToASCII(was), strconv.QuoteToASCII(is)
		}
		same = commonPrefix(was, is)
	}
	if same > maxShown-shownBefore && (longerThan(was, maxShown) || longerThan(is, maxShown)) {
		start := same - shownBefore
		for !utf8.RuneStart(was[start]) {
			start--
		}
		return "…" + shorten(was[start:]), "…" + shorten(is[start:])
	}
	return shorten(was), shorten(is)
}

func readable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// commonPrefix is how many bytes both begin with, in whole characters.
func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && (n < len(a) && !utf8.RuneStart(a[n]) || n < len(b) && !utf8.RuneStart(b[n])) {
		n--
	}
	return n
}

// invisible reports whether one of the first two characters can't be seen: the
// second may be an accent that belongs to the first.
func invisible(s string) bool {
	for range 2 {
		c, size := utf8.DecodeRuneInString(s)
		if size > 0 && isInvisible(c) {
			return true
		}
		s = s[size:]
	}
	return false
}

func isInvisible(c rune) bool {
	return c != ' ' && unicode.In(c, unicode.Zs, unicode.Cf, unicode.Cc, unicode.Mn)
}

func escapeInvisible(s string) string {
	var b strings.Builder
	for _, c := range s {
		if isInvisible(c) {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func longerThan(s string, limit int) bool {
	return len(s) > limit && utf8.RuneCountInString(s) > limit
}

// shorten keeps a value readable in a message.
func shorten(s string) string {
	n := 0
	for i := range s {
		if n == maxShown {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// listed writes values as a message shows them.
func listed(vs []string) string {
	if len(vs) == 0 {
		return event.None
	}
	return strings.Join(vs, ", ")
}
