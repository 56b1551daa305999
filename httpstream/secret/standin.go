package secret

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"unicode/utf8"
)

// StandIns makes what stands in the place of secrets. It is as long as the secret, has
// its prefix, and digits, letters and punctuation where that has them, so what
// reads it goes on to. The same secret always gives the same, and two give two: from a
// key that is made for each StandIns and is kept nowhere.
//
// The last characters of one follow from the others in a way that everybody can
// check, so a tape can be looked through for secrets and none of these is one. One that
// is too short for that has zeros and x for all that it has.
//
// Nil StandIns give each secret zeros and x: two texts that differ only in secrets of
// the same shape come out alike.
type StandIns struct {
	key [sha256.Size]byte
}

// NewStandIns returns StandIns with a new key.
func NewStandIns() *StandIns {
	s := new(StandIns)
	rand.Read(s.key[:]) // never fails
	return s
}

// checked is how many characters follow from those before them, and shortest how many
// there are at least in a stand-in that has these.
const (
	checked  = 6
	shortest = 12
	// checkedBy is how many they follow from, at most: a stand-in may by chance begin
	// as if its prefix were longer.
	checkedBy = 10
)

// alphabet says from what characters a secret is made, so that another of them is
// valid where it is.
type alphabet struct {
	hex    bool // letters up to f
	base32 bool // digits from 2 to 7 (RFC 4648 section 6)
}

func alphabetOf(text []byte, k kind) alphabet {
	a := alphabet{hex: true, base32: true}
	each(text, k, func(c *byte) {
		switch {
		case '0' <= *c && *c <= '9':
			a.base32 = a.base32 && '2' <= *c && *c <= '7'
		default:
			a.hex = a.hex && *c|0x20 <= 'f'
			a.base32 = a.base32 && *c <= 'Z'
		}
	})
	a.base32 = a.base32 && !a.hex
	return a
}

// each visits the letters and digits of a secret, but those of an escape and the
// exponent of a number.
func each(text []byte, k kind, visit func(c *byte)) {
	for i := 0; i < len(text); i++ {
		if k == value && text[i] == '\\' {
			// What is escaped stays: \n, \", and the letter of \u.
			for i+1 < len(text) && text[i+1] == '\\' {
				i++
			}
			if i++; i < len(text) && text[i] == 'u' {
				i += 4
			}
			continue
		}
		if isAlnum(text[i]) && (k != number || text[i] <= '9') {
			visit(&text[i])
		}
	}
}

// class is the number of characters that may stand for one, and the first of them.
func (a alphabet) class(c byte) (first byte, n uint32) {
	switch {
	case c <= '9' && a.base32:
		return '2', 6
	case c <= '9':
		return '0', 10
	case a.hex:
		return c&0x20 | 'A', 6
	}
	return c&0x20 | 'A', 26
}

// Replace writes the stand-in of a finding over it.
func (s *StandIns) Replace(f *Finding, text []byte) {
	switch {
	case s == nil:
		hide(text, alphabetOf(text, f.kind), f.kind)
		return
	case f.kind == signed:
		s.replaceSigned(text)
		return
	}
	s.replace(text, f.kind)
}

func (s *StandIns) replace(text []byte, k kind) {
	a, n := alphabetOf(text, k), 0
	each(text, k, func(*byte) { n++ })
	if n < shortest {
		hide(text, a, k)
		return
	}
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write(text)
	stream := keystream{seed: [sha256.Size]byte(mac.Sum(nil))}
	i := 0
	each(text, k, func(c *byte) {
		first, size := a.class(*c)
		if i < n-checked {
			*c = first + byte(stream.next()%size)
		} else {
			*c = first
		}
		i++
	})
	hideOthers(text)
	if k == number && text[0] == '0' {
		text[0] = '1'
	}
	check(text, a, n, k, func(c *byte, want byte) { *c = want })
}

// hide replaces a secret by what tells nothing of it but its shape.
func hide(text []byte, a alphabet, k kind) {
	each(text, k, func(c *byte) {
		switch {
		case *c <= '9' && a.base32:
			*c = '2'
		case *c <= '9':
			*c = '0'
		case a.hex:
			*c = *c&0x20 | 'A'
		default:
			*c = *c&0x20 | 'X'
		}
	})
	hideOthers(text)
	if k == number && text[0] == '0' {
		text[0] = '1'
	}
}

// hideOthers replaces what is not ASCII by what is as long in UTF-8.
func hideOthers(text []byte) {
	for i := 0; i < len(text); {
		_, size := utf8.DecodeRune(text[i:])
		switch size {
		case 2:
			copy(text[i:], "×")
		case 3:
			copy(text[i:], "•")
		case 4:
			copy(text[i:], "🔑")
		}
		i += size
	}
}

// check tells what the last letters and digits are to be, by the rest of the text.
func check(text []byte, a alphabet, n int, k kind, tell func(c *byte, want byte)) {
	sum := sha256.New()
	sum.Write([]byte("wiretape stand-in\x00"))
	var last []*byte
	i := 0
	each(text, k, func(c *byte) {
		switch {
		case i >= n-checked:
			last = append(last, c)
		case i >= n-checked-checkedBy:
			sum.Write([]byte{*c})
		}
		i++
	})
	stream := keystream{seed: [sha256.Size]byte(sum.Sum(nil))}
	for _, c := range last {
		first, size := a.class(*c)
		tell(c, first+byte(stream.next()%size))
	}
}

// IsStandIn reports whether what is found in a text is a stand-in. Of one that is too
// short, it is what looks like one.
func (f *Finding) IsStandIn(text []byte) bool {
	if f.kind == signed {
		_, signature := splitSigned(text)
		if len(signature) == 0 {
			return true // there is nothing to be used
		}
		return isStandIn(signature, token)
	}
	return isStandIn(text, f.kind)
}

func isStandIn(text []byte, k kind) bool {
	n := 0
	each(text, k, func(*byte) { n++ })
	// A stand-in may by chance look as if it were made from fewer characters.
	for _, a := range []alphabet{{}, {hex: true}, {base32: true}} {
		is := true
		if n < shortest {
			hidden := append([]byte(nil), text...)
			hide(hidden, a, k)
			is = string(hidden) == string(text)
		} else {
			check(text, a, n, k, func(c *byte, want byte) { is = is && *c == want })
		}
		if is {
			return true
		}
	}
	return false
}

// A keystream gives numbers that follow from a seed.
type keystream struct {
	seed  [sha256.Size]byte
	block uint64
	buf   []byte
}

func (k *keystream) next() uint32 {
	if len(k.buf) == 0 {
		var in [sha256.Size + 8]byte
		copy(in[:], k.seed[:])
		binary.BigEndian.PutUint64(in[sha256.Size:], k.block)
		sum := sha256.Sum256(in[:])
		k.block, k.buf = k.block+1, sum[:]
	}
	n := binary.BigEndian.Uint32(k.buf)
	k.buf = k.buf[4:]
	return n
}

var rawURL = base64.RawURLEncoding

// splitSigned finds the parts of a JWT (RFC 7519) behind its header, which are slices of
// it. Of what has more than three, an encrypted one, the rest is the signature.
func splitSigned(text []byte) (claims, signature []byte) {
	var cut [2]int
	n := 0
	for i, c := range text {
		if c == '.' && n < len(cut) {
			cut[n] = i
			n++
		}
	}
	if n < len(cut) {
		return nil, text
	}
	return text[cut[0]+1 : cut[1]], text[cut[1]+1:]
}

// replaceSigned keeps the header of a JWT, and of the claims those that say nothing of a
// person: an app that reads its expiry still can.
func (s *StandIns) replaceSigned(text []byte) {
	claims, signature := splitSigned(text)
	plain := make([]byte, rawURL.DecodedLen(len(claims)))
	if n, err := rawURL.Decode(plain, claims); err == nil && n > 0 && plain[0] == '{' {
		s.replaceClaims(plain[:n])
		rawURL.Encode(claims, plain[:n])
	} else {
		s.replace(claims, token)
	}
	s.replace(signature, token)
}

// replaceClaims replaces the strings of a JSON object that are no names, and not those
// of who made it, for whom and for what (RFC 7519 section 4.1).
func (s *StandIns) replaceClaims(claims []byte) {
	var name string
	for i := 0; i < len(claims); i++ {
		if claims[i] != '"' {
			continue
		}
		start := i + 1
		for i++; i < len(claims) && claims[i] != '"'; i++ {
			if claims[i] == '\\' {
				i++
			}
		}
		text := claims[start:min(i, len(claims))]
		after := i + 1
		for after < len(claims) && claims[after] <= ' ' {
			after++
		}
		if after < len(claims) && claims[after] == ':' {
			name = string(text)
			continue
		}
		switch name {
		case "iss", "aud", "typ", "scope", "scp", "token_use", "token_type", "azp", "client_id", "alg", "role", "roles":
		default:
			s.replace(text, value)
		}
	}
}
