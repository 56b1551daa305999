//go:build unix

package compose

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// foreground starts cmd in a process group of its own, which has the terminal
// if we have it: Ctrl-C reaches the command, and a shell can control its jobs.
// restore takes the terminal back.
func foreground(cmd *exec.Cmd) (restore func()) {
	ownProcessGroup(cmd)
	tty := int(os.Stdin.Fd())
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	if err != nil || group != syscall.Getpgrp() {
		return func() {} // no terminal, or we run in the background
	}
	cmd.SysProcAttr.Foreground = true
	cmd.SysProcAttr.Ctty = tty
	return func() {
		// A background process that sets the terminal's group is stopped otherwise.
		signal.Ignore(syscall.SIGTTOU)
		defer signal.Reset(syscall.SIGTTOU)
		_ = unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, group)
	}
}
