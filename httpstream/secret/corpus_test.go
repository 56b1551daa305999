package secret

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"
)

// example makes a text that a pattern matches.
func example(t *testing.T, r *rand.Rand, re *syntax.Regexp) string {
	t.Helper()
	var b strings.Builder
	var write func(re *syntax.Regexp)
	times := func(sub *syntax.Regexp, low, high int) {
		if high < 0 || high > low+24 {
			high = low + 24
		}
		for range low + r.IntN(high-low+1) {
			write(sub)
		}
	}
	write = func(re *syntax.Regexp) {
		switch re.Op {
		case syntax.OpLiteral:
			b.WriteString(string(re.Rune))
		case syntax.OpCharClass:
			b.WriteByte(one(r, re.Rune))
		case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
			b.WriteByte(letters[r.IntN(len(letters))])
		case syntax.OpCapture:
			write(re.Sub[0])
		case syntax.OpConcat:
			for _, sub := range re.Sub {
				write(sub)
			}
		case syntax.OpAlternate:
			write(re.Sub[r.IntN(len(re.Sub))])
		case syntax.OpQuest:
			times(re.Sub[0], 0, 1)
		case syntax.OpStar:
			times(re.Sub[0], 0, -1)
		case syntax.OpPlus:
			times(re.Sub[0], 1, -1)
		case syntax.OpRepeat:
			times(re.Sub[0], re.Min, re.Max)
		case syntax.OpEmptyMatch, syntax.OpWordBoundary, syntax.OpEndText, syntax.OpEndLine, syntax.OpBeginText:
		default:
			t.Fatalf("%s in a pattern", re.Op)
		}
	}
	write(re)
	return b.String()
}

// one is a character of a class, a letter or a digit if it has some.
func one(r *rand.Rand, class []rune) byte {
	for _, from := range []string{letters, "-_.~+/=|%:"} {
		var in []byte
		for _, c := range []byte(from) {
			for i := 0; i < len(class); i += 2 {
				if class[i] <= rune(c) && rune(c) <= class[i+1] {
					in = append(in, c)
				}
			}
		}
		if len(in) > 0 {
			return in[r.IntN(len(in))]
		}
	}
	panic(fmt.Sprintf("a class of %q", class))
}

// corpus are fake secrets of all shapes, several of each.
func corpus(t *testing.T) map[string]string {
	t.Helper()
	var list []shape
	if err := json.Unmarshal(shapesJSON, &list); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	out := map[string]string{}
	for _, s := range append(list, further()...) {
		re, err := syntax.Parse(s.Regex, syntax.Perl)
		if err != nil {
			t.Fatalf("%s: %v", s.ID, err)
		}
		for i := range 3 {
			text := example(t, r, re)
			if !regexp.MustCompile(`\A(?:` + s.Regex + `)`).MatchString(text) {
				t.Fatalf("%s does not match its example %s", s.ID, text)
			}
			out[fmt.Sprintf("%s %d", s.ID, i)] = text
		}
	}
	return out
}

func TestEachShapeIsFoundAndHasABeginning(t *testing.T) {
	secrets := corpus(t)
	if len(secrets) < 3*110 {
		t.Errorf("only %d secrets", len(secrets))
	}
	for name, text := range secrets {
		if len(text) < 14 {
			continue // the shortest that a pattern allows may be no secret
		}
		in := `{"a":"` + text + `","b":1}`
		out := replaced(Text{}, in)
		// What is behind the prefix, and not of a URL's form, must be gone.
		tail := text[len(text)-8:]
		if strings.Contains(out, text) || !strings.HasPrefix(name, "url-") && strings.Contains(out, tail) && !strings.HasPrefix(tail, "=") {
			t.Errorf("%s: %s becomes %s", name, in, out)
		}
		if !json.Valid([]byte(out)) || len(out) != len(in) {
			t.Errorf("%s: %s becomes %s", name, in, out)
		}
		for _, f := range (*Finder)(nil).Find(Text{}, []byte(out)) {
			if !f.IsStandIn([]byte(out)[f.Start:f.End]) {
				t.Errorf("%s: the stand-in %s is taken for a secret by %s", name, out[f.Start:f.End], f.Rule)
			}
		}
	}
}
