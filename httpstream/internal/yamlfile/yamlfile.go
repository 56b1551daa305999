// Package yamlfile reads YAML strictly, and names the file and the line of each
// mistake.
package yamlfile

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// An Error is a mistake in a YAML file.
type Error struct {
	File   string
	Line   int
	Reason string // what is wrong, and what was expected
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason) }

// A Reader gathers every mistake instead of stopping at the first.
type Reader struct {
	File string
	errs []error
}

// Fail notes a mistake at a node.
func (y *Reader) Fail(n *yaml.Node, format string, args ...any) {
	y.errs = append(y.errs, &Error{y.File, n.Line, fmt.Sprintf(format, args...)})
}

// Err is every mistake, each a *Error; nil if there are none.
func (y *Reader) Err() error { return errors.Join(y.errs...) }

// Resolve follows aliases and unwraps a document.
func Resolve(n *yaml.Node) *yaml.Node {
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

// IsNull tells whether a node is not there, or null.
func IsNull(n *yaml.Node) bool {
	return n == nil || n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// Mapping calls f for each entry of a mapping and reports names that occur twice.
func (y *Reader) Mapping(n *yaml.Node, what string, f func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		y.Fail(n, "%s should be a mapping", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := Resolve(n.Content[i])
		if seen[key.Value] {
			y.Fail(key, "%q is here twice; join the two", key.Value)
		}
		seen[key.Value] = true
		f(key, Resolve(n.Content[i+1]))
	}
}
