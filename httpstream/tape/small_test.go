package tape

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wiretape/wiretape/httpstream"
)

const smallCall = `call: 1
started_us: 0
request:
  method: GET
  url: http://a/x
  proto: HTTP/1.1
  took_us: 1
response:
  at_us: 5
  status: 200 OK
  headers:
    - Content-Length: "2"
lines: |
  {"t":10,"text":"hi"}
  {"t":20,"end":"eof"}
`

// smallTape has one call, whose lines stand in the exchange file.
func smallTape(t *testing.T, version int, complete bool, call string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, callsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	manifest := fmt.Sprintf("version: %d\ncreated: 2026-01-02T03:04:05Z\nby: test\ncomplete: %t\n", version, complete)
	for name, content := range map[string]string{manifestName: manifest, callsDir + "/0001-get-a-x.yaml": call} {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTheLinesOfASmallAnswerStandInTheExchangeFile(t *testing.T) {
	tp, err := Open(smallTape(t, 2, true, smallCall))
	if err != nil {
		t.Fatal(err)
	}
	if problems := tp.Verify(); problems != nil {
		t.Errorf("problems: %v", problems)
	}
	got, err := lines(t, tp, tp.Calls[0])
	want := []Line{*chunk(10*time.Microsecond, "hi"), *end(20*time.Microsecond, httpstream.EOF)}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	if data, err := encodeExchange(tp.Calls[0]); err != nil || string(data) != smallCall {
		t.Errorf("%v\n%s", err, data)
	}
}

func TestLinesInTheExchangeFileAreReadAsStrictlyAsAStream(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"an unknown key", `"text":"hi"`, `"words":"hi"`, `.yaml:14: unknown key "words"`},
		{"a line behind the end", "\n  {\"t\":20,\"end\":\"eof\"}\n", "\n  {\"t\":20,\"end\":\"eof\"}\n  {\"t\":21,\"text\":\"\"}\n", ".yaml:16: a line follows the end line"},
		{"no end", "\n  {\"t\":20,\"end\":\"eof\"}\n", "\n", ".yaml:15: there is no end line"},
		{"half a line", "\"end\":\"eof\"}\n", "\"end\":\"e", ".yaml:15: the last line is half written"},
		{"a time that goes back", `"t":20,"end":"eof"`, `"t":9,"text":""`, ".yaml:15: t is 9, less than"},
		{"another length", `"2"`, `"3"`, `Content-Length of the response is 3, but lines has 2 bytes: was it edited? Write Content-Length: 2`},
	} {
		t.Run(c.name, func(t *testing.T) {
			tp, err := Open(smallTape(t, 2, true, strings.Replace(smallCall, c.old, c.new, 1)))
			if err != nil {
				t.Fatal(err)
			}
			problems := tp.Verify()
			if len(problems) == 0 || !strings.Contains(problems[0].String(), c.want) {
				t.Errorf("got %v, expected %s", problems, c.want)
			}
		})
	}
}

func TestFormat1HasNoLinesInExchangeFiles(t *testing.T) {
	_, err := Open(smallTape(t, 1, true, smallCall))
	var fe *FormatError
	if !errors.As(err, &fe) || fe.Line != 13 || !strings.Contains(fe.Msg, `the key "lines"`) {
		t.Error(err)
	}
}

func TestAnEditedSmallAnswerIsPlayedWithItsLength(t *testing.T) {
	tp, err := Open(smallTape(t, 2, true, strings.Replace(smallCall, `"hi"`, `"hello"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	tp.FollowLengths()
	if got := tp.Calls[0].Response.Head.Header.Get("Content-Length"); got != "5" {
		t.Errorf("Content-Length: %s", got)
	}
}

func TestPatchMovesASmallAnswerAsItIs(t *testing.T) {
	dir, from := smallTape(t, 2, true, smallCall), smallTape(t, 2, true, smallCall)
	other, err := Open(from)
	if err != nil {
		t.Fatal(err)
	}
	next := *other.Calls[0]
	next.Number = 2
	if err := Patch(dir, nil, other, []*Exchange{&next}); err != nil {
		t.Fatal(err)
	}
	files := readAll(t, dir)
	if got := files["calls/0002-get-a-x.yaml"]; got != strings.Replace(smallCall, "call: 1", "call: 2", 1) {
		t.Errorf("%v\n%s", files, got)
	}
	if files["calls/0001-get-a-x.yaml"] != smallCall {
		t.Error("the other call was changed")
	}
}
