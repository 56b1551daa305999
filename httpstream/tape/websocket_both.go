package tape

import (
	"time"

	"github.com/wiretape/wiretape/httpstream/websocket"
)

// A Conversation turns the bytes of a WebSocket, those of both directions in the order
// in which they came, into lines in that order.
type Conversation struct {
	sides  [2]*Frames // the server's, the client's
	last   time.Duration
	closed [2]bool // a close frame was given out
}

// ConversationOf returns what turns the bytes of x into lines.
func ConversationOf(x *Exchange) *Conversation {
	return &Conversation{sides: [2]*Frames{FramesOf(x, false), FramesOf(x, true)}}
}

// Add takes the bytes of a raw line and gives lines to emit, whose data is valid until
// emit returns. What the other side has said of a frame by then stands before them.
func (c *Conversation) Add(l *Line, emit func(*Line) error) error {
	side, other := c.sides[0], c.sides[1]
	if l.FromClient {
		side, other = other, side
	}
	emit = c.ordered(emit)
	return side.Add(l, func(l *Line) error {
		if err := other.Cut(emit); err != nil {
			return err
		}
		return emit(l)
	})
}

// Close gives out what is held of frames whose rest does not come.
func (c *Conversation) Close(emit func(*Line) error) error {
	emit = c.ordered(emit)
	first, second := c.sides[0], c.sides[1]
	if second.at < first.at {
		first, second = second, first
	}
	if err := first.Close(emit); err != nil {
		return err
	}
	return second.Close(emit)
}

// ordered is emit for lines none of which is older than the one before.
func (c *Conversation) ordered(emit func(*Line) error) func(*Line) error {
	return func(l *Line) error {
		l.At = max(l.At, c.last)
		c.last = l.At
		if l.Frame != nil && l.Frame.Op == websocket.Close {
			side := 0
			if l.FromClient {
				side = 1
			}
			c.closed[side] = true
		}
		return emit(l)
	}
}

// Ended reports whether both sides have closed the WebSocket, after which it has no
// more messages (RFC 6455 section 7.1.1).
func (c *Conversation) Ended() bool { return c.closed[0] && c.closed[1] }
