package match

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream/jsonvalue"
)

// FuzzJSON checks that writing a value anew keeps its canonical form, and that
// nothing differs then.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.50,-0,1e400,"x\u00e9\ud83d\ude00"],"b":{"":null}}`, `9007199254740993`, `[true,false,null]`,
		`{"a":1,"a":1}`, `"\ud800"`, `"\\ud800"`, `[[[[]]]]`, `-1.500e-3`, `0.000`, `1E+99999999999`, "\"\xff\"", `{} x`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := jsonvalue.ParseExact(data)
		if err != nil {
			return
		}
		canon := jsonvalue.AppendCanonical(nil, x)
		again, err := json.MarshalIndent(x, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		y, err := jsonvalue.ParseExact(again)
		if err != nil {
			t.Fatalf("%q written anew as %q: %v", data, again, err)
		}
		if got := jsonvalue.AppendCanonical(nil, y); !bytes.Equal(got, canon) {
			t.Fatalf("%q became %q", canon, got)
		}
		if ds := (&Rules{}).jsonDifferences("$", x, y); len(ds) != 0 {
			t.Fatalf("differences %v", ds)
		}
	})
}

// FuzzExcerpt checks that what differs is seen to differ, in few characters.
func FuzzExcerpt(f *testing.F) {
	for _, s := range [][2]string{{"a", "b"}, {"caf\u00e9", "cafe\u0301"}, {strings.Repeat("é", 200) + "1", strings.Repeat("é", 200) + "2"}, {"a\x00b", "a"}, {"", "\u200b"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, was, is string) {
		a, b := excerpt(was, is)
		if readable(was) != readable(is) && a == b {
			t.Errorf("%q and %q are both shown as %q", was, is, a)
		}
		if len([]rune(a)) > maxShown+2 || len([]rune(b)) > maxShown+2 || !utf8.ValidString(a+b) {
			t.Errorf("%q and %q are shown as %q and %q", was, is, a, b)
		}
	})
}

// FuzzPairs checks that order does not count and that net/url agrees.
func FuzzPairs(f *testing.F) {
	for _, s := range []string{"a=1&b=2&a=3", "a", "a=&=b&&", "x=%41+%2b%", "k=v=w", "%zz=1", ";a=1;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ps, clean := parsePairs(s)
		parts := strings.Split(s, "&")
		slices.Reverse(parts)
		if reversed, _ := parsePairs(strings.Join(parts, "&")); !slices.Equal(ps, reversed) {
			t.Fatalf("%q: %v reversed is %v", s, ps, reversed)
		}
		values, err := url.ParseQuery(s)
		if strings.Contains(s, ";") {
			return // net/url refuses it
		}
		if (err == nil) != clean {
			t.Fatalf("%q: clean %v, net/url says %v", s, clean, err)
		}
		if err != nil {
			return
		}
		for name, vs := range valuesByName(ps) {
			want := slices.Sorted(slices.Values(values[name]))
			if !slices.Equal(vs, want) {
				t.Fatalf("%q: %s is %q, net/url says %q", s, name, vs, want)
			}
		}
	})
}

// FuzzAddress checks that a path holds neither query nor fragment, and that
// well-formed escapes normalise to a form that stays as it is.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"https://h:443/a%2f?q", "http://[::1]:8080", "//", "a?b#c", "https://h/%%41%4", "x://:", "HTTP://H?/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a := parseAddress(s)
		if strings.ContainsAny(a.path, "?#") || a.path == "" {
			t.Fatalf("path %q", a.path)
		}
		if _, wellFormed := unescape(a.path); !wellFormed {
			return
		}
		if again := normalPath(a.path); again != a.path && !strings.Contains(s, "%%") {
			t.Fatalf("%q became %q, then %q", s, a.path, again)
		}
	})
}
