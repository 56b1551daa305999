// Package legible shows values to people: shortened, on one line, and without
// anything that a terminal or JSON could take for something else.
package legible

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Excerpt shortens s to about n bytes around the offset from.
func Excerpt(s string, from, n int) string {
	if len(s) <= n {
		return s
	}
	start := max(0, min(from-n/4, len(s)-n))
	end := start + n
	for range utf8.UTFMax - 1 { // not within a character
		if start > 0 && !utf8.RuneStart(s[start]) {
			start--
		}
		if end < len(s) && !utf8.RuneStart(s[end]) {
			end++
		}
	}
	out := s[start:end]
	if start > 0 {
		out = "…" + out
	}
	if end < len(s) {
		out += "…"
	}
	return out
}

// OneLine joins the lines of s.
func OneLine(s string) string { return strings.ReplaceAll(s, "\n", " | ") }

// Printable makes one line of s that does nothing to a terminal: control
// characters and what is not UTF-8 are escaped.
func Printable(s string) string {
	return escape(s, func(r rune) bool { return !strconv.IsPrint(r) })
}

// UTF8 escapes what is not UTF-8, which JSON could not carry, and nothing else.
func UTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return escape(s, func(rune) bool { return false })
}

func escape(s string, special func(rune) bool) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || special(r) {
			q := strconv.QuoteToASCII(s[i : i+n])
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// Bytes shows the beginning of size bytes: text as it is, anything else in
// hexadecimal. b may hold fewer than size.
func Bytes(b []byte, size int64) string {
	const most = 32
	shown := b[:min(len(b), most)]
	for _, c := range shown {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("%d bytes: % x%s", size, shown, dots(size > most))
		}
	}
	return fmt.Sprintf("%d bytes: %q%s", size, shown, dots(size > most))
}

func dots(more bool) string {
	if more {
		return " …"
	}
	return ""
}
