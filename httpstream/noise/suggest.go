package noise

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream/internal/legible"
	"github.com/wiretape/wiretape/httpstream/internal/yamlfile"
	"github.com/wiretape/wiretape/httpstream/jsonvalue"
)

// A Suggestion is a rule that would ignore what changes by itself.
type Suggestion struct {
	Rule
	// Comment says what changes and what it looks like, for the file and for people.
	Comment string `json:"comment"`
	// Known is set where the values look like what changes by nature: ids, times.
	// What does not may be a defect, and a person should look at it first.
	Known bool `json:"known"`
	Count int  `json:"count"` // of the differences that it would ignore
	// Recorded and Now are an example.
	Recorded string `json:"recorded"`
	Now      string `json:"now"`
}

// A Change is a difference as far as it may be noise. What can't be, such as
// events that are missing or in another order, other bytes, ends and timing, is no
// Change.
type Change struct {
	// Rule would ignore just this. Without one, Recorded and Now are lines of text.
	Rule          *Rule
	Recorded, Now string
	Count         int // of differences like it
}

// Suggest finds rules for what differs in runs that should not differ at all,
// because nothing has changed since the recording. The whole data of an event is
// never noise.
func Suggest(changes []Change) []Suggestion {
	groups := map[Rule]*group{}
	for _, c := range changes {
		for _, r := range c.rules() {
			key, indices := shapeOf(r)
			g := groups[key]
			if g == nil {
				g = &group{rule: r, example: c, indices: indices}
				groups[key] = g
			}
			g.add(c, indices)
		}
	}
	var out []Suggestion
	for _, g := range groups {
		out = append(out, g.suggestion())
	}
	order := ruleKeys()
	slices.SortFunc(out, func(a, b Suggestion) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Key), slices.Index(order, b.Key)), strings.Compare(a.Value, b.Value))
	})
	return out
}

// rules would ignore the change; usually one or none.
func (c *Change) rules() []Rule {
	switch {
	case c.Rule == nil:
		return textRules(c.Recorded, c.Now)
	case c.Rule.Key == ResponseSSE && c.Rule.Value == "data", c.Rule.Value == "$":
		return nil
	}
	return []Rule{*c.Rule}
}

// A group is the differences that one rule would ignore, array indices aside.
type group struct {
	rule    Rule
	example Change
	indices []string
	count   int
	other   bool // some value does not look like the others
	what    string
	comes   bool // it is not always there
}

func (g *group) add(c Change, indices []string) {
	for i := range indices {
		if g.indices[i] != indices[i] {
			g.indices[i] = "*"
		}
	}
	onOneSide := c.Recorded == "" || c.Now == ""
	what := ""
	if k := g.rule.Key; k == ResponseText || k == RequestText || k == RequestPath {
		what = textPattern(g.rule.Value)
	} else if !onOneSide {
		what = looksLike(unquote(c.Recorded), unquote(c.Now))
	}
	if g.count == 0 {
		g.what = what
	}
	g.other = g.other || what != g.what
	g.comes = g.comes || onOneSide
	g.count += c.Count
}

func (g *group) suggestion() Suggestion {
	s := Suggestion{Rule: g.rule, Count: g.count, Recorded: g.example.Recorded, Now: g.example.Now}
	if s.Key == ResponseBody {
		s.Value = withIndices(g.rule.Value, g.indices)
	}
	s.Known = g.what != "" && !g.other && !g.comes
	var rec, now = legible.OneLine(legible.Excerpt(s.Recorded, 0, 40)), legible.OneLine(legible.Excerpt(s.Now, 0, 40))
	switch {
	case g.comes:
		s.Comment = "is not always there; look why before you ignore it"
	case s.Known:
		s.Comment = fmt.Sprintf("%s: %s, then %s", g.what, rec, now)
	default:
		s.Comment = fmt.Sprintf("changes by itself, look why before you ignore it: %s, then %s", rec, now)
	}
	return s
}

// shapeOf takes the array indices out of a JSONPath; other rules have none.
func shapeOf(r Rule) (Rule, []string) {
	if r.Key != ResponseBody {
		return r, nil
	}
	var indices []string
	shape := jsonvalue.MapIndices(r.Value, func(i string) string {
		indices = append(indices, i)
		return "*"
	})
	return Rule{r.Key, shape}, indices
}

func withIndices(path string, indices []string) string {
	return jsonvalue.MapIndices(path, func(string) string {
		i := indices[0]
		indices = indices[1:]
		return i
	})
}

// unquote undoes the quotes of a JSON string that is shown.
func unquote(s string) string {
	if u, err := strconv.Unquote(s); err == nil && strings.HasPrefix(s, `"`) {
		return u
	}
	return s
}

// A pattern is a form of value that changes by nature.
type pattern struct {
	what string
	re   string // without anchors
}

func patterns() []pattern {
	return []pattern{
		{"a UUID", `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`},
		{"a date and time", `\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?`},
		{"a date", `(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d{2}:\d{2}:\d{2} GMT`},
		{"a date", `\d{4}-\d{2}-\d{2}`},
		{"a time of day", `\d{2}:\d{2}:\d{2}(\.\d+)?`},
		{"a Unix time", `1[0-9]{9}(\.\d+|\d{3}|\d{6}|\d{9})?`},
		{"an id", `[A-Za-z][A-Za-z0-9]*([_-][A-Za-z]+)*[_-][A-Za-z0-9]{8,}`},
		{"a hexadecimal id", `[0-9a-fA-F]{16,}`},
		{"a random id", `[A-Za-z0-9_-]{20,}={0,2}`},
		{"a duration", `\d+(\.\d+)?\s?(ns|µs|us|ms|s)`},
	}
}

// looksLike names the form that both values have; empty if there is none.
func looksLike(rec, now string) string {
	for _, p := range patterns() {
		re := regexp.MustCompile(`^(?:` + p.re + `)$`)
		if re.MatchString(rec) && re.MatchString(now) {
			return p.what
		}
	}
	return ""
}

func textPattern(re string) string {
	for _, p := range patterns() {
		if p.re == re {
			return p.what
		}
	}
	return ""
}

// textRules finds the patterns that make two texts equal, or none.
func textRules(rec, now string) []Rule {
	var rules []Rule
	for _, p := range patterns() {
		re := regexp.MustCompile(p.re)
		if slices.Equal(re.FindAllString(rec, -1), re.FindAllString(now, -1)) {
			continue
		}
		r, n := re.ReplaceAllLiteralString(rec, Ignored), re.ReplaceAllLiteralString(now, Ignored)
		rules = append(rules, Rule{ResponseText, p.re})
		if rec, now = r, n; rec == now {
			return rules
		}
	}
	return nil
}

// AddToYAML adds suggestions to the value of noise, a mapping, each with its
// comment: for all cases, or for those that match glob if it is not empty. What
// is there stays as it is. It returns how many were new.
func AddToYAML(noise *yaml.Node, glob string, suggestions []Suggestion) (added int) {
	m := yamlfile.Resolve(noise)
	if glob != "" {
		m = child(child(m, "cases", yaml.MappingNode), glob, yaml.MappingNode)
	}
	for _, s := range suggestions {
		list := child(m, s.Key, yaml.SequenceNode)
		if slices.ContainsFunc(list.Content, func(n *yaml.Node) bool { return yamlfile.Resolve(n).Value == s.Value }) {
			continue
		}
		list.Style = 0 // a comment needs a line of its own
		list.Content = append(list.Content, &yaml.Node{
			Kind: yaml.ScalarNode, Tag: "!!str", Value: s.Value, Style: yaml.SingleQuotedStyle,
			LineComment: "# " + strings.Join(strings.Fields(s.Comment), " "),
		})
		added++
	}
	return added
}

// child finds or makes an entry of a mapping. A single value becomes a list of one.
func child(m *yaml.Node, name string, kind yaml.Kind) *yaml.Node {
	if m.Kind != yaml.MappingNode {
		*m = yaml.Node{Kind: yaml.MappingNode, HeadComment: m.HeadComment, LineComment: m.LineComment, FootComment: m.FootComment}
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value != name {
			continue
		}
		v := yamlfile.Resolve(m.Content[i+1])
		if v.Kind == yaml.ScalarNode && kind == yaml.SequenceNode && !yamlfile.IsNull(v) {
			single := *v
			*v = yaml.Node{Kind: kind, Content: []*yaml.Node{&single}}
		} else if v.Kind != kind {
			*v = yaml.Node{Kind: kind}
		}
		return v
	}
	v := &yaml.Node{Kind: kind}
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}
	if kind == yaml.MappingNode && strings.ContainsAny(name, "*?[") {
		key.Style = yaml.DoubleQuotedStyle
	}
	m.Style = 0
	m.Content = append(m.Content, key, v)
	return v
}
