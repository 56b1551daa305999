package replay

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A timerfdAlarm is a timerfd that a goroutine blocks on, in read. The runtime's
// own timers end in epoll_wait, whose timeout counts in milliseconds.
type timerfdAlarm struct {
	fd int
	// epoch and clock are the same moment, as Go's and as CLOCK_MONOTONIC's time.
	epoch time.Time
	clock int64
}

func newAlarm() (alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("replay: timerfd_create: %w", err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("replay: clock_gettime: %w", err)
	}
	return &timerfdAlarm{fd: fd, epoch: time.Now(), clock: ts.Nano()}, nil
}

func (a *timerfdAlarm) set(at time.Time) {
	// Zero would disarm it; what has passed goes off at once.
	ns := max(a.clock+int64(at.Sub(a.epoch)), 1)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(ns)}
	if err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		panic(fmt.Sprintf("replay: timerfd_settime: %v", err)) // only for arguments that are wrong
	}
}

func (a *timerfdAlarm) wait() {
	var expirations [8]byte
	for {
		// A change of the alarm's time restarts the count, and the read goes on.
		if _, err := unix.Read(a.fd, expirations[:]); err != unix.EINTR {
			return
		}
	}
}

func (a *timerfdAlarm) close() { unix.Close(a.fd) }
