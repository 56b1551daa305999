package httpstream

import (
	"crypto/sha1" // RFC 6455 section 4.2.2 wants it
	"encoding/base64"
	"strings"
)

// WebSocketAccept is the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key
// (RFC 6455 section 4.2.2).
func WebSocketAccept(key string) string {
	sum := sha1.Sum([]byte(strings.TrimSpace(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
