package replay

import (
	"math/bits"
	"time"
)

// Lateness is how long after their deadlines the bytes of an exchange were
// written, a slow client's back-pressure included. P50 and P99 are the upper ends
// of ranges that are at most a quarter wide.
type Lateness struct {
	P50, P99, Max time.Duration
}

// A histogram counts durations in buckets of microseconds, four to each power
// of two, in constant memory.
type histogram struct {
	counts [4 * 34]uint32 // up to 2^33 µs, more than two hours
	total  uint32
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.max = max(h.max, d)
	h.total++
	h.counts[bucket(uint64(d/time.Microsecond))]++
}

// bucket returns the index for a number of microseconds: the number itself up
// to 7, then its power of two and the two bits below the highest.
func bucket(us uint64) int {
	if us < 8 {
		return int(us)
	}
	n := bits.Len64(us)
	return min(4*(n-2)+int(us>>(n-3)&3), len(histogram{}.counts)-1)
}

// upper returns the end of a bucket.
func upper(bucket int) time.Duration {
	if bucket < 8 {
		return time.Duration(bucket+1) * time.Microsecond
	}
	n := bucket/4 + 2
	return time.Duration((4+bucket%4+1)<<(n-3)) * time.Microsecond
}

func (h *histogram) lateness() Lateness {
	return Lateness{P50: h.quantile(50), P99: h.quantile(99), Max: h.max}
}

func (h *histogram) quantile(percent uint32) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := (uint64(h.total)*uint64(percent) + 99) / 100
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += uint64(c); seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}
