package replay

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"time"
)

const (
	// maxMarks bounds what progress remembers of a client that is far ahead.
	maxMarks = 4096
	// partialPatience is how long a client that is counted in bytes may be silent
	// in the middle of what it sent when it was recorded. After that it is taken
	// to have said the same in fewer bytes.
	partialPatience = 2 * time.Second
	// messagePatience is how much longer than it was recorded a client may be silent
	// where its next message is the cause of what follows.
	messagePatience = 30 * time.Second
)

// errSilent is a client that does not send what is waited for.
var errSilent = errors.New("the client is silent")

// progress follows what a client sends: who waits for it learns when it came
// how far.
type progress struct {
	units    counter // used by one goroutine, but for what it locks itself
	messages bool
	asked    int64         // what wait was called with last
	more     chan struct{} // told when something below changes

	mu    sync.Mutex
	marks []mark // by time; those before the last answer are gone
	last  mark
	end   time.Time // when the body ended; zero before
}

// A mark says that so many units were complete at a time.
type mark struct {
	units int64
	at    time.Time
}

// follow reads body to its end in a goroutine. It can't be stopped: a server
// ends it when it ends the request.
func follow(body io.Reader, c counter, messages bool, start time.Time) *progress {
	p := &progress{units: c, messages: messages, last: mark{at: start}, more: make(chan struct{}, 1)}
	go func() {
		buf := make([]byte, 16<<10)
		for {
			n, err := body.Read(buf)
			p.add(c.count(buf[:n]), time.Now(), err != nil)
			if err != nil {
				return
			}
		}
	}()
	return p
}

func (p *progress) add(units int64, at time.Time, ended bool) {
	p.mu.Lock()
	if units > 0 {
		p.last = mark{units: p.last.units + units, at: at}
		p.marks = append(p.marks, p.last)
		if len(p.marks) > maxMarks {
			p.thinOut()
		}
	}
	if ended {
		p.end = at
	}
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// thinOut forgets every second mark.
func (p *progress) thinOut() {
	kept := p.marks[:0]
	for i := 1; i < len(p.marks); i += 2 {
		kept = append(kept, p.marks[i])
	}
	if kept[len(kept)-1] != p.last {
		kept = append(kept, p.last)
	}
	p.marks = kept
}

// wait returns when the client had sent so many units, which may be in the past.
// Where the client has ended its body, that is when it did. The next call must
// ask for no fewer. A client from which nothing comes for as long as patience says
// ends the wait with errSilent.
func (p *progress) wait(ctx context.Context, units int64, patience time.Duration) (time.Time, error) {
	before := p.asked
	p.asked = units
	partial := time.NewTimer(partialPatience)
	defer partial.Stop()
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for {
		m, ok := p.reached(units)
		if ok {
			return m.at, nil
		}
		var stalled <-chan time.Time
		if !p.messages && m.units > before && units < math.MaxInt64 {
			partial.Reset(time.Until(m.at.Add(partialPatience)))
			stalled = partial.C
		}
		select {
		case <-p.more:
			silence.Reset(patience)
		case <-silence.C:
			return time.Time{}, errSilent
		case <-stalled:
			return m.at, nil
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// waitEnd returns when the client ended its body.
func (p *progress) waitEnd(ctx context.Context, patience time.Duration) (time.Time, error) {
	return p.wait(ctx, math.MaxInt64, patience)
}

// sent is how many units the client has sent.
func (p *progress) sent() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.units
}

// reached returns the mark at which units were complete, or else the last one.
func (p *progress) reached(units int64) (mark, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.marks) > 0 && p.marks[0].units < units {
		p.marks = p.marks[1:]
	}
	switch {
	case len(p.marks) > 0:
		return p.marks[0], true
	case p.last.units >= units:
		return p.last, true
	case !p.end.IsZero():
		return mark{p.last.units, p.end}, true
	}
	return p.last, false
}
