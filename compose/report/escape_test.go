package report

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

func seeds(f *testing.F) {
	for _, s := range []string{"", "plain", hostile, "日本語のテキスト", "e\u0301e\u0301e\u0301", "a\tb\nc", "😀😀😀", "\xff\xfe", strings.Repeat("long ", 100)} {
		f.Add(s, s+"x", 20)
	}
}

func FuzzShortenFitsAndKeepsBothEnds(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, s, _ string, n int) {
		n %= 200
		s = oneLine(s)
		got := shorten(s, n)
		if w := cells(got); w > max(n, 0) {
			t.Errorf("%d columns of %d: %q", w, n, got)
		}
		if !utf8.ValidString(got) {
			t.Errorf("not UTF-8: %q", got)
		}
		if cells(s) <= n && got != s {
			t.Errorf("%q fits, but became %q", s, got)
		}
		if head, tail, cut := strings.Cut(got, "…"); cut && cells(s) > n && !strings.Contains(s, "…") {
			if !strings.HasPrefix(s, head) || !strings.HasSuffix(s, tail) {
				t.Errorf("%q is not the ends of %q", got, s)
			}
		}
	})
}

func FuzzShortenedPairsStillDiffer(f *testing.F) {
	seeds(f)
	f.Add(strings.Repeat("a", 300)+"1"+strings.Repeat("b", 300), strings.Repeat("a", 300)+"2"+strings.Repeat("b", 300), 40)
	f.Fuzz(func(t *testing.T, a, b string, n int) {
		n = 20 + (n%100+100)%100
		a, b = oneLine(a), oneLine(b)
		x, y := shortenPair(a, b, n)
		if cells(x) > n || cells(y) > n {
			t.Errorf("more than %d columns: %q %q", n, x, y)
		}
		if (a == b) != (x == y) && !strings.Contains(a+b, "…") {
			t.Errorf("%q and %q became %q and %q", a, b, x, y)
		}
	})
}

func FuzzEscapes(f *testing.F) {
	seeds(f)
	word := regexp.MustCompile(`^([^!-/:-@\[-` + "`" + `{-~]|&#\d+;)*$`)
	f.Fuzz(func(t *testing.T, s, _ string, _ int) {
		if got := markdown(s); !word.MatchString(got) {
			t.Errorf("markdown %q", got)
		}
		if got := commandProperty(s); strings.ContainsAny(got, "\r\n:,\x1b") {
			t.Errorf("property %q", got)
		}
		if got := commandData(s); strings.ContainsAny(got, "\r\n\x1b") {
			t.Errorf("data %q", got)
		}
		for _, r := range xmlText(s) {
			if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
				t.Errorf("%q in XML", r)
			}
		}
		var doc struct{ A []string }
		if err := yaml.Unmarshal([]byte("a: ["+yamlText(s)+"]"), &doc); err != nil {
			t.Errorf("YAML %s: %v", yamlText(s), err)
		} else if want := strings.ToValidUTF8(s, "\uFFFD"); len(doc.A) != 1 || doc.A[0] != want {
			t.Errorf("YAML %s reads as %q, not %q", yamlText(s), doc.A, want)
		}
		if got := oneLine(s); oneLine(got) != got || !utf8.ValidString(got) {
			t.Errorf("%q is not stable", got)
		}
	})
}

func TestShellWordsComeBackAsTheyWere(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	for _, s := range []string{"", "plain", "a b", "it's", `"$HOME"`, "*?[x]", ";ls", "~", "#x", "-f", `\`, "{a,b}"} {
		out, err := exec.Command(sh, "-c", "printf %s "+ShellQuote(s)).Output()
		if s != "-f" && (err != nil || string(out) != s) {
			t.Errorf("%q came back as %q, %v", s, out, err)
		}
	}
}

func TestShortenedValues(t *testing.T) {
	long := strings.Repeat("x", 50)
	for _, test := range []struct{ a, b, wantA, wantB string }{
		{"same", "sane", "same", "sane"},
		{long + "1" + long, long + "2" + long, "xxxx…xxxx1xxxx…xxxx", "xxxx…xxxx2xxxx…xxxx"},
		{long, long + "y", "xxxxxxxxx…xxxxxxxx", "xxxxxxxxx…xxxxxxxxy"},
		{"", long, "", "xxxxxxxxxx…xxxxxxxxx"},
	} {
		a, b := shortenPair(test.a, test.b, 20)
		if a != test.wantA || b != test.wantB {
			t.Errorf("%q, %q: got\n%s\n%s", test.a, test.b, a, b)
		}
	}
}
