package tape

import (
	"encoding/base64"
	"encoding/binary"
	"sync"
)

// base64Pairs has two characters of standard base64 (RFC 4648 section 4) for each 12
// bits: half as many look-ups as encoding/base64 makes, which was most of what a binary
// download cost.
var base64Pairs = sync.OnceValue(func() *[1 << 12]uint16 {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var t [1 << 12]uint16
	for i := range t {
		t[i] = uint16(alphabet[i>>6])<<8 | uint16(alphabet[i&63])
	}
	return &t
})

// appendBase64 appends data as base64.StdEncoding does.
func appendBase64(b, data []byte) []byte {
	size := base64.StdEncoding.EncodedLen(len(data))
	start := len(b)
	if cap(b)-start < size {
		grown := make([]byte, start, max(start+size, 2*cap(b)))
		copy(grown, b)
		b = grown
	}
	b = b[:start+size]
	out, pairs := b[start:], base64Pairs()
	// Six bytes are eight characters. Eight bytes are read at once.
	for len(data) >= 8 {
		v := binary.BigEndian.Uint64(data)
		binary.BigEndian.PutUint64(out, uint64(pairs[v>>52])<<48|uint64(pairs[v>>40&0xfff])<<32|
			uint64(pairs[v>>28&0xfff])<<16|uint64(pairs[v>>16&0xfff]))
		data, out = data[6:], out[8:]
	}
	base64.StdEncoding.Encode(out, data)
	return b
}
