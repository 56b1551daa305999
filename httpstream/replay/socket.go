package replay

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

// open opens the stream of an exchange; that of a WebSocket as frames, also where
// the tape has the bytes as they were on the wire, as format 1 has.
func (p *Player) open(x *tape.Exchange) (LineReader, error) {
	r, err := p.Lines(x)
	if err != nil || !x.IsWebSocket() {
		return r, err
	}
	return &socketReader{LineReader: r, x: x}, nil
}

// A socketReader gives the lines of a WebSocket as frames.
type socketReader struct {
	LineReader
	x      *tape.Exchange
	framed bool               // the tape has frames
	both   *tape.Conversation // else
	ready  []tape.Line
	err    error
}

// Next implements LineReader.
func (r *socketReader) Next() (tape.Line, error) {
	for len(r.ready) == 0 && r.err == nil {
		l, err := r.LineReader.Next()
		if err != nil {
			r.err = err
			break
		}
		r.err = r.add(&l)
	}
	if len(r.ready) == 0 {
		return tape.Line{}, r.err
	}
	l := r.ready[0]
	r.ready = r.ready[1:]
	return l, nil
}

func (r *socketReader) add(l *tape.Line) error {
	keep := func(l *tape.Line) error {
		kept := *l
		kept.Data, kept.Deflated = bytes.Clone(l.Data), bytes.Clone(l.Deflated)
		r.ready = append(r.ready, kept)
		return nil
	}
	if l.End != nil || !r.framed && l.Frame != nil {
		r.finish(keep)
	}
	if r.framed = r.framed || l.Frame != nil; r.framed || l.End != nil {
		return keep(l)
	}
	if r.both == nil {
		r.both = tape.ConversationOf(r.x)
	}
	return r.both.Add(l, keep)
}

// finish gives out what is held of frames.
func (r *socketReader) finish(keep func(*tape.Line) error) {
	if r.both != nil {
		_ = r.both.Close(keep) // keep has no error
		r.both = nil
	}
}

// Close implements LineReader.
func (r *socketReader) Close() error {
	r.finish(func(*tape.Line) error { return nil })
	return r.LineReader.Close()
}

// A messageCounter counts the messages and close frames of a WebSocket (RFC 6455
// section 5.2). Pings and pongs run on timers of the client's own.
type messageCounter struct {
	frames   *tape.Frames
	messages tape.Messages
	said     unheard
	// ping is told of pings, and close of close frames; both may be nil.
	ping  func([]byte)
	close func(*tape.Line)

	text   []byte // of the message under way
	known  bool   // text is all of it so far
	broken bool   // what comes is not frames
}

const (
	maxCompared = 256 << 10 // bytes of a message that is compared
	maxSaid     = 1 << 20   // bytes of those that wait to be
	maxUnsaid   = 64 << 10  // messages that wait
)

// unheard are messages of one side that were not compared with the other's yet.
type unheard struct {
	mu    sync.Mutex
	list  []saying
	bytes int
	lost  bool // there were too many
}

// A saying is a message or a close frame.
type saying struct {
	text   []byte // nil for what is not compared
	closes bool
	code   int // of a close frame; 0 if it has none
}

func (s saying) String() string {
	switch {
	case s.closes:
		return strings.TrimSpace(fmt.Sprintf("close %d %s", s.code, s.text))
	case s.text == nil:
		return "a message"
	}
	return excerpt(s.text)
}

func (s *unheard) add(said saying) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+len(said.text) > maxSaid {
		said.text = nil
	}
	if s.lost = s.lost || len(s.list) >= maxUnsaid; !s.lost {
		s.list = append(s.list, said)
		s.bytes += len(said.text)
	}
}

// next takes the oldest message.
func (s *unheard) next() (said saying, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost || len(s.list) == 0 {
		return saying{}, false
	}
	said = s.list[0]
	s.list = s.list[1:]
	s.bytes -= len(said.text)
	return said, true
}

// line takes a line that stands on the tape, or that Frames gave out.
func (c *messageCounter) line(l *tape.Line) int64 {
	ends := c.messages.Next(l)
	switch {
	case l.Frame != nil && l.Frame.Op == websocket.Close:
		c.said.add(saying{bytes.Clone(l.Data), true, l.Frame.Status})
		if c.close != nil {
			c.close(l)
		}
		return 1
	case l.Frame != nil && l.Frame.Op == websocket.Ping && c.ping != nil:
		c.ping(l.Data)
		return 0
	case l.Frame != nil && l.Frame.Op > websocket.Close:
		return 0
	case l.Frame == nil && !l.Rest:
		return c.breaks(l)
	case l.Frame != nil && l.Frame.Op != websocket.Continuation:
		c.text, c.known = []byte{}, true
	}
	if c.known = c.known && !l.Unread && len(c.text)+len(l.Data) <= maxCompared; c.known {
		c.text = append(c.text, l.Data...)
	} else {
		c.text = nil
	}
	if !ends {
		return 0
	}
	c.said.add(saying{text: c.text})
	c.text = nil
	return 1
}

// breaks takes bytes that are not frames. Where they begin, a server fails the
// connection, unless they are a frame that was cut off.
func (c *messageCounter) breaks(l *tape.Line) int64 {
	if c.broken {
		return 0
	}
	c.broken = true
	if h, n, err := websocket.ParseHeader(l.Data); err == nil && (n == 0 || h.Masked) {
		return 0
	}
	c.said.add(saying{})
	return 1
}

func (c *messageCounter) count(p []byte) (n int64) {
	_ = c.frames.Add(&tape.Line{Chunk: httpstream.Chunk{Data: p}}, func(l *tape.Line) error {
		n += c.line(l)
		return nil
	})
	return n
}

func (p *play) differsAt(detail string) *event.Problem {
	return &event.Problem{
		Kind: event.Mismatch, Call: p.x.Number, Err: errors.New(detail),
		Next: "if the app is right to say this, record the call again; if it is noise, name it in noise.request.body or noise.request.text of wiretape.yaml",
	}
}

// errClosedElsewhere ends the play of a WebSocket whose client closed it where it said
// something else when it was recorded.
var errClosedElsewhere = errors.New("the client closed the WebSocket elsewhere")

// endClosed ends a WebSocket that its client has closed: nothing of what was recorded
// behind it can be said any more.
func (p *play) endClosed() error {
	select {
	case answer := <-p.socket.closed:
		return p.answerClose(answer)
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// answerClose ends a WebSocket with the answer to its client's close frame (RFC 6455
// section 5.5.1).
func (p *play) answerClose(answer []byte) error {
	if err := p.socket.answerClose(answer); err != nil {
		return err
	}
	return p.end(&httpstream.EndInfo{How: httpstream.EOF})
}

// compare looks at the messages that both the recording and the client have. The
// first that differs is an error, which does not end the answer: what the server
// said then is all that is known.
func (p *play) compare() {
	recorded, ok := p.recorded.(*messageCounter)
	if !ok || p.player.Differ == nil {
		return
	}
	now := p.client.units.(*messageCounter)
	for p.compared < p.needed && p.compared < p.client.sent() {
		was, ok1 := recorded.said.next()
		is, ok2 := now.said.next()
		if !ok1 || !ok2 {
			return
		}
		p.compared++
		if p.differs != nil {
			continue
		}
		p.closedElsewhere = is.closes && !was.closes && p.socket != nil
		if was.closes != is.closes || was.closes && was.code != is.code {
			p.differs = p.differsAt(fmt.Sprintf("the client's message %d differs: it was %v, is %v", p.compared, was, is))
			continue
		}
		if was.closes || was.text == nil || is.text == nil {
			continue
		}
		for _, d := range p.player.Differ(p.x.Case, was.text, is.text) {
			p.differs = p.differsAt(fmt.Sprintf("the client's message %d differs: %s was %s, is %s", p.compared, d.Where, d.Recorded, d.Now))
			break
		}
	}
}
