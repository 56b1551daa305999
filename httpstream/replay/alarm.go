package replay

import "time"

// A timerAlarm is an alarm by the runtime's own timers.
type timerAlarm struct{ timer *time.Timer }

func newTimerAlarm() alarm {
	t := time.NewTimer(time.Hour)
	return timerAlarm{t}
}

func (a timerAlarm) set(at time.Time) { a.timer.Reset(time.Until(at)) }
func (a timerAlarm) wait()            { <-a.timer.C }
func (a timerAlarm) close()           { a.timer.Stop() }
