package http2

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// script builds the bytes of one direction.
func script(t testing.TB, preface bool, write func(r *rawPeer)) []byte {
	var b bytes.Buffer
	if preface {
		b.WriteString(http2.ClientPreface)
	}
	r := &rawPeer{t: t, Framer: http2.NewFramer(&b, nil)}
	r.AllowIllegalWrites = true
	r.enc = hpack.NewEncoder(&r.buf)
	write(r)
	return b.Bytes()
}

// observe lets both observers see the bytes, cut at the places that cuts names,
// and returns what they heard and what went upstream.
func observe(up, down, cuts []byte, rewrite func(*httpstream.RequestHead)) (events, out string) {
	heard := new(heardSink)
	streams := newStreamTable(heard)
	req, res := newRequestReader(streams, rewrite), newResponseReader(streams)
	at := time.Unix(0, 0)
	var sent bytes.Buffer
	each := func(b []byte, scan *scanner, process func()) {
		for i := 0; len(b) > 0; i++ {
			space := scan.space()
			n := min(len(b), len(space))
			if i < len(cuts) {
				n = min(n, 1+int(cuts[i]))
			}
			copy(space, b[:n])
			scan.filled(n)
			b = b[n:]
			process()
		}
	}
	each(up, &req.scan, func() { sent.Write(req.process(at)); req.announce(); req.report() })
	if req.err == nil {
		sent.Write(req.unsent())
	}
	each(down, &res.scan, func() { res.process(at) })
	streams.close(at, httpstream.EndInfo{How: httpstream.Open})
	var s strings.Builder
	for _, x := range heard.exchanges {
		fmt.Fprintf(&s, "%+v %s\n%q\n", *x.head, strings.Join(x.events, "; "), x.body.String()+"|"+x.reqBody.String())
	}
	return s.String(), sent.String()
}

func FuzzObserverIsSplitInvariant(f *testing.F) {
	up := script(f, true, func(r *rawPeer) {
		r.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 65536})
		r.get(1, true)
		r.headers(3, false, ":method", "POST", ":scheme", "https", ":path", "/p", ":authority", "h", "cookie", "a", "cookie", "b")
		r.WriteDataPadded(3, false, []byte("body"), make([]byte, 5))
		r.WriteSettingsAck()
		r.headers(3, true, "trailer", "t")
		r.WriteRSTStream(1, http2.ErrCodeCancel)
	})
	down := script(f, false, func(r *rawPeer) {
		r.WriteSettings()
		r.headers(3, false, ":status", "103", "link", "l")
		block := r.encode(":status", "200", "a", "b", "c", "d")
		r.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block[:2]})
		r.WriteContinuation(3, true, block[2:])
		r.WriteData(3, false, make([]byte, 70_000))
		r.WriteRawFrame(0x42, 1, 3, []byte("unknown"))
		r.WriteGoAway(3, http2.ErrCodeNo, []byte("bye"))
		r.WriteData(3, true, nil)
	})
	f.Add(up, down, []byte{0, 3, 200, 9, 1})
	f.Add(up[:40], down, []byte{0})
	f.Add(up, append(down[:30:30], "HTTP/1.1 400 Bad Request\r\n\r\n"...), []byte{30, 30, 30})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte{}, []byte{1, 1})
	for _, broken := range [][]byte{
		{0, 0, 0, 9, 4, 0, 0, 0, 1},                // CONTINUATION without HEADERS
		{0, 0, 2, 1, 8, 0, 0, 0, 5, 200, 0},        // padding over the end
		{0, 0, 1, 1, 0, 0, 0, 0, 5, 0x82, 0, 0, 0}, // never continued
		{0, 0, 3, 1, 4, 0, 0, 0, 5, 255, 255, 255}, // broken HPACK
		{255, 255, 255, 1, 4, 0, 0, 0, 5},          // too large to hold
	} {
		f.Add(append(up[:len(up):len(up)], broken...), broken, []byte{5, 200, 4})
	}
	f.Fuzz(func(t *testing.T, up, down, cuts []byte) {
		for _, rewrite := range []func(*httpstream.RequestHead){nil, func(h *httpstream.RequestHead) { h.Method = "PUT" }} {
			events, out := observe(up, down, nil, rewrite)
			splitEvents, splitOut := observe(up, down, cuts, rewrite)
			if events != splitEvents {
				t.Errorf("whole\n%s\nsplit\n%s", events, splitEvents)
			}
			if out != splitOut {
				t.Errorf("whole\n%q\nsplit\n%q", out, splitOut)
			}
			if rewrite == nil && string(up) != out {
				t.Errorf("sent %q of %q", out, up)
			}
		}
	})
}

func TestFieldBlocksRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, 1+rnd.IntN(n))
		for i := range b {
			b[i] = byte('a' + rnd.IntN(26))
		}
		return string(b)
	}
	var wire buffer
	enc, dec := hpack.NewEncoder(&wire), newDecoder(maxBlock)
	enc.SetMaxDynamicTableSize(0)
	for i := range 2000 {
		head := &httpstream.RequestHead{
			Proto: "HTTP/2.0", Method: strings.ToUpper(word(6)), Target: "/" + word(50),
			Scheme: "https", Authority: word(10),
		}
		switch rnd.IntN(4) {
		case 0:
			head.Method, head.Scheme, head.Target = "CONNECT", "", head.Authority
		case 1:
			head.Method, head.Protocol = "CONNECT", "websocket"
		}
		for range rnd.IntN(20) {
			value := make([]byte, rnd.IntN(300))
			for i := range value {
				value[i] = byte(32 + rnd.IntN(224))
			}
			head.Header = append(head.Header, httpstream.Field{Name: word(20), Value: string(value)})
		}
		var was []hpack.HeaderField
		for _, name := range []string{":method", ":scheme", ":authority", ":path", ":protocol"} {
			plain := head.Method == "CONNECT" && head.Protocol == ""
			if !(plain && (name == ":scheme" || name == ":path")) && !(head.Protocol == "" && name == ":protocol") {
				was = append(was, hpack.HeaderField{Name: name, Sensitive: rnd.IntN(9) == 0})
			}
		}
		sent := requestFields(was, &httpstream.RequestHead{}, head)

		wire = wire[:0]
		for _, f := range sent {
			enc.WriteField(f)
		}
		frames := appendBlock(nil, wire, []byte{1, 2, 3, 4, 5}[:5*rnd.IntN(2)], 7, i%2 == 0, 100+rnd.IntN(1000))
		var scan scanner
		var block fieldBlock
		done := false
		for !done {
			n := copy(scan.space(), frames)
			scan.filled(n)
			frames = frames[n:]
			for {
				p, ok, err := scan.next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if _, done, err = block.add(p); err != nil {
					t.Fatal(err)
				}
			}
		}
		fields, err := dec.decode(block.fragment)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(fields, sent) {
			t.Fatalf("sent %v\ngot  %v", sent, fields)
		}
		got, err := requestHead(fields)
		if err != nil || !reflect.DeepEqual(got, head) {
			t.Fatalf("sent %+v\ngot  %+v, %v", head, got, err)
		}
		if block.Flags.Has(http2.FlagHeadersEndStream) != (i%2 == 0) || block.StreamID != 7 {
			t.Fatalf("frame %v", block.FrameHeader)
		}
	}
}

func TestRewriteKeepsWhatItDoesNotTouch(t *testing.T) {
	was := []hpack.HeaderField{
		{Name: ":path", Value: "/"}, {Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: "host", Value: "h"}, {Name: "authorization", Value: "s", Sensitive: true},
	}
	head := must[*httpstream.RequestHead](t)(requestHead(was))
	if head.Authority != "h" {
		t.Errorf("authority %q", head.Authority)
	}
	if got := requestFields(was, head, head); !reflect.DeepEqual(got, was) {
		t.Errorf("got  %v\nwant %v", got, was)
	}
}

// The difference between the two is what the relay adds to a chunk.
func BenchmarkChunkLatency(b *testing.B) {
	for _, relayed := range []bool{false, true} {
		b.Run(fmt.Sprintf("relayed=%v", relayed), func(b *testing.B) {
			var client, server net.Conn
			if relayed {
				c, s, _, _ := relayedPair(b, relay.Options{RewriteRequest: func(*httpstream.RequestHead) {}})
				client, server = c.conn, s.conn
			} else {
				ln := must[net.Listener](b)(net.Listen("tcp", "127.0.0.1:0"))
				defer ln.Close()
				client = must[net.Conn](b)(net.Dial("tcp", ln.Addr().String()))
				server = must[net.Conn](b)(ln.Accept())
				defer client.Close()
				defer server.Close()
			}
			request := script(b, true, func(r *rawPeer) { r.WriteSettings(); r.get(1, true) })
			client.Write(request)
			server.Read(make([]byte, 4096))
			response := script(b, false, func(r *rawPeer) { r.headers(1, false, ":status", "200") })
			server.Write(response)
			io.ReadFull(client, response)

			frame := script(b, false, func(r *rawPeer) { r.WriteData(1, false, make([]byte, 200)) })
			got := make([]byte, len(frame))
			b.ResetTimer()
			for range b.N {
				server.Write(frame)
				io.ReadFull(client, got)
			}
		})
	}
}
