package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/docker/docker/client"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
	mitmtls "github.com/wiretape/wiretape/tls"
)

func UsageError(next, format string, args ...any) error {
	return &event.Problem{Kind: event.Usage, Err: fmt.Errorf(format, args...), Next: next}
}

// AsEnvironment is err with a kind, if nobody gave it one: what a session needs
// and does not get is the environment's.
func AsEnvironment(err error) error {
	var (
		known  *event.Problem
		format *tape.FormatError
		file   *mitmtls.FileError
	)
	if err == nil || errors.As(err, &known) || errors.As(err, &format) || errors.As(err, &file) || errors.Is(err, context.Canceled) {
		return err
	}
	return &event.Problem{Kind: event.Environment, Err: err, Next: "run it again with --debug; if it happens again, report it with that output"}
}

func EnvironmentError(next, format string, args ...any) error {
	return &event.Problem{Kind: event.Environment, Err: fmt.Errorf(format, args...), Next: next}
}

// wrongVersion is what an engine says to a version of its API that it does not have.
var wrongVersion = regexp.MustCompile(`client version [0-9.]+ is too (?:new|old)`)

// EngineError adds the next step to what the engine's client says.
func EngineError(err error) error {
	var known *event.Problem
	text := strings.ToLower(err.Error())
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, fs.ErrPermission) || strings.Contains(text, "permission denied while trying to connect"):
		return &event.Problem{Kind: event.Environment, Err: fmt.Errorf("no permission to use the Docker engine: %w", err),
			Next: "add yourself to the docker group (and log in again), or run as root"}
	case wrongVersion.MatchString(text):
		return &event.Problem{Kind: event.Environment, Err: err, Next: "unset DOCKER_API_VERSION: a version that both sides know is agreed on then"}
	case client.IsErrConnectionFailed(err) || strings.Contains(text, "cannot connect to the docker daemon"):
		return &event.Problem{Kind: event.Environment, Err: fmt.Errorf("reach the Docker engine: %w", err), Next: "start Docker, or set DOCKER_HOST to where it runs"}
	}
	return &event.Problem{Kind: event.Environment, Err: err}
}

func PortError(err error) error {
	return &event.Problem{Kind: event.Environment, Err: err,
		Next: "stop what uses that port (docker ps shows containers, ss -ltnp processes), or publish another one"}
}

// PrivilegeHint is what to do where a privilege is missing.
func (e EngineInfo) PrivilegeHint(privileged bool) string {
	if e.confined != "" {
		return e.confined
	}
	if privileged {
		return "--privileged was not enough: the engine's machine, or the container that the engine runs in, must allow it"
	}
	return "try --privileged"
}

// FatalNext is what to do when the agent can't go on.
func FatalNext(e EngineInfo, privileged bool) func(*event.Problem) string {
	return func(f *event.Problem) string {
		if f.Kind == event.Privilege {
			return e.PrivilegeHint(privileged)
		}
		return f.Next
	}
}
