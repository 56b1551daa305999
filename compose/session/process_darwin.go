package session

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// processBirth tells a process from a later one that has its number; "" where the
// system does not say.
func processBirth(pid int) string {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(p.Proc.P_pid) != pid {
		return ""
	}
	return fmt.Sprintf("%d.%06d", p.Proc.P_starttime.Sec, p.Proc.P_starttime.Usec)
}
