package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/wiretape/wiretape/httpstream/compare"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// maxChunks is how many chunks a timeline keeps apart: more than a picture can show.
const maxChunks = 512

// A Timeline is when the pieces of one answer came, in bounded memory however
// long the answer is. All times count from the end of the case's request, also
// those of calls. Begin one with its Start, Add what arrives, and Finish it.
type Timeline struct {
	// Start is when the request was complete: 0 for the case itself.
	Start time.Duration `json:"start_ns"`
	// Chunks are what arrived; neighbours are joined where there are too many.
	Chunks []Chunk `json:"chunks"`
	// Count and Bytes are of all chunks, joined ones included.
	Count int           `json:"count"`
	Bytes int64         `json:"bytes"`
	Last  time.Duration `json:"last_ns"` // when the last chunk came
	// GapFrom and GapTo are the longest silence between two chunks.
	GapFrom time.Duration `json:"gap_from_ns"`
	GapTo   time.Duration `json:"gap_to_ns"`
	End     time.Duration `json:"end_ns"`
	// How is how it ended, an httpstream.End: "eof", "reset", "cancelled", …. It is
	// empty if there was no answer; Failed says why.
	How    string `json:"how,omitempty"`
	Failed string `json:"failed,omitempty"`
}

// ended is how a stream ends as its framing says.
const ended = "eof"

// A Chunk is bytes that arrived together.
type Chunk struct {
	At    time.Duration
	Bytes int64
}

// MarshalJSON writes [nanoseconds, bytes].
func (c Chunk) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "[%d,%d]", c.At, c.Bytes), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Chunk) UnmarshalJSON(data []byte) error {
	var pair [2]int64
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	c.At, c.Bytes = time.Duration(pair[0]), pair[1]
	return nil
}

// Add takes a chunk. A time before that of the last chunk counts as the same.
func (t *Timeline) Add(at time.Duration, bytes int) {
	if t.Count > 0 {
		at = max(at, t.Last)
		if at-t.Last > t.GapTo-t.GapFrom {
			t.GapFrom, t.GapTo = t.Last, at
		}
	}
	t.Count++
	t.Bytes += int64(bytes)
	t.Last, t.End = at, at
	if len(t.Chunks) == maxChunks {
		t.join()
	}
	t.Chunks = append(t.Chunks, Chunk{at, int64(bytes)})
}

// join halves the resolution: chunks that came close after another become one.
func (t *Timeline) join() {
	grain := (t.Last-t.Chunks[0].At)*2/maxChunks + 1
	kept := t.Chunks[:1]
	for _, c := range t.Chunks[1:] {
		if last := &kept[len(kept)-1]; c.At-last.At < grain {
			last.Bytes += c.Bytes
		} else {
			kept = append(kept, c)
		}
	}
	t.Chunks = kept
}

// Finish ends the timeline; how is an httpstream.End.
func (t *Timeline) Finish(at time.Duration, how string) {
	t.End, t.How = max(at, t.Last), how
	if t.joined() { // with one resolution from end to end
		t.join()
	}
}

func (t *Timeline) joined() bool { return t.Count > len(t.Chunks) }

// First is when the first chunk came, or the end if none did.
func (t *Timeline) First() time.Duration {
	if len(t.Chunks) == 0 {
		return t.End
	}
	return t.Chunks[0].At
}

// at is the timeline as it is expected at another speed.
func (t *Timeline) at(speed float64) *Timeline {
	if t == nil || speed == 1 || speed <= 0 {
		return t
	}
	s := *t
	scale := func(d time.Duration) time.Duration { return time.Duration(float64(d) / speed) }
	for _, d := range []*time.Duration{&s.Start, &s.Last, &s.GapFrom, &s.GapTo, &s.End} {
		*d = scale(*d)
	}
	s.Chunks = make([]Chunk, len(t.Chunks))
	for i, c := range t.Chunks {
		s.Chunks[i] = Chunk{scale(c.At), c.Bytes}
	}
	return &s
}

// CallTimings are the calls of both sides as compare.Options.Calls wants them.
func (c *CaseResult) CallTimings() (recorded, now []compare.CallTiming) {
	for i := range c.Calls {
		call := &c.Calls[i]
		recorded = call.Recorded.appendTiming(recorded, &call.Call)
		now = call.Now.appendTiming(now, &call.Call)
	}
	return recorded, now
}

func (t *Timeline) appendTiming(list []compare.CallTiming, ref *event.Call) []compare.CallTiming {
	if t == nil {
		return list
	}
	return append(list, compare.CallTiming{
		Number: ref.Number, URL: ref.URL, Start: t.Start, First: t.First(), Last: max(t.Last, t.First()),
		End: t.End, GapFrom: t.GapFrom, GapTo: t.GapTo,
	})
}

// origin is when the times of an exchange begin, since the recording began.
func origin(x *tape.Exchange) time.Duration {
	if x.TwoWay {
		return x.Started
	}
	return x.Started + x.Request.Took
}

// recordedTimeline reads the stream of an exchange; start is its origin on the
// case's own clock.
func recordedTimeline(t *tape.Tape, x *tape.Exchange, start time.Duration) (*Timeline, error) {
	line := &Timeline{Start: start, End: start, Failed: x.Failed}
	if x.TwoWay {
		line.Start += x.Request.Took
	}
	if x.Response != nil {
		line.Finish(start+x.Response.At, ended)
	}
	stream, err := t.Stream(x)
	if err != nil {
		return line, err
	}
	defer stream.Close()
	for {
		l, err := stream.Next()
		switch {
		case errors.Is(err, io.EOF):
			return line, nil
		case err != nil:
			return line, err
		case l.End != nil:
			line.Finish(start+l.At, string(l.End.How))
		case !l.FromClient && len(l.Data) > 0:
			line.Add(start+l.At, len(l.Data))
		}
	}
}
