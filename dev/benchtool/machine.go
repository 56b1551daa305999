//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wiretape/wiretape/dev/benchtool/results"
)

const (
	// maxLoad is the load average above which there is a warning at the start. It
	// looks back a minute, so claims don't depend on it.
	maxLoad = 1.0
	// quietOthers is what -quiet waits for before a round, and quietFor how long
	// it looks.
	quietOthers = 0.05
	quietFor    = 2 * time.Second
)

// tick is the unit of time in /proc (USER_HZ, 100 on all that Go runs on).
const tick = 10 * time.Millisecond

// machine says what machine it is, and how busy.
func (b *bench) machine() (results.Machine, error) {
	m := results.Machine{
		When: time.Now().UTC().Format("2006-01-02 15:04 UTC"), CPUs: runtime.NumCPU(), Model: cpuModel(),
		Go: runtime.Version(), Wiretape: b.version,
	}
	var err error
	if m.Load, err = loadAverage(); err != nil {
		return m, err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return m, err
	}
	m.Kernel = unix.ByteSliceToString(name.Release[:])
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return m, err
	}
	m.Memory = int64(info.Totalram) * int64(info.Unit)
	return m, nil
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
		if others <= results.MaxOthers || !time.Now().Before(b.give) {
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

// lookBefore looks how busy the machine is before a figure, during which that
// can't be told.
func (b *bench) lookBefore(ctx context.Context, f *results.Figure) error {
	if err := b.awaitQuiet(ctx); err != nil {
		return err
	}
	w := b.watch()
	if err := sleep(ctx, quietFor); err != nil {
		return err
	}
	b.worst, f.Before = w.others(), true
	return nil
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

// cpuTime is what the child's process group has used up to now, without processes
// of it that have ended.
func (c *child) cpuTime() time.Duration {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var sum int64
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The command's name may hold anything, and ends with the last parenthesis.
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if len(fields) < 13 || fields[2] != strconv.Itoa(c.cmd.Process.Pid) {
			continue
		}
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		sum += user + system
	}
	return time.Duration(sum) * tick
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
