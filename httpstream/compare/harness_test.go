package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/leaktest"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/noise"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type timed struct {
	at   time.Duration
	data string
}

// A reply is an answer as a test writes it.
type reply struct {
	method string
	status int
	header httpstream.Fields
	pieces []timed
	end    httpstream.EndInfo
	broken bool // recorded without an end line
}

func headers(pairs ...string) httpstream.Fields {
	var fs httpstream.Fields
	for i := 0; i < len(pairs); i += 2 {
		fs = append(fs, httpstream.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return fs
}

// answer makes a reply whose pieces come a moment apart.
func answer(contentType string, pieces ...string) reply {
	r := reply{status: 200, header: headers("Content-Type", contentType), end: httpstream.EndInfo{How: httpstream.EOF}}
	for i, p := range pieces {
		r.pieces = append(r.pieces, timed{time.Duration(i+1) * 20 * time.Millisecond, p})
	}
	return r
}

func (r reply) ended(how httpstream.End) reply { r.end = httpstream.EndInfo{How: how}; return r }

func (r reply) duration() time.Duration {
	if len(r.pieces) == 0 {
		return time.Millisecond
	}
	return r.pieces[len(r.pieces)-1].at
}

// recorded is the reply as a tape holds it.
func (r reply) recorded() Recorded {
	lines := make([]tape.Line, 0, len(r.pieces)+1)
	for _, p := range r.pieces {
		lines = append(lines, tape.Line{At: p.at, Chunk: httpstream.Chunk{Data: []byte(p.data)}})
	}
	if !r.broken {
		end := r.end
		lines = append(lines, tape.Line{At: r.duration(), End: &end})
	}
	return Recorded{
		Method: r.method, HeadAt: time.Millisecond,
		Head: &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: r.status, Header: r.header},
		Next: func() (tape.Line, error) {
			if len(lines) == 0 {
				return tape.Line{}, io.EOF
			}
			l := lines[0]
			lines = lines[1:]
			return l, nil
		},
	}
}

// play feeds the reply to a comparer.
func (r reply) play(c *Comparer) *Verdict {
	c.Head(time.Millisecond, &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: r.status, Header: r.header})
	for _, p := range r.pieces {
		b := []byte(p.data)
		c.Chunk(p.at, b)
		clear(b) // it must not be kept
	}
	return c.End(r.duration(), r.end)
}

// playAt feeds the reply with other times, in milliseconds for its pieces.
func (r reply) playAt(c *Comparer, head, end time.Duration, at ...int) *Verdict {
	c.Head(head, &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: r.status, Header: r.header})
	for i, p := range r.pieces {
		c.Chunk(time.Duration(at[i])*time.Millisecond, []byte(p.data))
	}
	return c.End(end, r.end)
}

func verdict(rec, now reply, opt Options) *Verdict { return now.play(New(rec.recorded(), opt)) }

func rules(t testing.TB, keysAndValues ...string) noise.Rules {
	t.Helper()
	var rs []noise.Rule
	for i := 0; i < len(keysAndValues); i += 2 {
		rs = append(rs, noise.Rule{Key: keysAndValues[i], Value: keysAndValues[i+1]})
	}
	r, err := noise.New(rs...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func messages(v *Verdict) string {
	var lines []string
	for _, d := range v.Differences {
		lines = append(lines, fmt.Sprintf("[%s] %s", d.Kind, d.Message))
	}
	return strings.Join(lines, "\n")
}

// wantPass and wantFail are strict: a failure has exactly the messages given.
func wantPass(t *testing.T, v *Verdict) {
	t.Helper()
	if !v.Pass || len(v.Differences) > 0 || v.More > 0 {
		t.Errorf("should pass, but:\n%s", messages(v))
	}
}

func wantFail(t *testing.T, v *Verdict, want ...string) {
	t.Helper()
	if v.Pass {
		t.Error("passed")
	}
	if got := messages(v); got != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	for i := range v.Differences {
		if d := &v.Differences[i]; !strings.HasPrefix(d.Message, d.Title) {
			t.Errorf("%q does not begin with its title, %q", d.Message, d.Title)
		}
	}
	if _, err := json.Marshal(v); err != nil {
		t.Error(err)
	}
}

const sseType = "text/event-stream"

func events(data ...string) reply {
	var ps []string
	for _, d := range data {
		ps = append(ps, "data: "+d+"\n\n")
	}
	return answer(sseType, ps...)
}

// split cuts the reply's bytes anew, at random.
func (r reply) split(rnd *rand.Rand) reply {
	var all []byte
	for _, p := range r.pieces {
		all = append(all, p.data...)
	}
	r.pieces = nil
	at := time.Duration(0)
	for len(all) > 0 {
		n := 1 + rnd.IntN(min(len(all), 9))
		at += time.Millisecond
		r.pieces = append(r.pieces, timed{at, string(all[:n])})
		all = all[n:]
	}
	return r
}

func letters(n int) []string {
	var s []string
	for i := range n {
		s = append(s, fmt.Sprintf(`{"n":%d,"text":"word %d"}`, i, i))
	}
	return s
}
