package compare

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A FileError is a mistake in a YAML file.
type FileError struct {
	File   string
	Line   int
	Reason string // what is wrong, and what was expected
}

func (e *FileError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason) }

// yamlReader gathers every mistake instead of stopping at the first.
type yamlReader struct {
	file string
	errs []error
}

func (y *yamlReader) fail(n *yaml.Node, format string, args ...any) {
	y.errs = append(y.errs, &FileError{y.file, n.Line, fmt.Sprintf(format, args...)})
}

func (y *yamlReader) err() error { return errors.Join(y.errs...) }

// resolve follows aliases and unwraps a document.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil {
		switch {
		case n.Kind == yaml.DocumentNode && len(n.Content) == 1:
			n = n.Content[0]
		case n.Kind == yaml.AliasNode:
			n = n.Alias
		default:
			return n
		}
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// mapping calls f for each entry of a mapping and reports names that occur twice.
func (y *yamlReader) mapping(n *yaml.Node, what string, f func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		y.fail(n, "%s should be a mapping", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolve(n.Content[i])
		if seen[key.Value] {
			y.fail(key, "%q is here twice; join the two", key.Value)
		}
		seen[key.Value] = true
		f(key, resolve(n.Content[i+1]))
	}
}

// ParseRules reads the value of noise:
//
//	noise:
//	  response.body: ["$.id", "$..created"]   # JSONPath, RFC 9535
//	  response.header: [X-Request-Id]         # * and ? are allowed
//	  response.sse: [id, retry]               # event, data, id, retry, comment, unknown
//	  response.text: ['\d{2}:\d{2}:\d{2}']    # regular expressions, line by line
//	  request.body: ["$.idempotency_key"]
//	  request.header: [Idempotency-Key]
//	  request.query: [ts]
//	  request.path: ['[0-9a-f]{32}']          # regular expressions
//	  request.text: ['\d{4}-\d\d-\d\d']      # the same, line by line, in text and in strings
//	  cases:
//	    "0003-*":
//	      response.body: ["$.items[*].price"]
//
// A single value may stand for a list of one. response.header goes for trailers
// and the headers of parts too. A nil or null node is no rules. Every mistake is
// reported, each as a *FileError; file is for their messages.
func ParseRules(file string, node *yaml.Node) (Rules, error) {
	y := &yamlReader{file: file}
	var r Rules
	n := resolve(node)
	if isNull(n) {
		return r, nil
	}
	y.mapping(n, "noise", func(key, value *yaml.Node) {
		if key.Value == "cases" {
			y.cases(value, &r)
			return
		}
		y.rule(key, value, &r.all, "cases")
	})
	if err := y.err(); err != nil {
		return Rules{}, err
	}
	return r, nil
}

func (y *yamlReader) cases(n *yaml.Node, r *Rules) {
	if isNull(n) {
		return
	}
	y.mapping(n, "noise.cases", func(glob, rules *yaml.Node) {
		if _, err := path.Match(glob.Value, ""); err != nil || glob.Value == "" {
			y.fail(glob, "%q is no pattern for case names; write it like \"0003-*\"", glob.Value)
			return
		}
		c := caseRules{glob: glob.Value}
		if !isNull(rules) {
			y.mapping(rules, "the rules for "+glob.Value, func(key, value *yaml.Node) { y.rule(key, value, &c.set) })
		}
		r.cases = append(r.cases, c)
	})
}

func (y *yamlReader) rule(key, value *yaml.Node, set *ruleSet, others ...string) {
	if !slices.Contains(ruleKeys(), key.Value) {
		y.fail(key, "unknown key %q under noise; use one of %s", key.Value,
			strings.Join(append(ruleKeys(), others...), ", "))
		return
	}
	if isNull(value) {
		return
	}
	values := []*yaml.Node{value}
	switch value.Kind {
	case yaml.SequenceNode:
		values = value.Content
	case yaml.MappingNode:
		y.fail(value, "%s should be a list", key.Value)
		return
	}
	for _, v := range values {
		v = resolve(v)
		if v.Kind != yaml.ScalarNode {
			y.fail(v, "%s: each entry should be a text", key.Value)
			continue
		}
		if err := set.add(Rule{key.Value, v.Value}); err != nil {
			y.fail(v, "%s", err)
		}
	}
}

// ParseLimits reads the value of shape; what it leaves out keeps its default:
//
//	shape:
//	  buffered: true                                # fail where a stream is held back
//	  first_event: { ratio: 3, floor: 500ms }       # fail if later than 3 × recorded + 500 ms
//	  longest_gap: { ratio: 3, floor: 500ms }
//	  pace: { ratio: 1.5, floor: 500ms }            # of the whole answer
//
// false in place of a mapping switches a check off.
func ParseLimits(file string, node *yaml.Node) (Limits, error) {
	l := DefaultLimits()
	n := resolve(node)
	if isNull(n) {
		return l, nil
	}
	y := &yamlReader{file: file}
	y.mapping(n, "shape", func(key, value *yaml.Node) {
		switch key.Value {
		case "buffered":
			var on bool
			if err := value.Decode(&on); err != nil {
				y.fail(value, "buffered should be true or false")
			}
			l.Buffered = on
		case "first_event":
			y.bound(key, value, &l.First)
		case "longest_gap":
			y.bound(key, value, &l.Gap)
		case "pace":
			y.bound(key, value, &l.Pace)
		default:
			y.fail(key, "unknown key %q under shape; use buffered, first_event, longest_gap or pace", key.Value)
		}
	})
	if err := y.err(); err != nil {
		return Limits{}, err
	}
	return l, nil
}

func (y *yamlReader) bound(key, n *yaml.Node, b *Bound) {
	if n.Kind == yaml.ScalarNode {
		var on bool
		if err := n.Decode(&on); err != nil {
			y.fail(n, "%s should be { ratio: 3, floor: 500ms }, or false", key.Value)
		}
		b.Off = !on
		return
	}
	y.mapping(n, key.Value, func(k, v *yaml.Node) {
		switch k.Value {
		case "ratio":
			if err := v.Decode(&b.Ratio); err != nil || !(b.Ratio >= 1) {
				y.fail(v, "ratio should be a number of at least 1")
			}
		case "floor":
			d, err := time.ParseDuration(v.Value)
			if err != nil || d < 0 {
				y.fail(v, "floor should be a duration like 500ms")
			}
			b.Floor = d
		default:
			y.fail(k, "unknown key %q under %s; use ratio or floor", k.Value, key.Value)
		}
	})
}
