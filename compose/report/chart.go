package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wiretape/wiretape/httpstream/event"
)

// A chart is the timeline of a case as SVG wants it: for the calls and then for
// the app's answer, a row for the recording and one for now. All numbers are in
// the units of its viewBox.
type chart struct {
	Width, Height int
	Left, Right   int // where the time begins and ends
	Bottom        int // of the lanes
	Lanes         []lane
	Ticks         []tick
	More          int    // calls that are not drawn
	Text          string // all of it in words
}

// A lane is one stream: its label and both sides.
type lane struct {
	Label, Title string
	Path         string // of a call, below its label
	Y            int    // of the label
	Answer       bool
	Rows         []row
	// Shift is how the first piece moved, in place of the path; empty where it did
	// not by much.
	Shift string
	// The band between the two first pieces.
	ShiftX, ShiftY, ShiftW, ShiftH int
}

// A row is one side of a stream.
type row struct {
	Name   string // "recorded" or "now"
	Y      int    // its middle
	Class  string
	X1, X2 int    // from the request to the end
	Chunks string // a path of one stroke for each moment
	// Broken is set where it did not end as the framing says; Note is what to
	// write there, or in place of the row.
	Broken bool
	Note   string
	NoteX  int
}

type tick struct {
	X     int
	Label string
}

const (
	chartWidth = 960
	chartLeft  = 250
	chartRight = chartWidth - 60
	rowHeight  = 18
	laneGap    = 12
	// maxLanes is how many calls are drawn.
	maxLanes = 12
	// labelCells is how many characters fit beside a lane.
	labelCells = 25
	// tellingShift is the part of the whole width from which on a shift is drawn.
	tellingShift = 0.02
)

// newChart draws a case; nil if there is nothing to draw.
func newChart(c *CaseResult, speed float64) *chart {
	calls := drawnCalls(c)
	ch := &chart{Width: chartWidth, Left: chartLeft, Right: chartRight}
	if len(calls) > maxLanes {
		ch.More = len(calls) - maxLanes
		calls = calls[:maxLanes]
	}
	lanes := make([]Sides, 0, len(calls)+1)
	for i := range calls {
		lanes = append(lanes, Sides{calls[i].Recorded.at(speed), calls[i].Now})
	}
	lanes = append(lanes, Sides{c.Answer.Recorded.at(speed), c.Answer.Now})
	scale, found := newScale(lanes)
	if !found {
		return nil
	}
	ch.Ticks = scale.ticks()
	y := laneGap
	for i, sides := range lanes {
		l := lane{Label: "answer", Title: "the app's answer", Answer: i == len(calls)}
		if !l.Answer {
			l.Label, l.Path, l.Title = callLabel(&calls[i])
		}
		y = l.draw(sides, scale, y, l.Answer || calls[i].Number != 0)
		ch.Lanes = append(ch.Lanes, l)
	}
	ch.Bottom = y - laneGap/2
	ch.Height = ch.Bottom + 24
	ch.Text = describe(ch.Lanes, lanes)
	return ch
}

// drawnCalls are the calls of a case, and the misses among them, in the order of
// the time at which they were made.
func drawnCalls(c *CaseResult) []Call {
	calls := slices.Clone(c.Calls)
	for i := range c.Misses {
		m := &c.Misses[i]
		if m.Answered != event.Refused {
			continue
		}
		same := func(x Call) bool {
			return x.Number == 0 && x.Method == m.Method && x.URL == m.URL && x.Now != nil && x.Now.Start == m.At
		}
		if !slices.ContainsFunc(c.Calls, same) {
			calls = append(calls, Call{
				event.Call{Service: m.Service, Method: m.Method, URL: m.URL},
				Sides{Now: &Timeline{Start: m.At, End: m.At, Failed: "miss"}},
			})
		}
	}
	slices.SortStableFunc(calls, func(a, b Call) int { return int(a.start() - b.start()) })
	return calls
}

func (c *Call) start() time.Duration {
	switch {
	case c.Recorded != nil:
		return c.Recorded.Start
	case c.Now != nil:
		return c.Now.Start
	}
	return 0
}

// callLabel names a call: number and host, path, and all of it.
func callLabel(c *Call) (label, path, title string) {
	place := oneLine(c.URL)
	if _, after, found := strings.Cut(place, "://"); found {
		place = after
	}
	label = "call"
	if c.Number != 0 {
		label = fmt.Sprintf("call %d", c.Number)
	}
	title = fmt.Sprintf("%s %s %s", label, oneLine(c.Method), oneLine(c.URL))
	host, path := place, ""
	if i := strings.IndexAny(place, "/?"); i >= 0 {
		host, path = place[:i], place[i:]
	}
	return shorten(label+" "+host, labelCells), shorten(path, labelCells), title
}

// draw lays out a lane from y on and returns where the next begins.
func (l *lane) draw(s Sides, scale scale, y int, wasRecorded bool) int {
	l.Y = y + rowHeight/2
	rec := row{Name: "recorded", Class: "rec", Y: y + rowHeight/2}
	now := row{Name: "now", Class: "now", Y: y + rowHeight + rowHeight/2}
	missing := "not recorded"
	if wasRecorded {
		missing = "no recorded times"
	}
	rec.draw(s.Recorded, scale, missing)
	missing = "not made"
	if l.Answer {
		missing = "no answer"
	}
	now.draw(s.Now, scale, missing)
	l.Rows = []row{rec, now}
	l.drawShift(s, scale, y)
	return y + 2*rowHeight + laneGap
}

func (r *row) draw(t *Timeline, scale scale, missing string) {
	if t == nil {
		r.Note, r.NoteX = missing, chartLeft+6
		r.Class += " none"
		return
	}
	r.X1, r.X2 = scale.x(t.Start), scale.x(t.End)
	r.Chunks = strokes(t, scale, r.Y)
	r.NoteX = min(r.X2+8, chartRight+4)
	switch {
	case t.Failed != "":
		r.Note, r.Broken = shorten(oneLine(t.Failed), 24), true
	case t.How != "" && t.How != ended:
		r.Note, r.Broken = t.How, true
	}
	if r.Note != "" && r.NoteX > chartRight-60 { // it would not fit
		r.NoteX = max(r.X1-8-7*cells(r.Note), chartLeft+6)
		if r.X1-8-7*cells(r.Note) < chartLeft {
			r.Note = ""
		}
	}
}

// strokes is a path with an upright stroke for each few units of width in which
// something came, taller for more bytes. Where they come too close to be told
// apart, a block takes their place.
func strokes(t *Timeline, scale scale, middle int) string {
	const apart, few = 3, 4
	touch := apart + 1
	if t.joined() { // the gaps between joined chunks are no silence
		touch = 4 * apart
	}
	type stroke struct{ x, half int }
	var run []stroke // that touch
	var pen *stroke  // the one drawn last
	var b strings.Builder
	flush := func() {
		if len(run) > few {
			half := 0
			for _, s := range run {
				half = max(half, s.half)
			}
			width := run[len(run)-1].x - run[0].x
			fmt.Fprintf(&b, "M%d %dv%dh%dv%dz", run[0].x, middle-half, 2*half, width, -2*half)
			pen = nil
		} else {
			for _, s := range run {
				if pen == nil {
					fmt.Fprintf(&b, "M%d %dv%d", s.x, middle-s.half, 2*s.half)
				} else { // relative, which is shorter
					fmt.Fprintf(&b, "m%d-%dv%d", s.x-pen.x, pen.half+s.half, 2*s.half)
				}
				pen = &s
			}
		}
		run = run[:0]
	}
	for chunks, i := t.Chunks, 0; i < len(chunks); {
		x, bytes := scale.x(chunks[i].At), int64(0)
		for ; i < len(chunks) && scale.x(chunks[i].At) < x+apart; i++ {
			bytes += chunks[i].Bytes
		}
		if len(run) > 0 && x > run[len(run)-1].x+touch {
			flush()
		}
		run = append(run, stroke{x, strokeHeight(bytes)})
	}
	flush()
	return b.String()
}

// strokeHeight is half the height of a stroke: 3 for a byte, 7 for 64 kB and more.
func strokeHeight(bytes int64) int {
	const least, most = 3, 7
	return least + min(most-least, int(math.Log2(float64(max(bytes, 1)))/4))
}

// drawShift marks how the first piece moved.
func (l *lane) drawShift(s Sides, scale scale, y int) {
	if s.Recorded == nil || s.Now == nil || s.Recorded.Count == 0 || s.Now.Count == 0 {
		return
	}
	by := s.Now.First() - s.Recorded.First()
	a, b := scale.x(s.Recorded.First()), scale.x(s.Now.First())
	if math.Abs(float64(b-a)) < tellingShift*float64(chartRight-chartLeft) {
		return
	}
	l.Shift = "first +" + Short(by)
	if by < 0 {
		l.Shift = "first −" + Short(-by)
	}
	l.ShiftX, l.ShiftW = min(a, b), max(a, b)-min(a, b)
	l.ShiftY, l.ShiftH = y, 2*rowHeight
}

// A scale turns times into places.
type scale struct{ from, to time.Duration }

func newScale(lanes []Sides) (scale, bool) {
	var s scale
	found := false
	for _, l := range lanes {
		for _, t := range []*Timeline{l.Recorded, l.Now} {
			if t == nil {
				continue
			}
			found = true
			s.from, s.to = min(s.from, t.Start), max(s.to, t.End, t.Last)
		}
	}
	s.to = max(s.to, s.from+time.Millisecond)
	return s, found
}

func (s scale) x(at time.Duration) int {
	part := float64(at-s.from) / float64(s.to-s.from)
	return chartLeft + int(math.Round(min(max(part, 0), 1)*(chartRight-chartLeft)))
}

// ticks are at round times: a power of ten, twice that, or half the next.
func (s scale) ticks() []tick {
	const about = 6
	step := time.Duration(math.Pow(10, math.Floor(math.Log10(float64(s.to-s.from)/about))))
	for _, k := range []time.Duration{1, 2, 5, 10} {
		if (s.to-s.from)/(k*step) <= about {
			step *= k
			break
		}
	}
	var list []tick
	for at := s.from / step * step; at <= s.to; at += step {
		if at >= s.from {
			list = append(list, tick{s.x(at), axisLabel(at, step)})
		}
	}
	return list
}

// axisLabel writes a time as exactly as the step needs.
func axisLabel(at, step time.Duration) string {
	switch {
	case at == 0:
		return "0"
	case step >= time.Second:
		return fmt.Sprintf("%d s", at/time.Second)
	case step >= 10*time.Millisecond && at.Abs() >= time.Second:
		return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", at.Seconds()), "0"), ".") + " s"
	case step >= time.Millisecond:
		return fmt.Sprintf("%d ms", at.Milliseconds())
	}
	return fmt.Sprintf("%d µs", at.Microseconds())
}

// describe is the chart for those who can't see it.
func describe(lanes []lane, sides []Sides) string {
	var b strings.Builder
	for i := range lanes {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: recorded %s, now %s", lanes[i].Title, inWords(sides[i].Recorded), inWords(sides[i].Now))
	}
	return b.String()
}

func inWords(t *Timeline) string {
	switch {
	case t == nil:
		return "none"
	case t.Count == 0:
		return "nothing until " + Short(t.End)
	}
	return fmt.Sprintf("%s from %s to %s", Plural(t.Count, "chunk"), Short(t.First()), Short(t.Last))
}
