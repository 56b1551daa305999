package report

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; look at it, then go test ./compose/report -update\ngot:\n%s", file, got)
	}
}

func TestReportsLookAsTheyShould(t *testing.T) {
	for name, render := range map[string]func(io.Writer, *Run) error{
		"report.txt":       func(w io.Writer, r *Run) error { return Text(w, r, TextOptions{Report: "out/index.html"}) },
		"report-color.txt": func(w io.Writer, r *Run) error { return Text(w, r, TextOptions{Color: true, All: true}) },
		"report.json":      JSON,
		"junit.xml":        JUnit,
		"index.html":       HTML,
		"annotations.txt":  func(w io.Writer, r *Run) error { return Annotations(w, r, "app") },
		"summary.md":       Summary,
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := render(&b, sampleRun()); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.Bytes())
		})
	}
}
