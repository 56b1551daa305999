package compare

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestTheUnbrokenTwinPassesFiftyTimesHoweverItIsCut(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	replies := []reply{
		answer(sseType, "\ufeffid: 1\r\nevent: é\r\ndata: {\"a\":9007199254740993}\r\n\r\n: c\r\rdata: x\ndata: y\n\nretry: 5\n\ndata: tail"),
		answer("application/x-ndjson", "{\"a\":1}\n\n[2]\r\n\"x\""),
		answer("multipart/form-data; boundary=--x", "pre\r\n----x\r\nA: b\r\n\r\n\r\n--\r\n----x \r\n\r\n----x--\r\nepi\r\n"),
		answer("text/html; charset=utf-8", "<p>é</p>\r\n\r0\r\n\r\n"),
		answer("application/json", `{"a":[1,2,{"b":"é"}]}`),
		answer("application/octet-stream", "\x00\xff0\r\n\r\n"),
		events(letters(40)...).ended(httpstream.Reset),
	}
	for range 50 {
		for _, r := range replies {
			rec, now := r.split(rnd), r.split(rnd)
			v := verdict(rec, now, Options{})
			if !v.Pass {
				t.Fatalf("%s:\n%s", r.header.Get("Content-Type"), messages(v))
			}
		}
	}
}

func TestDifferencesAreHeardWhileTheAnswerStreams(t *testing.T) {
	var heard []Difference
	c := New(events(letters(50)...).recorded(), Options{OnDifference: func(d Difference) { heard = append(heard, d) }})
	c.Head(0, &httpstream.ResponseHead{Status: 200, Header: events().header})
	now := events(letters(50)...)
	now.pieces[10].data = "data: {\"n\":10,\"text\":\"other\"}\n\n"
	for i, p := range now.pieces {
		c.Chunk(p.at, []byte(p.data))
		if want := i >= 10+together; (len(heard) == 1) != want {
			t.Fatalf("after event %d: %d heard", i+1, len(heard))
		}
	}
	v := c.End(now.duration(), now.end)
	if len(v.Differences) != 1 || heard[0].At != now.pieces[10+together].at {
		t.Errorf("%+v", v.Differences)
	}
}

func TestMessagesAreOneLineThatIsSafeToPrint(t *testing.T) {
	v := verdict(answer(sseType, "id: a\x1b[2J\ndata: x\ndata: y\n\n"), answer(sseType, "id: \xff\ndata: x\n\n"), Options{})
	wantFail(t, v, `[changed] event 1 id: recorded a\x1b[2J, now \xff`, `[changed] event 1 data: recorded "x\ny", now "x"`)
	if d := v.Differences[0]; d.Recorded != "a\x1b[2J" || d.Now != `\xff` {
		t.Errorf("%+v", d)
	}
}

func TestWhatIsBeyondTheMaximumIsCounted(t *testing.T) {
	now := letters(50)
	for i := range now {
		now[i] = fmt.Sprintf(`{"n":%d,"text":"x"}`, i)
	}
	v := verdict(events(letters(50)...), events(now...).ended(httpstream.Reset), Options{MaxDifferences: 7})
	if len(v.Differences) != 8 || v.More != 43 || v.Differences[7].Kind != Ended {
		t.Errorf("%d reported, %d more:\n%s", len(v.Differences), v.More, messages(v))
	}
}

func TestOversizedUnitsDifferInTheirTail(t *testing.T) {
	big := strings.Repeat("x", 5000)
	opt := Options{MaxUnit: 1000, MaxJSON: 1000}
	for _, kind := range []string{sseType, "text/plain", "application/x-ndjson", "application/json", "multipart/mixed; boundary=b"} {
		body := func(tail string) reply {
			switch kind {
			case sseType:
				return answer(kind, "data: "+big+tail+"\n\n")
			case "multipart/mixed; boundary=b":
				return answer(kind, "--b\r\n\r\n"+big+tail+"\r\n--b--")
			}
			return answer(kind, `{"a":"`+big+tail+`"}`+"\n")
		}
		wantPass(t, verdict(body("a"), body("a"), opt))
		if v := verdict(body("a"), body("b"), opt); v.Pass {
			t.Errorf("%s: passed", kind)
		} else if len(messages(v)) > 1000 {
			t.Errorf("%s: a message of %d bytes", kind, len(messages(v)))
		}
	}
}

// endless feeds n bytes in events without holding them.
func endless(c *Comparer, unit []byte, n int64) {
	for sent := int64(0); sent < n; sent += int64(len(unit)) {
		c.Chunk(time.Duration(sent), unit)
	}
}

func heapAfter() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestMemoryStaysFlatForLongAnswers(t *testing.T) {
	needs.Time(t)
	total := int64(1 << 30)
	if testing.Short() || raceEnabled {
		total = 64 << 20
	}
	block := []byte(strings.Repeat("data: "+strings.Repeat("y", 4000)+"\n\n", 16))
	line := []byte(strings.Repeat("z", 64<<10))
	for _, tt := range []struct {
		name, kind string
		unit       []byte
		recorded   int64 // of the answer's length
	}{
		{"equal events", sseType, block, total},
		{"endless events that were not recorded", sseType, block, 0},
		{"one endless line", "text/plain", line, total},
		{"bytes", "application/octet-stream", line, total},
		{"endless JSON", "application/json", line, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := answer(tt.kind).recorded()
			left, ended := tt.recorded, false
			rec.Next = func() (tape.Line, error) {
				switch {
				case left > 0:
					left -= int64(len(tt.unit))
					return tape.Line{Chunk: httpstream.Chunk{Data: tt.unit}}, nil
				case !ended:
					ended = true
					return tape.Line{End: &httpstream.EndInfo{How: httpstream.EOF}}, nil
				}
				return tape.Line{}, io.EOF
			}
			before := heapAfter()
			c := New(rec, Options{})
			c.Head(0, &httpstream.ResponseHead{Status: 200, Header: answer(tt.kind).header})
			endless(c, tt.unit, total)
			after := heapAfter()
			if after > before && after-before > 32<<20 {
				t.Errorf("%d MiB held after %d MiB", (after-before)>>20, total>>20)
			}
			v := c.End(time.Second, httpstream.EndInfo{How: httpstream.EOF})
			if v.Pass != (tt.recorded > 0) {
				t.Errorf("pass = %t:\n%.300s", v.Pass, messages(v))
			}
		})
	}
}
