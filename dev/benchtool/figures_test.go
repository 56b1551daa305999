//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
)

// The tool starts itself as origin, load and client; here that is the test's program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		if err := run(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Each figure can still be measured, in short and without peers, which a newcomer's
// machine does not have.
func TestEachFigureIsMeasured(t *testing.T) {
	needs.Time(t)
	binary := filepath.Join(t.TempDir(), "wiretape")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "github.com/wiretape/wiretape/cmd/wiretape")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // it is the agent, too
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, f := range figures() {
		t.Run(f.name, func(t *testing.T) {
			if f.engine && os.Getenv("WIRETAPE_REQUIRE_ENGINE") != "1" && exec.Command("docker", "version").Run() != nil {
				t.Skip("no Docker engine answers: run dev/engine")
			}
			var out bytes.Buffer
			opt := quickOptions()
			opt.wiretape = binary
			clk, err := newClock()
			if err != nil {
				t.Fatal(err)
			}
			b := &bench{options: opt, dir: t.TempDir(), clock: clk, out: &out, installed: map[string]installedPeer{}, give: time.Now()}
			defer b.stopAll()
			r, err := b.measure(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, table := range r.Tables {
				ours := false
				for _, s := range table.Series {
					ours = ours || s.N() > 0
				}
				if !ours {
					t.Errorf("nothing was measured: %s\n%s", table.What, &out)
				}
			}
		})
	}
}
