//go:build !unix

package transport

import "net"

// A plainReader is not to be had: a connection is read into memory that waits with it.
type plainReader struct{}

func newPlainReader(*net.TCPConn) *plainReader { return nil }

func (*plainReader) read(Space) (int, error) { return 0, errNothing }
func (*plainReader) try([]byte) (int, error) { return 0, errNothing }
func (*plainReader) wait() error             { return errNothing }
