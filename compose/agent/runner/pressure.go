package runner

import (
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	pulseEvery = 2 * time.Millisecond
	// latePulse is how late a wake-up of our own is on a machine that keeps
	// everybody waiting.
	latePulse = 10 * time.Millisecond
	// waitedShare is the part of a time in which some process waited for a CPU,
	// from which on the machine counts as busy.
	waitedShare = 0.25
)

// underPressure calls do and reports whether the machine was too busy meanwhile for
// the timing of an answer to say much about who made it: our own wake-ups were
// late, or the kernel says that processes waited for a CPU.
func underPressure(do func()) bool {
	began, waited, known := time.Now(), time.Duration(0), false
	if text, err := os.ReadFile(pressureFile); err == nil {
		waited, known = waitedForCPU(string(text))
	}
	stop := make(chan struct{})
	worst := make(chan time.Duration, 1)
	go func() { worst <- latestPulse(stop) }()
	do()
	close(stop)
	if <-worst >= latePulse {
		return true
	}
	text, err := os.ReadFile(pressureFile)
	if !known || err != nil {
		return false
	}
	now, ok := waitedForCPU(string(text))
	return ok && float64(now-waited) >= waitedShare*float64(time.Since(began))
}

// latestPulse wakes up regularly until stop is closed, and returns by how much the
// latest wake-up was late.
func latestPulse(stop <-chan struct{}) (worst time.Duration) {
	timer := time.NewTimer(pulseEvery)
	defer timer.Stop()
	for {
		due := time.Now().Add(pulseEvery)
		select {
		case <-stop:
			return worst
		case <-timer.C:
			worst = max(worst, time.Since(due))
			timer.Reset(pulseEvery)
		}
	}
}

// pressureFile is where Linux, from 4.20 on, counts how long processes have waited
// for a CPU (Documentation/accounting/psi.rst); other systems have none.
const pressureFile = "/proc/pressure/cpu"

// waitedForCPU reads the time for which some process has waited since the start.
func waitedForCPU(text string) (waited time.Duration, ok bool) {
	some, _, _ := strings.Cut(text, "\n")
	_, total, found := strings.Cut(some, "total=")
	if !found || !strings.HasPrefix(some, "some ") {
		return 0, false
	}
	us, err := strconv.ParseInt(strings.TrimSpace(total), 10, 64)
	return time.Duration(us) * time.Microsecond, err == nil
}
