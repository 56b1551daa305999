package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/wiretape/wiretape/httpstream/event"
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

// exitCodes are those of the kinds of problems.
var exitCodes = map[event.ProblemKind]int{
	event.Mismatch: exitFailed, event.App: exitFailed,
	event.Usage:       exitUsage,
	event.Environment: exitEnvironment, event.Privilege: exitEnvironment,
	event.BrokenTape:  exitTape,
	event.Incomplete:  exitIncomplete,
	event.Interrupted: exitInterrupted,
}

func usagef(next, format string, args ...any) error {
	return event.Problemf(event.Usage, next, format, args...)
}

// classify is err with its kind and next step.
func classify(err error) *event.Problem {
	var p *event.Problem
	if errors.As(err, &p) && p.Kind != "" {
		return &event.Problem{Kind: p.Kind, Err: err, Next: p.Next, Said: p.Said}
	}
	p = &event.Problem{Kind: event.Mismatch, Err: err}
	if errors.Is(err, syscall.EPIPE) {
		p.Said = true // who read the output has seen enough
		return p
	}
	if errors.Is(err, context.Canceled) {
		p.Kind, p.Said = event.Interrupted, true
		return p
	}
	for _, c := range classifiers {
		if kind, next, ok := c(err); ok {
			p.Kind, p.Next = kind, next
			break
		}
	}
	return p
}

// exitCode prints err and returns its exit code.
func exitCode(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	p := classify(err)
	if !p.Said {
		fmt.Fprintf(w, "wiretape: %s\n", strings.TrimRight(p.Error(), "\n"))
		if p.Next != "" {
			fmt.Fprintf(w, "  next: %s\n", p.Next)
		}
	}
	return exitCodes[p.Kind]
}
