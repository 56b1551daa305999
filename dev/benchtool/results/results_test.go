package results

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestQuantileIsTheSmallestValueThatEnoughDoNotExceed(t *testing.T) {
	s := []float64{-3, 1, 2, 4, 5}
	for _, c := range []struct{ q, want float64 }{{0, -3}, {0.2, -3}, {0.5, 2}, {0.8, 4}, {0.99, 5}, {1, 5}} {
		if got := Quantile(s, c.q); got != c.want {
			t.Errorf("Quantile(%v) = %v, want %v", c.q, got, c.want)
		}
	}
	if got := Quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing it is %v", got)
	}
}

// example has a rate, a distribution, and a peer that can't.
func example() *File {
	rate := &Table{What: "requests a second", Unit: PerSecond, Plot: true, Series: []*Series{
		{Label: "ours", Role: Ours}, {Label: "peer", Role: Peer}, {Label: "other", Role: Peer, Cannot: "buffers <all> of it | at once"}}}
	latency := &Table{What: "latency", Unit: Nanoseconds, Plot: true, Series: []*Series{{Label: "ours", Role: Ours}}}
	for i := range 3 {
		rate.Series[0].Add(float64(1000 + i))
		rate.Series[1].Add(float64(500 * (i + 1)))
		latency.Series[0].Add(float64(1000*i), 2e6, 3e6)
	}
	return &File{Figures: []*Figure{{Name: "record", Title: "recording", Method: "In turns.", Tables: []*Table{rate, latency},
		Goals: []Goal{{What: "share of peer", Got: Ratio(rate.Series[0], rate.Series[1]), Bound: 0.5, Unit: Share, AtLeast: true}}}}}
}

func TestRatioPairsRounds(t *testing.T) {
	series := example().Figures[0].Tables[0].Series
	if got := Ratio(series[0], series[1]); got != 1.001 { // of 2, 1.001 and 0.668
		t.Errorf("the median share is %v", got)
	}
}

// The page and its plots can be made again from the raw data, without measuring.
func TestPageIsMadeFromTheFile(t *testing.T) {
	dir := t.TempDir()
	raw, page := filepath.Join(dir, "results.json"), filepath.Join(dir, "benchmarks.md")
	if err := example().Save(raw); err != nil {
		t.Fatal(err)
	}
	written := func() string {
		f, err := Load(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Render(page); err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, path := range []string{page, filepath.Join(dir, "benchmarks", "record.svg"), filepath.Join(dir, "benchmarks", "record-2.svg")} {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(data)
		}
		return all.String()
	}
	before := "# Ours\n" + marker(summaryPart, "begin") + marker(summaryPart, "end") + "\nkept\n" + marker(figuresPart, "begin") + "old" + marker(figuresPart, "end") + "\nlast\n"
	if err := os.WriteFile(page, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	first := written()
	for _, want := range []string{"# Ours", "\nkept\n", "\nlast\n", "| [record](#record-recording) | share of peer | 1.00 | at least 0.50 | met |",
		"| **ours** | 1,001/s | 1,000/s | 1,002/s | 3 |", `– buffers &lt;all> of it \| at once`, "(benchmarks/record-2.svg)", "</svg>"} {
		if !strings.Contains(first, want) {
			t.Errorf("there is no %q in\n%s", want, first)
		}
	}
	if strings.Contains(first, "old") {
		t.Error("what stood between the markers is still there")
	}
	if again := written(); again != first {
		t.Error("the second time it is another page")
	}
}
