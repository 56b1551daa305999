//go:build !linux

package httpstream

import (
	"net"
)

// unsentBytes is zero where the kernel does not tell: a reset may then discard
// the last bytes before it.
func unsentBytes(*net.TCPConn) int { return 0 }

// unacknowledged is zero where the kernel does not tell.
func unacknowledged(*net.TCPConn) (int, error) { return 0, nil }
