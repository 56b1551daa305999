//go:build unix

package session

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

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
