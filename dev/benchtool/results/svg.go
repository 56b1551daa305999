package results

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Measures of a plot in pixels, and colours that can be read on light and on dark.
const (
	plotWidth  = 840
	labelWidth = 250
	valueWidth = 190
	rowHeight  = 28
	topHeight  = 50
	axisHeight = 34

	oursColor = "#2f81f7"
	peerColor = "#8b949e"
	textColor = "#768390"
	gridColor = "#76839044"
)

func (f *Figure) plotName(n int) string {
	if n == 1 {
		return f.Name + ".svg"
	}
	return fmt.Sprintf("%s-%d.svg", f.Name, n)
}

// writePlots writes all plots into a folder, and removes those of before.
func (f *File) writePlots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for _, fig := range f.Figures {
		n := 0
		for _, t := range fig.Tables {
			if !t.Plot {
				continue
			}
			n++
			if err := os.WriteFile(filepath.Join(dir, fig.plotName(n)), []byte(t.svg(fig.Title)), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// A plot is an SVG under way.
type plot struct {
	strings.Builder
	scale func(float64) float64 // a value's place between 0 and 1
}

func (p *plot) x(v float64) float64 {
	return labelWidth + min(1, max(0, p.scale(v)))*(plotWidth-labelWidth-valueWidth)
}

func (p *plot) text(x, y float64, anchor, style, s string) {
	fmt.Fprintf(p, `<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, style, html.EscapeString(s))
}

func (p *plot) line(x1, y1, x2, y2 float64, color string, width float64) {
	fmt.Fprintf(p, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%.1f"/>`+"\n", x1, y1, x2, y2, color, width)
}

// svg draws a table: bars of medians where each round has one value, else
// distributions on a logarithmic axis.
func (t *Table) svg(title string) string {
	var rows []*Series
	for _, s := range t.Series {
		if len(s.Rounds) > 0 {
			rows = append(rows, s)
		}
	}
	height := topHeight + rowHeight*len(rows) + axisHeight
	p := &plot{}
	fmt.Fprintf(p, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="system-ui, sans-serif" font-size="13" fill="%s">`+"\n",
		plotWidth, height, plotWidth, height, textColor)
	fmt.Fprintf(p, "<title>%s</title>\n", html.EscapeString(title+": "+t.What))
	p.text(8, 18, "start", `font-size="15" font-weight="600"`, title+": "+t.What)
	var legend string
	if t.single() {
		legend = "bar: median of the rounds; whisker: lowest to highest"
		p.bars(t, rows)
	} else {
		legend = "dot: median; box: middle half; line: 1st to 99th percentile; tick: 99.9th; logarithmic"
		p.ranges(t, rows)
	}
	p.text(8, 36, "start", `font-size="12"`, legend)
	p.WriteString("</svg>\n")
	return p.String()
}

func (s *Series) color() string {
	if s.Role == Ours {
		return oursColor
	}
	return peerColor
}

func (p *plot) label(s *Series, y float64) {
	style := ""
	if s.Role == Ours {
		style = fmt.Sprintf(`font-weight="600" fill="%s"`, oursColor)
	}
	p.text(labelWidth-10, y+4, "end", style, s.Label)
}

// axis draws a tick and its label.
func (p *plot) axis(u Unit, v float64, rows int) {
	bottom := float64(topHeight + rowHeight*rows)
	p.line(p.x(v), topHeight-4, p.x(v), bottom+4, gridColor, 1)
	label := u.Format(v)
	if v == 0 {
		label = "0"
	}
	label = strings.Replace(strings.Replace(label, ".00 ", " ", 1), ".0 ", " ", 1)
	p.text(p.x(v), bottom+20, "middle", `font-size="12"`, label)
}

func (p *plot) bars(t *Table, rows []*Series) {
	top := 0.0
	for _, s := range rows {
		_, high := s.Between(P50)
		top = max(top, high)
	}
	step := niceStep(top / 5)
	top = step * math.Ceil(top/step)
	p.scale = func(v float64) float64 { return v / top }
	for v := 0.0; v <= top*1.001; v += step {
		p.axis(t.Unit, v, len(rows))
	}
	for i, s := range rows {
		y := float64(topHeight) + rowHeight*(float64(i)+0.5)
		median := s.Median(P50)
		low, high := s.Between(P50)
		p.label(s, y)
		fill := s.color()
		if s.Role == Limit {
			fill = "none"
		}
		fmt.Fprintf(p, `<rect x="%d" y="%.1f" width="%.1f" height="16" fill="%s" fill-opacity="0.5" stroke="%s"/>`+"\n", labelWidth, y-8, max(1, p.x(median)-labelWidth), fill, s.color())
		if len(s.Rounds) > 1 {
			p.line(p.x(low), y, p.x(high), y, textColor, 1.5)
			p.line(p.x(low), y-4, p.x(low), y+4, textColor, 1.5)
			p.line(p.x(high), y-4, p.x(high), y+4, textColor, 1.5)
		}
		p.text(plotWidth-valueWidth+14, y+4, "start", "", t.Unit.Format(median))
	}
}

// niceStep is 1, 2 or 5 times a power of ten, and at least v.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}

func (p *plot) ranges(t *Table, rows []*Series) {
	low, high := math.Inf(1), 0.0
	for _, s := range rows {
		if v := s.At(0.01); v > 0 {
			low = min(low, v)
		}
		low = min(low, max(s.At(0.25), 1))
		high = max(high, s.At(0.999))
	}
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(max(high, low*10)))
	p.scale = func(v float64) float64 {
		if v <= 0 {
			return 0
		}
		return (math.Log10(v) - from) / (to - from)
	}
	for e := from; e <= to; e++ {
		p.axis(t.Unit, math.Pow(10, e), len(rows))
	}
	for i, s := range rows {
		y := float64(topHeight) + rowHeight*(float64(i)+0.5)
		p.label(s, y)
		fill := s.color()
		if s.Role == Limit {
			fill = "none"
		}
		p.line(p.x(s.At(0.01)), y, p.x(s.At(0.99)), y, s.color(), 2)
		fmt.Fprintf(p, `<rect x="%.1f" y="%.1f" width="%.1f" height="12" fill="%s" fill-opacity="0.5" stroke="%s"/>`+"\n", p.x(s.At(0.25)), y-6, max(1, p.x(s.At(0.75))-p.x(s.At(0.25))), fill, s.color())
		p.line(p.x(s.At(0.999)), y-5, p.x(s.At(0.999)), y+5, s.color(), 2)
		fmt.Fprintf(p, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", p.x(s.At(0.5)), y, textColor)
		p.text(plotWidth-valueWidth+14, y+4, "start", `font-size="12"`, "p50 "+t.Unit.Format(s.At(0.5))+", p99 "+t.Unit.Format(s.At(0.99)))
	}
}
