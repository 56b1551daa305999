package http1

import "bytes"

const (
	maxMethod = 24
	// maxRequestLine bounds what is read before a connection is taken for
	// something else, in bytes; RFC 9112 section 3 asks for 8000 at least.
	maxRequestLine = 64 << 10
)

// Begins reports whether a client's first bytes are a request line, and if not, whether
// those that follow can make them so. It wants a method, a target and a version (RFC 9112 section 3).
// It gives up at the first byte that can't be part of them, so that a protocol
// whose client waits for an answer is not kept waiting. For the same reason it
// takes no empty line before them, as RFC 9112 section 2.2 would let it: to a
// Finger or Gopher server that is a whole request.
func Begins(first []byte) (yes, more bool) {
	method := first
	sp := bytes.IndexByte(first, ' ')
	if sp >= 0 {
		method = first[:sp]
	}
	if len(first) == 0 {
		return false, true
	}
	if len(method) == 0 || len(method) > maxMethod {
		return false, false
	}
	for _, c := range method {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false, false
		}
	}
	if sp < 0 {
		return false, true
	}
	target := first[sp+1:]
	if len(target) == 0 {
		return false, true
	}
	isConnect := string(method) == "CONNECT"
	if c := target[0]; !isConnect && c != '/' && c != '*' && c != 'h' && c != 'H' {
		return false, false
	}
	line, _, whole := bytes.Cut(target, []byte("\n"))
	if len(line) > maxRequestLine-maxMethod-len(" ") {
		return false, false
	}
	if !whole {
		return false, true
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	if i := bytes.LastIndexByte(line, ' '); i > 0 && bytes.HasPrefix(line[i+1:], []byte("HTTP/1.")) {
		return true, false
	}
	return false, false
}
