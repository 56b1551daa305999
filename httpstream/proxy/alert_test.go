package proxy

import (
	"io"
	"net"
	"testing"
	"testing/iotest"
)

// The bytes are what OpenSSL 3.0 sends when it does not know our root.
func TestAPlainAlertIsSeenBehindOtherRecords(t *testing.T) {
	const unknownCA = "\x15\x03\x03\x00\x02\x02\x30"
	for _, c := range []struct{ name, sent, want string }{
		{"alone", unknownCA, "unknown certificate authority"},
		{"behind a change of cipher", "\x14\x03\x03\x00\x01\x01" + unknownCA, "unknown certificate authority"},
		{"a warning is none", "\x15\x03\x03\x00\x02\x01\x00", ""},
		{"encrypted data", "\x17\x03\x03\x00\x03abc", ""},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, split := range []bool{false, true} {
				here, there := net.Pipe()
				go func() { io.WriteString(there, c.sent); there.Close() }()
				conn := &alertConn{Conn: here}
				var r io.Reader = conn
				if split {
					r = iotest.OneByteReader(conn)
				}
				io.Copy(io.Discard, r)
				got, _ := rejected(conn.alert())
				if got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}
		})
	}
}
