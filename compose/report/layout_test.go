package report

import (
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
)

var colors = regexp.MustCompile("\x1b\\[[0-9;]+m")

func TestTextFitsItsColumns(t *testing.T) {
	r := sampleRun()
	for i := range r.Cases {
		c := &r.Cases[i]
		c.URL += strings.Repeat("/日本語/segment", 20)
		c.Error += strings.Repeat("x", 200)
		for j := range c.NotMade {
			c.NotMade[j].URL += strings.Repeat("/y", 100)
		}
		for j := range c.Misses {
			m := &c.Misses[j]
			m.URL += strings.Repeat("/z", 100)
			for k := range m.Differences {
				m.Differences[k].Where.Name += strings.Repeat(".deep", 50)
				m.Differences[k].Now += strings.Repeat("😀", 100)
			}
		}
		if v := c.Verdict; v != nil {
			for j := range v.Differences {
				v.Differences[j].Recorded += strings.Repeat("word ", 100)
				v.Differences[j].Now += strings.Repeat("字", 100)
			}
		}
	}
	for _, width := range []int{0, 40, 60, 120} {
		for _, color := range []bool{false, true} {
			out := render(t, func(w io.Writer, r *Run) error {
				return Text(w, r, TextOptions{Width: width, Color: color, All: true})
			}, r)
			want := width
			if want == 0 {
				want = 80
			}
			lines := strings.Split(strings.TrimSuffix(colors.ReplaceAllString(out, ""), "\n"), "\n")
			for _, line := range lines[:len(lines)-1] { // the summary is one line, come what may
				code := strings.HasPrefix(line, "          ")
				name := strings.Contains(line, "  00") && width == 40
				if n := cells(line); n > want && !code && !name {
					t.Errorf("%d columns of %d: %s", n, want, line)
				}
				if strings.HasSuffix(line, " ") {
					t.Errorf("space at the end: %q", line)
				}
			}
		}
	}
}

func TestTheSummaryIsTheLastLineAndFailuresAreFirst(t *testing.T) {
	r := sampleRun()
	out := render(t, func(w io.Writer, r *Run) error { return Text(w, r, TextOptions{All: true, Report: "x.html"}) }, r)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if last := lines[len(lines)-1]; last+"\n" != SummaryLine(r, false) || cells(last) > 80 {
		t.Errorf("last: %s", last)
	}
	if strings.LastIndex(out, "\nfail ") > strings.Index(out, "\npass ") {
		t.Error("a failure after a pass")
	}
	if got := SummaryLine(&Run{Took: time.Second}, false); got != "ok: 0 pass in 1.00 s\n" {
		t.Errorf("%q", got)
	}
}

func TestEveryFailureSaysWhatToDoNext(t *testing.T) {
	r := sampleRun()
	for i := range r.Cases {
		c := &r.Cases[i]
		if text := CaseText(c, 0); c.bad() && !strings.Contains(text, "next: ") {
			t.Errorf("%s", text)
		}
	}
	for _, kind := range []compare.Kind{
		compare.Status, compare.Header, compare.Trailer, compare.Interim, compare.Missing, compare.Extra, compare.Reordered, compare.Changed,
		compare.Bytes, compare.Content, compare.Ended, compare.Buffered, compare.SlowFirst, compare.SlowGap, compare.Recording,
	} {
		c := result(1, "get-x", "GET", "http://localhost/x")
		c.Verdict = &compare.Verdict{Differences: []compare.Difference{{Kind: kind, Message: "it differs"}}}
		c.Conclude(&Run{})
		if c.Status != Fail || len(c.NextSteps) < 2 {
			t.Errorf("%s: %s %v", kind, c.Status, c.NextSteps)
		}
	}
}

// A real verdict, from bytes to text.
func TestAComparisonReadsAsItShould(t *testing.T) {
	rec := compare.Recorded{Method: "GET", Head: &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Header: httpstream.Fields{{Name: "Content-Type", Value: "application/json"}}}}
	c := compare.New(rec, compare.Options{Limits: compare.DefaultLimits()})
	c.Head(ms, &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 500, Header: httpstream.Fields{{Name: "Content-Type", Value: "text/plain"}}})
	v := c.End(2*ms, httpstream.EndInfo{How: httpstream.EOF})
	x := result(1, "get-x", "GET", "http://localhost/x")
	x.Verdict = v
	x.Conclude(&Run{})
	text := CaseText(&x, 0)
	for _, want := range []string{"  status\n    recorded  200\n    now       500\n", "  header Content-Type\n    recorded  application/json\n    now       text/plain\n", "tapes/default/cases/0001-get-x.yaml"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestFiveHundredCasesMakeAPageThatABrowserCanShow(t *testing.T) {
	needs.Time(t)
	r := manyCases(500)
	out := render(t, HTML, r)
	if len(out) > 24<<20 {
		t.Errorf("%d bytes", len(out))
	}
	if n := strings.Count(out, " open>"); n != maxOpen {
		t.Errorf("%d cases are unfolded", n)
	}
}

func manyCases(n int) *Run {
	r := &Run{Speed: 1, Tapes: []string{"tapes/default"}}
	for i := range n {
		c := changedText()
		if i%3 == 0 {
			c = passed(0, "get-health", "GET", "http://localhost:8080/health")
		}
		c.Name = fmt.Sprintf("%04d-case", i)
		for j := range 8 {
			c.Calls = append(c.Calls, call(j+2, completions, stream(0, ms, ms, 2000, 100, httpstream.EOF), stream(0, ms, ms, 2000, 100, httpstream.EOF)))
		}
		r.Cases = append(r.Cases, c)
	}
	r.Conclude()
	return r
}

func BenchmarkPageOf500Cases(b *testing.B) {
	r := manyCases(500)
	for b.Loop() {
		if err := HTML(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}

func TestChartsStayInTheirBox(t *testing.T) {
	step := regexp.MustCompile(`([Mmvh])(-?\d+)([ -]\d+)?`)
	for _, speed := range []float64{0, 1, 2.5} {
		for _, c := range append(sampleRun().Cases, manyCases(2).Cases...) {
			ch := newChart(&c, speed)
			if ch == nil {
				continue
			}
			for _, l := range ch.Lanes {
				for _, row := range l.Rows {
					if row.X1 > row.X2 || row.X2 > ch.Right || row.X2 != 0 && row.X1 < ch.Left {
						t.Errorf("%s: from %d to %d", l.Label, row.X1, row.X2)
					}
					x, y := 0, 0
					for _, m := range step.FindAllStringSubmatch(row.Chunks, -1) {
						a, _ := strconv.Atoi(m[2])
						b, _ := strconv.Atoi(strings.TrimSpace(m[3]))
						switch m[1] {
						case "M":
							x, y = a, b
						case "m":
							x, y = x+a, y+b
						case "v":
							y += a
						case "h":
							x += a
						}
						if x < ch.Left || x > ch.Right || y < 0 || y > ch.Bottom {
							t.Errorf("%s: a stroke at %d %d", l.Label, x, y)
						}
					}
				}
			}
			if len(ch.Ticks) < 2 || len(ch.Ticks) > 8 {
				t.Errorf("%s: %d ticks", c.Name, len(ch.Ticks))
			}
		}
	}
	if newChart(&CaseResult{}, 1) != nil {
		t.Error("a chart of nothing")
	}
}

func TestASteadyStreamIsOneBlockHoweverManyChunksItHas(t *testing.T) {
	for _, n := range []int{400, 513, 600, 2000, 5000, 50_000} {
		line := stream(0, 0, ms, n, 100, httpstream.EOF)
		path := strokes(line, scale{0, line.End}, 10)
		if strings.Count(path, "z") != 1 || strings.ContainsAny(path[1:], "Mm") {
			t.Errorf("%d chunks: %s", n, path)
		}
	}
	if path := strokes(stream(0, 0, 10*ms, 100, 100, httpstream.EOF), scale{0, time.Second}, 10); strings.ContainsAny(path, "z") {
		t.Errorf("a hundred chunks can be told apart: %s", path)
	}
}

func TestTicksAreRound(t *testing.T) {
	for span, want := range map[time.Duration]string{
		time.Millisecond:        "0 200 µs 400 µs 600 µs 800 µs 1000 µs",
		60 * time.Millisecond:   "0 10 ms 20 ms 30 ms 40 ms 50 ms 60 ms",
		2300 * time.Millisecond: "0 500 ms 1 s 1.5 s 2 s",
		90 * time.Second:        "0 20 s 40 s 60 s 80 s",
		time.Hour:               "0 1000 s 2000 s 3000 s",
	} {
		var labels []string
		for _, tick := range (scale{0, span}).ticks() {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != want {
			t.Errorf("%v: %s", span, got)
		}
	}
}

// WCAG 2.2, 1.4.3: 4.5 to 1 for text.
func TestColoursHaveContrast(t *testing.T) {
	dark := strings.Index(pageStyle, "@media (prefers-color-scheme: dark)")
	for theme, css := range map[string]string{"light": pageStyle[:dark], "dark": pageStyle[dark:strings.Index(pageStyle, "* {")]} {
		value := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(css, -1) {
			value[m[1]] = luminance(m[2])
		}
		for _, pair := range []string{
			"text bg", "text raised", "text bad-bg", "text warn-bg", "soft bg", "soft raised", "bad bg", "bad bad-bg", "bad raised",
			"good bg", "good good-bg", "good raised", "warn warn-bg", "rec bg", "now bg", "shift bg",
		} {
			a, b, _ := strings.Cut(pair, " ")
			if value[a] == 0 && value[b] == 0 {
				t.Fatalf("%s: no colours for %s", theme, pair)
			}
			ratio := (max(value[a], value[b]) + 0.05) / (min(value[a], value[b]) + 0.05)
			if ratio < 4.5 {
				t.Errorf("%s: %s has %.2f", theme, pair, ratio)
			}
		}
	}
}

func luminance(hex string) float64 {
	n, _ := strconv.ParseUint(hex, 16, 32)
	part := func(c uint64) float64 {
		v := float64(c&0xff) / 255
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*part(n>>16) + 0.7152*part(n>>8) + 0.0722*part(n)
}

func TestSummaryOfACommandAloneNamesNoCases(t *testing.T) {
	r := &Run{Errors: []event.Problem{{Err: errors.New("sh failed: exit status 1")}}, Took: time.Second}
	if got, want := SummaryLine(r, false), "failed: 1 problem in 1.00 s\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
