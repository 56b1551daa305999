// Package docs is what the program says of itself at length: the pages that its messages
// point to, and the schema of wiretape.yaml.
package docs

import (
	"embed"
	"strings"
)

// Schema is the JSON Schema of wiretape.yaml.
//
//go:embed wiretape.schema.json
var Schema string

//go:embed cli.md configuration.md how-it-works.md limits.md tape-format.md troubleshooting.md
var pages embed.FS

// A Topic is a page.
type Topic struct {
	Name  string // of the file, without .md
	About string // its heading
}

// Topics are those of the program, by name.
func Topics() []Topic {
	entries, err := pages.ReadDir(".")
	if err != nil {
		panic(err) // embedded files can be read
	}
	var topics []Topic
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".md")
		heading, _, _ := strings.Cut(Page(name), "\n")
		topics = append(topics, Topic{name, strings.TrimPrefix(heading, "# ")})
	}
	return topics
}

// Page is a topic's page, as Markdown; empty if there is none.
func Page(topic string) string {
	text, _ := pages.ReadFile(topic + ".md")
	return string(text)
}

// Sections are the headings of a page as links name them: in lower case, with hyphens.
func Sections(page string) []string {
	var anchors []string
	eachHeading(page, func(_, _ int, anchor string) { anchors = append(anchors, anchor) })
	return anchors
}

// Section is the part of a page under a heading, up to the next of its level.
func Section(page, anchor string) string {
	level, start, end := 0, -1, len(page)
	eachHeading(page, func(at, deep int, name string) {
		switch {
		case start < 0 && name == anchor:
			start, level = at, deep
		case start >= 0 && end == len(page) && deep <= level:
			end = at
		}
	})
	if start < 0 {
		return ""
	}
	return page[start:end]
}

// eachHeading calls f with the place, the level and the anchor of each heading.
func eachHeading(page string, f func(at, level int, anchor string)) {
	at, code := 0, false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		text := strings.TrimLeft(line, "#")
		if level := len(line) - len(text); !code && level > 0 && strings.HasPrefix(text, " ") {
			f(at, level, anchor(text))
		}
		at += len(line)
	}
}

// anchor is what GitHub makes of a heading.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(heading)) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_', r > 127:
			b.WriteRune(r)
		}
	}
	return b.String()
}
