package httpstream

import "sync"

// An order has the two directions of a connection reported in the order of their
// reads, so that a cause is told before its effect. A read is stamped before its
// bytes go on, and so before anything can answer them; it is reported afterwards,
// by its own direction, or by the other one that has a later read to report. So
// nobody waits for a direction that is stuck in a write.
type order struct {
	mu    sync.Mutex
	reads []*orderedRead // stamped and not reported, oldest first

	reporting sync.Mutex // held during a report
}

// An orderedRead is one read of a direction.
type orderedRead struct{ report func() }

// stamp gives a read its place. From now on report may be called, by any goroutine,
// once: what it uses must stay as it is until settle or drop returns.
func (o *order) stamp(report func()) *orderedRead {
	r := &orderedRead{report}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads = append(o.reads, r)
	return r
}

// settle returns when r and all before it are reported.
func (o *order) settle(r *orderedRead) {
	o.reporting.Lock()
	defer o.reporting.Unlock()
	for o.holds(r) {
		o.oldest().report()
	}
}

// now reports all that was read before, and then calls report.
func (o *order) now(report func()) { o.settle(o.stamp(report)) }

// drop forgets a read that could not be passed on, unless it is reported already.
func (o *order) drop(r *orderedRead) {
	o.reporting.Lock()
	defer o.reporting.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.reads {
		if o.reads[i] == r {
			o.reads = append(o.reads[:i], o.reads[i+1:]...)
			return
		}
	}
}

func (o *order) holds(r *orderedRead) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.reads {
		if x == r {
			return true
		}
	}
	return false
}

// oldest takes the oldest read out.
func (o *order) oldest() *orderedRead {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.reads[0]
	o.reads = append(o.reads[:0], o.reads[1:]...)
	return r
}
