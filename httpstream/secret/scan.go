package secret

import (
	"math"
	"slices"
	"sync"
)

const (
	// minRun is the shortest run of characters without white space, quotes and brackets
	// that is looked at.
	minRun = 10
	// maxHeld is how many bytes are held, at most, until it is known what they are.
	maxHeld = 16 << 10
	// overlap is how much of a longer run is looked at once more, with what follows.
	overlap = 512
	// lookBack is how much of what was taken is remembered: a name, and its quotes.
	lookBack = 128
)

// never is an offset that nothing is held from.
const never = math.MaxInt64

// A Scan looks for the secrets in a text that comes in pieces. It holds what may be
// the beginning of one.
type Scan struct {
	f *Finder
	t Text

	// buf has the bytes from base on: up to lookBack bytes that were taken, and those
	// that were not. It is lent while it has any of these; else back has the others.
	buf    []byte
	lent   *lent
	back   [lookBack]byte
	backed int
	base   int64

	taken  int64
	seen   int64 // all before it was looked at
	closed bool
	found  []Finding // in order and apart from each other; those that were not taken

	run     run
	members members
	pem     pem
	parts   parts
}

// A lent is what a Scan needs only while it works, or holds something.
type lent struct {
	buf   []byte
	name  [maxName]byte // of the member under way
	known judged
}

var lents = sync.Pool{New: func() any { return new(lent) }}

// Scan begins a text.
func (f *Finder) Scan(t Text) *Scan {
	s := new(Scan)
	s.begin(f, t)
	return s
}

func (s *Scan) begin(f *Finder, t Text) {
	if f == nil {
		f = byDefault()
	}
	*s = Scan{f: f, t: t, run: run{start: never, held: never}}
	s.members.reset()
	s.pem.reset()
	s.parts.reset()
}

// Feed takes the next bytes. Take must have been called since the last.
func (s *Scan) Feed(p []byte) {
	s.borrow()
	s.buf = append(s.buf, p...)
	s.look()
}

// Close says that the text is at its end.
func (s *Scan) Close() {
	s.borrow()
	s.closed = true
	s.look()
}

func (s *Scan) borrow() {
	if s.lent != nil {
		s.forget()
		return
	}
	s.lent = lents.Get().(*lent)
	if s.lent.known.of != s.f {
		s.lent.known = judged{of: s.f}
	}
	s.buf = append(s.lent.buf[:0], s.back[:s.backed]...)
}

// forget drops what was taken, but for what is looked back at.
func (s *Scan) forget() {
	drop := s.taken - lookBack - s.base
	if drop <= 0 {
		return
	}
	s.buf = s.buf[:copy(s.buf, s.buf[drop:])]
	s.base += drop
}

func (s *Scan) look() {
	s.runs()
	s.lookForMembers()
	s.lookForKeys()
	if s.t.Parts {
		s.lookForParts()
	}
	s.seen = s.end()
}

// end is the offset behind the last byte.
func (s *Scan) end() int64 { return s.base + int64(len(s.buf)) }

// from is the bytes from an offset on.
func (s *Scan) from(at int64) []byte { return s.buf[at-s.base:] }

// between is the bytes between two offsets.
func (s *Scan) between(start, end int64) []byte { return s.buf[start-s.base : end-s.base] }

// safe is the offset up to which it is known what is secret.
func (s *Scan) safe() int64 {
	if s.closed {
		return s.end()
	}
	return min(s.end(), s.run.held, s.members.held(), s.pem.held, s.parts.held())
}

// Take returns the bytes that are known by now and were not taken yet, the offset of
// the first, and the findings in them. They are valid until the next call of a method;
// the bytes may be changed, but for quotes and backslashes.
func (s *Scan) Take() (data []byte, offset int64, found []Finding) {
	if s.lent == nil {
		return nil, s.taken, nil
	}
	to, n := s.safe(), 0
	for n < len(s.found) && s.found[n].End <= to {
		n++
	}
	if n < len(s.found) {
		to = min(to, s.found[n].Start)
	}
	offset, found = s.taken, s.found[:n:n]
	data = s.between(offset, to)
	if s.found = s.found[n:]; len(s.found) == 0 {
		s.found = nil
	}
	s.taken = to
	return data, offset, found
}

// Rest gives the buffer back if nothing is held. What Take returned is not valid
// any more.
func (s *Scan) Rest() {
	if s.lent == nil || s.taken < s.end() || s.members.state != betweenQuotes {
		return
	}
	s.forget()
	s.backed = copy(s.back[:], s.buf)
	if s.lent.buf = s.buf[:0]; cap(s.buf) <= maxPooled {
		lents.Put(s.lent)
	}
	s.lent, s.buf = nil, nil
}

// maxPooled is the longest buffer that is lent again, in bytes.
const maxPooled = 64 << 10

// add keeps a finding, and makes one of those that lie over each other.
func (s *Scan) add(f Finding) {
	f.Start = max(f.Start, s.taken)
	if f.Start >= f.End {
		return
	}
	first, _ := slices.BinarySearchFunc(s.found, f, func(o, f Finding) int {
		if o.End <= f.Start {
			return -1
		}
		return 1
	})
	last := first
	for last < len(s.found) && s.found[last].Start < f.End {
		f = joined(s.found[last], f)
		last++
	}
	s.found = slices.Replace(s.found, first, last, f)
}

// joined is one finding in the place of two that lie over each other. Where both are
// the same token, it is the one that leaves its prefix.
func joined(a, b Finding) Finding {
	if a.End == b.End && min(a.from, a.Start) == min(b.from, b.Start) {
		if a.Start > b.Start || a.kind == signed {
			return a
		}
		return b
	}
	if b.Start < a.Start {
		a, b = b, a
	}
	kind := token
	if a.kind == value || b.kind == value {
		kind = value
	}
	return Finding{Start: a.Start, End: max(a.End, b.End), Rule: a.Rule, from: a.Start, kind: kind}
}
