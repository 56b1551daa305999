//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxLoad is the load average above which there is a warning at the start. It
	// looks back a minute, so what claims need is maxOthers.
	maxLoad = 1.0
	// maxOthers is how much of one CPU others may use during a round, for claims.
	maxOthers = 0.10
	// quietOthers is what -quiet waits for before a round, and quietFor how long
	// it looks.
	quietOthers = 0.05
	quietFor    = 2 * time.Second
)

// tick is the unit of time in /proc (USER_HZ, 100 on all that Go runs on).
const tick = 10 * time.Millisecond

// begin says what machine it is.
func (b *bench) begin() error {
	load, err := loadAverage()
	if err != nil {
		return err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	b.printf("%s: %d CPUs (%s), Linux %s, %s, load %.2f",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(), cpuModel(),
		unix.ByteSliceToString(name.Release[:]), runtime.Version(), load)
	if load > maxLoad {
		b.printf("WARNING: the load is above %.0f: measure on a quiet machine", maxLoad)
	}
	b.printf("")
	return nil
}

// round runs f when the machine is quiet, and again if others disturbed it, as
// long as there is patience. It calls keep for the last one.
func (b *bench) round(ctx context.Context, f func() (keep func(), err error)) error {
	for {
		if err := b.awaitQuiet(ctx); err != nil {
			return err
		}
		w := b.watch()
		keep, err := f()
		if err != nil {
			return err
		}
		others := w.others()
		if others <= maxOthers || !time.Now().Before(b.give) {
			b.worst = max(b.worst, others)
			keep()
			return nil
		}
		b.repeated++
	}
}

func (b *bench) awaitQuiet(ctx context.Context) error {
	for time.Now().Before(b.give) {
		w := b.watch()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(quietFor):
		}
		if w.others() <= quietOthers {
			return nil
		}
	}
	return ctx.Err()
}

func cpuModel() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func loadAverage() (float64, error) {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(data), " ")
	return strconv.ParseFloat(first, 64)
}

// cpuTime is what the child has used up to now.
func (c *child) cpuTime() time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The command's name may hold anything, and ends with the last parenthesis.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick
}

// A watch tells how busy others keep the machine.
type watch struct {
	b    *bench
	at   time.Time
	all  time.Duration // CPU time that was not idle
	ours time.Duration
}

func (b *bench) watch() watch {
	return watch{b, time.Now(), machineTime(), b.cpuTime()}
}

// cpuTime is that of this process and all its children.
func (b *bench) cpuTime() time.Duration {
	sum := b.ended
	for _, c := range b.children {
		if !c.over {
			sum += c.cpuTime()
		}
	}
	var self unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &self); err == nil {
		sum += time.Duration(self.Utime.Nano() + self.Stime.Nano())
	}
	return sum
}

// machineTime is the time that CPUs were not idle since the boot, stolen time included.
func machineTime() time.Duration {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	var sum int64
	for i, f := range strings.Fields(line) {
		// cpu user nice system idle iowait irq softirq steal; guest is in user.
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, _ := strconv.ParseInt(f, 10, 64)
		sum += n
	}
	return time.Duration(sum) * tick
}

// others is how much of one CPU all other processes and the kernel used.
func (w watch) others() float64 {
	busy := machineTime() - w.all - (w.b.cpuTime() - w.ours)
	return max(0, float64(busy)/float64(time.Since(w.at)))
}
