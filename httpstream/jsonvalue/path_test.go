package jsonvalue

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestAPlaceIsWrittenAsAPathThatSelectsIt(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "_b1", "1a", "", "é", "a b", "a'b", `a\b`, "a\n\t\b\f\r\x01b", "['x']", "$", "東"}
	for range 5000 {
		var at *Place
		var v any = "found"
		var steps []any
		for range rnd.IntN(5) {
			if rnd.IntN(2) == 0 {
				name := names[rnd.IntN(len(names))]
				at, steps = at.Member(name), append(steps, name)
			} else {
				i := rnd.IntN(3)
				at, steps = at.Element(i), append(steps, i)
			}
		}
		for i := len(steps) - 1; i >= 0; i-- {
			switch s := steps[i].(type) {
			case string:
				v = map[string]any{s: v, "other": "x"}
			case int:
				list := []any{"x", "y", "z"}
				list[s] = v
				v = list
			}
		}
		p, err := ParsePath(at.String())
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		if got := p.Select(v); len(got) != 1 || steps != nil && got[0] != "found" && steps[len(steps)-1] != "other" {
			t.Fatalf("%s selects %v in %s", at, got, Show(v))
		}
	}
}

func TestIndicesOfAPathAreMappedOutsideOfNames(t *testing.T) {
	for in, want := range map[string]string{
		"$[0].a[12]": "$[*].a[*]", "$['[1]'][2]": "$['[1]'][*]", `$['\']'][3]`: `$['\']'][*]`, "$.a": "$.a", "$[": "$[", "$[1": "$[1", "$['": "$['",
	} {
		if got := MapIndices(in, func(string) string { return "*" }); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// FuzzPath checks that a path that is taken selects and prunes without changing
// the value.
func FuzzPath(f *testing.F) {
	for _, p := range []string{"$", "$.a", "$..b", "$.a[*].b", "$.a[-1]", "$['a'][0:1]", "$.a[?@.b==1]", "$.a[", ""} {
		f.Add(p, `{"a":[{"b":1},{"b":2}],"b":{"a":null}}`)
	}
	f.Fuzz(func(t *testing.T, path, text string) {
		p, err := ParsePath(path)
		if err != nil || len(path) > 100 {
			return
		}
		d, err := Parse([]byte(text))
		if err != nil || len(text) > 1000 {
			return
		}
		before := Show(d.Value)
		less := d.Without([]Path{p})
		if Show(d.Value) != before {
			t.Fatalf("%s changed %s to %s", path, before, Show(d.Value))
		}
		if n := len(p.Select(d.Value)); n == 0 && string(less.Canonical()) != string(d.Canonical()) {
			t.Fatalf("%s selects nothing in %s, and leaves %s", path, before, Show(less.Value))
		}
		for _, n := range p.SelectLocated(d.Value) {
			if !strings.HasPrefix(n.Path.String(), "$") {
				t.Fatal(n.Path)
			}
		}
	})
}
