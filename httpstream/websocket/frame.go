// Package websocket reads and writes the frames of a WebSocket (RFC 6455) and what
// its handshake agrees on.
package websocket

import (
	"crypto/sha1" // RFC 6455 section 4.2.2 wants it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"github.com/wiretape/wiretape/httpstream"
)

// Accept is the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key
// (RFC 6455 section 4.2.2).
func Accept(key string) string {
	sum := sha1.Sum([]byte(strings.TrimSpace(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// The opcodes of WebSocket frames (RFC 6455 section 5.2).
const (
	Continuation = 0x0
	Text         = 0x1
	Binary       = 0x2
	Close        = 0x8
	Ping         = 0x9
	Pong         = 0xa
)

// Reserved1 is the reserved bit that marks a compressed message (RFC 7692 section 6).
const Reserved1 = 4

// A Header is the header of a WebSocket frame (RFC 6455 section 5.2).
type Header struct {
	Op       int
	Final    bool
	Reserved int   // RSV1 to RSV3 as a number of three bits
	Length   int64 // of the payload
	Masked   bool
	Key      [4]byte
}

// errNoFrame is bytes that are not a frame as RFC 6455 has them.
var errNoFrame = errors.New("not a WebSocket frame")

// Control reports whether the frame is one of its own, and no part of a message.
func (h *Header) Control() bool { return h.Op >= Close }

// Unmask removes the mask from payload bytes, the first of which is at offset in the
// payload, in place (RFC 6455 section 5.3).
func (h *Header) Unmask(p []byte, offset int64) {
	if !h.Masked {
		return
	}
	for i := range p {
		p[i] ^= h.Key[(int(offset&3)+i)&3]
	}
}

// headerSize is how long the header that begins with b is, as far as b tells.
func headerSize(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	n := 2
	switch b[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if b[1]&0x80 != 0 {
		n += 4 // the masking key
	}
	return n
}

// ParseHeader reads a header. It returns how long it is, 0 if b does not have
// all of it, and an error where a peer would have to fail the connection.
func ParseHeader(b []byte) (h Header, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h = Header{
		Op: int(b[0] & 0x0f), Final: b[0]&0x80 != 0, Reserved: int(b[0] >> 4 & 7),
		Masked: b[1]&0x80 != 0, Length: int64(b[1] & 0x7f),
	}
	if h.Op > Pong || h.Op > Binary && !h.Control() || h.Control() && (h.Length > 125 || !h.Final) {
		return h, 0, errNoFrame
	}
	n = headerSize(b)
	if len(b) < n {
		return h, 0, nil
	}
	shortest := true
	switch h.Length {
	case 126:
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
		shortest = h.Length >= 126
	case 127:
		h.Length = int64(binary.BigEndian.Uint64(b[2:]))
		shortest = h.Length >= 1<<16 || h.Length < 0
	}
	if h.Length < 0 || !shortest {
		return h, 0, errNoFrame
	}
	if h.Masked {
		copy(h.Key[:], b[n-4:n])
	}
	return h, n, nil
}

// AppendHeader appends a header as it is on the wire.
func AppendHeader(b []byte, h Header) []byte {
	first, mask := byte(h.Reserved<<4|h.Op), byte(0)
	if h.Final {
		first |= 0x80
	}
	if h.Masked {
		mask = 0x80
	}
	switch {
	case h.Length < 126:
		b = append(b, first, mask|byte(h.Length))
	case h.Length < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, first, mask|126), uint16(h.Length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, first, mask|127), uint64(h.Length))
	}
	if h.Masked {
		b = append(b, h.Key[:]...)
	}
	return b
}

// Opens reports whether the header fields of a 101 answer change to a WebSocket.
func Opens(answer httpstream.Fields) bool {
	return strings.EqualFold(strings.TrimSpace(answer.Get("Upgrade")), "websocket")
}

// A Deflate is a permessage-deflate extension as it was agreed on (RFC 7692
// section 7.1), or as it was offered.
type Deflate struct {
	ServerNoContext, ClientNoContext bool // no context takeover
	ServerBits, ClientBits           int  // of the window; 0 if not named, -1 if named without a value
}

// ParseDeflate returns what a Sec-WebSocket-Extensions field says of
// permessage-deflate, each mention for itself.
func ParseDeflate(fields httpstream.Fields) (list []Deflate) {
	for _, value := range fields.Values("Sec-WebSocket-Extensions") {
		for item := range strings.SplitSeq(value, ",") {
			params := strings.Split(item, ";")
			if !strings.EqualFold(strings.TrimSpace(params[0]), "permessage-deflate") {
				continue
			}
			d := Deflate{}
			for _, p := range params[1:] {
				name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
				bits, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
				if err != nil {
					bits = -1
				}
				switch strings.ToLower(strings.TrimSpace(name)) {
				case "server_no_context_takeover":
					d.ServerNoContext = true
				case "client_no_context_takeover":
					d.ClientNoContext = true
				case "server_max_window_bits":
					d.ServerBits = bits
				case "client_max_window_bits":
					d.ClientBits = bits
				}
			}
			list = append(list, d)
		}
	}
	return list
}
