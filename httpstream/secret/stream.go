package secret

// A Stream replaces the secrets in a text that comes in pieces.
type Stream struct {
	scan *Scan
	with *StandIns
	each func(Finding) // may be nil
}

// Stream begins a text whose secrets are replaced; each is told of, if each is not nil.
func (f *Finder) Stream(t Text, with *StandIns, each func(Finding)) *Stream {
	return &Stream{scan: f.Scan(t), with: with, each: each}
}

// Write takes the next bytes, and returns those that are known by now: as many in all
// as were written, but for what is held. They are valid until the next call.
func (s *Stream) Write(p []byte) []byte {
	s.scan.Rest()
	s.scan.Feed(p)
	return s.take()
}

// Close returns what is held.
func (s *Stream) Close() []byte {
	s.scan.Rest()
	s.scan.Close()
	return s.take()
}

// Rest gives memory back, where nothing is held. What was returned is not valid any more.
func (s *Stream) Rest() { s.scan.Rest() }

func (s *Stream) take() []byte {
	data, offset, found := s.scan.Take()
	for i := range found {
		f := &found[i]
		s.with.Replace(f, data[f.Start-offset:f.End-offset])
		if s.each != nil {
			s.each(*f)
		}
	}
	return data
}

// Veil puts one word in the place of each secret in a text that is whole, and 0 in that
// of a number; nil if there is none.
func (f *Finder) Veil(t Text, data []byte) []byte {
	found := f.Find(t, data)
	if len(found) == 0 {
		return nil
	}
	var out []byte
	at := int64(0)
	for _, one := range found {
		out = append(out, data[at:one.Start]...)
		if one.kind == number {
			out = append(out, '0')
		} else {
			out = append(out, veiled...)
		}
		at = one.End
	}
	return append(out, data[at:]...)
}

// veiled is the word of Veil.
const veiled = "REDACTED"

// Replace replaces the secrets in a text that is whole, in place.
func (f *Finder) Replace(t Text, with *StandIns, data []byte) {
	for _, found := range f.Find(t, data) {
		with.Replace(&found, data[found.Start:found.End])
	}
}
