package http2

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// streamTable are the exchanges of one relayed connection that are not over.
type streamTable struct {
	sink   httpstream.Sink
	unread relay.Unread // what passes without being told of

	mu      sync.Mutex
	streams map[uint32]*stream
	last    uint32 // highest stream that the client opened
	blind   bool   // no exchange begins any more
}

// A stream is one exchange. It is noted before its request goes upstream, so
// that an answer always finds it; what happens in it is told in the relay's order.
type stream struct {
	id uint32

	begin func() // tells the sink that the exchange begins, once
	x     httpstream.Exchange

	resMu sync.Mutex
	ended bool
	final bool // the final response head was seen

	// Guarded by streamTable.mu: a stream whose halves are both over is forgotten.
	requestDone, responseDone bool
}

func newStreamTable(sink httpstream.Sink) *streamTable {
	return &streamTable{sink: sink, streams: make(map[uint32]*stream)}
}

// asked is get for what belongs to a request: what a client sends behind the end of
// one is for upstream to refuse (RFC 9113 section 5.1).
func (o *streamTable) asked(id uint32) *stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.streams[id]; s != nil && !s.requestDone {
		return s
	}
	return nil
}

func (o *streamTable) get(id uint32) *stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.streams[id]
}

// begin notes a new exchange; nil if no more exchanges begin.
func (o *streamTable) begin(id uint32, at time.Time, head *httpstream.RequestHead) *stream {
	s := &stream{id: id}
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
func (o *streamTable) opened(id uint32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id%2 == 0 || id <= o.last {
		return false
	}
	o.last = id
	return true
}

// done notes that one or both halves of a stream are over.
func (o *streamTable) done(s *stream, request, response bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.requestDone = s.requestDone || request
	s.responseDone = s.responseDone || response
	if s.requestDone && s.responseDone {
		delete(o.streams, s.id)
	}
}

// refuse ends the client's streams above last without an answer.
func (o *streamTable) refuse(last uint32, at time.Time, end httpstream.EndInfo) {
	for _, s := range o.take(func(s *stream) bool { return s.id%2 == 1 && s.id > last }) {
		s.end(at, end)
	}
}

// close ends all exchanges and lets none begin.
func (o *streamTable) close(at time.Time, end httpstream.EndInfo) {
	o.mu.Lock()
	o.blind = true
	o.mu.Unlock()
	for _, s := range o.take(func(*stream) bool { return true }) {
		s.end(at, end)
	}
}

// take forgets streams and returns them, lowest first.
func (o *streamTable) take(which func(*stream) bool) []*stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	var taken []*stream
	for id, s := range o.streams {
		if which(s) {
			taken = append(taken, s)
			delete(o.streams, id)
		}
	}
	slices.SortFunc(taken, func(a, b *stream) int { return cmp.Compare(a.id, b.id) })
	return taken
}

// unanswered counts the exchanges whose response has not ended.
func (o *streamTable) unanswered() int {
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
func (s *stream) respond(event func(httpstream.Exchange)) {
	s.begin()
	s.resMu.Lock()
	defer s.resMu.Unlock()
	if !s.ended {
		event(s.x)
	}
}

func (s *stream) end(at time.Time, end httpstream.EndInfo) {
	s.respond(func(x httpstream.Exchange) {
		s.ended = true
		x.End(at, end)
	})
}
