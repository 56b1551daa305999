//go:build unix

package compose

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// ownProcessGroup starts cmd in a process group of its own, so that a signal
// can reach all of it and the terminal's reaches none of it.
func ownProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

func interruptGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGINT) }
func terminateGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGTERM) }
func killGroup(p *os.Process) error      { return syscall.Kill(-p.Pid, syscall.SIGKILL) }

// processBirth tells a process from a later one that has its number, also after
// the machine started again; "" where the system does not say.
func processBirth(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name, in parentheses, may have anything in it; field 22 is the start time.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(fields) < 20 {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + fields[19]
}

// processAlive reports whether this host has a process of that id.
func processAlive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || err == syscall.EPERM
}
