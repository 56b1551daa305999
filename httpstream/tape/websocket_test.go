package tape

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

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
	b := websocket.AppendHeader(nil, h)
	if !h.Masked {
		return append(b, payload...)
	}
	b[1] |= 0x80
	b = append(b, h.Key[:]...)
	for i, c := range payload {
		b = append(b, c^h.Key[i&3])
	}
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
	for _, first := range []byte{0x82, 0xc2} {
		in := append([]byte{first, 0x7f, 0x7f, 255, 255, 255, 255, 255, 255, 255}, make([]byte, 4<<20)...)
		f := FramesOf(socket("permessage-deflate"), false)
		var wire []byte
		emit := func(l *Line) error {
			if len(l.Data) > maxInflated || cap(f.held) > 4*maxHeldFrame {
				t.Fatalf("%d bytes in a line, %d held", len(l.Data), cap(f.held))
			}
			wire = AppendFrame(wire, l)
			return nil
		}
		for b := in; len(b) > 0; b = b[min(len(b), 5000):] {
			f.Add(&Line{Chunk: httpstream.Chunk{Data: b[:min(len(b), 5000)]}}, emit)
		}
		f.Close(emit)
		if !bytes.Equal(wire, in) {
			t.Errorf("%d bytes on the wire, want %d", len(wire), len(in))
		}
	}
}

func FuzzFramesKeepTheWire(f *testing.F) {
	f.Add([]byte("\x81\x05hello\x88\x02\x03\xe8"), uint8(3), false)
	f.Add([]byte("\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"), uint8(2), true) // RFC 7692 section 7.2.3.1
	f.Add([]byte("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffabc"), uint8(5), false)
	f.Add([]byte("\x89\x7e\x00"), uint8(1), false)
	f.Fuzz(func(t *testing.T, b []byte, size uint8, compressed bool) {
		extensions := ""
		if compressed {
			extensions = "permessage-deflate"
		}
		_, wire := framed(t, FramesOf(socket(extensions), false), b, func() int { return int(size) + 1 })
		if !bytes.Equal(wire, b) {
			t.Errorf("%x became %x", b, wire)
		}
	})
}
