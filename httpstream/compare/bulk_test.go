package compare

import (
	"testing"
	"time"
)

func TestALargeBodyThatCameAsFastAsItWentMayComeFaster(t *testing.T) {
	body := func(pieces int, size int64, every time.Duration) *Timing {
		var tm Timing
		for i := range pieces {
			tm.arrive(time.Duration(i) * every)
			tm.Bytes += size
		}
		return &tm
	}
	for _, tc := range []struct {
		name     string
		recorded *Timing
		held     bool
	}{
		{"a download", body(1000, 32<<10, 20*time.Millisecond), false},
		{"small events", body(100, 100, 20*time.Millisecond), true},
		{"large pieces with pauses", body(10, 64<<10, 400*time.Millisecond), true},
	} {
		s := shapes{rec: tc.recorded, now: body(10, 1<<20, time.Microsecond)}
		if why := s.heldBack(); (why != "") != tc.held {
			t.Errorf("%s: %q", tc.name, why)
		}
	}
}
