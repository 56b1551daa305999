package match

import (
	"bytes"

	"github.com/wiretape/wiretape/httpstream/event"
)

// Message says how a message that a client sends in a two-way stream differs from
// the recorded one, by the rules for request bodies of that case: as JSON where
// both are. It returns nil where they are the same.
func (ix *Index) Message(number int, recorded, now []byte) []event.Difference {
	r := &ix.main.rules
	if own := ix.own[number]; own != nil {
		r = &own.rules
	}
	where := event.Place{Kind: event.Message}
	recorded, now = r.veiled(recorded), r.veiled(now)
	for _, contentType := range []string{"application/json", "text/plain"} {
		was, a := r.canonical(contentType, recorded)
		is, b := r.canonical(contentType, now)
		if was != is {
			continue
		}
		if bytes.Equal(a, b) {
			return nil
		}
		if ds := within(where, r.contentDifferences(contentType, recorded, contentType, now)); len(ds) > 0 {
			return ds
		}
	}
	return []event.Difference{{Where: where, Recorded: describeBytes(recorded), Now: describeBytes(now)}}
}

// veiled is a message with one word for each secret.
func (r *Rules) veiled(message []byte) []byte {
	if v := r.veil("", message); v != nil {
		return v
	}
	return message
}
