package compose

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
)

// A Result is what became of a recording, and a Progress something to tell the user.
type (
	Result   = recording.Result
	Progress = session.Progress
)

const (
	Detail = session.Detail
	Busy   = session.Busy
	Info   = session.Info
	Warn   = session.Warn
	Failed = session.Failed
)

// asEnvironment is err with a kind, if nobody gave it one. What a docker command
// said stays as it is.
func asEnvironment(err error) error {
	if cmd := (*CommandError)(nil); errors.As(err, &cmd) {
		return err
	}
	return session.AsEnvironment(err)
}

// A CommandError is a docker command that failed, with what it said.
type CommandError struct {
	Args   []string
	Stderr string
	Err    error
}

func (e *CommandError) Error() string {
	text := strings.TrimSpace(e.Stderr)
	if text == "" {
		text = e.Err.Error()
	}
	return fmt.Sprintf("%s: %s", strings.Join(e.Args, " "), text)
}

func (e *CommandError) Unwrap() error { return e.Err }

var noPlugin = regexp.MustCompile(`'compose' is not a docker command|unknown command: docker compose|unknown shorthand flag: '.' in -|unknown flag: --(?:ansi|progress|profile|env-file|project-)`)

// composeError adds what kind of error it was that a docker compose command
// ended with. What compose says of the user's own files stays as it is: it has
// the file and the line.
func composeError(err error) error {
	var cmd *CommandError
	if errors.Is(err, exec.ErrNotFound) {
		return session.EnvironmentError("install Docker with the compose plugin: https://docs.docker.com/engine/install", "the docker command is not found")
	}
	if !errors.As(err, &cmd) {
		return err
	}
	text := strings.ToLower(cmd.Stderr)
	switch {
	case noPlugin.MatchString(text):
		return session.EnvironmentError("install it: https://docs.docker.com/compose/install/linux", "docker has no compose plugin")
	case strings.Contains(text, "permission denied while trying to connect"),
		strings.Contains(text, "cannot connect to the docker daemon"):
		return session.EngineError(cmd)
	case strings.Contains(text, "no configuration file provided"):
		return &event.Problem{Kind: event.Usage, Err: errors.New("no compose file here"),
			Next: "go to the folder that has compose.yaml, or name the file with -f"}
	case strings.Contains(text, "pull access denied"), strings.Contains(text, "manifest unknown"),
		strings.Contains(text, "failed to resolve reference"), strings.Contains(text, "no such image"):
		return &event.Problem{Kind: event.Environment, Err: cmd, Next: "build or pull the image first: docker compose build, docker compose pull"}
	case strings.Contains(text, "port is already allocated"), strings.Contains(text, "address already in use"):
		return session.PortError(cmd)
	}
	return cmd
}
