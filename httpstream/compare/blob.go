package compare

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
)

// A blob is bytes of any length in bounded memory: the beginning, and a hash of
// the rest.
type blob struct {
	data []byte
	size int64
	rest hash.Hash // nil while all is in data
}

func (b *blob) write(p []byte, limit int) {
	b.size += int64(len(p))
	if room := limit - len(b.data); b.rest == nil && len(p) <= room {
		b.data = append(b.data, p...)
		return
	} else if b.rest == nil {
		b.data = append(b.data, p[:room]...)
		p = p[room:]
		b.rest = sha256.New()
	}
	b.rest.Write(p)
}

func (b *blob) cut() bool { return b.rest != nil }

func (b *blob) sum() []byte {
	if b.rest == nil {
		return nil
	}
	return b.rest.Sum(nil)
}

func (b *blob) equal(o *blob) bool {
	return b.size == o.size && bytes.Equal(b.data, o.data) && bytes.Equal(b.sum(), o.sum())
}

// text is the bytes if they are all here, else the beginning with a mark that
// differs for every other rest.
func (b *blob) text() string {
	if !b.cut() {
		return string(b.data)
	}
	return fmt.Sprintf("%s… (%d bytes, sha256 of the rest %x)", b.data, b.size, b.sum())
}
