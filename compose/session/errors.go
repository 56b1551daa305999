package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/docker/docker/client"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream/tape"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// A Kind says whose turn it is after an error. The command line gives each an exit code.
type Kind int

const (
	// Usage is an error of the user's: flags, the compose file, the command to run.
	Usage Kind = iota + 1
	// Environment is something that Docker, the kernel or compose can't do here.
	Environment
	// App is a service that doesn't come up.
	App
	// Interrupted is a session that was ended before it ran.
	Interrupted
)

// An Error is an error with what to do about it.
type Error struct {
	Kind Kind
	Err  error
	Hint string // the next step, for the user; may be empty
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func UsageError(hint, format string, args ...any) error {
	return &Error{Kind: Usage, Err: fmt.Errorf(format, args...), Hint: hint}
}

// FileError is an error with a file that a flag names: the user's choice, unless
// the system does not let it be read or written.
func FileError(hint, format string, args ...any) error {
	e := &Error{Kind: Usage, Err: fmt.Errorf(format, args...), Hint: hint}
	for _, cause := range []error{fs.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EIO} {
		if errors.Is(e.Err, cause) {
			e.Kind = Environment
		}
	}
	return e
}

// AsEnvironment is err with a kind, if nobody gave it one: what a session needs
// and does not get is the environment's.
func AsEnvironment(err error) error {
	var (
		known  *Error
		format *tape.FormatError
		file   *mitmtls.FileError
	)
	if err == nil || errors.As(err, &known) || errors.As(err, &format) || errors.As(err, &file) || errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{Kind: Environment, Err: err, Hint: "run it again with --debug; if it happens again, report it with that output"}
}

func EnvironmentError(hint, format string, args ...any) error {
	return &Error{Kind: Environment, Err: fmt.Errorf(format, args...), Hint: hint}
}

// EngineError adds the next step to what the engine's client says.
func EngineError(err error) error {
	var known *Error
	text := strings.ToLower(err.Error())
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, fs.ErrPermission) || strings.Contains(text, "permission denied while trying to connect"):
		return &Error{Kind: Environment, Err: fmt.Errorf("no permission to use the Docker engine: %w", err),
			Hint: "add yourself to the docker group (and log in again), or run as root"}
	case client.IsErrConnectionFailed(err) || strings.Contains(text, "cannot connect to the docker daemon"):
		return &Error{Kind: Environment, Err: fmt.Errorf("reach the Docker engine: %w", err), Hint: "start Docker, or set DOCKER_HOST to where it runs"}
	}
	return &Error{Kind: Environment, Err: err}
}

func PortError(err error) error {
	return &Error{Kind: Environment, Err: err,
		Hint: "stop what uses that port (docker ps shows containers, ss -ltnp processes), or publish another one"}
}

// PrivilegeHint is what to do where a privilege is missing.
func PrivilegeHint(privileged bool) string {
	if privileged {
		return "--privileged was not enough: the engine's machine, or the container that the engine runs in, must allow it"
	}
	return "try --privileged"
}

// FatalHint tells what to do when the agent can't go on.
func FatalHint(privileged bool) func(*agent.Fatal) string {
	return func(f *agent.Fatal) string {
		if f.Permission {
			return PrivilegeHint(privileged)
		}
		return f.Hint
	}
}
