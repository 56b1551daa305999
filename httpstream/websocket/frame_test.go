package websocket

import (
	"bytes"
	"testing"
)

func TestHeadersAreReadStrictly(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		n    int
		ok   bool
	}{
		{"short", []byte{0x81, 5}, 2, true},
		{"not all of it", []byte{0x81, 126, 1}, 0, true},
		{"two bytes of length", []byte{0x81, 126, 1, 0}, 4, true},
		{"longer than needed", []byte{0x81, 126, 0, 5}, 0, false},
		{"eight bytes where two do", []byte{0x81, 127, 0, 0, 0, 0, 0, 0, 1, 0}, 0, false},
		{"the highest bit of a length", []byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, 0, false},
		{"an opcode that is reserved", []byte{0x83, 0}, 0, false},
		{"a long control frame", []byte{0x89, 126, 1, 0}, 0, false},
		{"a control frame in fragments", []byte{0x09, 0}, 0, false},
		{"a mask that is not there yet", []byte{0x81, 0x80, 1, 2, 3}, 0, true},
		{"a mask", []byte{0x81, 0x80, 1, 2, 3, 4}, 6, true},
		{"eight bytes of length and a mask", []byte{0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4}, 14, true},
	} {
		h, n, err := ParseHeader(c.in)
		if n != c.n || (err == nil) != c.ok {
			t.Errorf("%s: %+v, %d bytes, %v", c.name, h, n, err)
		}
		if n > 0 && !bytes.Equal(AppendHeader(nil, h), c.in) {
			t.Errorf("%s: becomes %x", c.name, AppendHeader(nil, h))
		}
	}
}
