package compose

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wiretape/wiretape/compose/session"
)

const (
	// finishTime is how long a docker command may go on when its context ends,
	// so that one that is about to finish does. An engine goes on with a request
	// whose client is gone, and would make things behind the undo's back.
	finishTime = 1500 * time.Millisecond
	// killAfter is how long it may take to end once it was interrupted.
	killAfter = 5 * time.Second
	// engineGrace is how long an engine may take for requests that were interrupted.
	engineGrace = 500 * time.Millisecond
)

// A composeCLI runs the user's own docker compose on one project.
type composeCLI struct {
	docker string   // the docker command
	plugin string   // the path of its plugin, which is started without docker; "" where that is not known
	flags  []string // project flags of docker compose
	files  []string // passed with -f, in order
	env    []string // on top of our own environment
}

// run runs one compose command to its end. It is interrupted, as with Ctrl-C,
// when ctx ends. Lines that it prints on standard error are passed to line as
// they come, if that is set.
func (c composeCLI) run(ctx context.Context, line func(string), args ...string) (stdout []byte, err error) {
	full := []string{"compose"}
	full = append(full, c.flags...)
	for _, f := range c.files {
		full = append(full, "-f", f)
	}
	full = append(full, args...)
	program, env := c.docker, c.env
	if c.plugin != "" {
		// As docker itself starts it, which takes as long as a small command does.
		program, env = c.plugin, append(slices.Clone(env), "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND="+c.docker)
	}
	return runDocker(ctx, program, env, line, full...)
}

// byHand is the command line that does the same, for people.
func (c composeCLI) byHand(args ...string) string {
	full := []string{"docker", "compose"}
	full = append(full, c.flags...)
	for _, f := range c.files {
		full = append(full, "-f", f)
	}
	return session.ShellJoin(append(full, args...))
}

func runDocker(ctx context.Context, docker string, env []string, line func(string), args ...string) ([]byte, error) {
	running, cancel := delayed(ctx, finishTime)
	defer cancel()
	cmd := exec.CommandContext(running, docker, args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout bytes.Buffer
	stderr := &lineTee{line: line}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	// A Ctrl-C on the terminal is ours to handle: compose must not hear of it first.
	ownProcessGroup(cmd)
	cmd.Cancel = func() error { return interruptGroup(cmd.Process) }
	cmd.WaitDelay = killAfter
	watchdog := newWatchdog(endAtOnce)
	defer watchdog.dismiss()
	err := cmd.Start()
	if err == nil {
		watchdog.watch(cmd.Process)
		err = cmd.Wait()
	}
	stderr.flush()
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return nil, err
	}
	return nil, &CommandError{Args: append([]string{"docker"}, args...), Stderr: stderr.all.String(), Err: err}
}

// delayed returns a context that ends some time after ctx does.
func delayed(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return later, func() {
		stop()
		cancel()
	}
}

// A lineTee keeps what is written to it, and passes it on by line.
type lineTee struct {
	line func(string)

	mu   sync.Mutex
	all  bytes.Buffer
	rest []byte
}

func (t *lineTee) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.Write(p)
	t.rest = append(t.rest, p...)
	for {
		i := bytes.IndexByte(t.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		t.tell(t.rest[:i])
		t.rest = t.rest[i+1:]
	}
}

func (t *lineTee) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tell(t.rest)
	t.rest = nil
}

func (t *lineTee) tell(b []byte) {
	if s := strings.TrimSpace(string(b)); t.line != nil && s != "" {
		t.line(s)
	}
}
