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

// key is that of what was written, whose room the request then has for the next.
func (k *keyWriter) key(q *request) key {
	q.scratch = k.b[:0]
	sum := sha256.Sum256(k.b)
	return key(sum[:len(key{})])
}

// headKey identifies everything but body and header fields.
func (q *request) headKey() key {
	k := keyWriter{q.scratch}
	k.add(q.method)
	k.add(q.protocol)
	k.add(q.addr.scheme)
	k.add(q.addr.host)
	k.add(q.addr.port)
	k.add(q.addr.path)
	k.addPairs(q.query)
	return k.key(q)
}

// A filter says which of the fields that count belong into a key.
type filter bool

const (
	allFields  filter = false
	fieldsKept filter = true // those about the body only where there is one
)

// fieldKey adds the values of the fields to a head's key.
func (q *request) fieldKey(head key, which filter) key {
	k := keyWriter{append(q.scratch, head[:]...)}
	for i := range q.fields {
		f := &q.fields[i]
		if which == fieldsKept && f.ofBody() && q.body.empty() {
			continue
		}
		k.add(f.name)
		k.add(f.value)
	}
	k.end()
	return k.key(q)
}

// bodyKey adds the body's own key to that of the head and the fields.
func (q *request) bodyKey(whole key, body string) key {
	k := keyWriter{append(q.scratch, whole[:]...)}
	k.add(body)
	return k.key(q)
}
