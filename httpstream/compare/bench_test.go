package compare

import (
	"io"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/noise"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// BenchmarkEqualEvents measures a stream that goes as recorded: token deltas of
// a language model, with and without a noise rule that makes every event be decoded.
func BenchmarkEqualEvents(b *testing.B) {
	event := []byte(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"choices":[{"index":0,"delta":{"content":" word"}}]}` + "\n\n")
	other := []byte(strings.Replace(string(event), "chatcmpl-1", "chatcmpl-2", 1))
	for _, bb := range []struct {
		name  string
		now   []byte
		rules []string
	}{{"same bytes", event, nil}, {"noise", other, []string{noise.ResponseBody, "$.id"}}} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			over, ended := false, false
			rec := answer(sseType).recorded()
			rec.Next = func() (tape.Line, error) {
				switch {
				case !over:
					return tape.Line{Chunk: httpstream.Chunk{Data: event}}, nil
				case !ended:
					ended = true
					return tape.Line{End: &httpstream.EndInfo{How: httpstream.EOF}}, nil
				}
				return tape.Line{}, io.EOF
			}
			c := New(rec, Options{Rules: rules(b, bb.rules...)})
			c.Head(0, &httpstream.ResponseHead{Status: 200, Header: answer(sseType).header})
			for b.Loop() {
				c.Chunk(0, bb.now)
			}
			over = true
			if v := c.End(0, httpstream.EndInfo{How: httpstream.EOF}); !v.Pass {
				b.Error(messages(v))
			}
		})
	}
}
