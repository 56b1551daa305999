package secret

import "bytes"

// pem follows private keys (RFC 7468), also where they stand in a string of JSON.
type pem struct {
	begin int64 // of the first line of a block, or never
	held  int64 // what is between the lines of a private key is held from there, or never
	next  int64 // where to look on
}

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END"
	dashes   = "-----"
	// maxLabel is the longest label of a block that is read, in bytes.
	maxLabel = 64
)

func (p *pem) reset() { *p = pem{begin: never, held: never, next: p.next} }

func (s *Scan) lookForKeys() {
	p := &s.pem
	for {
		switch {
		case p.held != never:
			i := bytes.Index(s.from(p.held), []byte(pemEnd))
			if i < 0 && !s.closed && s.end()-p.held <= maxHeld {
				return
			}
			end := s.end()
			if i >= 0 {
				end = p.held + int64(i)
			}
			s.add(Finding{Start: p.held, End: end, Rule: "private-key", from: p.held, kind: value})
			p.reset()
			p.next = end
		case p.begin != never:
			if !s.readLabel() {
				return
			}
		default:
			from := max(s.seen-int64(len(pemBegin))+1, p.next, s.base)
			i := bytes.Index(s.from(from), []byte(pemBegin))
			if i < 0 {
				return
			}
			p.begin = from + int64(i)
		}
	}
}

// readLabel reads the first line of a block; false if it is not whole. No secret is in
// it, so it is not held, only looked back at.
func (s *Scan) readLabel() bool {
	p := &s.pem
	label := s.from(p.begin + int64(len(pemBegin)))
	i := bytes.Index(label, []byte(dashes))
	if i < 0 && len(label) < maxLabel && !s.closed {
		return false
	}
	p.next = p.begin + int64(len(pemBegin))
	if 0 <= i && i <= maxLabel && bytes.Contains(label[:i], []byte("PRIVATE KEY")) {
		p.held = p.next + int64(i+len(dashes))
	}
	p.begin = never
	return true
}
