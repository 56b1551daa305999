package llm

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream/internal/yamlfile"
)

// Parse reads the value of llm_formats:
//
//	llm_formats:
//	  - name: acme
//	    match: { path: /v1/generate*, has: $.output }  # one of the two, or both
//	    text: $.output.delta          # JSONPaths, RFC 9535; a list of them is joined
//	    reasoning: $.output.thinking
//	    finish: $.output.stop
//	    tool: { each: "$.output.calls[*]", index: $.index, name: $.function, arguments: $.args }
//	    usage: $.usage
//	  - name: acme-many
//	    match: { has: $.outputs }
//	    each: $.outputs[*]            # several answers in an event: all but usage counts from there
//	    index: $.nr                   # which of them, from 0; without it, its place
//	    text: $.delta
//
// What tool has counts from what its each selects. A nil or null node is no
// formats. Every mistake is reported, each as a *yamlfile.Error; file is for their
// messages.
func Parse(file string, node *yaml.Node) ([]Format, error) {
	n := yamlfile.Resolve(node)
	if yamlfile.IsNull(n) {
		return nil, nil
	}
	r := reader{Reader: &yamlfile.Reader{File: file}}
	for _, f := range Builtin() {
		r.names = append(r.names, f.Name)
	}
	if n.Kind != yaml.SequenceNode {
		r.Fail(n, "llm_formats should be a list")
		return nil, r.Err()
	}
	var formats []Format
	for _, item := range n.Content {
		formats = append(formats, r.format(yamlfile.Resolve(item)))
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return formats, nil
}

// A reader reads the value of llm_formats.
type reader struct {
	*yamlfile.Reader
	names []string // that are taken
}

func (r *reader) format(n *yaml.Node) Format {
	var f Format
	answer := Part{Of: "answer"}
	var said [3]Part
	var tool *Part
	r.Mapping(n, "a format", func(key, value *yaml.Node) {
		switch key.Value {
		case "name":
			f.Name = r.name(value)
		case "match":
			r.match(value, &f)
		case "each":
			answer.Each = r.paths(key, value)
		case "index":
			answer.Number = r.paths(key, value)
		case "reasoning":
			said[0] = Part{Name: "reasoning", Kind: Reasoning, Text: r.paths(key, value)}
		case "text":
			said[1] = Part{Name: "text", Kind: Text, Text: r.paths(key, value)}
		case "finish":
			said[2] = Part{Name: "finish reason", Kind: Finish, Text: r.paths(key, value)}
		case "tool":
			tool = r.tool(value)
		case "usage":
			f.Usage = r.paths(key, value)
		default:
			r.Fail(key, "unknown key %q in a format; use name, match, each, index, text, reasoning, finish, tool or usage", key.Value)
		}
	})
	for i := range said {
		if i == 2 && tool != nil {
			answer.Parts = append(answer.Parts, *tool)
		}
		if said[i].Name != "" {
			answer.Parts = append(answer.Parts, said[i])
		}
	}
	f.Parts = []Part{answer}
	switch {
	case n.Kind != yaml.MappingNode:
	case f.Name == "":
		r.Fail(n, "a format needs a name")
	case f.Path == "" && f.Is == nil:
		r.Fail(n, "%s: say under match which answers it is for: path, has or both", f.Name)
	case said[1].Name == "" && tool == nil:
		r.Fail(n, "%s: say where the text is, or the tool calls", f.Name)
	}
	return f
}

func (r *reader) name(n *yaml.Node) string {
	switch {
	case n.Kind != yaml.ScalarNode || strings.TrimSpace(n.Value) == "":
		r.Fail(n, "name should be a text")
	case slices.Contains(r.names, n.Value):
		r.Fail(n, "there is a format %q already; give it another name", n.Value)
	}
	r.names = append(r.names, n.Value)
	return n.Value
}

func (r *reader) match(n *yaml.Node, f *Format) {
	r.Mapping(n, "match", func(key, value *yaml.Node) {
		switch key.Value {
		case "path":
			if _, err := path.Match(value.Value, ""); err != nil || !strings.HasPrefix(value.Value, "/") && !strings.HasPrefix(value.Value, "*") {
				r.Fail(value, "%q is no pattern for paths; write it like /v1/generate*", value.Value)
			}
			f.Path = value.Value
		case "has":
			var all When
			for _, p := range r.paths(key, value) {
				all = append(all, Cond{Path: p})
			}
			f.Is = []When{all}
		default:
			r.Fail(key, "unknown key %q under match; use path or has", key.Value)
		}
	})
}

func (r *reader) tool(n *yaml.Node) *Part {
	p := &Part{Name: "tool call", Kind: Tool, Optional: true}
	r.Mapping(n, "tool", func(key, value *yaml.Node) {
		paths := r.paths(key, value)
		switch key.Value {
		case "each":
			p.Each = paths
		case "index":
			p.Number = paths
		case "name":
			p.Function = only(r, value, paths)
		case "arguments":
			p.Text, p.Value = paths, only(r, value, paths)
		default:
			r.Fail(key, "unknown key %q under tool; use each, index, name or arguments", key.Value)
		}
	})
	if p.Each != nil || p.Number != nil {
		p.Counting = ByIndex
	}
	if n.Kind == yaml.MappingNode && (p.Function == "" || p.Value == "") {
		r.Fail(n, "tool needs name and arguments")
	}
	return p
}

// only is the one path that there may be.
func only(r *reader, n *yaml.Node, paths []string) string {
	if len(paths) != 1 {
		r.Fail(n, "there should be one path here")
		return ""
	}
	return paths[0]
}

// paths reads a JSONPath or a list of them.
func (r *reader) paths(key, n *yaml.Node) []string {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	var out []string
	for _, p := range list {
		p = yamlfile.Resolve(p)
		c := compiler{}
		c.selector(p.Value)
		switch {
		case p.Kind != yaml.ScalarNode || p.Value == "":
			r.Fail(p, "%s should be a JSONPath, like $.output.text", key.Value)
		case c.err != nil:
			r.Fail(p, "%s: %s; write it like $.output.text", key.Value, c.err)
		default:
			out = append(out, p.Value)
		}
	}
	if out == nil && n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.Fail(n, "%s is an empty list", key.Value)
	}
	return out
}
