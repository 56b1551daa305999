package compose

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/compare"
)

const relayCompose = `services:
  relay:
    image: IMAGE
    command: [relay]
    restart: on-failure
    environment: { DEFECT: "%s" }
    ports: ["127.0.0.1::8080"]
    networks: [default, outside]
networks:
  default: { internal: true }
  outside: { name: OUTSIDE, external: true }
`

// runCases plays the tape's cases against the project as it is now.
func (p *testProject) runCases(t *testing.T, numbers ...int) []report.CaseResult {
	t.Helper()
	opt := p.options()
	opt.Mode = agent.Replay
	var mu sync.Mutex
	var results []report.CaseResult
	opt.Message = func(m agent.FromAgent) {
		if m.Result != nil {
			mu.Lock()
			defer mu.Unlock()
			m.Result.Settle(&report.Run{})
			results = append(results, *m.Result)
		}
	}
	_, err := Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
		limits := compare.DefaultLimits()
		limits.Speed = 1
		reply, err := s.Request(ctx, agent.ToAgent{Run: &agent.Run{Cases: numbers, Limits: limits}})
		if err == nil && reply.Error != "" {
			err = fmt.Errorf("reply: %s", reply.Error)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestCasesAreSentAgainAndBrokenTwinsFail(t *testing.T) {
	p := newTestProject(t, fmt.Sprintf(relayCompose, ""))
	result, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
		for _, path := range []string{"/first", "/second"} {
			resp, err := http.Get("http://" + s.Published()[0].Published + path + "?n=12")
			if err != nil {
				return err
			}
			var b strings.Builder
			if err := resp.Write(&b); err != nil || !strings.Contains(b.String(), "chunk 2 of "+path) {
				return fmt.Errorf("the app answered %q, %v", b.String(), err)
			}
		}
		return nil
	})
	if err != nil || !result.Complete {
		t.Fatalf("record: %+v, %v", result, err)
	}
	p.docker("rm", "--force", p.outside) // from here on the outside is gone
	for _, tc := range []struct {
		defect string
		kind   compare.Kind
		want   [2]report.Status
	}{
		{"", "", [2]report.Status{report.Pass, report.Pass}},
		{"drop", compare.Missing, [2]report.Status{report.Fail, report.Fail}},
		{"buffer", compare.Buffered, [2]report.Status{report.Fail, report.Fail}},
		{"crash", compare.Ended, [2]report.Status{report.Fail, report.Pass}},
	} {
		t.Run("defect "+tc.defect, func(t *testing.T) {
			p.write("compose.yaml", fmt.Sprintf(relayCompose, tc.defect))
			results := p.runCases(t, 1, 2)
			if len(results) != 2 {
				t.Fatalf("%d results", len(results))
			}
			for i, c := range results {
				var said []string
				found := tc.kind == "" || c.Status == report.Pass
				if c.Verdict != nil {
					for _, d := range c.Verdict.Differences {
						said = append(said, string(d.Kind)+": "+d.Message)
						found = found || d.Kind == tc.kind
					}
				}
				if c.Status != tc.want[i] || !found {
					t.Errorf("case %d: %s %s, want %s %s\n%s", c.Number, c.Status, c.Error, tc.want[i], tc.kind, strings.Join(said, "\n"))
				}
			}
		})
	}
}
