package legible

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A Token is what a piece of JSON is, for those who colour it.
type Token int

const (
	Name Token = iota
	String
	Number
	Literal // true, false, null
	Remark  // what is no part of the value, such as how much was left out
)

// A Style is how JSON is shown.
type Style struct {
	Paint func(Token, string) string // nil for no colours
	Most  int                        // bytes of a string that are shown; 0 for all
	Width int                        // where a value is broken into lines; 0 for a single line
}

func (s *Style) paint(t Token, text string) string {
	if s.Paint == nil {
		return text
	}
	return s.Paint(t, text)
}

// maxJSONDepth is how deep a value may be nested to be shown as one.
const maxJSONDepth = 200

// JSON shows a JSON text in the order in which it stands, with a space behind each colon
// and comma; ok is false for what is none.
func JSON(data []byte, s Style) (shown string, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := readValue(dec, s, 0)
	if err != nil {
		return "", false
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return "", false
	}
	var b strings.Builder
	v.write(&b, s.Width, 0)
	return b.String(), true
}

// A shownValue is a value that was read, with the texts of its tokens.
type shownValue struct {
	text  string // of a scalar
	open  string // "{" or "["
	close string
	items []shownItem
	width int // on one line
}

type shownItem struct {
	name  string // of a member, with its colon
	value shownValue
	width int
}

var errTooDeep = errors.New("nested too deeply to be shown")

func readValue(dec *json.Decoder, s Style, depth int) (shownValue, error) {
	if depth > maxJSONDepth {
		return shownValue{}, errTooDeep
	}
	t, err := dec.Token()
	if err != nil {
		return shownValue{}, err
	}
	switch t := t.(type) {
	case json.Delim:
		return readItems(dec, s, t, depth)
	case string:
		text, width := s.quoted(t)
		return shownValue{text: text, width: width}, nil
	case json.Number:
		text, cut := t.String(), ""
		if s.Most > 0 && len(text) > s.Most {
			text, cut = text[:s.Most], "…"
		}
		return shownValue{text: s.paint(Number, text+cut), width: len(text) + len(cut)}, nil
	}
	text := "null"
	if t != nil {
		text = fmt.Sprint(t)
	}
	return shownValue{text: s.paint(Literal, text), width: len(text)}, nil
}

func readItems(dec *json.Decoder, s Style, open json.Delim, depth int) (shownValue, error) {
	v := shownValue{open: "{", close: "}", width: 2}
	if open == '[' {
		v.open, v.close = "[", "]"
	}
	for dec.More() {
		var item shownItem
		if open == '{' {
			t, err := dec.Token()
			if err != nil {
				return v, err
			}
			name := quote(t.(string)) // of an object's member, as the decoder has it
			item.name, item.width = s.paint(Name, name)+": ", utf8.RuneCountInString(name)+2
		}
		var err error
		if item.value, err = readValue(dec, s, depth+1); err != nil {
			return v, err
		}
		item.width += item.value.width
		if len(v.items) > 0 {
			v.width += 2
		}
		v.width += item.width
		v.items = append(v.items, item)
	}
	_, err := dec.Token()
	return v, err
}

// write writes a value that begins at a column, which is how far it is indented too.
func (v *shownValue) write(b *strings.Builder, width, indent int) {
	if v.open == "" {
		b.WriteString(v.text)
		return
	}
	oneLine := width == 0 || len(v.items) == 0 || indent+v.width <= width
	b.WriteString(v.open)
	for i := range v.items {
		item := &v.items[i]
		switch {
		case !oneLine && i > 0:
			b.WriteString(",\n" + strings.Repeat(" ", indent+2))
		case !oneLine:
			b.WriteString("\n" + strings.Repeat(" ", indent+2))
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(item.name)
		if oneLine {
			item.value.write(b, 0, 0)
		} else {
			item.value.write(b, width, indent+2)
		}
	}
	if !oneLine {
		b.WriteString("\n" + strings.Repeat(" ", indent))
	}
	b.WriteString(v.close)
}

// quoted is a string, or its beginning and how long it is.
func (s *Style) quoted(text string) (shown string, width int) {
	if s.Most == 0 || len(text) <= s.Most {
		q := quote(text)
		return s.paint(String, q), utf8.RuneCountInString(q)
	}
	end := s.Most
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	q, more := quote(text[:end]), fmt.Sprintf("… %d more", len(text)-end)
	return s.paint(String, q) + s.paint(Remark, more), utf8.RuneCountInString(q) + utf8.RuneCountInString(more)
}

// quote is a string of JSON that does nothing to a terminal.
func quote(text string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a string can always be encoded
	return Printable(strings.TrimSuffix(b.String(), "\n"))
}
