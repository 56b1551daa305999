package netns

import (
	"errors"
	"sync"
	"time"
)

// maxRecent is how many namespaces are kept open at most.
const maxRecent = 64

// A Recent keeps namespaces open that are used again and again, so that nobody needs
// a process of theirs to find them. It keeps each from ending until it was not used for
// some time. It is safe for concurrent use.
type Recent struct {
	idle time.Duration

	mu       sync.Mutex
	byCookie map[uint64]*recent
	timer    *time.Timer // until the next look for idle ones; nil if there are none
	closed   bool
}

type recent struct {
	ns   *NS
	used time.Time
}

// NewRecent keeps each namespace until it was not used for idle, and no longer than
// twice that.
func NewRecent(idle time.Duration) *Recent {
	return &Recent{idle: idle, byCookie: make(map[uint64]*recent)}
}

// Get returns the namespace with the SO_NETNS_COOKIE, or nil. It may be closed at any
// time, but not soon.
func (r *Recent) Get(cookie uint64) *NS {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.byCookie[cookie]
	if n == nil {
		return nil
	}
	n.used = time.Now()
	return n.ns
}

// Keep takes ns over, and reports whether it did: only if it has the cookie, which is
// not always so where a process has threads in several namespaces.
func (r *Recent) Keep(cookie uint64, ns *NS) bool {
	if c, err := ns.Cookie(); err != nil || c != cookie {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.byCookie[cookie] != nil || len(r.byCookie) >= maxRecent {
		return false
	}
	r.byCookie[cookie] = &recent{ns, time.Now()}
	if r.timer == nil {
		r.timer = time.AfterFunc(r.idle, r.sweep)
	}
	return true
}

// sweep closes what was not used.
func (r *Recent) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	for cookie, n := range r.byCookie {
		if time.Since(n.used) >= r.idle {
			delete(r.byCookie, cookie)
			_ = n.ns.Close()
		}
	}
	r.timer = nil
	if len(r.byCookie) > 0 {
		r.timer = time.AfterFunc(r.idle, r.sweep)
	}
}

// Close closes all of them.
func (r *Recent) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
	var errs []error
	for _, n := range r.byCookie {
		errs = append(errs, n.ns.Close())
	}
	r.byCookie = nil
	return errors.Join(errs...)
}
