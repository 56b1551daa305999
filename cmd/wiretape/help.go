package main

import (
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// usageWidth is what 80 columns leave beside the longest name of a flag.
const usageWidth = 50

// flagHelp is a flag in the help: its names, then what it does, a tab between
// them on each line, as the tab writer of urfave/cli aligns them.
func flagHelp(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	before, rest, _ := strings.Cut(doc.GetUsage(), "`")
	placeholder, after, _ := strings.Cut(rest, "`")
	usage := before + placeholder + after
	var short, long string
	for _, name := range doc.Names() {
		if len(name) == 1 {
			short = "-" + name + ", "
		} else {
			long = "--" + name
		}
	}
	names := short + long
	if doc.TakesValue() {
		names += " " + placeholder
		if text := doc.GetDefaultText(); text != "" {
			usage += " (default: " + strings.Trim(text, `"`) + ")"
		}
	}
	if env := doc.GetEnvVars(); len(env) > 0 {
		usage += " [$" + strings.Join(env, ", $") + "]"
	}
	return names + "\t" + strings.Join(wrapped(usage, usageWidth), "\n   \t")
}

// wrapped breaks text at spaces into lines of up to width characters; a longer
// word has a line of its own.
func wrapped(text string, width int) []string {
	var lines []string
	line, room := "", width
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		if line != "" && n+1 > room {
			lines, line, room = append(lines, line), "", width
		}
		if line != "" {
			line, room = line+" ", room-1
		}
		line, room = line+word, room-n
	}
	return append(lines, line)
}
