package tape

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/httpstream"
)

func TestRandomExchangesRoundTrip(t *testing.T) {
	for seed := range uint64(3000) {
		g := newGenerator(seed)
		x := g.exchange([]Kind{Call, Case}[seed%2], 1+g.IntN(20000))
		switch g.IntN(3) {
		case 0:
			_, x.Stream = fileNames(x)
		case 1:
			for range 1 + g.IntN(3) {
				x.Lines = append(AppendLine(x.Lines, g.line()), '\n')
			}
		}
		data, err := encodeExchange(x)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got, err := decodeExchange(data, "x.yaml")
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, data)
		}
		if above := bytes.Count(data, []byte("\n")) - bytes.Count(x.Lines, []byte("\n")); x.Lines != nil && got.LinesAbove != above {
			t.Fatalf("seed %d: the lines begin below line %d, not %d", seed, above, got.LinesAbove)
		}
		got.File, got.LinesAbove = "", 0
		if d := cmp.Diff(x, got); d != "" {
			t.Fatalf("seed %d:\n%s\n%s", seed, d, data)
		}
		again, _ := encodeExchange(got)
		if !bytes.Equal(data, again) {
			t.Fatalf("seed %d: written twice it differs", seed)
		}
	}
}

func TestRandomLinesRoundTrip(t *testing.T) {
	for seed := range uint64(5000) {
		l := newGenerator(seed).line()
		data := AppendLine(nil, l)
		got, _, err := parseLine(data, nil)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, data)
		}
		if !reflect.DeepEqual(*l, got) {
			t.Fatalf("seed %d:\n%s\n%s", seed, cmp.Diff(*l, got), data)
		}
		if bytes.ContainsAny(data, "\n\r") || !isLiteral(string(data)) {
			t.Fatalf("seed %d: %q can't stand in an exchange file", seed, data)
		}
	}
}

// Every plain JSON parser must see the same text in a line as ours does.
func TestALineWithTextIsPlainJSON(t *testing.T) {
	for seed := range uint64(2000) {
		l := newGenerator(seed).line()
		var plain struct {
			Text string
			From string
			End  string
		}
		if err := json.Unmarshal(AppendLine(nil, l), &plain); err != nil {
			t.Fatal(err)
		}
		if plain.Text != "" && plain.Text != string(l.Data) {
			t.Fatalf("%q is read as %q", l.Data, plain.Text)
		}
	}
}

func TestAnExchangeFileReadsWell(t *testing.T) {
	x := &Exchange{
		Kind: Call, Number: 7, Case: 3, Service: "app", Started: 1523 * time.Millisecond,
		Request: Request{
			Proto: "HTTP/1.1", Method: "POST", URL: "https://api.openai.com/v1/chat/completions?x=1",
			Header: httpstream.Fields{
				{Name: "Host", Value: "api.openai.com"},
				{Name: "Authorization", Value: "Bearer REDACTED"},
				{Name: "X-Odd", Value: "1", Sep: ":", After: " "},
				{Name: "Content-Length", Value: "22"},
				{Name: "X-Latin", Value: "caf\xe9"},
			},
			TLS: "1.3", Took: 153 * time.Microsecond,
		},
		Response: &Response{At: 312 * time.Millisecond, Head: httpstream.ResponseHead{
			Proto: "HTTP/1.1", Status: 200, Line: "HTTP/1.1 200 OK",
			Header: httpstream.Fields{{Name: "Content-Type", Value: "text/event-stream; charset=utf-8"}},
		}},
		Interim: []Response{{At: -20 * time.Microsecond, Head: httpstream.ResponseHead{
			Proto: "HTTP/1.1", Status: 103, Line: "HTTP/1.1  103 Early", Header: nil,
		}}},
	}
	x.Request.Body.Data = []byte("{\n\t\"model\": \"🙂\"\n}\n")
	_, x.Stream = fileNames(x)
	data, err := encodeExchange(x)
	if err != nil {
		t.Fatal(err)
	}
	want := `call: 7
case: 3
service: app
started_us: 1523000
request:
  method: POST
  url: https://api.openai.com/v1/chat/completions?x=1
  proto: HTTP/1.1
  tls: "1.3"
  took_us: 153
  headers:
    - Host: api.openai.com
    - Authorization: Bearer REDACTED
    - name: X-Odd
      value: "1"
      sep: ":"
      after: " "
    - Content-Length: "22"
    - name: X-Latin
      value_base64: Y2Fm6Q==
  body: |
    {
    	"model": "🙂"
    }
interim:
  - at_us: -20
    status: 103
    line: HTTP/1.1  103 Early
response:
  at_us: 312000
  status: 200 OK
  headers:
    - Content-Type: text/event-stream; charset=utf-8
stream: streams/call-0007-post-api.openai.com-v1-chat-completions.ndjson
`
	if d := cmp.Diff(want, string(data)); d != "" {
		t.Error(d)
	}
}

// Bodies in the three forms, checked with the library's own reading as well.
func TestABodyIsShownAsReadablyAsItsBytesAllow(t *testing.T) {
	for _, c := range []struct{ name, body, begins string }{
		{"one line of JSON is a block", `{"a":1}`, "body: |-\n  {"},
		{"a last line end is kept", "a\n", "body: |\n"},
		{"many last line ends are kept", "a\n\n\n", "body: |+\n"},
		{"empty lines are kept", "a\n\n\nb", "body: |-\n"},
		{"emoji stay visible", "🙂👩‍👩‍👧", "body: |-\n  🙂"},
		{"indented lines stay", "a:\n  b:\n\tc", "body: |-\n"},
		{"a first space needs quotes", " a", `body: " a"`},
		{"a first line end needs quotes", "\na", `body: "\na"`},
		{"space at the end of a line needs quotes", "a \nb", `body: "a \nb"`},
		{"CRLF needs quotes", "--b\r\nx: y\r\n", `body: "--b\r\nx: y\r\n"`},
		{"a bidirectional control is shown", "a\u202eb", `body: "a\u202eb"`},
		{"NUL makes it base64", "a\x00", "body_base64: |-\n  YQA="},
		{"broken UTF-8 makes it base64", "\xff", "body_base64: |-\n  /w=="},
		{"long base64 is in lines", strings.Repeat("\xff", 100), "body_base64: |-\n  " + strings.Repeat("/", 76) + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &yamlWriter{}
			w.body("body", []byte(c.body))
			if !strings.HasPrefix(string(w.b), c.begins) {
				t.Errorf("got %q, expected it to begin with %q", w.b, c.begins)
			}
			r := &yamlReader{}
			f := r.mapping(r.document(w.b), "it", "body")
			if got := f.text("body"); got != c.body || r.err != nil {
				t.Errorf("read back as %q, %v", got, r.err)
			}
			var plain map[string]string
			if err := yaml.Unmarshal(w.b, &plain); err != nil {
				t.Error(err)
			} else if s, ok := plain["body"]; ok && s != c.body {
				t.Errorf("the library reads %q", s)
			}
		})
	}
}

const minimal = "call: 1\nrequest:\n  method: GET\n  url: http://a/\n  proto: HTTP/1.1\n"

func TestBrokenExchangeFilesAreNamedWithLineAndCause(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", "x.yaml: the file is empty"},
		{"not YAML", "call: 1\n  request: [", "x.yaml:2: not valid YAML"},
		{"a list", "- 1\n", "x.yaml:1: the exchange is a list: expected a mapping"},
		{"an unknown key", minimal + "colour: red\n", `x.yaml:6: unknown key "colour" in the exchange: expected one of call, case`},
		{"a key twice", minimal + "call: 2\n", `x.yaml:6: the key "call" is there twice`},
		{"no number", "request:\n  method: GET\n", `x.yaml:1: the exchange has no key "call" or "case"`},
		{"no request", "call: 1\n", `x.yaml:1: the exchange has no key "request"`},
		{"no method", "call: 1\nrequest:\n  url: http://a/\n  proto: HTTP/1.1\n", `x.yaml:3: the request has no key "method"`},
		{"a text for a number", strings.Replace(minimal, "1", "one", 1), `x.yaml:1: call is "one": expected a whole number`},
		{"number 0", strings.Replace(minimal, "1", "0", 1), "x.yaml:1: call is 0: expected a number from 1"},
		{"a mapping for text", minimal + "service: {a: b}\n", "x.yaml:6: service is a mapping: expected text"},
		{"nothing for text", minimal + "service:\n", `x.yaml:6: service is empty: expected text`},
		{"a number for a flag", minimal + "two_way: 1\n", `x.yaml:6: two_way is "1": expected true or false`},
		{"yes for a flag", minimal + "two_way: yes\n", `x.yaml:6: two_way is "yes": expected true or false`},
		{"an alias", "call: 1\nservice: &a b\nrequest: *a\n", "x.yaml:3: the request is an alias"},
		{"a tag", minimal + "service: !!binary aGk=\n", "x.yaml:6: service has the tag !!binary"},
		{"a bad header", minimal + "  headers:\n    - Host\n", `x.yaml:7: an entry of headers is "Host": expected - Name: value`},
		{"a long field without value", minimal + "  headers:\n    - name: a\n      sep: ':'\n", `x.yaml:7: an entry of headers has no key "value"`},
		{"bad base64", minimal + "  body_base64: '%'\n", "x.yaml:6: body_base64: illegal base64"},
		{"two bodies", minimal + "  body: a\n  body_base64: YQ==\n", "x.yaml:7: the request has both body and body_base64"},
		{"base64 of a number", minimal + "started_us_base64: YQ==\n", `x.yaml:6: unknown key "started_us_base64"`},
		{"a bad status", minimal + "response:\n  at_us: 1\n  status: fine\n", `x.yaml:8: status is "fine": expected a number of three digits`},
		{"a stream outside", minimal + "stream: streams/../../etc/passwd\n", "x.yaml:6: stream is"},
		{"lines in quotes", minimal + `lines: "{}"` + "\n", `x.yaml:6: lines is "{}": expected a literal block, as in lines: |`},
		{"no lines", minimal + "lines: |\n", "x.yaml:6: lines is empty: leave it out"},
		{"lines and a stream", minimal + "stream: streams/a.ndjson\nlines: |\n  {}\n", "x.yaml:1: call 1 has both stream and lines: expected one of them"},
		{"white space behind a line", minimal + "lines: |\n  {}\n  {} \n", "x.yaml:8: not a line of a stream"},
		{"an empty line", minimal + "lines: |\n  {}\n\n  {}\n", "x.yaml:8: not a line of a stream"},
		{"lines in base64", minimal + "lines_base64: e30=\n", `x.yaml:6: unknown key "lines_base64"`},
		{"two documents", minimal + "---\na: b\n", "a second YAML document"},
		{"a time out of range", minimal + "started_us: 9223372036854775807\n", "x.yaml:6: started_us is 9223372036854775807: expected a number from 0 to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decodeExchange([]byte(c.in), "x.yaml")
			var fe *FormatError
			if !errors.As(err, &fe) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, expected %s", err, c.want)
			}
		})
	}
	if _, err := decodeExchange([]byte(strings.ReplaceAll(minimal, "\n", "\r\n")), "x.yaml"); err != nil {
		t.Errorf("a checkout with CRLF is not read: %v", err)
	}
}

func TestBrokenManifestsAreNamedWithLineAndCause(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"newer", "version: 3\nnew: thing\n", "tape t is format 3, this wiretape reads up to 2: upgrade wiretape"},
		{"no version", "created: 2026-01-01T00:00:00Z\ncomplete: true\n", `f:1: tape.yaml has no key "version"`},
		{"version 0", "version: 0\ncreated: 2026-01-01T00:00:00Z\ncomplete: true\n", "f:1: version is 0"},
		{"a bad time", "version: 1\ncreated: yesterday\ncomplete: true\n", `f:2: created is "yesterday": expected a time`},
		{"a bad name", "version: 1\ncreated: 2026-01-01T00:00:00Z\ncomplete: true\nnames:\n  - name: a\n", `f:5: an entry of names has no key "type"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := decodeManifest([]byte(c.in), "t", "f"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, expected %s", err, c.want)
			}
		})
	}
}

func TestBrokenLinesAreRefused(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"t":1}`, "neither"},
		{`{"text":"a"}`, `no "t"`},
		{`{"t":1,"text":"a","text":"b"}`, "twice"},
		{`{"t":1,"text":"a","base64":"YQ=="}`, "twice"},
		{`{"t":1,"text":"a","x":1}`, `unknown key "x"`},
		{`{"t":1.5,"text":"a"}`, "whole number"},
		{`{"t":01,"text":"a"}`, "whole number"},
		{`{"t":-1,"text":"a"}`, "from 0"},
		{`{"t":1,"text":"a"} x`, "follows"},
		{`{"t":1,"text":"a",}`, "column"},
		{`{"t":1,"text":"a`, "no end"},
		{`{"t":1,"text":"\ud800"}`, "surrogate"},
		{`{"t":1,"text":"\ud800A"}`, "surrogate"},
		{`{"t":1,"text":"\x"}`, "escape"},
		{`{"t":1,"text":"\u12g4"}`, "hexadecimal"},
		{"{\"t\":1,\"text\":\"a\tb\"}", "control"},
		{"{\"t\":1,\"text\":\"\xff\"}", "UTF-8"},
		{`{"t":1,"base64":"YQ"}`, "base64"},
		{`{"t":1,"from":"server","text":"a"}`, `expected "client"`},
		{`{"t":1,"end":"done"}`, "expected eof"},
		{`{"t":1,"end":"eof","text":"a"}`, "keys of a chunk"},
		{`{"t":1,"text":"a","code":1}`, "belong to a line"},
		{`{"t":1,"end":"eof","trailers":[{"a":"b","c":"d"}]}`, "unknown key"},
		{`{"t":1,"end":"eof","trailers":[{}]}`, "trailer"},
		{`[]`, "expected '{'"},
		{``, "expected '{'"},
	} {
		if _, _, err := parseLine([]byte(c.in), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, expected %s", c.in, err, c.want)
		}
	}
}

func TestSlugsAreShortAndPlain(t *testing.T) {
	for _, c := range []struct {
		kind        Kind
		method, url string
		number      int
		want        string
	}{
		{Call, "POST", "https://api.openai.com/v1/chat/completions?key=x", 1, "calls/0001-post-api.openai.com-v1-chat-completions.yaml"},
		{Case, "POST", "http://app:8080/chat", 12, "cases/0012-post-chat.yaml"},
		{Case, "GET", "http://app/", 2, "cases/0002-get.yaml"},
		{Call, "GET", "http://[::1]:80/a%20b/%2e%2e/Ü", 12345, "calls/12345-get-1-80-a-b.yaml"},
		{Call, "", "tcp://db:5432", 3, "calls/0003-connect-db-5432.yaml"},
		{Call, "GET", "https://user:pw@h/p", 4, "calls/0004-get-h-p.yaml"},
	} {
		file, _ := fileNames(&Exchange{Kind: c.kind, Number: c.number, Request: Request{Method: c.method, URL: c.url}})
		if file != c.want {
			t.Errorf("%s %s: got %s, expected %s", c.method, c.url, file, c.want)
		}
	}
	long := &Exchange{Kind: Call, Number: 1, Request: Request{Method: "GET", URL: "http://h/" + strings.Repeat("a/", 200)}}
	if s := slug(long); len(s) > maxSlug || strings.HasSuffix(s, "-") {
		t.Errorf("%q has %d characters", s, len(s))
	}
}

func FuzzExchangeFile(f *testing.F) {
	f.Add([]byte(minimal))
	for seed := range uint64(40) {
		if data, err := encodeExchange(newGenerator(seed).exchange(Call, 1)); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := decodeExchange(data, "x.yaml")
		if err != nil {
			if !errors.As(err, new(*FormatError)) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		out, err := encodeExchange(x)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeExchange(out, "x.yaml")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if d := cmp.Diff(x, again); d != "" {
			t.Fatalf("%s\n%s", d, out)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(encodeManifest(&Manifest{Version: 1, By: "1.0", Services: []string{"a"}, Problems: []string{"p"},
		Opaque: []Opaque{{"s", "a:1", "r", 1, 2, true}}, Names: []Name{{"n", "A", "NOERROR", []string{"A 1.2.3.4"}}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeManifest(data, "t", "f")
		if err != nil {
			return
		}
		again, err := decodeManifest(encodeManifest(&m), "t", "f")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, again); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzLine(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(AppendLine(nil, newGenerator(seed).line()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, _, err := parseLine(data, nil)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%q is taken, but is not JSON", data)
		}
		again, _, err := parseLine(AppendLine(nil, &l), nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(l, again); d != "" {
			t.Fatal(d)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	l := &Line{At: time.Second, Chunk: httpstream.Chunk{Data: []byte(strings.Repeat(`data: {"choices":[{"delta":{"content":" the"}}]}`+"\n\n", 20))}}
	buf := AppendLine(nil, l)
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(l.Data)))
		for b.Loop() {
			buf = AppendLine(buf[:0], l)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(l.Data)))
		var data []byte
		for b.Loop() {
			_, data, _ = parseLine(buf, data)
		}
	})
	for _, bb := range []struct {
		name string
		line *Line
	}{
		{"a token", &Line{At: time.Second, Chunk: httpstream.Chunk{Data: l.Data[:50]}}},
		{"64 KiB of text", &Line{Chunk: httpstream.Chunk{Data: []byte(strings.Repeat("What is said once, is said. ", 64<<10/28))}}},
		{"64 KiB of bytes", &Line{Chunk: httpstream.Chunk{Data: bytes.Repeat([]byte{0xff, 0, 7, 9}, 16<<10)}}},
		{"an end", &Line{At: time.Second, End: &httpstream.EndInfo{How: httpstream.EOF}}},
	} {
		b.Run("parse "+bb.name, func(b *testing.B) {
			text := AppendLine(nil, bb.line)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var data []byte
			for b.Loop() {
				_, data, _ = parseLine(text, data)
			}
		})
	}
}

func BenchmarkDecodeExchange(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		x := newGenerator(1).exchange(Call, 1)
		x.Request.Body = Body{Data: []byte(`{"a":"` + strings.Repeat("x", size) + `"}`)}
		data, err := encodeExchange(x)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := decodeExchange(data, "x"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
