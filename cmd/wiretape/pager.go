package main

import (
	"cmp"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// paged runs print with the pager behind it where the output is a terminal, and with the
// output itself elsewhere.
func paged(out io.Writer, print func(io.Writer) error) error {
	pager := pagerOf(os.LookupEnv)
	if pager == nil || !isTerminal(out) {
		return print(out)
	}
	pager.Stdout, pager.Stderr = out, os.Stderr
	in, err := pager.StdinPipe()
	if err != nil {
		return print(out)
	}
	if err := pager.Start(); err != nil {
		return print(out)
	}
	err = print(in)
	if errors.Is(err, syscall.EPIPE) { // the reader has seen enough
		err = nil
	}
	err = errors.Join(err, in.Close())
	ended := pager.Wait()
	exit := (*exec.ExitError)(nil)
	switch {
	case errors.As(ended, &exit) && (exit.ExitCode() == notFound || exit.ExitCode() == notRun):
		return print(out) // the shell has said why
	case exit != nil:
		return err // a pager says itself what was wrong
	}
	return errors.Join(err, ended)
}

// What a shell ends with where it can't run a command.
const notRun, notFound = 126, 127

// pagerOf is $PAGER, which a shell reads as for git and man, or less as it is to be used: it
// ends at once if all fits on the screen, and lets colours through. Nil for none.
func pagerOf(lookup func(string) (string, bool)) *exec.Cmd {
	var cmd *exec.Cmd
	given, set := lookup("PAGER")
	if term, _ := lookup("TERM"); term == "dumb" {
		return nil
	}
	switch given = strings.TrimSpace(given); {
	case set && given == "", given == "cat":
		return nil
	case set && runtime.GOOS == "windows":
		cmd = exec.Command("cmd", "/c", given)
	case set:
		cmd = exec.Command("sh", "-c", given)
	default:
		less, err := exec.LookPath("less")
		if err != nil {
			return nil
		}
		cmd = exec.Command(less)
	}
	less, _ := lookup("LESS")
	cmd.Env = append(os.Environ(), "LESS="+cmp.Or(less, "FRX"))
	return cmd
}
