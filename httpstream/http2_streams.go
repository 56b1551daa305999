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
}

// An h2Stream is one exchange. It is noted before its request goes upstream, so
// that an answer always finds it; what happens in it is told in the relay's order.
type h2Stream struct {
	id uint32

	begin func() // tells the sink that the exchange begins, once
	x     Exchange

	resMu sync.Mutex
	ended bool
	final bool // the final response head was seen

	// Guarded by h2Streams.mu: a stream whose halves are both over is forgotten.
	requestDone, responseDone bool
}

func newH2Streams(sink Sink) *h2Streams {
	return &h2Streams{sink: sink, streams: make(map[uint32]*h2Stream)}
}

// asked is get for what belongs to a request: what a client sends behind the end of
// one is for upstream to refuse (RFC 9113 section 5.1).
func (o *h2Streams) asked(id uint32) *h2Stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.streams[id]; s != nil && !s.requestDone {
		return s
	}
	return nil
}

func (o *h2Streams) get(id uint32) *h2Stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.streams[id]
}

// begin notes a new exchange; nil if no more exchanges begin.
func (o *h2Streams) begin(id uint32, at time.Time, head *RequestHead) *h2Stream {
	s := &h2Stream{id: id}
	s.begin = sync.OnceFunc(func() { s.x = o.sink.Request(at, head) })
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
	for _, s := range o.take(func(*h2Stream) bool { return true }) {
		s.end(at, end)
	}
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

// respond tells the sink of a response event, unless the response is over.
func (s *h2Stream) respond(event func(Exchange)) {
	s.begin()
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
