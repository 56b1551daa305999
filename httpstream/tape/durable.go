package tape

import (
	"sync"
	"time"
)

// syncEvery is the least time between two waits for the disk.
const syncEvery = 50 * time.Millisecond

// A syncer makes what was written durable, in the background. File systems commit
// for all files at once, so one wait does for every exchange that ended meanwhile,
// and nobody who writes waits for the disk.
type syncer struct {
	sync   func(files []string) error
	failed func(error)

	mu     sync.Mutex
	files  []string // written since the last sync, relative to the tape
	more   sync.Cond
	closed bool
	done   chan struct{} // closed when all is durable
}

// newSyncer returns a syncer that runs one goroutine until close. What sync, which
// gets the files' names in the tape, can't do is told to failed.
func newSyncer(sync func([]string) error, failed func(error)) *syncer {
	s := &syncer{sync: sync, failed: failed, done: make(chan struct{})}
	s.more.L = &s.mu
	go s.run()
	return s
}

// add has files made durable soon.
func (s *syncer) add(files ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = append(s.files, files...)
	s.more.Signal()
}

// close returns when everything is durable.
func (s *syncer) close() {
	s.mu.Lock()
	s.closed = true
	s.more.Signal()
	s.mu.Unlock()
	<-s.done
}

func (s *syncer) run() {
	defer close(s.done)
	for {
		files, last := s.next()
		if len(files) > 0 {
			if err := s.sync(files); err != nil {
				s.failed(err)
			}
		}
		if last {
			return
		}
		time.Sleep(syncEvery)
	}
}

// next waits for files; last is set when no more come.
func (s *syncer) next() (files []string, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.files) == 0 && !s.closed {
		s.more.Wait()
	}
	files, s.files = s.files, nil
	return files, s.closed
}
