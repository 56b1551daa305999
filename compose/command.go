package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/wiretape/wiretape/compose/session"
)

// How long a command may take to end after it was interrupted, and then after
// it was terminated, before it is killed.
const (
	interruptGrace = 10 * time.Second
	terminateGrace = 5 * time.Second
)

// A Command runs on the host while a session does.
type Command struct {
	argv []string
	path string
}

// FindCommand looks a command up, so that one that is not there is known
// before anything was started.
func FindCommand(argv []string) (*Command, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, session.UsageError("check its name; what stands behind -- is run on this host, without a shell", "the command %q can't be run: %w", argv[0], errors.Unwrap(err))
	}
	return &Command{argv: argv, path: path}, nil
}

// An ExitError is a command that ended with another status than 0.
type ExitError struct {
	Name string
	Code int // -1 if a signal ended it
	Err  error
}

func (e *ExitError) Error() string { return fmt.Sprintf("%s failed: %v", e.Name, e.Err) }
func (e *ExitError) Unwrap() error { return e.Err }

// Run runs the command with our own standard streams and env on top of our own
// environment; see Session.Env. When ctx ends, the command
// and its children are interrupted, as by Ctrl-C, and killed if that is not
// enough; so they are where this process is killed. The error is an *ExitError if the command failed.
func (c *Command) Run(ctx context.Context, env []string) error {
	cmd := exec.Command(c.path)
	cmd.Args = c.argv
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	restore := foreground(cmd)
	defer restore()
	watchdog := newWatchdog(endPatiently)
	defer watchdog.dismiss()
	if err := cmd.Start(); err != nil {
		return session.UsageError("check that it is a program for this host", "start %s: %w", c.argv[0], err)
	}
	watchdog.watch(cmd.Process)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err := waitOrEnd(ctx, cmd.Process, ended)
	if ctx.Err() != nil {
		_ = killGroup(cmd.Process) // children that did not care
	}
	if err == nil {
		return nil
	}
	code := -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	return &ExitError{Name: c.argv[0], Code: code, Err: err}
}

// waitOrEnd waits for a process, and makes it end when ctx does.
func waitOrEnd(ctx context.Context, p *os.Process, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	for _, try := range []struct {
		signal func(*os.Process) error
		grace  time.Duration
	}{{interruptGroup, interruptGrace}, {terminateGroup, terminateGrace}} {
		_ = try.signal(p)
		timer := time.NewTimer(try.grace)
		select {
		case err := <-ended:
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
	_ = killGroup(p)
	return <-ended
}
