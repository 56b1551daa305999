//go:build !linux

package transport

import (
	"net"
)

// unsentBytes is zero where the kernel does not tell: a reset may then discard
// the last bytes before it.
func unsentBytes(*net.TCPConn) int { return 0 }

// Unacknowledged is zero where the kernel does not tell.
func Unacknowledged(*net.TCPConn) (int, error) { return 0, nil }

// Arrived can't tell.
func Arrived(net.Conn) (b []byte, ok bool) { return nil, false }
