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
	case isWebSocket(x):
		return &webSocketCounter{}, true
	case isGRPC(x.Request.Header.Get("Content-Type")):
		return &grpcCounter{}, true
	}
	return byteCounter{}, false
}

// isWebSocket covers the HTTP/1.1 upgrade (RFC 6455) and the extended CONNECT
// of HTTP/2 (RFC 8441).
func isWebSocket(x *tape.Exchange) bool {
	if x.Response == nil || !x.Request.Header.Has("Sec-WebSocket-Version") {
		return false
	}
	status := x.Response.Head.Status
	return status == 101 || x.Request.Method == "CONNECT" && status == 200
}

func isGRPC(contentType string) bool {
	t := strings.ToLower(contentType)
	return strings.HasPrefix(t, "application/grpc") && !strings.HasPrefix(t, "application/grpc-web-text")
}

type byteCounter struct{}

func (byteCounter) count(p []byte) int64 { return int64(len(p)) }

// A webSocketCounter counts data messages and close frames (RFC 6455 section
// 5.2). Pings and pongs run on timers of the client's own.
type webSocketCounter struct {
	head []byte // of a frame, as far as it is here
	left uint64 // of its payload
	ends bool   // the frame ends a unit
}

func (c *webSocketCounter) count(p []byte) (n int64) {
	for len(p) > 0 {
		if c.left > 0 {
			m := min(c.left, uint64(len(p)))
			p, c.left = p[m:], c.left-m
		} else {
			c.head, p = append(c.head, p[0]), p[1:]
			c.header()
		}
		if c.left == 0 && c.ends {
			c.ends = false
			n++
		}
	}
	return n
}

// header reads head if it is whole.
func (c *webSocketCounter) header() {
	if len(c.head) < 2 {
		return
	}
	size, length := 2, uint64(c.head[1]&0x7f)
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	lengthEnd := size
	if c.head[1]&0x80 != 0 {
		size += 4 // the masking key
	}
	if len(c.head) < size {
		return
	}
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(c.head[2:lengthEnd]))
	case 127:
		length = binary.BigEndian.Uint64(c.head[2:lengthEnd])
	}
	const opClose, opPing = 0x8, 0x9
	final, op := c.head[0]&0x80 != 0, c.head[0]&0x0f
	c.ends = final && op < opPing && (op < 0x3 || op == opClose)
	c.left = length
	c.head = c.head[:0]
}

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
