package compare

import (
	"math/rand/v2"
	"testing"
)

// corpus is bodies of all formats, whole and broken.
func corpus() []string {
	return []string{
		"", "data: a\r\n\r\n", "\ufeffdata: a\rdata\r\r: c\n\nid: \x00\nretry: 1\nx", "\xef\xbbdata", "event:e\ndata:{\"a\":1}\n\n",
		"{\"a\":1}\n\n\x1e[2]\r\n\"x\"", "a\r\n\rb\n\n", "--b\r\nA: 1\r\n\r\nx\r\n--b--\r\nepi", "----b\n\nx\r\r\n----b--",
		"pre\r\n--b \r\nA\r\n b\r\n\r\n\r\n--bb\r\n--b-\r\n--b", "héllo 😀\ndata: 😀\n\n", "0\r\n\r\n",
	}
}

// FuzzComparer checks that an answer equals itself, however both are cut, and
// that two bodies of bytes are equal only if they are the same.
func FuzzComparer(f *testing.F) {
	for i, s := range corpus() {
		f.Add(s, "x", uint64(i))
	}
	f.Fuzz(func(t *testing.T, body, other string, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		for _, kind := range []string{"text/event-stream", "application/x-ndjson", "text/plain", "application/json", "multipart/mixed; boundary=b", "image/png"} {
			r, o := answer(kind, body), answer(kind, other)
			if v := verdict(r.split(rnd), r.split(rnd), Options{}); !v.Pass {
				t.Fatalf("%s of %q:\n%s", kind, body, messages(v))
			}
			v := verdict(r.split(rnd), o.split(rnd), Options{})
			back := verdict(o.split(rnd), r.split(rnd), Options{})
			if v.Pass != back.Pass {
				t.Fatalf("%s: %q and %q are equal one way only", kind, body, other)
			}
			if exact := kind == "image/png" || kind == "text/plain"; exact && v.Pass != (body == other) {
				t.Fatalf("%s: %q and %q: pass = %t", kind, body, other, v.Pass)
			}
		}
	})
}
