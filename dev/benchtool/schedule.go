//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// A schedule is when an origin sends: the head, then the chunks, since the
// request. It is the same for the same seed.
type schedule struct {
	head   time.Duration
	chunks []time.Duration
}

// newSchedule makes the irregular gaps of a token stream, 20 ms on average: one
// in ten follows at once, most within 35 ms, and some after up to 90 ms.
func newSchedule(seed uint64, length time.Duration) schedule {
	r := rand.New(rand.NewPCG(seed, 1))
	between := func(from, to time.Duration) time.Duration {
		return from + time.Duration(r.Int64N(int64(to-from)))
	}
	s := schedule{head: between(20*time.Millisecond, 80*time.Millisecond)}
	for at := s.head; ; {
		switch n := r.IntN(10); {
		case n == 0:
			at += between(0, 400*time.Microsecond)
		case n < 9:
			at += between(time.Millisecond, 35*time.Millisecond)
		default:
			at += between(20*time.Millisecond, 90*time.Millisecond)
		}
		if at >= length {
			return s
		}
		s.chunks = append(s.chunks, at)
	}
}

// pad makes an event about as long as one of a chat completion.
const pad = "----------------------------------------------------------------" +
	"----------------------------------------------------------------------------------------"

// appendEvent appends a server-sent event that says its number and when it was
// sent, in nanoseconds of the monotonic clock.
func appendEvent(b []byte, n int, sent int64) []byte {
	return fmt.Appendf(b, "data: %d %d %s\n\n", n, sent, pad)
}

// parseEvent reads the line of an event; ok is false for other lines.
func parseEvent(line []byte) (n int, sent int64, ok bool) {
	line, ok = bytes.CutPrefix(line, []byte("data: "))
	if !ok {
		return 0, 0, false
	}
	first, rest, _ := bytes.Cut(line, []byte(" "))
	second, _, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.Atoi(string(first))
	if err != nil {
		return 0, 0, false
	}
	sent, err = strconv.ParseInt(string(second), 10, 64)
	return n, sent, err == nil
}
