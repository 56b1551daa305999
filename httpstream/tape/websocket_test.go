package tape

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

// socket is an exchange that opened a WebSocket.
func socket(extensions string) *Exchange {
	x := &Exchange{TwoWay: true, Response: &Response{Head: httpstream.ResponseHead{
		Status: 101, Header: httpstream.Fields{{Name: "Upgrade", Value: "websocket"}},
	}}}
	if extensions != "" {
		x.Response.Head.Header = append(x.Response.Head.Header, httpstream.Field{Name: "Sec-WebSocket-Extensions", Value: extensions})
	}
	return x
}

// wireFrame is a frame as a peer writes it.
func wireFrame(h websocket.Header, payload []byte) []byte {
	h.Length = int64(len(payload))
	b := append(websocket.AppendHeader(nil, h), payload...)
	h.Unmask(b[len(b)-len(payload):], 0) // masking is its own reverse
	return b
}

// framed gives bytes to f in pieces of these sizes, and returns the lines as they
// stand on a tape and what they were on the wire.
func framed(t *testing.T, f *Frames, b []byte, size func() int) (lines []string, wire []byte) {
	t.Helper()
	emit := func(l *Line) error {
		text := AppendLine(nil, l)
		lines = append(lines, string(text))
		back, _, err := parseLine(text, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		wire = AppendFrame(wire, &back)
		return nil
	}
	for len(b) > 0 {
		n := min(len(b), size())
		if err := f.Add(&Line{Chunk: httpstream.Chunk{Data: b[:n]}}, emit); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	if err := f.Close(emit); err != nil {
		t.Fatal(err)
	}
	return lines, wire
}

// deflated is a message as permessage-deflate sends it.
func deflated(w *flate.Writer, buf *bytes.Buffer, text string) []byte {
	buf.Reset()
	w.Write([]byte(text))
	w.Flush()
	return bytes.TrimSuffix(bytes.Clone(buf.Bytes()), []byte("\x00\x00\xff\xff"))
}

func TestMessagesAreReadable(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	final := func(op int) websocket.Header { return websocket.Header{Op: op, Final: true} }
	masked := final(websocket.Text)
	masked.Masked, masked.Key = true, key
	for _, c := range []struct {
		name   string
		client bool
		in     []byte
		want   []string
	}{
		{"a text", false, wireFrame(final(websocket.Text), []byte("sk-secret")), []string{`{"t":0,"ws":"text","text":"sk-secret"}`}},
		{"a client's text is unmasked", true, wireFrame(masked, []byte("sk-secret")), []string{`{"t":0,"from":"client","ws":"text","text":"sk-secret"}`}},
		{"bytes", false, wireFrame(final(websocket.Binary), []byte{0, 255}), []string{`{"t":0,"ws":"binary","base64":"AP8="}`}},
		{"a close", false, wireFrame(final(websocket.Close), []byte("\x0f\xa1that was all")), []string{`{"t":0,"ws":"close","status":4001,"text":"that was all"}`}},
		{"a close without a status", false, wireFrame(final(websocket.Close), nil), []string{`{"t":0,"ws":"close","text":""}`}},
		{"a ping", false, wireFrame(final(websocket.Ping), []byte("p")), []string{`{"t":0,"ws":"ping","text":"p"}`}},
		{"fragments", false, slices.Concat(
			wireFrame(websocket.Header{Op: websocket.Text}, []byte("a")), wireFrame(final(websocket.Pong), nil), wireFrame(final(websocket.Continuation), []byte("b")),
		), []string{`{"t":0,"ws":"text","fin":false,"text":"a"}`, `{"t":0,"ws":"pong","text":""}`, `{"t":0,"ws":"continuation","text":"b"}`}},
		{"a reserved bit", false, wireFrame(websocket.Header{Op: 1, Final: true, Reserved: 2}, []byte("a")), []string{`{"t":0,"ws":"text","rsv":2,"text":"a"}`}},
		{"a server that masks is left as it was", false, []byte("\x81\x81\x00\x00\x00\x00a"), []string{`{"t":0,"base64":"gYE="}`, `{"t":0,"text":"\u0000\u0000\u0000\u0000a"}`}},
		{"half a frame", false, wireFrame(final(websocket.Text), []byte("abc"))[:3], []string{`{"t":0,"of":3,"ws":"text","text":"a"}`}},
		{"a header whose payload does not come", false, wireFrame(final(websocket.Text), []byte("abc"))[:2], []string{`{"t":0,"of":3,"ws":"text","text":""}`}},
		{"a client's header whose payload does not come", true, wireFrame(masked, []byte("abc"))[:6], []string{`{"t":0,"from":"client","of":3,"ws":"text","text":""}`}},
		{"half a header", false, []byte("\x81"), []string{`{"t":0,"base64":"gQ=="}`}},
		{"half a ping", false, wireFrame(final(websocket.Ping), []byte("abc"))[:3], []string{`{"t":0,"base64":"iQNh"}`}},
		{"half a client's ping is as it was", true, wireFrame(websocket.Header{Op: websocket.Ping, Final: true, Masked: true, Key: key}, []byte("abc"))[:7], []string{`{"t":0,"from":"client","base64":"iYMBAgMEYA=="}`}},
		{"a length that is longer than needed", false, []byte("\x81\x7e\x00\x01a"), []string{`{"t":0,"base64":"gX4AAWE="}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := FramesOf(socket(""), c.client)
			lines, wire := framed(t, f, c.in, func() int { return 1 << 20 })
			if strings.HasPrefix(c.name, "a server that masks") {
				lines = []string{strings.Join(lines, "")}
				c.want = lines
			}
			if !slices.Equal(lines, c.want) {
				t.Errorf("got  %q\nwant %q", lines, c.want)
			}
			if !c.client && !bytes.Equal(wire, c.in) {
				t.Errorf("on the wire %x, want %x", wire, c.in)
			}
		})
	}
}

func TestCompressedMessagesAreReadableAndKeepTheirBytes(t *testing.T) {
	for _, extensions := range []string{"permessage-deflate", "permessage-deflate; server_no_context_takeover"} {
		var buf bytes.Buffer
		w, _ := flate.NewWriter(&buf, 6)
		var in []byte
		var texts []string
		for i := range 20 {
			text := strings.Repeat("the secret is sk-verysecret. ", 1+i*i*20)
			texts = append(texts, text)
			packed := deflated(w, &buf, text)
			if strings.Contains(extensions, "no_context") {
				w.Reset(&buf)
			}
			half := len(packed) / 2
			in = append(in, wireFrame(websocket.Header{Op: 1, Reserved: 4}, packed[:half])...)
			in = append(in, wireFrame(websocket.Header{Op: 9, Final: true}, nil)...)
			in = append(in, wireFrame(websocket.Header{Final: true}, packed[half:])...)
		}
		r := rand.New(rand.NewPCG(1, 2))
		lines, wire := framed(t, FramesOf(socket(extensions), false), in, func() int { return 1 + r.IntN(5000) })
		if !bytes.Equal(wire, in) {
			t.Errorf("%s: the bytes on the wire differ", extensions)
		}
		var got strings.Builder
		for _, text := range lines {
			l, _, err := parseLine([]byte(text), nil)
			if err != nil || l.Unread {
				t.Fatal(text, err)
			}
			if l.Frame == nil || l.Frame.Op != websocket.Ping {
				got.Write(l.Data)
			}
		}
		if got.String() != strings.Join(texts, "") {
			t.Errorf("%s: the texts differ", extensions)
		}
	}
}

func TestWhatCannotBeInflatedKeepsItsBytes(t *testing.T) {
	bomb := bytes.Buffer{}
	w, _ := flate.NewWriter(&bomb, 9)
	w.Write(make([]byte, 4*maxInflated))
	w.Flush()
	for _, payload := range [][]byte{{0xff, 0xff}, bomb.Bytes()} {
		in := wireFrame(websocket.Header{Op: 1, Final: true, Reserved: 4}, payload)
		lines, wire := framed(t, FramesOf(socket("permessage-deflate"), false), in, func() int { return 1000 })
		if !bytes.Equal(wire, in) || !strings.Contains(lines[len(lines)-1], `"deflated"`) || strings.Contains(lines[len(lines)-1], `"text":"`) {
			t.Errorf("%.100q", lines)
		}
	}
}

func TestAFrameThatAnnouncesTheLargestLengthHoldsNoMemory(t *testing.T) {
	length := "\x7f\x7f" + strings.Repeat("\xff", 7)
	for name, header := range map[string]string{
		"bytes":                              "\x82" + length,
		"a text":                             "\x81" + length,
		"a compressed one":                   "\xc2" + length,
		"a fragment":                         "\x02\x01a\x80" + length,
		"one that is too large to be a size": "\x82\x7f" + strings.Repeat("\xff", 8),
	} {
		in := append([]byte(header), make([]byte, 4<<20)...)
		f := FramesOf(socket("permessage-deflate"), false)
		var wire []byte
		emit := func(l *Line) error {
			if len(l.Data) > maxInflated || cap(f.held) > 4*maxHeldFrame {
				t.Fatalf("%s: %d bytes in a line, %d held", name, len(l.Data), cap(f.held))
			}
			wire = AppendFrame(wire, l)
			return nil
		}
		for b := in; len(b) > 0; b = b[min(len(b), 5000):] {
			f.Add(&Line{Chunk: httpstream.Chunk{Data: b[:min(len(b), 5000)]}}, emit)
		}
		f.Close(emit)
		if !bytes.Equal(wire, in) {
			t.Errorf("%s: %d bytes on the wire, want %d", name, len(wire), len(in))
		}
	}
}

func TestALongTextIsCutBetweenCharacters(t *testing.T) {
	text := "x" + strings.Repeat("a€😀", 3*maxHeldFrame/8)
	for _, h := range []websocket.Header{{Op: websocket.Text, Final: true}, {Op: websocket.Text, Final: true, Masked: true, Key: [4]byte{1, 2, 3, 4}}} {
		lines, _ := framed(t, FramesOf(socket(""), h.Masked), wireFrame(h, []byte(text)), func() int { return 1000 })
		var got strings.Builder
		for _, line := range lines {
			l, _, err := parseLine([]byte(line), nil)
			if err != nil || !utf8.Valid(l.Data) {
				t.Errorf("%v: %.60q…", err, line)
			}
			got.Write(l.Data)
		}
		if got.String() != text || len(lines) != 4 {
			t.Errorf("%d lines with %d bytes, want 4 with %d", len(lines), got.Len(), len(text))
		}
	}
}

func TestWhatOneSideSaysStandsBehindWhatTheOtherHasSaidByThen(t *testing.T) {
	long := wireFrame(websocket.Header{Op: websocket.Text, Final: true}, []byte("a question"))
	ping := wireFrame(websocket.Header{Op: websocket.Ping, Final: true}, []byte("ping"))
	said := wireFrame(websocket.Header{Op: websocket.Text, Final: true, Masked: true}, []byte("answer"))
	c := ConversationOf(socket(""))
	var lines []string
	emit := func(l *Line) error {
		lines = append(lines, string(AppendLine(nil, l)))
		return nil
	}
	at := time.Duration(0)
	add := func(client bool, b []byte) {
		at += time.Millisecond
		if err := c.Add(&Line{At: at, FromClient: client, Chunk: httpstream.Chunk{Data: b}}, emit); err != nil {
			t.Fatal(err)
		}
	}
	add(false, long[:7])
	add(true, said[:3]) // of which nobody can make anything yet
	add(true, said[3:])
	add(false, long[7:])
	add(false, ping[:4]) // nor of half a control frame
	add(true, said)
	add(true, said[:9])
	add(true, nil)
	if err := c.Close(emit); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"t":1000,"of":10,"ws":"text","text":"a que"}`, `{"t":3000,"from":"client","ws":"text","text":"answer"}`, `{"t":4000,"rest":true,"text":"stion"}`,
		`{"t":6000,"from":"client","ws":"text","text":"answer"}`, `{"t":6000,"base64":"iQRwaQ=="}`, `{"t":8000,"from":"client","of":6,"ws":"text","text":"ans"}`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
}

// played is what a client that takes the compression gets of lines as they stand on a tape.
func played(t *testing.T, x *Exchange, lines []string) (wire []byte) {
	t.Helper()
	w := WriterOf(x, true)
	defer w.Close()
	for _, line := range lines {
		l, _, err := parseLine([]byte(line), nil)
		if err == nil {
			wire, err = w.Append(wire, &l)
		}
		if err != nil {
			t.Errorf("%v in %.100s", err, line)
			return wire
		}
	}
	return wire
}

func TestAMessageThatCannotBeReadToItsEndIsPlayedAsItWas(t *testing.T) {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, 1)
	good := deflated(w, &buf, "a message that begins well")
	long := make([]byte, maxInflated+1<<20)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(long); i++ {
		long[i] = byte(r.Uint32())
	}
	plain := wireFrame(websocket.Header{Op: websocket.Text, Final: true}, []byte("plain"))
	for name, in := range map[string][]byte{
		"garbage in its second fragment": slices.Concat(wireFrame(websocket.Header{Op: 1, Reserved: 4}, good),
			wireFrame(websocket.Header{Final: true}, []byte("\xff\xff\xff")), wireFrame(websocket.Header{Op: 1, Final: true, Reserved: 4}, good), plain),
		"more than is made readable": slices.Concat(wireFrame(websocket.Header{Op: 2, Final: true, Reserved: 4}, deflated(w, &buf, string(long))), plain),
	} {
		for _, extensions := range []string{"permessage-deflate", "permessage-deflate; server_no_context_takeover"} {
			x := socket(extensions)
			lines, _ := framed(t, FramesOf(x, false), in, func() int { return 32 << 10 })
			if wire := played(t, x, lines); !bytes.Equal(wire, in) {
				t.Errorf("%s, %s: %d bytes are played, want %d", name, extensions, len(wire), len(in))
			}
		}
	}
}

// unmasked is what the tape has of a client's bytes: frames without their masks, and
// what is none as it was.
func unmasked(b []byte) (out []byte) {
	for {
		h, n, err := websocket.ParseHeader(b)
		whole := n > 0 && int64(len(b)-n) >= h.Length
		if err != nil || n == 0 || !h.Masked || h.Control() && !whole {
			return append(out, b...)
		}
		payload := bytes.Clone(b[n:])
		if whole {
			payload = payload[:h.Length]
		}
		b = b[n+len(payload):]
		h.Unmask(payload, 0)
		h.Masked = false
		out = append(websocket.AppendHeader(out, h), payload...)
	}
}

// FuzzFramesKeepTheWire has both sides say bytes, in turns and in pieces of sizes that
// cuts has: what stands on the tape is what was on the wire, in its order, and is
// what a replay plays.
func FuzzFramesKeepTheWire(f *testing.F) {
	f.Add([]byte("\x81\x05hello\x88\x02\x03\xe8"), []byte("\x81\x85\x01\x02\x03\x04iejho\x88\x80\x01\x02\x03\x04"), []byte{3, 4}, uint8(0))
	f.Add([]byte("\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00"), []byte("\xc1\x87\x00\x00\x00\x00\xf2\x48\xcd\xc9\xc9\x07\x00"), []byte{2}, uint8(1)) // RFC 7692 section 7.2.3
	f.Add([]byte("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffabc"), []byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04abc"), []byte{5}, uint8(2))
	f.Add([]byte("\x89\x7e\x00"), []byte("\x89\x85\x01\x02\x03\x04a"), []byte{1}, uint8(0))
	f.Add([]byte("\x81\x05"), []byte("\x81\x85\x01\x02\x03\x04"), []byte{1}, uint8(0))
	f.Add([]byte("\x41\x02\xf2\x48\x80\x02\xff\xff\x81\x01a"), []byte("\x01\x81\x00\x00\x00\x00\xe2\x89\x80\x00\x00\x00\x00\x80\x82\x00\x00\x00\x00\x82\xac"), []byte{1, 9, 2}, uint8(1))
	f.Add([]byte("\x81\x85\x01\x02\x03\x04hello"), []byte("\x81\x05hello"), []byte{200}, uint8(0))
	f.Fuzz(func(t *testing.T, server, client, cuts []byte, compressed uint8) {
		x := socket([]string{"", "permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"}[compressed%3])
		c := ConversationOf(x)
		var lines []string
		var wire [2][]byte // of the server and the client
		last := time.Duration(-1)
		emit := func(l *Line) error {
			text := AppendLine(nil, l)
			back, _, err := parseLine(text, nil)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if back.At < last {
				t.Errorf("%s: the line before is of %v", text, last)
			}
			last = back.At
			side := 0
			if back.FromClient {
				side = 1
			} else {
				lines = append(lines, string(text))
			}
			wire[side] = AppendFrame(wire[side], &back)
			return nil
		}
		in := [2][]byte{server, client}
		for i := 0; len(in[0])+len(in[1]) > 0; i++ {
			n := len(in[i%2])
			if len(cuts) > 0 {
				n = min(n, 1+int(cuts[i%len(cuts)]))
			}
			if err := c.Add(&Line{At: time.Duration(i) * time.Millisecond, FromClient: i%2 == 1, Chunk: httpstream.Chunk{Data: in[i%2][:n]}}, emit); err != nil {
				t.Fatal(err)
			}
			in[i%2] = in[i%2][n:]
		}
		if err := c.Close(emit); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(wire[0], server) {
			t.Errorf("the server's %x became %x", server, wire[0])
		}
		if want := unmasked(client); !bytes.Equal(wire[1], want) {
			t.Errorf("the client's %x became %x, want %x", client, wire[1], want)
		}
		if got := played(t, x, lines); !bytes.Equal(got, server) {
			t.Errorf("the server's %x is played as %x", server, got)
		}
	})
}
