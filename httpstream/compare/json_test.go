package compare

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/theory/jsonpath"

	"github.com/wiretape/wiretape/httpstream/jsonvalue"
)

// randomValue makes values that are often nearly equal.
func randomValue(rnd *rand.Rand, depth int) any {
	switch rnd.IntN(6 - 2*min(depth/3, 1)) {
	case 0:
		return json.Number(strconv.Itoa(rnd.IntN(3)))
	case 1:
		return []string{"a", "b", ""}[rnd.IntN(3)]
	case 2:
		return nil
	case 3:
		return rnd.IntN(2) == 0
	case 4:
		var a = []any{}
		for range rnd.IntN(4) {
			a = append(a, randomValue(rnd, depth+1))
		}
		return a
	}
	m := map[string]any{}
	for range rnd.IntN(4) {
		m[[]string{"x", "y", "z'\n"}[rnd.IntN(3)]] = randomValue(rnd, depth+1)
	}
	return m
}

func TestDocumentsDifferExactlyIfTheirValuesDo(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 20000 {
		a, b := &jsonvalue.Document{Value: randomValue(rnd, 0)}, &jsonvalue.Document{Value: randomValue(rnd, 0)}
		equal := reflect.DeepEqual(a.Value, b.Value)
		changes := 0
		diffDocuments(a, b, func(c jsonChange) {
			changes++
			p, err := jsonpath.Parse(c.at.String())
			if err != nil {
				t.Fatalf("%s: %v", c.at, err)
			}
			if c.kind != Extra && len(p.Select(a.Value)) != 1 {
				t.Fatalf("%s selects nothing in %s", c.at, jsonvalue.Show(a.Value))
			}
		})
		if (changes == 0) != equal || (string(a.Canonical()) == string(b.Canonical())) != equal {
			t.Fatalf("%s and %s: %d changes", jsonvalue.Show(a.Value), jsonvalue.Show(b.Value), changes)
		}
	}
}

// TestAlignmentExplainsEverything checks that the steps turn one sequence into
// the other: each element is in a pair of equals or in exactly one step.
func TestAlignmentExplainsEverything(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	random := func() []string {
		s := make([]string, rnd.IntN(12))
		for i := range s {
			s[i] = string(rune('a' + rnd.IntN(5)))
		}
		return s
	}
	for range 20000 {
		a, b := random(), random()
		inA, inB := make([]bool, len(a)), make([]bool, len(b))
		for _, s := range alignKeys(a, b) {
			if s.rec >= 0 {
				if inA[s.rec] {
					t.Fatalf("%v %v: %v twice", a, b, s)
				}
				inA[s.rec] = true
			}
			if s.now >= 0 {
				if inB[s.now] {
					t.Fatalf("%v %v: %v twice", a, b, s)
				}
				inB[s.now] = true
			}
			if s.kind == Reordered && a[s.rec] != b[s.now] || s.kind == Changed && a[s.rec] == b[s.now] {
				t.Fatalf("%v %v: %v", a, b, s)
			}
		}
		var restA, restB []string
		for i, x := range a {
			if !inA[i] {
				restA = append(restA, x)
			}
		}
		for j, x := range b {
			if !inB[j] {
				restB = append(restB, x)
			}
		}
		if !reflect.DeepEqual(restA, restB) {
			t.Fatalf("%v and %v: what has no step is %v and %v", a, b, restA, restB)
		}
	}
}

func TestWordDifferences(t *testing.T) {
	tests := []struct{ rec, now, want string }{
		{"the quick fox", "the slow fox", "the [-quick-]{+slow+} fox"},
		{"a b c d", "a x y d", "a [-b c-]{+x y+} d"},
		{"one", "one two", "one{+ two+}"},
		{"Wien, 東京", "Wien, 東北", "Wien, 東[-京-]{+北+}"},
		{"same", "same", ""},
	}
	for _, tt := range tests {
		if got := DiffWords(tt.rec, tt.now).String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
	rnd := rand.New(rand.NewPCG(11, 12))
	text := func() string {
		var b strings.Builder
		for range rnd.IntN(9) {
			b.WriteString([]string{"a", "b", " ", "  ", ",", "é", "東", "\xff", "\n"}[rnd.IntN(9)])
		}
		return b.String()
	}
	for range 20000 {
		a, b := text(), text()
		w := DiffWords(a, b)
		if a == b {
			continue
		}
		var ra, rb string
		for _, s := range w {
			if s.Op != "+" {
				ra += s.Text
			}
			if s.Op != "-" {
				rb += s.Text
			}
		}
		if ra != a || rb != b {
			t.Fatalf("%q and %q: %v", a, b, w)
		}
	}
}
