package noise

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream/internal/yamlfile"
)

// A reader reads the value of noise.
type reader struct{ *yamlfile.Reader }

// Parse reads the value of noise:
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
// reported, each as a *yamlfile.Error; file is for their messages.
func Parse(file string, node *yaml.Node) (Rules, error) {
	y := reader{&yamlfile.Reader{File: file}}
	var r Rules
	n := yamlfile.Resolve(node)
	if yamlfile.IsNull(n) {
		return r, nil
	}
	y.Mapping(n, "noise", func(key, value *yaml.Node) {
		if key.Value == "cases" {
			y.cases(value, &r)
			return
		}
		y.rule(key, value, &r.all, "cases")
	})
	if err := y.Err(); err != nil {
		return Rules{}, err
	}
	return r, nil
}

func (y reader) cases(n *yaml.Node, r *Rules) {
	if yamlfile.IsNull(n) {
		return
	}
	y.Mapping(n, "noise.cases", func(glob, rules *yaml.Node) {
		if _, err := path.Match(glob.Value, ""); err != nil || glob.Value == "" {
			y.Fail(glob, "%q is no pattern for case names; write it like \"0003-*\"", glob.Value)
			return
		}
		c := caseRules{glob: glob.Value}
		if !yamlfile.IsNull(rules) {
			y.Mapping(rules, "the rules for "+glob.Value, func(key, value *yaml.Node) { y.rule(key, value, &c.set) })
		}
		r.cases = append(r.cases, c)
	})
}

func (y reader) rule(key, value *yaml.Node, set *ruleSet, others ...string) {
	if !slices.Contains(ruleKeys(), key.Value) {
		y.Fail(key, "unknown key %q under noise; use one of %s", key.Value,
			strings.Join(append(ruleKeys(), others...), ", "))
		return
	}
	if yamlfile.IsNull(value) {
		return
	}
	values := []*yaml.Node{value}
	switch value.Kind {
	case yaml.SequenceNode:
		values = value.Content
	case yaml.MappingNode:
		y.Fail(value, "%s should be a list", key.Value)
		return
	}
	for _, v := range values {
		v = yamlfile.Resolve(v)
		if v.Kind != yaml.ScalarNode {
			y.Fail(v, "%s: each entry should be a text", key.Value)
			continue
		}
		if err := set.add(Rule{key.Value, v.Value}); err != nil {
			y.Fail(v, "%s", err)
		}
	}
}
