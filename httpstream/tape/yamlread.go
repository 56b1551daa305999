package tape

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A yamlReader decodes strictly and keeps the first error that it met; what it
// returns after that is worthless.
type yamlReader struct {
	file string
	err  error
}

func (r *yamlReader) fail(line int, format string, args ...any) {
	if r.err == nil {
		r.err = &FormatError{File: r.file, Line: line, Msg: fmt.Sprintf(format, args...)}
	}
}

// document parses data, which must be one YAML document, to its root.
func (r *yamlReader) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			r.fail(0, "the file is empty")
		} else {
			r.syntax(err)
		}
		return nil
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		r.fail(more.Line, "a second YAML document: expected one in a file")
		return nil
	case !errors.Is(err, io.EOF):
		r.syntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		r.fail(doc.Line, "expected a YAML mapping")
		return nil
	}
	return doc.Content[0]
}

// syntax turns the library's error, which has its line in its text, into ours.
func (r *yamlReader) syntax(err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = msg[len(m[0]):]
	}
	r.fail(line, "not valid YAML: %s", msg)
}

// fields are the entries of one mapping.
type fields struct {
	r    *yamlReader
	what string
	line int
	at   map[string]*yaml.Node
}

// mapping checks that n is a mapping with only the known keys, each once.
func (r *yamlReader) mapping(n *yaml.Node, what string, known ...string) fields {
	f := fields{r: r, what: what, at: map[string]*yaml.Node{}}
	if r.err != nil {
		return f
	}
	f.line = n.Line
	if n.Kind != yaml.MappingNode {
		r.fail(n.Line, "%s is %s: expected a mapping with the keys %s", what, kindName(n), quoteList(known))
		return f
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		name := strings.TrimSuffix(k.Value, "_base64")
		switch {
		case k.Kind != yaml.ScalarNode:
			r.fail(k.Line, "a key of %s is %s: expected a name", what, kindName(k))
		case !slices.Contains(known, name):
			r.fail(k.Line, "unknown key %q in %s: expected one of %s", k.Value, what, quoteList(known))
		case f.at[k.Value] != nil:
			r.fail(k.Line, "the key %q is there twice in %s", k.Value, what)
		}
		f.at[k.Value] = v
	}
	return f
}

func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case n.ShortTag() == "!!null":
		return "empty"
	default:
		return strconv.Quote(clip(n.Value, 40))
	}
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// node returns the value of a key that can't be written in base64.
func (f fields) node(key string) *yaml.Node {
	if n := f.at[key+"_base64"]; n != nil {
		f.r.fail(n.Line, "unknown key %q in %s: %s is never text", key+"_base64", f.what, key)
	}
	return f.at[key]
}

func (f fields) has(key string) bool { return f.at[key] != nil || f.at[key+"_base64"] != nil }

func (f fields) require(keys ...string) {
	for _, k := range keys {
		if !f.has(k) {
			f.r.fail(f.line, "%s has no key %q", f.what, k)
		}
	}
}

// text returns the bytes of a text value, or "" if there is none.
func (f fields) text(key string) string {
	n, coded := f.at[key], f.at[key+"_base64"]
	if n != nil && coded != nil {
		f.r.fail(coded.Line, "%s has both %s and %s_base64: expected one of them", f.what, key, key)
		return ""
	}
	if coded != nil {
		s := f.r.scalar(coded, key+"_base64")
		data, err := base64.StdEncoding.Strict().DecodeString(strings.ReplaceAll(s, "\n", ""))
		if err != nil {
			f.r.fail(coded.Line, "%s_base64: %v", key, err)
		}
		return string(data)
	}
	if n == nil {
		return ""
	}
	return f.r.scalar(n, key)
}

// scalar returns the text of a scalar as it is written, so 1.30 stays "1.30".
func (r *yamlReader) scalar(n *yaml.Node, what string) string {
	switch {
	case n.Kind != yaml.ScalarNode:
		r.fail(n.Line, "%s is %s: expected text", what, kindName(n))
	case n.ShortTag() == "!!null":
		r.fail(n.Line, `%s is empty: expected text, "" for none`, what)
	case !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!merge"}, n.ShortTag()):
		r.fail(n.Line, "%s has the tag %s: expected text", what, n.ShortTag())
	}
	return n.Value
}

func (f fields) integer(key string, low, high int64) int64 {
	n := f.node(key)
	if n == nil {
		return 0
	}
	return f.whole(n, key, low, high)
}

func (f fields) integers(key string, low, high int64) []int64 {
	var list []int64
	for _, n := range f.list(key) {
		list = append(list, f.whole(n, "an entry of "+key, low, high))
	}
	return list
}

func (f fields) whole(n *yaml.Node, what string, low, high int64) int64 {
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil {
		f.r.fail(n.Line, "%s is %s: expected a whole number", what, kindName(n))
		return 0
	}
	if v < low || v > high {
		f.r.fail(n.Line, "%s is %d: expected a number from %d to %d", what, v, low, high)
	}
	return v
}

const maxMicros = math.MaxInt64 / int64(time.Microsecond)

func (f fields) micros(key string, low int64) time.Duration {
	return time.Duration(f.integer(key, low, maxMicros)) * time.Microsecond
}

func (f fields) flag(key string) bool {
	n := f.node(key)
	if n == nil {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Value != "true" && n.Value != "false" {
		f.r.fail(n.Line, "%s is %s: expected true or false", key, kindName(n))
	}
	return n.Value == "true"
}

func (f fields) list(key string) []*yaml.Node {
	n := f.node(key)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		f.r.fail(n.Line, "%s is %s: expected a list", key, kindName(n))
		return nil
	}
	return n.Content
}

func (f fields) texts(key string) []string {
	var list []string
	for _, n := range f.list(key) {
		list = append(list, f.r.scalar(n, "an entry of "+key))
	}
	return list
}
