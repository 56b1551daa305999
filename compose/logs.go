package compose

import (
	"bufio"
	"context"
	"io"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/wiretape/wiretape/compose/session"
)

const (
	maxLog     = 16 << 20 // that is read of one container
	maxLogLine = 64 << 10
)

// A LogLine is one line that a service wrote.
type LogLine struct {
	Service string
	At      time.Time
	Text    string
}

// Logs calls each with what the project's containers wrote since then, one container
// after the other. A container whose log can't be read is left out.
func (s *Session) Logs(ctx context.Context, since time.Time, each func(LogLine)) error {
	e := s.rt.watcher.env.Engine
	list, err := e.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(session.Label(composeProject, s.Project()))})
	if err != nil {
		return session.EngineError(err)
	}
	for _, c := range list {
		service := c.Labels[composeService]
		if service == "" || c.Labels[composeOneOff] == "True" {
			continue
		}
		r, err := e.ContainerLogs(ctx, c.ID, container.LogsOptions{
			ShowStdout: true, ShowStderr: true, Timestamps: true, Since: since.Format(time.RFC3339Nano),
		})
		if err != nil {
			continue
		}
		terminal := false
		if c, err := e.ContainerInspect(ctx, c.ID); err == nil && c.Config != nil {
			terminal = c.Config.Tty
		}
		readLog(r, terminal, func(at time.Time, text string) { each(LogLine{service, at, text}) })
		r.Close()
	}
	return nil
}

// readLog takes a log with times apart.
func readLog(r io.Reader, terminal bool, each func(time.Time, string)) {
	r = io.LimitReader(r, maxLog)
	if !terminal {
		pr, pw := io.Pipe()
		defer pr.Close()
		multiplexed := r
		go func() {
			_, err := stdcopy.StdCopy(pw, pw, multiplexed)
			pw.CloseWithError(err)
		}()
		r = pr
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLogLine)
	for lines.Scan() {
		stamp, text, _ := strings.Cut(lines.Text(), " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
			each(at, strings.TrimRight(text, "\r"))
		}
	}
}
