package session

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// stillActive is the exit code of a process that has not ended (STILL_ACTIVE).
const stillActive = 259

// processAlive reports whether this host has a process of that id.
func processAlive(pid int) bool {
	h, err := openProcess(pid)
	if err != nil {
		return err == windows.ERROR_ACCESS_DENIED
	}
	defer windows.CloseHandle(h)
	// A process that has ended is there as long as somebody has a handle of it.
	var code uint32
	return windows.GetExitCodeProcess(h, &code) != nil || code == stillActive
}

// processBirth tells a process from a later one that has its number; "" where the
// system does not say.
func processBirth(pid int) string {
	h, err := openProcess(pid)
	if err != nil {
		return ""
	}
	defer windows.CloseHandle(h)
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &created, &exited, &kernel, &user); err != nil {
		return ""
	}
	return fmt.Sprint(created.Nanoseconds())
}

func openProcess(pid int) (windows.Handle, error) {
	return windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
}
