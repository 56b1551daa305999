package session

import "os"

// processAlive reports whether this host has a process of that id.
func processAlive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	p.Release()
	return true
}

// processBirth is not known here.
func processBirth(int) string { return "" }
