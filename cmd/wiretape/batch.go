package main

import (
	"io"
	"sync"
	"time"
)

const (
	// batchDelay is how long a line may wait for others; the first after a pause does not.
	batchDelay = 10 * time.Millisecond
	batchSize  = 32 << 10
)

// A batch writes what comes within batchDelay at once: a session tells of thousands of
// calls a second, and a terminal or a pipe is slow for each write.
type batch struct {
	w io.Writer

	mu      sync.Mutex
	held    []byte
	written time.Time   // when w was written to last
	timer   *time.Timer // nil unless it runs
}

func newBatch(w io.Writer) *batch { return &batch{w: w} }

// Write implements io.Writer. What can't be written later is lost, as for a reader that
// went away.
func (b *batch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = append(b.held, p...)
	switch {
	case len(b.held) >= batchSize, time.Since(b.written) >= batchDelay:
		return len(p), b.write()
	case b.timer == nil:
		b.timer = time.AfterFunc(batchDelay, b.flush)
	}
	return len(p), nil
}

// flush writes what is held.
func (b *batch) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.write()
}

// write writes what is held. The caller holds mu.
func (b *batch) write() error {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if len(b.held) == 0 {
		return nil
	}
	_, err := b.w.Write(b.held)
	b.held, b.written = b.held[:0], time.Now()
	return err
}
