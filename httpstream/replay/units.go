package replay

import (
	"encoding/binary"
	"strings"

	"github.com/wiretape/wiretape/httpstream/tape"
)

// A counter counts how far one side of a two-way stream has come, in the units
// that the protocol has. Messages are better than bytes: a client that says the
// same with one digit more or less is at the same point of its conversation.
type counter interface {
	// count takes the bytes that come next and returns how many units they end.
	count(p []byte) int64
}

// newCounter returns a counter for what the client sends in an exchange, and
// whether its units are whole messages.
func newCounter(x *tape.Exchange) (c counter, messages bool) {
	switch {
	case x.IsWebSocket():
		return &messageCounter{frames: tape.FramesOf(x, true)}, true
	case isGRPC(x.Request.Header.Get("Content-Type")):
		return &grpcCounter{}, true
	}
	return byteCounter{}, false
}

// countLine is count for a line of the tape.
func countLine(c counter, l *tape.Line) int64 {
	if m, ok := c.(*messageCounter); ok {
		return m.line(l)
	}
	return c.count(l.Data)
}

func isGRPC(contentType string) bool {
	t := strings.ToLower(contentType)
	return strings.HasPrefix(t, "application/grpc") && !strings.HasPrefix(t, "application/grpc-web-text")
}

type byteCounter struct{}

func (byteCounter) count(p []byte) int64 { return int64(len(p)) }

// A grpcCounter counts length-prefixed messages.
type grpcCounter struct {
	head []byte
	left uint32
}

func (c *grpcCounter) count(p []byte) (n int64) {
	for len(p) > 0 {
		if c.left > 0 {
			m := min(c.left, uint32(min(len(p), 1<<30)))
			if p, c.left = p[m:], c.left-m; c.left == 0 {
				n++
			}
			continue
		}
		c.head, p = append(c.head, p[0]), p[1:]
		if len(c.head) == 5 { // a compression flag and four bytes of length
			if c.left = binary.BigEndian.Uint32(c.head[1:]); c.left == 0 {
				n++
			}
			c.head = c.head[:0]
		}
	}
	return n
}
