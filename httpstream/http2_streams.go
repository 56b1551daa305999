package httpstream

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// h2Streams are the exchanges of one relayed connection that are not over.
type h2Streams struct {
	sink   Sink
	unread Unread // what passes without being told of

	mu      sync.Mutex
	streams map[uint32]*h2Stream
	last    uint32 // highest stream that the client opened
	blind   bool   // no exchange begins any more
	passing bool   // a read from the server is on its way to the client and to the sink
	later   []func()
}

// pass is called when the server's bytes were read, and passed when they are with
// the client and the sink.
func (o *h2Streams) pass() {
	o.mu.Lock()
	o.passing = true
	o.mu.Unlock()
}

func (o *h2Streams) passed() {
	o.mu.Lock()
	later := o.later
	o.passing, o.later = false, nil
	o.mu.Unlock()
	for _, f := range later {
		f()
	}
}

// afterPass calls f when no bytes are passing: a client that takes a chunk and
// leaves must not leave before the sink has heard of the chunk.
func (o *h2Streams) afterPass(f func()) {
	o.mu.Lock()
	if o.passing {
		o.later = append(o.later, f)
		o.mu.Unlock()
		return
	}
	o.mu.Unlock()
	f()
}

// An h2Stream is one exchange. What the client sent is noted before it goes
// upstream, so that an answer always finds its stream, and told to the sink
// after, but for its beginning: by whichever direction comes first, so that causes come before effects.
type h2Stream struct {
	id uint32

	reqMu   sync.Mutex
	pending []func(*h2Stream) // request events that the sink has not heard
	x       Exchange

	resMu sync.Mutex
	ended bool
	final bool // the final response head was seen

	// Guarded by h2Streams.mu: a stream whose halves are both over is forgotten.
	requestDone, responseDone bool
}

func newH2Streams(sink Sink) *h2Streams {
	return &h2Streams{sink: sink, streams: make(map[uint32]*h2Stream)}
}

func (o *h2Streams) get(id uint32) *h2Stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.streams[id]
}

// begin notes a new exchange; nil if no more exchanges begin.
func (o *h2Streams) begin(id uint32, at time.Time, head *RequestHead) *h2Stream {
	s := &h2Stream{id: id}
	s.pending = append(s.pending, func(s *h2Stream) { s.x = o.sink.Request(at, head) })
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.blind {
		return nil
	}
	o.streams[id] = s
	return s
}

// opened reports whether id is a stream that the client opens only now.
func (o *h2Streams) opened(id uint32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id%2 == 0 || id <= o.last {
		return false
	}
	o.last = id
	return true
}

// done notes that one or both halves of a stream are over.
func (o *h2Streams) done(s *h2Stream, request, response bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.requestDone = s.requestDone || request
	s.responseDone = s.responseDone || response
	if s.requestDone && s.responseDone {
		delete(o.streams, s.id)
	}
}

// refuse ends the client's streams above last without an answer.
func (o *h2Streams) refuse(last uint32, at time.Time, end EndInfo) {
	for _, s := range o.take(func(s *h2Stream) bool { return s.id%2 == 1 && s.id > last }) {
		s.end(at, end)
	}
}

// close ends all exchanges and lets none begin.
func (o *h2Streams) close(at time.Time, end EndInfo) {
	o.mu.Lock()
	o.blind = true
	o.mu.Unlock()
	o.afterPass(func() {
		for _, s := range o.take(func(*h2Stream) bool { return true }) {
			s.end(at, end)
		}
	})
}

// take forgets streams and returns them, lowest first.
func (o *h2Streams) take(which func(*h2Stream) bool) []*h2Stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	var taken []*h2Stream
	for id, s := range o.streams {
		if which(s) {
			taken = append(taken, s)
			delete(o.streams, id)
		}
	}
	slices.SortFunc(taken, func(a, b *h2Stream) int { return cmp.Compare(a.id, b.id) })
	return taken
}

// unanswered counts the exchanges whose response has not ended.
func (o *h2Streams) unanswered() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, s := range o.streams {
		if !s.responseDone {
			n++
		}
	}
	return n
}

func (s *h2Stream) queue(event func(*h2Stream)) {
	s.reqMu.Lock()
	s.pending = append(s.pending, event)
	s.reqMu.Unlock()
}

// announce tells the sink that the exchange begins.
func (s *h2Stream) announce() {
	s.reqMu.Lock()
	defer s.reqMu.Unlock()
	if s.x == nil && len(s.pending) > 0 {
		s.pending[0](s)
		s.pending = s.pending[1:]
	}
}

// deliver tells the sink of the request events up to now.
func (s *h2Stream) deliver() {
	s.reqMu.Lock()
	defer s.reqMu.Unlock()
	for i, event := range s.pending {
		event(s)
		s.pending[i] = nil
	}
	s.pending = s.pending[:0]
}

// respond tells the sink of a response event, unless the response is over.
func (s *h2Stream) respond(event func(Exchange)) {
	s.deliver()
	s.resMu.Lock()
	defer s.resMu.Unlock()
	if !s.ended {
		event(s.x)
	}
}

func (s *h2Stream) end(at time.Time, end EndInfo) {
	s.respond(func(x Exchange) {
		s.ended = true
		x.End(at, end)
	})
}
