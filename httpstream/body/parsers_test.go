package body

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// parsed lists what a parser makes of a body that comes in the given pieces.
func parsed(contentType string, limit int, pieces ...string) []string {
	var got []string
	p := Of(contentType).New(contentType, limit, func(u *Unit) {
		s := u.Name()
		for _, f := range u.Fields {
			s += fmt.Sprintf(" %s=%q", f.Name, f.Value)
		}
		if u.HasBody {
			s += fmt.Sprintf(" %q", u.Body.Text())
		}
		if u.Partial {
			s += " partial"
		}
		if u.Open {
			s += " open"
		}
		got = append(got, s)
	})
	for _, piece := range pieces {
		b := []byte(piece)
		p.Write(0, b)
		clear(b)
	}
	p.Close(time.Second)
	return got
}

func TestSSEParserFollowsWHATWG(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
	}{
		{"one event", "data: a\n\n", []string{`event 1 "a"`}},
		{"LF, CR and CRLF end lines", "data: a\r\rdata: b\n\ndata: c\r\n\r\ndata: d\r\n\ndata: e\n\r\n",
			[]string{`event 1 "a"`, `event 2 "b"`, `event 3 "c"`, `event 4 "d"`, `event 5 "e"`}},
		{"one byte order mark is dropped", "\ufeffdata: a\n\n", []string{`event 1 "a"`}},
		{"a second one is part of the name", "\ufeff\ufeffdata: a\n\n", []string{`event 1 unknown="\ufeffdata: a"`}},
		{"half a byte order mark is no mark", "\xef\xbbdata: a\n\n", []string{`event 1 unknown="\xef\xbbdata: a"`}},
		{"data lines are joined with LF", "data: a\ndata\ndata:b\n\n", []string{`event 1 "a\n\nb"`}},
		{"only one space after the colon goes", "data:  a \n\n", []string{`event 1 " a "`}},
		{"empty data is data", "data\n\n", []string{`event 1 ""`}},
		{"a colon in the value stays", "data: a: b\n\n", []string{`event 1 "a: b"`}},
		{"the last event and id count", "event: a\nid: 1\nevent: b\nid: 2\ndata:\n\n", []string{`event 1 event="b" id="2" ""`}},
		{"an id with NUL is ignored", "id: 1\nid: a\x00b\ndata: x\n\n", []string{`event 1 id="1" "x"`}},
		{"retry needs digits", "retry: 1s\nretry:\ndata: x\n\nretry: 12\n\n", []string{`event 1 "x"`, `event 2 retry="12"`}},
		{"comments are units of their own", ":\n: a\ndata: x\n:b\ndata: y\n\n", []string{`comment 1 ""`, `comment 2 " a"`, `comment 3 "b"`, `event 1 "x\ny"`}},
		{"blank lines alone are nothing", "\n\n\r\n\r", nil},
		{"an event that is cut off", "data: x\n\nid: 4\ndata: y", []string{`event 1 "x"`, `event 2 id="4" "y" partial open`}},
		{"a name that is cut off", "dat", []string{`event 1 unknown="dat" partial open`}},
		{"a comment that is cut off", ": hal", []string{`comment 1 " hal" partial open`}},
		{"a field name with a space is unknown", " data: x\n\n", []string{`event 1 unknown=" data: x"`}},
		{"empty", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parsed("text/event-stream", 1<<20, tt.in); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestSSEEmitsAnEventAtItsCarriageReturn(t *testing.T) {
	n := 0
	p := &sseParser{limit: 100, emit: func(*Unit) { n++ }}
	p.Write(0, []byte("data: x\r\n\r"))
	if n != 1 {
		t.Error("waits for the byte after CR")
	}
}

func TestMultipartParser(t *testing.T) {
	const plain, camera = "multipart/mixed; boundary=b", "multipart/x-mixed-replace;boundary=--b"
	tests := []struct {
		name, kind, in string
		want           []string
	}{
		{"two parts", plain, "--b\r\nA: 1\r\nB : 2\r\n\r\nx\r\ny\r\n--b\r\n\r\n\r\n--b--\r\n",
			[]string{`part 1 A="1" B="2" "x\r\ny"`, `part 2 ""`}},
		{"LF alone", plain, "--b\nA: 1\n\nx\n\n--b--\n", []string{`part 1 A="1" "x\n"`}},
		{"preamble and epilogue", plain, "pre\r\nam\r\n--b\r\n\r\nx\r\n--b--\r\nepi\r\n--b\r\n",
			[]string{`preamble 1 "pre\r\nam"`, `part 1 "x"`, `epilogue 1 "epi\r\n--b\r\n" open`}},
		{"white space behind the boundary", plain, "--b \t\r\n\r\nx\r\n--b-- ", []string{`part 1 "x"`}},
		{"what only begins like a boundary is content", plain, "--b\r\n\r\n\r\n--bb\r\n--b-\r\n-\r\n\r\r\n--b--",
			[]string{`part 1 "\r\n--bb\r\n--b-\r\n-\r\n\r"`}},
		{"a boundary right behind the headers", plain, "--b\r\nA: 1\r\n\r\n--b--", []string{`part 1 A="1" ""`}},
		{"a boundary within the headers", plain, "--b\r\nA: 1\r\n--b--", []string{`part 1 A="1" ""`}},
		{"a folded header", plain, "--b\r\nA: 1\r\n  2\r\n\r\n--b--", []string{`part 1 A="1 2" ""`}},
		{"a part that is cut off", plain, "--b\r\n\r\nx\r\n--", []string{`part 1 "x\r\n--" partial open`}},
		{"headers that are cut off", plain, "--b\r\nA: 1", []string{`part 1 A="1" "" partial open`}},
		{"a camera's boundary", camera, "--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n----b--", []string{`part 1 "x"`, `part 2 "y"`}},
		{"no boundary at all", plain, "just text", []string{`preamble 1 "just text" open`}},
		{"empty", plain, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parsed(tt.kind, 1<<20, tt.in); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
	long := "--b\r\nA: 1\r\nB: " + strings.Repeat("x", maxPartHeaders) + "\r\n--b--"
	got := parsed(plain, 1<<20, long)
	if len(got) != 1 || !strings.HasPrefix(got[0], `part 1 A="1" "B: xxx`) {
		t.Errorf("endless headers: %.60q", got)
	}
}

// splitInvariant checks that what is parsed does not depend on how it came.
func splitInvariant(t *testing.T, in string, seed uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, kind := range []string{
		"text/event-stream", "application/x-ndjson", "text/plain", "multipart/mixed; boundary=b", "multipart/mixed; boundary=--b",
	} {
		for _, limit := range []int{1 << 20, 5} {
			whole := parsed(kind, limit, in)
			if bytewise := parsed(kind, limit, strings.Split(latin(in), "")...); latin(in) == in && !reflect.DeepEqual(whole, bytewise) {
				t.Fatalf("%s of %q:\nwhole  %q\nsplit  %q", kind, in, whole, bytewise)
			}
			var pieces []string
			for rest := in; rest != ""; {
				n := 1 + rnd.IntN(min(len(rest), 7))
				pieces = append(pieces, rest[:n])
				rest = rest[n:]
			}
			if cut := parsed(kind, limit, pieces...); !reflect.DeepEqual(whole, cut) {
				t.Fatalf("%s of %q:\nwhole %q\ncut   %q", kind, pieces, whole, cut)
			}
		}
	}
}

// latin tells whether strings.Split cuts at every byte: it returns in if so.
func latin(in string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x80 {
			return -1
		}
		return r
	}, in)
}

func corpus() []string {
	return []string{
		"", "data: a\r\n\r\n", "\ufeffdata: a\rdata\r\r: c\n\nid: \x00\nretry: 1\nx", "\xef\xbbdata", "event:e\ndata:{\"a\":1}\n\n",
		"{\"a\":1}\n\n\x1e[2]\r\n\"x\"", "a\r\n\rb\n\n", "--b\r\nA: 1\r\n\r\nx\r\n--b--\r\nepi", "----b\n\nx\r\r\n----b--",
		"pre\r\n--b \r\nA\r\n b\r\n\r\n\r\n--bb\r\n--b-\r\n--b", "héllo 😀\ndata: 😀\n\n", "0\r\n\r\n",
	}
}

func TestParsersDoNotDependOnTheSplit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	seeds := corpus()
	for i := range 3000 {
		var in string
		for range 1 + rnd.IntN(4) {
			s := seeds[rnd.IntN(len(seeds))]
			if len(s) > 0 {
				s = s[rnd.IntN(len(s)):]
			}
			in += s
		}
		splitInvariant(t, in, uint64(i))
	}
}

func FuzzParsers(f *testing.F) {
	for i, s := range corpus() {
		f.Add(s, uint64(i))
	}
	f.Fuzz(splitInvariant)
}

func TestFormatsOfContentTypes(t *testing.T) {
	for in, want := range map[string]string{
		"text/event-stream; charset=utf-8": "sse", "Application/JSON": "json", "application/problem+json": "json",
		"application/x-ndjson": "ndjson", "multipart/x-mixed-replace;boundary=--a b": "multipart", "text/html": "text",
		"image/svg+xml": "text", "image/png": "bytes", "": "bytes", "application/grpc": "bytes", "text/plain; charset": "text",
	} {
		if got := Of(in).Name; got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
	for in, want := range map[string]string{
		"multipart/mixed; boundary=a": "a", `multipart/mixed; boundary="a b"`: "a b", "multipart/x-mixed-replace;boundary=a b": "a b", "multipart/mixed": "",
	} {
		if got := Boundary(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
