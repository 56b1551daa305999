package websocket

import (
	"bytes"
	"testing"
)

func TestAFrameThatAnnouncesMoreThanThereIsHoldsNoMemory(t *testing.T) {
	for name, header := range map[string][]byte{
		"the largest length there is":        append([]byte{0x82, 0x7f, 0x7f}, bytes.Repeat([]byte{0xff}, 7)...),
		"a masked one":                       append(append([]byte{0x82, 0xff, 0x7f}, bytes.Repeat([]byte{0xff}, 7)...), 1, 2, 3, 4),
		"behind a fragment that is held":     append([]byte{0x02, 1, 'a', 0x80, 0x7f, 0x7f}, bytes.Repeat([]byte{0xff}, 7)...),
		"one that is too large to be a size": append([]byte{0x82, 0x7f}, bytes.Repeat([]byte{0xff}, 8)...),
	} {
		t.Run(name, func(t *testing.T) {
			w := Splitter{}
			in := append(header, make([]byte, 4<<20)...)
			out := 0
			for len(in) > 0 {
				piece := in[:min(len(in), 32<<10)]
				in = in[len(piece):]
				for {
					n, c, ok := w.Next(piece)
					piece = piece[n:]
					out += len(c.Data)
					if !ok {
						out += len(piece) + len(in) // passes as it comes
						in = nil
						break
					}
					if len(c.Data) == 0 && len(piece) == 0 {
						break
					}
					if c.Of < 0 {
						t.Errorf("a chunk of %d bytes", c.Of)
					}
				}
				if held := cap(w.held); held > 256<<10 {
					t.Fatalf("%d bytes are held", held)
				}
			}
			if out != len(header)+4<<20 {
				t.Errorf("%d bytes came out", out)
			}
		})
	}
}

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
