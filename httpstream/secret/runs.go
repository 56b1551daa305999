package secret

import (
	"bytes"
)

// inRun are the characters of tokens, URLs and forms: printable ASCII, but for quotes,
// brackets, the comma and the backslash.
var inRun = func() (in [256]bool) {
	for c := byte('!'); c <= '~'; c++ {
		in[c] = !bytes.ContainsRune([]byte("\"'`<>{}[](),\\"), rune(c))
	}
	return in
}()

// alnum are the letters and digits of ASCII.
var alnum = func() (in [256]bool) {
	for c := range in {
		in[c] = isAlnum(byte(c))
	}
	return in
}()

// A run is the one that the text so far ends in.
type run struct {
	start int64 // or never
	seen  int64 // how far it was looked at
	held  int64 // from where it may be a secret, or never
}

// longestPrefix is how far back a prefix may begin that ends in what is new.
const longestPrefix = 64

// runs looks at each run of characters that a token may be in. Most text is words that
// are too short: it is looked at from the place where a run of minRun characters from
// here on would end, and where that is none, from behind what ended it.
func (s *Scan) runs() {
	b := s.buf
	i, e := int(s.seen-s.base), 0
	if s.run.start != never {
		i, e = int(max(s.run.start, s.base)-s.base), int(s.run.seen-s.base)
	}
	for {
		j := min(i+minRun, len(b)) - 1
		for j >= i && inRun[b[j]] {
			j--
		}
		if j >= i {
			i, e = j+1, 0
			s.run.held = never
			continue
		}
		for e = max(e, min(i+minRun, len(b))); e < len(b) && inRun[b[e]]; e++ {
		}
		if e == len(b) && !s.closed {
			s.leaveRun(i, e)
			return
		}
		if e-i >= minRun {
			s.examine(i, e, e)
		}
		s.run.held = never
		if e == len(b) {
			return
		}
		i, e = e, 0
	}
}

// leaveRun remembers the run that the text ends in, and from where it is held: from
// behind the prefix of a token, or where the value of a secret name begins. What stays
// as it is need not wait.
func (s *Scan) leaveRun(i, e int) {
	r := &s.run
	from := i
	if r.start == s.base+int64(i) || r.start < s.base && i == 0 {
		from = max(i, int(r.seen-s.base)-longestPrefix)
	} else {
		r.start, r.held = s.base+int64(i), never
	}
	r.seen = s.base + int64(e)
	if i == e {
		r.start = never
		return
	}
	if r.held == never {
		r.held = s.mayBegin(i, from, e)
	}
	if r.held != never && s.end()-r.held > maxHeld {
		// Only its last part does not know whether it is at its end.
		s.examine(i, e, e-overlap)
		r.start, r.held = s.base+int64(e-overlap), s.base+int64(e-overlap)
	}
}

// mayBegin is the offset from which a run may be a secret: of a token that begins behind
// from, or of a parameter's value.
func (s *Scan) mayBegin(start, from, end int) int64 {
	t := allShapes()
	held := int64(never)
	for p := from; p < end-1; p++ {
		if !s.begins(t, p) {
			continue
		}
		keep := t.keep(s.buf[p:end])
		if keep == 0 || s.buf[p] == ':' && !mayHaveUserInfo(s.buf[p+keep:end]) {
			continue
		}
		held = s.base + int64(p+keep)
		break
	}
	if !s.t.Code {
		s.eachParameter(start, end, func(name string, how strength, from, _ int) {
			held = min(held, s.base+int64(from))
		})
	}
	return held
}

// mayHaveUserInfo reports whether what follows the "://" of a URL is a user and a
// password, or may become that.
func mayHaveUserInfo(rest []byte) bool {
	i := bytes.IndexAny(rest, "/?#@")
	return i < 0 || rest[i] == '@'
}

// begins reports whether a token may begin at an index of buf, in a run.
func (s *Scan) begins(t *shapes, p int) bool {
	if t.first[pair(s.buf[p], s.buf[p+1])] == 0 {
		return false
	}
	if s.t.Binary || !alnum[s.buf[p]] {
		return true
	}
	// What is before the run's beginning is known, unless it was dropped.
	return p > 0 && !alnum[s.buf[p-1]] || p == 0 && s.base == 0
}

// examine finds the secrets in the run between two indices of buf that begin before
// limit.
func (s *Scan) examine(start, end, limit int) {
	t := allShapes()
	for p := start; p < end-1; p++ {
		if alnum[s.buf[p]] && p > start && alnum[s.buf[p-1]] && !s.t.Binary || !s.begins(t, p) {
			continue
		}
		shape, keep, size := t.at(s.buf[p:end])
		if shape == nil || p >= limit {
			continue
		}
		at := s.base + int64(p)
		f := Finding{Start: at + int64(keep), End: at + int64(size), Rule: shape.ID, from: at}
		if shape.ID == "jwt" {
			f.Start, f.kind = at, signed
		}
		s.add(f)
		p += size - 1
	}
	if s.t.Code {
		return
	}
	s.eachParameter(start, end, func(name string, how strength, from, to int) {
		if from < limit && (how == surely && to > from || how == likely && plausible(s.buf[from:to])) {
			at := s.base + int64(from)
			s.add(Finding{Start: at, End: s.base + int64(to), Rule: "parameter " + name, from: at})
		}
	})
}

// eachParameter visits the values of secret names in a form, a URL or a connection
// string: a run between two indices of buf.
func (s *Scan) eachParameter(start, end int, visit func(name string, how strength, from, to int)) {
	run := s.buf[start:end]
	if bytes.IndexByte(run, '=') < 0 {
		return
	}
	query, separators := s.t.Form || bytes.IndexByte(run, '?') >= 0, "?&;#"
	if s.t.Form {
		separators = "&"
	}
	for at := 0; at < len(run); {
		size := bytes.IndexAny(run[at:], separators)
		if size < 0 {
			size = len(run) - at
		}
		pair := run[at : at+size]
		if eq := bytes.IndexByte(pair, '='); eq > 0 {
			name := pair[:eq]
			if !s.t.Form {
				name = name[bytes.LastIndexAny(name, "/:@=")+1:]
			}
			judge := s.f.member
			if query {
				judge = s.f.parameter
			}
			plain := unescaped(name)
			if how := judge(plain); how != no {
				visit(plain, how, start+at+eq+1, start+at+size)
			}
		}
		at += size + 1
	}
}

// Tokens finds what has the shape of a token in a text that is whole: the value of a
// field, or a URL.
func Tokens(text string) []Finding {
	if len(text) < minRun {
		return nil
	}
	t := allShapes()
	var found []Finding
	for p := 0; p < len(text)-1; p++ {
		if t.first[pair(text[p], text[p+1])] == 0 || p > 0 && alnum[text[p-1]] && alnum[text[p]] {
			continue
		}
		end := p
		for end < len(text) && inRun[text[end]] {
			end++
		}
		if end-p < minRun {
			continue
		}
		if shape, keep, size := t.at([]byte(text[p:end])); shape != nil {
			f := Finding{Start: int64(p + keep), End: int64(p + size), Rule: shape.ID, from: int64(p)}
			if shape.ID == "jwt" {
				f.Start = f.from
			}
			found = append(found, f)
			p += size - 1
		}
	}
	return found
}
