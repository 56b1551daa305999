package compose

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"regexp"
	"strings"
	"syscall"

	"github.com/docker/docker/client"
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

func usage(hint, format string, args ...any) error {
	return &Error{Kind: Usage, Err: fmt.Errorf(format, args...), Hint: hint}
}

// fileError is an error with a file that a flag names: the user's choice, unless
// the system does not let it be read or written.
func fileError(hint, format string, args ...any) error {
	e := &Error{Kind: Usage, Err: fmt.Errorf(format, args...), Hint: hint}
	for _, cause := range []error{fs.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EIO} {
		if errors.Is(e.Err, cause) {
			e.Kind = Environment
		}
	}
	return e
}

// asEnvironment is err with a kind, if nobody gave it one: what a session needs
// and does not get is the environment's.
func asEnvironment(err error) error {
	var (
		known  *Error
		cmd    *CommandError
		format *tape.FormatError
		file   *mitmtls.FileError
	)
	if err == nil || errors.As(err, &known) || errors.As(err, &cmd) || errors.As(err, &format) || errors.As(err, &file) || errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{Kind: Environment, Err: err, Hint: "run it again with --debug; if it happens again, report it with that output"}
}

func environment(hint, format string, args ...any) error {
	return &Error{Kind: Environment, Err: fmt.Errorf(format, args...), Hint: hint}
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

// engineError adds the next step to what the engine's client says.
func engineError(err error) error {
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

var noPlugin = regexp.MustCompile(`'compose' is not a docker command|unknown command: docker compose|unknown shorthand flag: '.' in -|unknown flag: --(?:ansi|progress|profile|env-file|project-)`)

// composeError adds what kind of error it was that a docker compose command
// ended with. What compose says of the user's own files stays as it is: it has
// the file and the line.
func composeError(err error) error {
	var cmd *CommandError
	if errors.Is(err, exec.ErrNotFound) {
		return environment("install Docker with the compose plugin: https://docs.docker.com/engine/install", "the docker command is not found")
	}
	if !errors.As(err, &cmd) {
		return err
	}
	text := strings.ToLower(cmd.Stderr)
	switch {
	case noPlugin.MatchString(text):
		return environment("install it: https://docs.docker.com/compose/install/linux", "docker has no compose plugin")
	case strings.Contains(text, "permission denied while trying to connect"),
		strings.Contains(text, "cannot connect to the docker daemon"):
		return engineError(cmd)
	case strings.Contains(text, "no configuration file provided"):
		return &Error{Kind: Usage, Err: errors.New("no compose file here"),
			Hint: "go to the folder that has compose.yaml, or name the file with -f"}
	case strings.Contains(text, "pull access denied"), strings.Contains(text, "manifest unknown"),
		strings.Contains(text, "failed to resolve reference"), strings.Contains(text, "no such image"):
		return &Error{Kind: Environment, Err: cmd, Hint: "build or pull the image first: docker compose build, docker compose pull"}
	case strings.Contains(text, "port is already allocated"), strings.Contains(text, "address already in use"):
		return portError(cmd)
	}
	return cmd
}

func portError(err error) error {
	return &Error{Kind: Environment, Err: err,
		Hint: "stop what uses that port (docker ps shows containers, ss -ltnp processes), or publish another one"}
}
