package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
)

// Exit codes. They are part of the command line's contract; docs/cli.md repeats them.
const (
	exitOK          = 0
	exitFailed      = 1 // a test failed or missed, or COMMAND failed
	exitUsage       = 2
	exitEnvironment = 3 // Docker, the kernel or compose can't
	exitTape        = 4 // a tape can't be read
	exitIncomplete  = 5 // a recording lacks something
	exitInterrupted = 130
)

const exitCodesHelp = `EXIT CODES:
   0 good    1 a test failed or missed, or COMMAND failed    2 usage
   3 Docker, the kernel or compose can't    4 a tape can't be read
   5 the recording is incomplete    130 interrupted`

// A failure is an error with the exit code that it stands for and what to do next.
type failure struct {
	code int
	err  error
	hint string
	// silent is set where everything was said already.
	silent bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func usagef(hint, format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}

// classify gives err its exit code and hint.
func classify(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	f = &failure{code: exitFailed, err: err}
	if errors.Is(err, syscall.EPIPE) {
		f.silent = true // who read the output has seen enough
		return f
	}
	if errors.Is(err, context.Canceled) {
		f.code, f.silent = exitInterrupted, true
		return f
	}
	for _, c := range classifiers {
		if code, hint, ok := c(err); ok {
			f.code, f.hint = code, hint
			break
		}
	}
	return f
}

// exitCode prints err and returns its exit code.
func exitCode(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	f := classify(err)
	if !f.silent {
		fmt.Fprintf(w, "wiretape: %s\n", strings.TrimRight(f.err.Error(), "\n"))
		if f.hint != "" {
			fmt.Fprintf(w, "  next: %s\n", f.hint)
		}
	}
	return f.code
}
