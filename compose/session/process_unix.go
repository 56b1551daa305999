//go:build unix

package session

import "syscall"

// processAlive reports whether this host has a process of that id.
func processAlive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || err == syscall.EPERM
}
