package record

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

const fakeKey = "sk-proj-aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5z"

// A taped recording goes to a tape on the disk.
type taped struct {
	*Recorder
	t   *testing.T
	dir string
	w   *tape.Writer
}

func record(t *testing.T) *taped {
	t.Helper()
	r := &taped{t: t, dir: filepath.Join(t.TempDir(), "tape")}
	var err error
	if r.w, err = tape.Create(r.dir, tape.Manifest{Created: zero, By: "test"}); err != nil {
		t.Fatal(err)
	}
	r.Recorder = New(Options{Start: zero}, r.w.Apply)
	return r
}

// kept ends the recording, and returns all that its files have, what their lines say,
// and those of the first exchange. The tape must be one that can be verified.
func (r *taped) kept() (all string, lines []tape.Line) {
	r.t.Helper()
	if err := r.Close(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if err := r.w.Close(func(m *tape.Manifest) { m.Complete = true }); err != nil {
		r.t.Fatal(err)
	}
	tp, err := tape.Open(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, problem := range tp.Verify() {
		r.t.Errorf("verify: %v", problem)
	}
	var b strings.Builder
	for i, x := range tp.Calls {
		stream, err := tp.Stream(x)
		if err != nil {
			r.t.Fatal(err)
		}
		for line, err := range stream.Lines() {
			if err != nil {
				r.t.Fatal(err)
			}
			b.Write(line.Data)
			if i == 0 {
				line.Data, line.Deflated = bytes.Clone(line.Data), bytes.Clone(line.Deflated)
				lines = append(lines, line)
			}
		}
		stream.Close()
	}
	err = filepath.WalkDir(r.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		b.Write(data)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return b.String(), lines
}

func typed(kind string) *httpstream.ResponseHead {
	return &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 200, Line: "HTTP/1.1 200 OK", Header: httpstream.Fields{{Name: "Content-Type", Value: kind}}}
}

func TestNoSecretOfABodyIsRecordedHoweverItIsCut(t *testing.T) {
	body := `data: {"key":"` + fakeKey + `","password":"hunter2 is long","n":1}` + "\n\nthe end of " + fakeKey
	for cut := range len(body) {
		r := record(t)
		head := requestHead("POST", "/?x="+fakeKey)
		head.Header = append(head.Header, httpstream.Field{Name: "Content-Type", Value: "application/json"})
		x := r.Conn(Conn{Kind: tape.Call}).Request(at(0), head)
		x.RequestChunk(at(0), data(body[:cut]))
		x.RequestChunk(at(0), data(body[cut:]))
		x.RequestEnd(at(0), nil)
		x.Response(at(1), typed("text/event-stream"))
		x.ResponseChunk(at(2), data(body[:cut]))
		x.ResponseChunk(at(3), data(body[cut:]))
		x.ResponseChunk(at(4), data(" tail"))
		x.End(at(5), httpstream.EndInfo{How: httpstream.EOF})
		all, lines := r.kept()
		for _, secret := range []string{fakeKey, fakeKey[12:], fakeKey[8:20], "hunter2"} {
			if strings.Contains(all, secret) {
				t.Fatalf("cut at %d, %q is kept: %s", cut, secret, all)
			}
		}
		if len(lines) != 4 || len(lines[0].Data) != cut || len(lines[1].Data) != len(body)-cut || string(lines[2].Data) != " tail" {
			t.Fatalf("cut at %d, the lines are %+v", cut, lines)
		}
		for i, ms := range []int{2, 3, 4, 5} {
			if lines[i].At != time.Duration(ms)*time.Microsecond {
				t.Errorf("line %d has the time %s", i, lines[i].At)
			}
		}
	}
}

func TestTheSameSecretHasTheSameStandInInRequestsAndAnswers(t *testing.T) {
	r := record(t)
	for range 2 {
		head := requestHead("POST", "/")
		head.Header = append(head.Header, httpstream.Field{Name: "Content-Type", Value: "application/json"})
		x := r.Conn(Conn{Kind: tape.Call}).Request(at(0), head)
		x.RequestChunk(at(0), data(`{"q":"`+fakeKey+`"}`))
		x.RequestEnd(at(0), nil)
		x.Response(at(1), typed("application/json"))
		x.ResponseChunk(at(2), data(`{"a":"`+fakeKey+`"}`))
		x.End(at(3), httpstream.EndInfo{How: httpstream.EOF})
	}
	all, _ := r.kept()
	standIns := map[string]bool{}
	for rest := all; ; {
		_, after, found := strings.Cut(rest, "sk-proj-")
		if !found {
			break
		}
		standIns[after[:len(fakeKey)-len("sk-proj-")]] = true
		rest = after
	}
	if len(standIns) != 1 || standIns[fakeKey[len("sk-proj-"):]] {
		t.Errorf("the stand-ins are %v in %s", standIns, all)
	}
}

func TestLinesOfBothDirectionsKeepTheirOrderBehindOneThatWaits(t *testing.T) {
	r := record(t)
	x := r.Conn(Conn{Kind: tape.Call}).Request(at(0), requestHead("POST", "/"))
	x.Response(at(1), typed("text/plain"))
	x.ResponseChunk(at(2), data("key: "+fakeKey[:20]))
	x.RequestChunk(at(3), data("more please\n"))
	x.RequestChunk(at(4), data("and more\n"))
	x.ResponseChunk(at(5), data(fakeKey[20:]+" end"))
	x.RequestEnd(at(6), nil)
	x.End(at(7), httpstream.EndInfo{How: httpstream.EOF})
	all, lines := r.kept()
	var order strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&order, "%t %s; ", line.FromClient, line.At)
	}
	if want := "false 2µs; true 3µs; true 4µs; false 5µs; false 7µs; "; order.String() != want {
		t.Errorf("the lines are %s", order.String())
	}
	if strings.Contains(all, fakeKey[8:20]) || strings.Contains(all, fakeKey[20:]) {
		t.Errorf("the key is kept: %s", all)
	}
}

// frame is a frame of a WebSocket as it goes over the wire (RFC 6455 section 5.2).
func frame(op byte, first byte, masked bool, payload []byte) []byte {
	b := []byte{first | op}
	size := byte(len(payload))
	if len(payload) > 125 {
		size = 126
	}
	if masked {
		size |= 0x80
	}
	if b = append(b, size); size&0x7f == 126 {
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	}
	if !masked {
		return append(b, payload...)
	}
	mask := []byte{1, 2, 3, 4}
	b = append(b, mask...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

func deflated(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

func TestNoSecretOfAMessageIsRecorded(t *testing.T) {
	const fin, more, packed = 0x80, 0, 0xc0
	message := `{"type":"auth","key":"` + fakeKey + `","password":"hunter2"}`
	for name, tc := range map[string]struct {
		extension string
		client    []byte
		server    []byte
	}{
		"in one frame":    {"", frame(websocket.Text, fin, true, []byte(message)), frame(websocket.Text, fin, false, []byte(message))},
		"in binary":       {"", frame(websocket.Binary, fin, true, []byte("\x0a\x30"+message)), frame(websocket.Binary, fin, false, []byte("\x12"+message))},
		"a ping":          {"", frame(websocket.Ping, fin, true, []byte(fakeKey)), frame(websocket.Pong, fin, false, []byte(fakeKey))},
		"a close's cause": {"", nil, frame(websocket.Close, fin, false, append([]byte{3, 232}, fakeKey...))},
		"in two frames, with a ping between": {"", joined(
			frame(websocket.Text, more, true, []byte(message[:40])), frame(websocket.Ping, fin, true, nil), frame(0, fin, true, []byte(message[40:]))), nil},
		"compressed": {"permessage-deflate", frame(websocket.Text, packed, true, deflated(t, message)), frame(websocket.Text, packed, false, deflated(t, message))},
		"compressed, in two frames": {"permessage-deflate", nil,
			joined(frame(websocket.Text, 0x40, false, deflated(t, message)[:30]), frame(0, fin, false, deflated(t, message)[30:]))},
	} {
		for seed := range uint64(8) {
			r := record(t)
			head := requestHead("GET", "/ws")
			head.Header = append(head.Header, httpstream.Field{Name: "Upgrade", Value: "websocket"}, httpstream.Field{Name: "Connection", Value: "Upgrade"})
			x := r.Conn(Conn{Kind: tape.Call}).Request(at(0), head)
			x.RequestEnd(at(0), nil)
			answer := &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 101, Line: "HTTP/1.1 101 Switching Protocols", Header: httpstream.Fields{
				{Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"}}}
			if tc.extension != "" {
				answer.Header = append(answer.Header, httpstream.Field{Name: "Sec-WebSocket-Extensions", Value: tc.extension})
			}
			x.Response(at(1), answer)
			random := rand.New(rand.NewPCG(seed, 1))
			each := func(b []byte, give func(time.Time, httpstream.Chunk)) {
				for i := 2; len(b) > 0; i++ {
					n := len(b)
					if seed > 0 {
						n = min(n, 1+random.IntN(60))
					}
					give(at(i), httpstream.Chunk{Data: b[:n]})
					b = b[n:]
				}
			}
			each(tc.client, x.RequestChunk)
			each(tc.server, x.ResponseChunk)
			x.RequestEnd(at(100), nil)
			x.End(at(100), httpstream.EndInfo{How: httpstream.EOF})
			all, lines := r.kept()
			for _, secret := range []string{fakeKey, fakeKey[12:], "hunter2"} {
				if strings.Contains(all, secret) {
					t.Errorf("%s, seed %d: %q is kept: %s", name, seed, secret, all)
				}
			}
			for _, line := range lines {
				if tc.extension != "" && bytes.Contains(line.Data, []byte("sk-proj")) && line.Deflated != nil {
					t.Errorf("%s, seed %d: what was on the wire is kept", name, seed)
				}
			}
		}
	}
}

func joined(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestWhatHasNoSecretIsKeptAsItWasOnTheWire(t *testing.T) {
	r := record(t)
	head := requestHead("GET", "/ws")
	head.Header = append(head.Header, httpstream.Field{Name: "Upgrade", Value: "websocket"}, httpstream.Field{Name: "Connection", Value: "Upgrade"})
	x := r.Conn(Conn{Kind: tape.Call}).Request(at(0), head)
	x.RequestEnd(at(0), nil)
	x.Response(at(1), &httpstream.ResponseHead{Proto: "HTTP/1.1", Status: 101, Line: "HTTP/1.1 101 Switching Protocols", Header: httpstream.Fields{
		{Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"}, {Name: "Sec-WebSocket-Extensions", Value: "permessage-deflate"}}})
	wire := deflated(t, `{"a":"b"}`)
	x.ResponseChunk(at(2), httpstream.Chunk{Data: frame(websocket.Text, 0xc0, false, wire)})
	x.RequestEnd(at(3), nil)
	x.End(at(3), httpstream.EndInfo{How: httpstream.EOF})
	_, lines := r.kept()
	if len(lines) != 2 || !lines[0].Compressed || !bytes.Equal(lines[0].Deflated, wire) || string(lines[0].Data) != `{"a":"b"}` {
		t.Errorf("%+v", lines)
	}
}
