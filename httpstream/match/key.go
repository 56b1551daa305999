package match

import (
	"crypto/sha256"
	"strconv"
)

// A key identifies what counts of a request: half of a SHA-256, which no two
// requests share by chance.
type key [sha256.Size / 2]byte

// A keyWriter joins strings so that different lists give different keys.
type keyWriter struct{ b []byte }

func (k *keyWriter) add(s string) {
	k.b = strconv.AppendInt(k.b, int64(len(s)), 10)
	k.b = append(k.b, ':')
	k.b = append(k.b, s...)
}

func (k *keyWriter) end() { k.b = append(k.b, ';') }

func (k *keyWriter) addPairs(ps []pair) {
	for _, p := range ps {
		k.add(p.name)
		k.add(p.value)
	}
	k.end()
}

func (k *keyWriter) key() key {
	sum := sha256.Sum256(k.b)
	return key(sum[:len(key{})])
}

// headKey identifies everything but body and header fields.
func (q *request) headKey() key {
	var room [256]byte
	k := keyWriter{room[:0]}
	k.add(q.method)
	k.add(q.protocol)
	k.add(q.addr.scheme)
	k.add(q.addr.host)
	k.add(q.addr.port)
	k.add(q.addr.path)
	k.addPairs(q.query)
	return k.key()
}

// A filter says which of the fields that count belong into a key.
type filter bool

const (
	allFields  filter = false
	fieldsKept filter = true // those about the body only where there is one
)

// fieldKey adds the values of the fields to a head's key.
func (q *request) fieldKey(head key, which filter) key {
	var room [512]byte
	k := keyWriter{append(room[:0], head[:]...)}
	for i := range q.fields {
		f := &q.fields[i]
		if which == fieldsKept && f.ofBody() && q.body.empty() {
			continue
		}
		k.add(f.name)
		k.add(f.value)
	}
	k.end()
	return k.key()
}

// with adds what a body's key is to that of the head and the fields.
func (k key) with(body string) key {
	var room [256]byte
	w := keyWriter{append(room[:0], k[:]...)}
	w.add(body)
	return w.key()
}
