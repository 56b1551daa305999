package session

import (
	"os"
	"path/filepath"
	"testing"
)

func TestATapeIsRescuedThoughAnotherProcessHasTheDeadCLIsNumber(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tape")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	state := State{Host: host, PIDs: pidNamespace(), PID: os.Getpid(), Process: processBirth(os.Getpid()), Recording: dir}
	for _, c := range []struct {
		name    string
		change  func(*State)
		rescued bool
	}{
		{"the CLI lives", func(*State) {}, false},
		{"its number is another process's", func(s *State) { s.Process = "another" }, true},
		{"it was on another host", func(s *State) { s.Host += "x" }, false},
		{"it did not record", func(s *State) { s.Process, s.Recording = "another", "" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := state
			c.change(&state)
			if got := (Found{State: state}).cutOffTape(); got != "" != c.rescued {
				t.Errorf("the tape to resume is %q", got)
			}
		})
	}
}
