package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// runningCases is which cases are sent just now, for the live line.
type runningCases struct {
	line *liveLine

	mu    sync.Mutex
	speed float64
	tape  *placedTape
	all   []int // those that are sent, by number
	now   []int
	ended int
}

// start tells which cases of a tape are sent from here on, and how fast it is played.
func (c *runningCases) start(t *placedTape, numbers []int, speed float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tape, c.all, c.speed, c.now, c.ended = t, numbers, speed, nil, 0
}

// begins tells that a case is sent.
func (c *runningCases) begins(number int) {
	if c.line == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = append(c.now, number)
	c.show()
}

// ends tells that a case has its result.
func (c *runningCases) ends(number int) {
	if c.line == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended++
	c.now = slices.DeleteFunc(c.now, func(n int) bool { return n == number })
	c.show()
}

// show puts it on the line. The caller holds mu.
func (c *runningCases) show() {
	if c.tape == nil {
		return
	}
	nth := fmt.Sprintf("case %d of %d", min(c.ended+1, len(c.all)), len(c.all))
	if len(c.now) == 0 {
		if c.ended < len(c.all) {
			c.line.at(nth)
		} else {
			c.line.at("waiting for what the app still does")
		}
		return
	}
	t, first, more := c.tape, c.now[0], len(c.now)-1
	i := slices.IndexFunc(t.Cases, func(x *tape.Exchange) bool { return x.Number == first })
	if i < 0 {
		return
	}
	x, speed := t.Cases[i], c.speed
	text := nth + "  " + caseName(x)
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	var recorded time.Duration // read when somebody has waited long enough to look
	c.line.while(func(since time.Duration) string {
		if recorded == 0 {
			recorded = recordedLength(t.Tape, x)
		}
		line := text + "  " + report.Short(since.Truncate(100*time.Millisecond))
		if speed > 0 && recorded > 0 {
			line += " of " + report.Short(time.Duration(float64(recorded)/speed)) + " recorded"
		}
		return line
	})
}

// recordedLength is how long a case took when it was recorded; negative if that can't be read.
func recordedLength(t *tape.Tape, x *tape.Exchange) time.Duration {
	c, err := report.FromTape(t, x)
	if err != nil || c.Answer.Recorded == nil {
		return -1
	}
	return c.Answer.Recorded.End
}
