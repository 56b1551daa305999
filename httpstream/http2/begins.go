package http2

import (
	"bytes"
	"strings"

	"golang.org/x/net/http2"
)

// Begins reports whether a client's first bytes are the connection preface (RFC
// 9113 section 3.4), and if not, whether those that follow can make them so.
func Begins(first []byte) (yes, more bool) {
	yes = bytes.HasPrefix(first, []byte(http2.ClientPreface))
	return yes, !yes && strings.HasPrefix(http2.ClientPreface, string(first))
}

// ServerBegins reports whether a server's first bytes are a SETTINGS frame, which
// it may send before it hears from the client (RFC 9113 sections 3.4 and 6.5).
func ServerBegins(first []byte) bool {
	if len(first) < headerLen {
		return false
	}
	h := parseHeader(first)
	return h.Type == http2.FrameSettings && h.Flags == 0 && bytes.Equal(first[5:headerLen], make([]byte, 4)) &&
		h.Length%6 == 0 && h.Length <= minFrame
}
