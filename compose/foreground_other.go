//go:build !unix

package compose

import "os/exec"

// foreground starts cmd in a process group of its own.
func foreground(cmd *exec.Cmd) (restore func()) {
	ownProcessGroup(cmd)
	return func() {}
}
