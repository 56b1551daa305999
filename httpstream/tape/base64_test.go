package tape

import (
	"encoding/base64"
	"math/rand/v2"
	"testing"
)

func TestBase64IsWrittenAsTheStandardLibraryDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		room := make([]byte, r.IntN(4), 4+r.IntN(2*n+1))
		want := string(room) + base64.StdEncoding.EncodeToString(data)
		if got := appendBase64(room, data); string(got) != want {
			t.Fatalf("%d bytes become %q, want %q", n, got, want)
		}
	}
	all := make([]byte, 0, 3<<12)
	for i := range 1 << 12 {
		all = append(all, byte(i>>4), byte(i<<4)|byte(i>>8), byte(i))
	}
	if got := appendBase64(nil, all); string(got) != base64.StdEncoding.EncodeToString(all) {
		t.Error("some 12 bits are written otherwise")
	}
}

func BenchmarkBase64(b *testing.B) {
	data := make([]byte, 32<<10)
	room := make([]byte, 0, 64<<10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		appendBase64(room, data)
	}
}
