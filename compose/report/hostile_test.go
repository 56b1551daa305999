package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wiretape/wiretape/dev/needs"
)

const hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>]]>--><!-- `|*[a](http://evil.example)\x1b[31m\x00\x07\r\n::error::x\u202e\xff{{.}}%0A"

// fill puts a text into every string that is reachable from v.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() && v.Type() != reflect.TypeFor[Status]() {
			v.SetString(text)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			fill(v.Elem(), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), text)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	}
}

// hostileRun has every string replaced by what an app or a tape could hold at worst.
func hostileRun() *Run {
	r := sampleRun()
	for i := range r.Cases {
		if v := r.Cases[i].Verdict; v != nil && v.Answer != nil {
			for j := range v.Answer.Pieces {
				for k := range v.Answer.Pieces[j].Words {
					v.Answer.Pieces[j].Words[k].Op = "" // set below
				}
			}
		}
	}
	fill(reflect.ValueOf(r), hostile)
	for i := range r.Cases {
		if v := r.Cases[i].Verdict; v != nil && v.Answer != nil {
			for j := range v.Answer.Pieces {
				for k := range v.Answer.Pieces[j].Words {
					v.Answer.Pieces[j].Words[k].Op = []string{"=", "-", "+"}[k%3]
				}
			}
		}
	}
	for i := range r.Outside {
		r.Outside[i].Answered = ""
	}
	for i := range r.Cases {
		r.Cases[i].NextSteps = nil // they are made of the rest
	}
	r.Conclude()
	return r
}

func render(t *testing.T, f func(io.Writer, *Run) error, r *Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestThePageEscapesEverything(t *testing.T) {
	for name, r := range map[string]*Run{"hostile": hostileRun(), "sample": sampleRun()} {
		out := render(t, HTML, r)
		if !utf8.ValidString(out) {
			t.Errorf("%s: not UTF-8", name)
		}
		if n := strings.Count(out, "<script"); n != 1 {
			t.Errorf("%s: %d script elements", name, n)
		}
		for _, bad := range []string{"<img", "<!--", "\x1b", "\x00", "\u202e", "alert(1)</script>"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s: %q is in the page", name, bad)
			}
		}
		tags := regexp.MustCompile(`<([a-zA-Z]+)([^>]*)>`).FindAllStringSubmatch(out, -1)
		for _, tag := range tags {
			if regexp.MustCompile(`(^|\s)(on\w+|src|href|style)\s*=`).MatchString(unquoted(tag[2])) {
				t.Errorf("%s: %s", name, tag[0])
			}
		}
	}
}

// unquoted is a tag's inside without the values of attributes.
func unquoted(s string) string { return regexp.MustCompile(`"[^"]*"`).ReplaceAllString(s, `""`) }

func TestThePageLoadsNothingAndItsScriptIsTheOnlyOneAllowed(t *testing.T) {
	out := render(t, HTML, sampleRun())
	_, rest, _ := strings.Cut(out, "<script>")
	script, _, found := strings.Cut(rest, "</script>")
	sum := sha256.Sum256([]byte(script))
	hash := "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
	policy := regexp.MustCompile(`content="([^"]*script-src[^"]*)"`).FindStringSubmatch(out)
	if !found || policy == nil || !strings.Contains(strings.ReplaceAll(policy[1], "&#43;", "+"), hash) {
		t.Errorf("the policy %q does not allow the script, whose hash is %s", policy, hash)
	}
	style, _, _ := strings.Cut(out[strings.Index(out, "<style>"):], "</style>")
	for _, bad := range []string{"url(", "@import", "ZgotmplZ"} {
		if strings.Contains(style, bad) || bad == "ZgotmplZ" && strings.Contains(out, bad) {
			t.Errorf("%s in the page", bad)
		}
	}
	if strings.Contains(out, "<link") || strings.Contains(out, "@media (prefers-color-scheme: dark)") == false {
		t.Error("a link, or no dark colours")
	}
}

func TestJUnitIsWellFormedWhateverTheAppSays(t *testing.T) {
	for name, r := range map[string]*Run{"hostile": hostileRun(), "sample": sampleRun(), "empty": {}} {
		out := render(t, JUnit, r)
		d := xml.NewDecoder(strings.NewReader(out))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		var doc junitSuites
		if err := xml.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatal(err)
		}
		tests, failures, errors := 0, 0, 0
		for _, s := range doc.Suites {
			if s.Tests != len(s.Cases) {
				t.Errorf("%s: suite %s has %d cases and says %d", name, s.Name, len(s.Cases), s.Tests)
			}
			for _, c := range s.Cases {
				tests++
				if c.Failure != nil {
					failures++
				}
				if c.Error != nil {
					errors++
				}
			}
		}
		if doc.Tests != tests || doc.Failures != failures || doc.Errors != errors {
			t.Errorf("%s: says %d %d %d, has %d %d %d", name, doc.Tests, doc.Failures, doc.Errors, tests, failures, errors)
		}
	}
}

func TestJSONReadsBackAndItsNamesAreSnakeCase(t *testing.T) {
	want := sampleRun()
	out := render(t, JSON, want)
	var got Run
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Error("what was read is not what was written")
	}
	var doc any
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	checkNames(t, "$", doc)
	if !json.Valid([]byte(render(t, JSON, hostileRun()))) {
		t.Error("invalid JSON")
	}
}

func checkNames(t *testing.T, path string, v any) {
	snake := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if !snake.MatchString(name) {
				t.Errorf("%s.%s", path, name)
			}
			checkNames(t, path+"."+name, member)
		}
	case []any:
		for i, e := range v {
			checkNames(t, fmt.Sprintf("%s[%d]", path, i), e)
		}
	}
}

func TestAnnotationsAreOneCommandALine(t *testing.T) {
	r := hostileRun()
	for range 20 {
		r.Outside = append(r.Outside, r.Outside[0])
	}
	out := render(t, func(w io.Writer, r *Run) error { return Annotations(w, r, "") }, r)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != maxAnnotations {
		t.Errorf("%d lines", len(lines))
	}
	command := regexp.MustCompile(`^::error (file=[^,:]*,line=1,)?title=[^,:\r\n]*::[^\r\n\x1b\x00]*$`)
	for _, l := range lines {
		if !command.MatchString(l) {
			t.Errorf("not a command: %q", l)
		}
	}
	if got := annotation("app/", "a,b:c%.yaml", "t", "50%\nnext"); got != "::error file=app/a%2Cb%3Ac%25.yaml,line=1,title=t::50%25%0Anext\n" {
		t.Errorf("got %q", got)
	}
	if got := annotation("", "/etc/x", "t", "m"); got != "::error title=t::m\n" {
		t.Errorf("got %q", got)
	}
	if got := annotation("app", "../../x", "t", "m"); got != "::error title=t::m\n" {
		t.Errorf("got %q", got)
	}
}

func TestTheJobSummaryStaysBelowTheLimitAndEscapes(t *testing.T) {
	needs.Time(t)
	r := hostileRun()
	for range 3000 {
		r.Cases = append(r.Cases, r.Cases[1])
	}
	out := render(t, Summary, r)
	if len(out) > 1<<20 {
		t.Errorf("%d bytes", len(out))
	}
	out = regexp.MustCompile(`(?s)\n<pre>[^<]*</pre>\n`).ReplaceAllString(out, "")
	for _, bad := range []string{"<pre", "<script", "<img", "](http", "\x1b", "\r"} {
		if strings.Contains(out, bad) {
			t.Errorf("%q is in the summary", bad)
		}
	}
}

func TestTextDoesNothingToATerminal(t *testing.T) {
	r := hostileRun()
	out := render(t, func(w io.Writer, r *Run) error { return Text(w, r, TextOptions{All: true}) }, r)
	for _, c := range out {
		if c < ' ' && c != '\n' || c == '\u202e' || c == 0x7f {
			t.Fatalf("%q is in the output", c)
		}
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(strings.TrimSpace(line), "::") {
			t.Errorf("a CI would take this for a command: %q", line)
		}
	}
	colored := render(t, func(w io.Writer, r *Run) error { return Text(w, r, TextOptions{Color: true, All: true}) }, r)
	if got := regexp.MustCompile("\x1b\\[[0-9;]+m").ReplaceAllString(colored, ""); strings.Contains(got, "\x1b") {
		t.Error("an escape that is not ours")
	}
}
