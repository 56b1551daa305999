package record

import (
	"math/bits"
	"sync"

	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// itemCost is what an item takes beside its data, and exchangeCost what one takes
// that has an exchange with the fields of its heads, in bytes.
const (
	itemCost     = 256
	exchangeCost = 3 << 10
)

// pooledFrom is the size from which on buffers are kept for the next chunk;
// below it the allocator does better.
const pooledFrom = 4 << 10

// An item waits for the writer goroutine. What is set is done in this order.
type item struct {
	x        *exchange
	exchange *tape.Exchange  // not yet redacted
	asked    bool            // the request is at its end
	streams  bool            // it has a stream file
	line     *tape.Line      // with bytes
	end      *tape.Line      // the last
	pooled   *[]byte         // holds the line's data; to be given back
	event    *event.Exchange // with it the exchange is done
	note     *tape.Note
	cost     int64
}

// A queue holds items up to a number of bytes, between many goroutines and one.
type queue struct {
	max  int64
	pool sync.Pool // *[]byte

	mu      sync.Mutex
	room    sync.Cond
	filled  sync.Cond
	items   []*item
	pending int64
	closed  bool // nothing more comes
	aborted bool // nothing more is wanted
}

func newQueue(limit int64) *queue {
	q := &queue{max: limit}
	q.room.L = &q.mu
	q.filled.L = &q.mu
	return q
}

// copy returns a copy of data, and the pooled buffer that it is in, if it is in one.
func (q *queue) copy(data []byte) ([]byte, *[]byte) {
	if len(data) < pooledFrom {
		return append(make([]byte, 0, len(data)), data...), nil
	}
	p, _ := q.pool.Get().(*[]byte)
	if p == nil {
		p = new([]byte)
	}
	if cap(*p) < len(data) {
		*p = make([]byte, 0, 1<<bits.Len(uint(len(data)-1)))
	}
	*p = append((*p)[:0], data...)
	return *p, p
}

// push adds an item, and waits while the queue is full.
func (q *queue) push(it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.pending > 0 && q.pending+it.cost > q.max && !q.aborted && !q.closed {
		q.room.Wait()
	}
	if q.aborted || q.closed {
		return
	}
	q.items = append(q.items, it)
	q.pending += it.cost
	q.filled.Signal()
}

// take waits for items and returns all that are there; nil at the end. The slice
// spare is used for the items to come.
func (q *queue) take(spare []*item) []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed && !q.aborted {
		q.filled.Wait()
	}
	if len(q.items) == 0 || q.aborted {
		return nil
	}
	batch := q.items
	q.items = spare[:0]
	return batch
}

// release says that an item is done with.
func (q *queue) release(it *item) {
	if it.pooled != nil {
		q.pool.Put(it.pooled)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending -= it.cost
	q.room.Broadcast()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Signal()
	q.room.Broadcast()
}

func (q *queue) abort() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.aborted = true
	q.filled.Signal()
	q.room.Broadcast()
}

func (q *queue) isAborted() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.aborted
}
