package results

import (
	"fmt"
	"math"
	"strconv"
)

// A Unit is what values are counted in.
type Unit string

// The units.
const (
	Nanoseconds Unit = "ns"
	PerSecond   Unit = "1/s"
	Bytes       Unit = "B"
	BytesPerSec Unit = "B/s"
	Files       Unit = "files"
	Share       Unit = "share"
)

// Format writes a value in as few digits as say something.
func (u Unit) Format(v float64) string {
	switch u {
	case Nanoseconds:
		return duration(v)
	case PerSecond:
		return grouped(v) + "/s"
	case Bytes:
		return bytes(v)
	case BytesPerSec:
		return bytes(v) + "/s"
	case Share:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func duration(ns float64) string {
	switch us := ns / 1e3; {
	case math.Abs(us) < 10:
		return minus(fmt.Sprintf("%.1f µs", us))
	case math.Abs(us) < 1e3:
		return minus(fmt.Sprintf("%.0f µs", us))
	case math.Abs(us) < 100e3:
		return minus(fmt.Sprintf("%.2f ms", us/1e3))
	case math.Abs(us) < 1e6:
		return minus(fmt.Sprintf("%.0f ms", us/1e3))
	}
	return minus(fmt.Sprintf("%.2f s", ns/1e9))
}

func bytes(v float64) string {
	switch {
	case math.Abs(v) < 10<<10:
		return minus(fmt.Sprintf("%.0f B", v))
	case math.Abs(v) < 1<<20:
		return minus(fmt.Sprintf("%.1f KiB", v/(1<<10)))
	}
	return minus(fmt.Sprintf("%.1f MiB", v/(1<<20)))
}

// grouped sets a comma between thousands.
func grouped(v float64) string {
	if math.Abs(v) < 100 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return minus(s)
}

// minus sets the typographic minus.
func minus(s string) string {
	if len(s) > 0 && s[0] == '-' {
		return "−" + s[1:]
	}
	return s
}
