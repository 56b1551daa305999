package match

import "bytes"

// Message says how a message that a client sends in a two-way stream differs from
// the recorded one, by the rules for request bodies of that case: as JSON where
// both are. It returns nil where they are the same.
func (ix *Index) Message(number int, recorded, now []byte) []Difference {
	r := &ix.main.rules
	if own := ix.own[number]; own != nil {
		r = &own.rules
	}
	for _, contentType := range []string{"application/json", "text/plain"} {
		was, a := r.canonical(contentType, recorded)
		is, b := r.canonical(contentType, now)
		if was != is {
			continue
		}
		if bytes.Equal(a, b) {
			return nil
		}
		if ds := r.contentDifferences("message", contentType, recorded, contentType, now); len(ds) > 0 {
			return ds
		}
	}
	return []Difference{{Where: "message", Recorded: describeBytes(recorded), Now: describeBytes(now)}}
}
