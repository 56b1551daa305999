package compare

import (
	"fmt"
	"strings"

	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/internal/legible"
	"github.com/wiretape/wiretape/httpstream/jsonvalue"
	"github.com/wiretape/wiretape/httpstream/noise"
)

// A spot is where in an answer a difference is.
type spot struct {
	unit       string
	index, now int
	part       Place // "data" of an event, "body" of a part
	// inside is set for a document of its own, whose paths say enough.
	inside bool
}

// String is how a message begins: "event 3", "event 3 (now 4) data".
func (s spot) String() string {
	if s.unit == "" {
		return "body"
	}
	b := fmt.Sprintf("%s %d", s.unit, s.index)
	if s.now != s.index {
		b += fmt.Sprintf(" (now %d)", s.now)
	}
	if s.part != "" {
		b += " " + string(s.part)
	}
	return b
}

// at is how a message about a place inside begins.
func (s spot) at(p Place) string {
	if s.inside {
		return string(p)
	}
	return s.String() + " " + string(p)
}

func (s spot) difference(kind Kind, where Place) Difference {
	return Difference{Kind: kind, Unit: s.unit, Index: s.index, NowIndex: s.now, Where: where}
}

func (c *Comparer) reordered(label string, index, now int) {
	c.log.add(func() Difference {
		return Difference{
			Kind: Reordered, Unit: label, Index: index, NowIndex: now,
			Message: fmt.Sprintf("%s %d comes as %s %d now", label, index, label, now),
		}
	})
}

// diffUnits tells how two units of one label differ.
func (c *Comparer) diffUnits(r, n *unit) {
	s := spot{unit: r.Label, index: r.Index, now: n.Index}
	before := c.log.count()
	c.diffFields(s, r, n)
	if r.Partial != n.Partial {
		c.log.add(func() Difference {
			d := s.difference(Changed, AtEnd)
			d.Recorded, d.Now = completeness(r), completeness(n)
			return d.wasNow(s.String(), d.Recorded, d.Now)
		})
	}
	switch r.Label {
	case body.Event:
		s.part = "data"
	case body.Part:
		s.part = "body"
	}
	a, b := r.decoded(&c.opt.Rules), n.decoded(&c.opt.Rules)
	switch {
	case a != nil && b != nil:
		c.diffContents(s, r.Kind, a, b, &r.Body, &n.Body)
	case a != nil:
		c.oneSided(s, Missing, legible.Excerpt(r.Body.Text(), 0, maxShown))
	case b != nil:
		c.oneSided(s, Extra, legible.Excerpt(n.Body.Text(), 0, maxShown))
	}
	if c.log.count() == before {
		// Keys that differ without a difference that can be named would be a
		// mistake of ours; it must not make a wrong answer pass.
		c.log.add(func() Difference {
			d := s.difference(Changed, "")
			d.Recorded, d.Now = r.Summary(maxShown), n.Summary(maxShown)
			return d.wasNow(s.String(), d.Recorded, d.Now)
		})
	}
}

func completeness(u *unit) string {
	if u.Partial {
		return "cut off before its end"
	}
	return "complete"
}

func (c *Comparer) oneSided(s spot, kind Kind, value string) {
	c.log.add(func() Difference {
		d := s.difference(kind, s.part)
		if kind == Missing {
			d.Recorded = value
			d = d.isMissing(s.String(), value)
		} else {
			d.Now = value
			d = d.isExtra(s.String(), value)
		}
		if s.unit == body.Event {
			d.Rule = &noise.Rule{Key: noise.ResponseSSE, Value: "data"}
		}
		return d
	})
}

// diffFields compares the fields of an event, or the headers of a part.
func (c *Comparer) diffFields(s spot, r, n *unit) {
	key := noise.ResponseSSE
	if r.Label == body.Part {
		key = noise.ResponseHeader
	}
	compareFields(r.compared(&c.opt.Rules), n.compared(&c.opt.Rules), nil, sameText, func(f fieldChange) {
		c.log.add(func() Difference {
			f.name = spelled(r.Fields, n.Fields, f.name)
			d := s.difference(f.kind, Place(f.name))
			d.Rule = &noise.Rule{Key: key, Value: f.name}
			return f.difference(d, s.at(d.Where))
		})
	})
}

func sameText(_, rec, now string) bool { return rec == now }

// diffContents tells how two bodies, whole ones or those of units, differ.
func (c *Comparer) diffContents(s spot, kind body.Kind, r, n *content, rb, nb *body.Blob) {
	switch {
	case r.doc != nil && n.doc != nil:
		c.diffJSON(s, r.doc, n.doc)
	case r.doc == nil && n.doc == nil && r.text == n.text:
	case r.doc != nil:
		c.changedText(s, Content, jsonvalue.Show(r.doc.Value), n.text, "is no JSON now")
	case n.doc != nil:
		c.changedText(s, Content, r.text, jsonvalue.Show(n.doc.Value), "was no JSON when recorded")
	case rb.Cut() || nb.Cut() || kind == body.Bytes:
		c.diffBlobs(s, rb, nb)
	default:
		c.changedText(s, Changed, r.text, n.text, "")
	}
}

const maxWords = 64 << 10 // bytes of text on either side of a word difference

// changedText shows two texts; a note takes the place of a word difference.
func (c *Comparer) changedText(s spot, kind Kind, rec, now, note string) {
	c.log.add(func() Difference {
		rec, now := strings.ReplaceAll(rec, noise.Ignored, "…"), strings.ReplaceAll(now, noise.Ignored, "…")
		d := s.difference(kind, s.part)
		if s.unit == body.Comment {
			d.Rule = &noise.Rule{Key: noise.ResponseSSE, Value: "comment"}
		}
		what := s.String()
		if d.nuance = nuance(rec, now); d.nuance != "" && note == "" {
			rec, now, what = `"`+reveal(rec)+`"`, `"`+reveal(now)+`"`, what+": "+d.nuance
			d.Recorded, d.Now = pair(rec, now, maxShown)
			return d.wasNow(what, rec, now)
		}
		d.Recorded, d.Now = pair(rec, now, maxShown)
		r, n := pair(rec, now, maxQuote)
		values := ": recorded " + jsonvalue.Quote(r) + ", now " + jsonvalue.Quote(n)
		if note != "" {
			return d.titled(s.String()+" "+note, values)
		}
		d = d.titled(s.String(), values)
		if len(rec) <= maxWords && len(now) <= maxWords {
			d.Words = DiffWords(rec, now)
		}
		return d
	})
}

// diffBlobs names the first offset at which two sequences of bytes part.
func (c *Comparer) diffBlobs(s spot, r, n *body.Blob) {
	if r.Equal(n) {
		return
	}
	c.log.add(func() Difference {
		d := s.difference(Bytes, s.part)
		at := firstDifference(r.Data, n.Data)
		d.Offset = int64(at)
		d.Recorded, d.Now = legible.Bytes(r.Data[at:], r.Size-int64(at)), legible.Bytes(n.Data[at:], n.Size-int64(at))
		switch {
		case r.Size != n.Size:
			d = d.titled(fmt.Sprintf("%s: %d bytes recorded, %d now, which differ from offset %d on", s, r.Size, n.Size, at), "")
		case at == len(r.Data):
			d = d.titled(fmt.Sprintf("%s: other bytes somewhere after offset %d", s, at), "")
		default:
			d = d.titled(fmt.Sprintf("%s: byte %d", s, at), fmt.Sprintf(": recorded 0x%02x, now 0x%02x", r.Data[at], n.Data[at]))
		}
		return d
	})
}

// diffJSON names each path at which two documents differ.
func (c *Comparer) diffJSON(s spot, r, n *jsonvalue.Document) {
	diffDocuments(r, n, func(j jsonChange) {
		c.log.add(func() Difference {
			where := Place(j.at.String())
			d := s.difference(j.kind, where)
			d.Rule = &noise.Rule{Key: noise.ResponseBody, Value: string(where)}
			rec, now := jsonvalue.Show(j.rec), jsonvalue.Show(j.now)
			at := s.at(where)
			switch {
			case j.note != "":
				d.Message = at + ": " + j.note
				return d
			case j.kind == Missing:
				d.Recorded = legible.Excerpt(rec, 0, maxShown)
				d = d.isMissing(at, rec)
			case j.kind == Extra:
				d.Now = legible.Excerpt(now, 0, maxShown)
				d = d.isExtra(at, now)
			case j.kind == Reordered:
				d.Recorded, d.Now = string(where), j.to.String()
				d.Rule = nil
				d.Message = fmt.Sprintf("%s is at %s now", at, j.to)
			default:
				a, isText := j.rec.(string)
				b, isToo := j.now.(string)
				if isText && isToo {
					if d.nuance = nuance(a, b); d.nuance != "" {
						rec, now, at = `"`+reveal(a)+`"`, `"`+reveal(b)+`"`, at+": "+d.nuance
					} else if len(a) <= maxWords && len(b) <= maxWords {
						d.Words = DiffWords(a, b)
					}
				}
				d.Recorded, d.Now = pair(rec, now, maxShown)
				d = d.wasNow(at, rec, now)
			}
			return d
		})
	})
}
