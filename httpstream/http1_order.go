package httpstream

import (
	"sync"
	"time"
)

// h1OrderPatience is how long a direction waits for the other to report what it
// read before. It bounds the wait for one that is stuck in a write.
const h1OrderPatience = 5 * time.Millisecond

// The directions of an h1Order.
const (
	h1FromClient = iota
	h1FromServer
)

// An h1Order lets two directions of a connection report what they read in the
// order of their reads. Bytes go on before they are reported, so an answer may
// arrive before its cause has been reported; it then waits a moment for that.
type h1Order struct {
	mu       sync.Mutex
	last     uint64           // how many reads there were
	open     [2]uint64        // the read that a direction has not reported yet; 0 for none
	skipped  [2]uint64        // the read that is not waited for any more
	reported [2]chan struct{} // closed when open is reported; nil if nobody waits
}

// begin numbers a read and returns its time. Later reads have later times.
func (o *h1Order) begin(dir int) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last++
	o.open[dir] = o.last
	return time.Now()
}

// wait returns when the other direction has reported its earlier read.
func (o *h1Order) wait(dir int) {
	other := 1 - dir
	o.mu.Lock()
	read := o.open[other]
	if read == 0 || read > o.open[dir] || read == o.skipped[other] {
		o.mu.Unlock()
		return
	}
	if o.reported[other] == nil {
		o.reported[other] = make(chan struct{})
	}
	reported := o.reported[other]
	o.mu.Unlock()

	patience := time.NewTimer(h1OrderPatience)
	defer patience.Stop()
	select {
	case <-reported:
	case <-patience.C:
		o.mu.Lock()
		o.skipped[other] = read
		o.mu.Unlock()
	}
}

// end says that the read is reported.
func (o *h1Order) end(dir int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open[dir] = 0
	if o.reported[dir] != nil {
		close(o.reported[dir])
		o.reported[dir] = nil
	}
}
