//go:build !linux

package replay

func newAlarm() (alarm, error) { return newTimerAlarm(), nil }
