package relay

import (
	"sync"
)

// An Order has the two directions of a connection reported in the order of their
// reads, so that a cause is reported before its effect. A read is stamped before its
// bytes go on, and so before anything can answer them; it is reported afterwards,
// by its own direction, or by the other one that has a later read to report. So
// nobody waits for a direction that is stuck in a write.
type Order struct {
	mu    sync.Mutex
	reads []*Read // stamped and not reported, oldest first

	reporting sync.Mutex // held during a report
}

// A Read is one read of a direction. It can be used again once it is delivered or
// dropped.
type Read struct{ report func() }

// NewRead returns a read that is reported by a call of report.
func NewRead(report func()) *Read { return &Read{report} }

// Stamp gives a read its place. From now on its report may be called, by any
// goroutine, once: what it uses must stay as it is until Deliver or Drop returns.
func (o *Order) Stamp(r *Read) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads = append(o.reads, r)
}

// Deliver returns when r and all before it are reported.
func (o *Order) Deliver(r *Read) {
	o.reporting.Lock()
	defer o.reporting.Unlock()
	for o.holds(r) {
		o.oldest().report()
	}
}

// Report reports all that was read before, and then calls report.
func (o *Order) Report(report func()) {
	r := NewRead(report)
	o.Stamp(r)
	o.Deliver(r)
}

// Drop forgets a read that could not be passed on, unless it is reported already.
func (o *Order) Drop(r *Read) {
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

func (o *Order) holds(r *Read) bool {
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
func (o *Order) oldest() *Read {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.reads[0]
	o.reads = append(o.reads[:0], o.reads[1:]...)
	return r
}
