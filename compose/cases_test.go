package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
			m.Result.Conclude(&report.Run{})
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
				return fmt.Errorf("the app answered %q, %v", b.String(), err) //nolint:errorlint // may be nil
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

// TestAContainerThatEndsForGoodEndsTheRun has an app that crashes in the first of
// its cases and is not started again.
func TestAContainerThatEndsForGoodEndsTheRun(t *testing.T) {
	text := strings.Replace(relayCompose, "restart: on-failure", `restart: "no"`, 1)
	p := newTestProject(t, fmt.Sprintf(text, ""))
	if _, err := Run(t.Context(), p.options(), func(ctx context.Context, s *Session) error {
		for _, path := range []string{"/first", "/second"} {
			resp, err := http.Get("http://" + s.Published()[0].Published + path)
			if err != nil {
				return err
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	p.write("compose.yaml", fmt.Sprintf(text, "crash"))
	opt := p.options()
	opt.Mode = agent.Replay
	var lines []string
	begun := time.Now()
	_, err := Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
		limits := compare.DefaultLimits()
		limits.Speed = 1
		begun = time.Now()
		err := s.WhileTheyRun(ctx, []string{"relay"}, func(ctx context.Context) error {
			_, err := s.Request(ctx, agent.ToAgent{Run: &agent.Run{Cases: []int{1, 2}, Limits: limits}})
			return err
		})
		return errors.Join(err, s.Logs(ctx, begun, func(l LogLine) {
			if l.At.Before(begun) {
				t.Errorf("a line of %s, before %s", l.At, begun)
			}
			lines = append(lines, l.Service+" "+l.Text)
		}))
	})
	var dead *DeadError
	if !errors.As(err, &dead) || dead.Service != "relay" || dead.Code != "3" || !strings.Contains(dead.Lines, "crashing for") {
		t.Errorf("got %v, %+v", err, dead)
	}
	if !slices.Equal(lines, []string{"relay crashing for Authorization: Bearer abc"}) {
		t.Errorf("the log is %q", lines)
	}
}
