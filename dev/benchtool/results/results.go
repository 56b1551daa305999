// Package results holds what the benchmarks measured, and writes it as JSON,
// text, tables in Markdown and plots in SVG.
package results

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"regexp"
	"slices"
)

// MaxOthers is how much of one CPU others may use during a round, for claims.
const MaxOthers = 0.10

// A File is the raw data that tables and plots are made from.
type File struct {
	Figures []*Figure `json:"figures"`
}

// A Figure is one thing that was measured, with its peers and limits, in one run.
type Figure struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Method is how it was measured, with the parameters of this run.
	Method  string  `json:"method"`
	Machine Machine `json:"machine"`
	// Others is how much of one CPU all other processes and the kernel used in a
	// round, at the most; with Before, just before the figure.
	Others   float64  `json:"others"`
	Before   bool     `json:"before,omitempty"`
	Repeated int      `json:"repeated,omitempty"` // rounds that others disturbed
	Tables   []*Table `json:"tables"`
	Goals    []Goal   `json:"goals,omitempty"`
	Notes    []string `json:"notes,omitempty"`
}

// A Machine is where and when something was measured, and what.
type Machine struct {
	When     string  `json:"when"` // UTC
	CPUs     int     `json:"cpus"`
	Model    string  `json:"model"`
	Memory   int64   `json:"memory"` // bytes
	Kernel   string  `json:"kernel"`
	Go       string  `json:"go"`
	Wiretape string  `json:"wiretape"`
	Engine   string  `json:"engine,omitempty"`
	Load     float64 `json:"load"` // before
}

// A Table compares series of one quantity.
type Table struct {
	What   string    `json:"what"`
	Unit   Unit      `json:"unit"`
	Plot   bool      `json:"plot,omitempty"`
	Series []*Series `json:"series"`
}

// A Role is what a series is in a comparison.
type Role string

// The roles.
const (
	Ours  Role = "wiretape"
	Peer  Role = "peer"
	Limit Role = "limit" // what nobody can beat, such as a direct connection
)

// A Series is what one contender did, over all rounds.
type Series struct {
	Label string `json:"label"`
	Role  Role   `json:"role"`
	// Rounds has one entry for each repetition.
	Rounds []Round `json:"rounds,omitempty"`
	// All are the quantiles of all rounds' values together, at Points.
	All []float64 `json:"all,omitempty"`
	// Cannot says why there is nothing.
	Cannot string `json:"cannot,omitempty"`

	values []float64
}

// A Round is the distribution of one repetition.
type Round struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Points are the quantiles that are kept.
var Points = [...]float64{0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999, 1}

// A Goal is a figure that was promised.
type Goal struct {
	What    string  `json:"what"`
	Got     float64 `json:"got"`
	Bound   float64 `json:"bound"`
	Unit    Unit    `json:"unit"`
	AtLeast bool    `json:"at_least,omitempty"` // else at most
	Always  bool    `json:"always,omitempty"`   // also on a busy machine
}

// Quantile is the smallest of the sorted values that a part q of them do not exceed.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// Add adds the values of one repetition.
func (s *Series) Add(values ...float64) {
	if len(values) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(values))
	s.Rounds = append(s.Rounds, Round{len(values), round(Quantile(sorted, 0.5)), round(Quantile(sorted, 0.99)), round(sorted[len(sorted)-1])})
	s.values = append(s.values, values...)
	slices.Sort(s.values)
	s.All = s.All[:0]
	for _, q := range Points {
		s.All = append(s.All, round(Quantile(s.values, q)))
	}
}

// At is a quantile of all values, which is one of Points.
func (s *Series) At(q float64) float64 {
	i := slices.Index(Points[:], q)
	if i < 0 || len(s.All) == 0 {
		return 0
	}
	return s.All[i]
}

// N is how many values there are.
func (s *Series) N() int {
	n := 0
	for _, r := range s.Rounds {
		n += r.N
	}
	return n
}

// Single reports whether each round has one value, as for a rate.
func (s *Series) Single() bool { return s.N() == len(s.Rounds) }

// Between are the lowest and highest values of the rounds.
func (s *Series) Between(of func(Round) float64) (low, high float64) {
	if len(s.Rounds) == 0 {
		return 0, 0
	}
	low, high = math.Inf(1), math.Inf(-1)
	for _, r := range s.Rounds {
		low, high = min(low, of(r)), max(high, of(r))
	}
	return low, high
}

// Median is that of the rounds' values.
func (s *Series) Median(of func(Round) float64) float64 {
	var all []float64
	for _, r := range s.Rounds {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return Quantile(all, 0.5)
}

// Ratio is the median of what a series is of another in each round.
func Ratio(a, b *Series) float64 {
	var all []float64
	for i := range min(len(a.Rounds), len(b.Rounds)) {
		all = append(all, a.Rounds[i].P50/b.Rounds[i].P50)
	}
	slices.Sort(all)
	return Quantile(all, 0.5)
}

// P50 and P99 are a round's, for Between and Median.
func P50(r Round) float64 { return r.P50 }

// P99 is a round's 99th percentile.
func P99(r Round) float64 { return r.P99 }

// round keeps five digits, which is more than is repeatable.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-4)
	r := math.Round(v/unit) * unit
	if unit >= 1e-6 && unit < 1 {
		// Multiplying has left digits behind.
		r = math.Round(v/unit) / math.Round(1/unit)
	}
	return r
}

// Verdict says whether a goal was reached.
func (f *Figure) Verdict(g Goal) string {
	busy := f.Others > MaxOthers && !g.Always
	switch {
	case g.AtLeast && g.Got >= g.Bound, !g.AtLeast && g.Got <= g.Bound:
		if busy {
			return "met, beside other work"
		}
		return "met"
	case busy:
		return "no claim, the machine was busy"
	}
	return "missed"
}

// quiet says how busy others kept the machine.
func (f *Figure) quiet() string {
	when := "during a round"
	if f.Before {
		when = "just before"
	}
	return fmt.Sprintf("others, the kernel included, used at most %.0f%% of a CPU %s; %d rounds were repeated; load before %.2f",
		100*f.Others, when, f.Repeated, f.Machine.Load)
}

// Load reads a file; one that is not there is empty.
func Load(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{}, nil
	}
	if err != nil {
		return nil, err
	}
	var f File
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &f, nil
}

// Put replaces figures by those of the same name, and keeps the order of names.
func (f *File) Put(figures []*Figure, names []string) {
	for _, n := range figures {
		f.Figures = slices.DeleteFunc(f.Figures, func(o *Figure) bool { return o.Name == n.Name })
		f.Figures = append(f.Figures, n)
	}
	slices.SortStableFunc(f.Figures, func(a, b *Figure) int {
		return cmp.Compare(slices.Index(names, a.Name), slices.Index(names, b.Name))
	})
}

// Save writes the file, with lists of numbers and rounds on a line each, so that
// a change can be read.
func (f *File) Save(path string) error {
	data, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	space := regexp.MustCompile(`\s+`)
	for _, list := range []string{`\[[-+0-9.eE,\s]+\]`, `\{\s+"n": [^}]*\}`} {
		data = regexp.MustCompile(list).ReplaceAllFunc(data, func(b []byte) []byte { return space.ReplaceAll(b, nil) })
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
