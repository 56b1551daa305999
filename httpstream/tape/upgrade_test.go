package tape

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

// oldTape is a tape of format 1, with a WebSocket whose frames are as they were on the
// wire, and another call with a comment in its file.
func oldTape(t *testing.T) string {
	t.Helper()
	dir := newTape(t)
	x := socket("")
	x.Kind, x.Number, x.TwoWay = Call, 2, true
	x.Request = Request{Proto: "HTTP/1.1", Method: "GET", URL: "http://a/ws"}
	up := wireFrame(websocket.Header{Op: websocket.Text, Final: true, Masked: true, Key: [4]byte{1, 2, 3, 4}}, []byte("question"))
	down := wireFrame(websocket.Header{Op: websocket.Text, Final: true}, []byte("the answer"))
	x.Request.Body = Body{InStream: true, Size: int64(len(up)), SHA256: HashBody(up)}
	x.Stream = StreamOf(x)
	file, _ := fileNames(x)
	data, err := encodeExchange(x)
	if err != nil {
		t.Fatal(err)
	}
	var stream []byte
	for _, l := range []*Line{
		{At: time.Millisecond, FromClient: true, Chunk: httpstream.Chunk{Data: up}},
		{At: 2 * time.Millisecond, Chunk: httpstream.Chunk{Data: down[:5]}}, {At: 3 * time.Millisecond, Chunk: httpstream.Chunk{Data: down[5:]}},
		end(4*time.Millisecond, httpstream.EOF),
	} {
		stream = append(AppendLine(stream, l), '\n')
	}
	plain := filepath.Join(dir, "calls", "0001-get-a-x.yaml")
	text, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	manifest := "version: 1\ncreated: 2026-01-02T03:04:05Z\nby: 0.1.0\ncomplete: true\n"
	for name, content := range map[string]string{
		filepath.Join(dir, manifestName): manifest, plain: "# mended by hand\n" + string(text),
		filepath.Join(dir, filepath.FromSlash(file)): string(data), filepath.Join(dir, filepath.FromSlash(x.Stream)): string(stream),
		filepath.Join(dir, "README"): "ours",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestUpgradeWritesAnOldTapeInTheNewestFormat(t *testing.T) {
	dir := oldTape(t)
	before := readAll(t, dir)
	done, err := Upgrade(dir)
	if err != nil || done != (Upgraded{From: 1, Streams: 1}) {
		t.Fatalf("%+v, %v", done, err)
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if problems := tp.Verify(); problems != nil || tp.Manifest.Version != Version || !tp.Manifest.Complete || tp.Manifest.By != "0.1.0" {
		t.Errorf("%+v: %v", tp.Manifest, problems)
	}
	after := readAll(t, dir)
	for name, text := range before {
		switch {
		case name == manifestName || strings.Contains(name, "0002"):
		case after[name] != text:
			t.Errorf("%s was changed", name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("the files are %v", after)
	}
	want := `{"t":1000,"from":"client","ws":"text","text":"question"}
{"t":3000,"ws":"text","text":"the answer"}
{"t":4000,"end":"eof"}
`
	if got := after[filepath.FromSlash(tp.Calls[1].Stream)]; got != want {
		t.Errorf("the WebSocket is\n%s", got)
	}
	again, err := Upgrade(dir)
	if err != nil || again != (Upgraded{From: Version}) || fmt.Sprint(readAll(t, dir)) != fmt.Sprint(after) {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestUpgradeOfABrokenTapeChangesNothing(t *testing.T) {
	dir := oldTape(t)
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, filepath.FromSlash(tp.Calls[1].Stream))
	if err := os.WriteFile(file, []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := readAll(t, dir)
	var fe *FormatError
	if _, err := Upgrade(dir); !errors.As(err, &fe) || fe.File != file {
		t.Errorf("got %v", err)
	}
	if fmt.Sprint(readAll(t, dir)) != fmt.Sprint(before) {
		t.Error("the tape was changed")
	}
	if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) != 1 {
		t.Errorf("left beside it: %v", entries)
	}
}

func TestAnOldTapeIsChangedOnlyByUpgrade(t *testing.T) {
	dir := oldTape(t)
	before := readAll(t, dir)
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{tp.Writable(), Patch(dir, tp.Calls[:1], tp, nil)} {
		var fe *FormatError
		if !errors.As(err, &fe) || fe.Hint != "first run: wiretape tape upgrade "+dir {
			t.Errorf("got %v", err)
		}
	}
	if fmt.Sprint(readAll(t, dir)) != fmt.Sprint(before) {
		t.Error("the tape was changed")
	}
}
