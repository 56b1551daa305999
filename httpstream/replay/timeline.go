package replay

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// errNoEnd is a stream that stops without an end line and without an error.
var errNoEnd = errors.New("replay: the stream has no end line")

// A step is one thing that happened in an exchange. Which fields are set
// depends on what.
type step struct {
	at   time.Duration
	what happening
	head *httpstream.ResponseHead
	line tape.Line
}

type happening uint8

const (
	interimHead happening = iota
	finalHead
	serverChunk
	clientChunk
	clientEnd // the request was complete
	serverEnd // the last step
)

// A timeline gives the steps of an exchange in the order in which they happened.
type timeline struct {
	lines   lineSource
	interim []tape.Response
	head    *tape.Response
	stored  bool          // the exchange has a stream
	tunnel  bool          // it is opened by the head
	took    time.Duration // when the client ended its request; 0 if that has no place in the order

	ahead tape.Line // read, and waiting for others to go first
	has   bool      // ahead is set
	err   error     // why no line follows
	last  time.Duration
}

func newTimeline(lines lineSource, x *tape.Exchange, interim []tape.Response) timeline {
	t := timeline{lines: lines, interim: interim, head: x.Response, stored: x.HasStream(), tunnel: tunnel(x)}
	if x.TwoWay && !t.tunnel {
		t.took = x.Request.Took
	}
	return t
}

// tunnel reports whether what the client sends behind the head is no request body.
func tunnel(x *tape.Exchange) bool {
	return x.Request.Method == "CONNECT" || x.Response != nil && x.Response.Head.Status == 101
}

func (t *timeline) close() { t.lines.close() }

// next returns the next step. An error means that the recording stops here
// without saying how the exchange ended.
func (t *timeline) next(ctx context.Context) (step, error) {
	if err := t.peek(ctx); err != nil {
		return step{}, err
	}
	h := t.nextHead()
	var l *tape.Line
	if t.has {
		l = &t.ahead
	}
	// A head that is as old as a client line goes first: heads have no place
	// among the lines, and what waits for nothing can't be waited for in vain.
	headFirst := h != nil && (l == nil || !l.FromClient || h.At <= l.At || t.tunnel)
	if t.took > 0 && (headFirst && h.At > t.took || !headFirst && l != nil && l.At > t.took) {
		at := t.took
		t.took = 0
		return step{at: at, what: clientEnd}, nil
	}
	switch {
	case headFirst:
		return t.takeHead(h), nil
	case l == nil:
		return step{}, t.err
	}
	t.has = false
	s := step{at: l.At, what: serverChunk, line: *l}
	switch {
	case l.End != nil:
		s.what = serverEnd
	case l.FromClient:
		s.what = clientChunk
	}
	return s, nil
}

func (t *timeline) nextHead() *tape.Response {
	if len(t.interim) > 0 {
		return &t.interim[0]
	}
	return t.head
}

func (t *timeline) takeHead(h *tape.Response) step {
	t.last = h.At
	if len(t.interim) > 0 {
		t.interim = t.interim[1:]
		return step{at: h.At, what: interimHead, head: &h.Head}
	}
	t.head = nil
	return step{at: h.At, what: finalHead, head: &h.Head}
}

// peek reads a line into ahead, or into err why there is none, so that heads
// come before that. It returns an error only where ctx is done.
func (t *timeline) peek(ctx context.Context) error {
	if t.has || t.err != nil {
		return nil
	}
	l, err := t.lines.next(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		t.ahead, t.has = l, true
	case !errors.Is(err, io.EOF):
		t.err = err
	case t.stored:
		t.err = errNoEnd
	default:
		t.endWithHead()
	}
	return nil
}

// endWithHead makes up the end of an exchange without a stream: its last head
// is all there is of it.
func (t *timeline) endWithHead() {
	at := t.last
	if t.head != nil {
		at = t.head.At
	}
	t.ahead, t.has = tape.Line{At: at, End: &httpstream.EndInfo{How: httpstream.EOF}}, true
}
