package body

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
)

// A Blob is bytes of any length in bounded memory: the beginning, and a hash of
// the rest.
type Blob struct {
	Data []byte    // all of it, or the beginning
	Size int64     // of all
	rest hash.Hash // nil while all is in Data
}

// BlobOf is the bytes of p, which it keeps.
func BlobOf(p []byte) Blob { return Blob{Data: p, Size: int64(len(p))} }

func (b *Blob) write(p []byte, limit int) {
	b.Size += int64(len(p))
	if room := limit - len(b.Data); b.rest == nil && len(p) <= room {
		b.Data = append(b.Data, p...)
		return
	} else if b.rest == nil {
		b.Data = append(b.Data, p[:room]...)
		p = p[room:]
		b.rest = sha256.New()
	}
	b.rest.Write(p)
}

// Cut tells whether Data is only the beginning.
func (b *Blob) Cut() bool { return b.rest != nil }

func (b *Blob) sum() []byte {
	if b.rest == nil {
		return nil
	}
	return b.rest.Sum(nil)
}

// Equal compares all of both.
func (b *Blob) Equal(o *Blob) bool {
	return b.Size == o.Size && bytes.Equal(b.Data, o.Data) && bytes.Equal(b.sum(), o.sum())
}

// Text is the bytes if they are all here, else the beginning with a mark that
// differs for every other rest.
func (b *Blob) Text() string {
	if !b.Cut() {
		return string(b.Data)
	}
	return fmt.Sprintf("%s… (%d bytes, sha256 of the rest %x)", b.Data, b.Size, b.sum())
}
