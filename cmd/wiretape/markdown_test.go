package main

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wiretape/wiretape/docs"
)

func TestAPageOnATerminal(t *testing.T) {
	page := `# The page

A paragraph with a [link](cli.md#x), ` + "`code that is long`" + ` and **bold words**, which is wrapped.

- an item that goes
  on in a second line
  - one below

| key | default | meaning |
|---|---|---|
| ` + "`a`" + ` | none | what it means |
| b | | ` + "`x \\| y`" + ` |

` + "```yaml" + `
key:   [as it is]
` + "```" + `

    indented   code
`
	want := `The page

A paragraph with a link, code
that is long and bold words,
which is wrapped.

- an item that goes on in a
  second line
  - one below

  a
      default: none
      what it means
  b
      x | y

    key:   [as it is]

    indented   code
`
	if got := renderMarkdown(page, 30, false); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	colored := renderMarkdown("`a b` **c** d\n", 80, true)
	if want := "\x1b[36ma\x1b[0m \x1b[36mb\x1b[0m \x1b[1mc\x1b[0m d\n"; colored != want {
		t.Errorf("got %q, want %q", colored, want)
	}
}

// apparatus is what a terminal does not need: the heads of tables, and the languages of code.
var apparatus = regexp.MustCompile("(?m)^```.*$|^\\|.*\\|\n\\|[ |:-]+$")

// Nothing of a page is lost on a terminal, and no line is too long that could be broken.
func TestEachPageFitsATerminal(t *testing.T) {
	said := regexp.MustCompile(`[\pL\pN]+`)
	for _, topic := range docs.Topics() {
		page := docs.Page(topic.Name)
		out := renderMarkdown(page, 80, false)
		for line := range strings.Lines(out) {
			line = strings.TrimRight(line, "\n")
			if utf8.RuneCountInString(line) > 80 && strings.Contains(strings.TrimSpace(line), " ") && !strings.HasPrefix(line, "    ") {
				t.Errorf("%s has a line of %d columns: %s", topic.Name, utf8.RuneCountInString(line), line)
			}
		}
		has := map[string]bool{}
		for _, word := range said.FindAllString(out, -1) {
			has[word] = true
		}
		page = apparatus.ReplaceAllString(links.ReplaceAllString(page, "$1"), "")
		for _, word := range said.FindAllString(page, -1) {
			if !has[word] {
				t.Errorf("%s lost %q", topic.Name, word)
			}
		}
	}
}
