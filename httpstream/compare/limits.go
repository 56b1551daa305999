package compare

import (
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream/internal/yamlfile"
)

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
	n := yamlfile.Resolve(node)
	if yamlfile.IsNull(n) {
		return l, nil
	}
	y := &yamlfile.Reader{File: file}
	y.Mapping(n, "shape", func(key, value *yaml.Node) {
		switch key.Value {
		case "buffered":
			var on bool
			if err := value.Decode(&on); err != nil {
				y.Fail(value, "buffered should be true or false")
			}
			l.Buffered = on
		case "first_event":
			l.First.read(y, key, value)
		case "longest_gap":
			l.Gap.read(y, key, value)
		case "pace":
			l.Pace.read(y, key, value)
		default:
			y.Fail(key, "unknown key %q under shape; use buffered, first_event, longest_gap or pace", key.Value)
		}
	})
	if err := y.Err(); err != nil {
		return Limits{}, err
	}
	return l, nil
}

func (b *Bound) read(y *yamlfile.Reader, key, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		var on bool
		if err := n.Decode(&on); err != nil {
			y.Fail(n, "%s should be { ratio: 3, floor: 500ms }, or false", key.Value)
		}
		b.Off = !on
		return
	}
	y.Mapping(n, key.Value, func(k, v *yaml.Node) {
		switch k.Value {
		case "ratio":
			if err := v.Decode(&b.Ratio); err != nil || !(b.Ratio >= 1) {
				y.Fail(v, "ratio should be a number of at least 1")
			}
		case "floor":
			d, err := time.ParseDuration(v.Value)
			if err != nil || d < 0 {
				y.Fail(v, "floor should be a duration like 500ms")
			}
			b.Floor = d
		default:
			y.Fail(k, "unknown key %q under %s; use ratio or floor", k.Value, key.Value)
		}
	})
}
