package compose

import (
	"context"
	"testing"
	"time"
)

// BenchmarkSession tells what a session costs on top of docker compose up and
// down of the same project, each the mean of b.N runs, the agent's image loaded.
func BenchmarkSession(b *testing.B) {
	p := newTestProject(b, webYAML)
	opt := p.options()
	opt.Progress = nil
	session := func() {
		if _, err := Run(b.Context(), opt, func(context.Context, *Session) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	session()
	var bare, ours time.Duration
	for b.Loop() {
		begun := time.Now()
		p.compose("up", "-d")
		p.compose("down", "-v")
		bare += time.Since(begun)
		begun = time.Now()
		session()
		ours += time.Since(begun)
	}
	n := float64(b.N)
	b.ReportMetric(bare.Seconds()/n, "s/bare")
	b.ReportMetric(ours.Seconds()/n, "s/session")
	b.ReportMetric((ours-bare).Seconds()/n, "s/overhead")
}
