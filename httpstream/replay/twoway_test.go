package replay

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// frame is a WebSocket frame with a short payload; masked with the key 0 if it
// comes from a client.
func frame(first byte, payload string, masked bool) string {
	if masked {
		return string([]byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
	}
	return string([]byte{first, byte(len(payload))}) + payload
}

func text(s string) string { return frame(0x81, s, false) }
func said(s string) string { return frame(0x81, s, true) }

const upgrade = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n"

func webSocket() stream {
	x := tape.Exchange{
		Request:  request("GET", "https://h/ws"),
		Response: response(10*ms, 101, httpstream.Field{Name: "Upgrade", Value: "websocket"}),
		TwoWay:   true,
		Stream:   "streams/0001.ndjson",
	}
	x.Request.Header = append(x.Request.Header, httpstream.Field{Name: "Upgrade", Value: "websocket"}, httpstream.Field{Name: "Sec-WebSocket-Version", Value: "13"})
	return stream{x, []tape.Line{
		server(20*ms, text("welcome")),
		client(100*ms, said("ask 1")),
		client(110*ms, frame(0x89, "ping", true)),
		server(130*ms, text("answer")), server(130*ms, text("more")), server(150*ms, text("last")),
		client(200*ms, said("bye")),
		end(230*ms, httpstream.EOF),
	}}
}

func (w *wire) next(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	buf := make([]byte, len(want)-strings.Index(want, " ")-1)
	if _, err := io.ReadFull(r, buf); err != nil {
		t.Fatalf("instead of %q: %v", want, err)
	}
	if got := fmt.Sprintf("%v %s", time.Since(w.start), buf); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestAWebSocketAnswersByCause(t *testing.T) {
	bubble(t, record(t, webSocket()), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, upgrade)
		r := bufio.NewReader(w)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		w.next(t, r, "20ms "+text("welcome"))
		time.Sleep(980 * ms)
		// The same message, in other words, without the ping, in two writes.
		msg := said("a longer question")
		w.send(t, msg[:4])
		time.Sleep(time.Second)
		w.send(t, msg[4:])
		w.next(t, r, "2.03s "+text("answer"))
		w.next(t, r, "2.03s "+text("more"))
		w.next(t, r, "2.05s "+text("last"))
		w.send(t, said(""))
		if _, err := r.ReadByte(); err != io.EOF || time.Since(w.start) != 2080*ms {
			t.Errorf("%v after %v", err, time.Since(w.start))
		}
		if e := <-w.events; e.Status != 101 || e.Chunks != 4 || e.How != httpstream.EOF || e.Late.Max != 0 {
			t.Errorf("event %+v", e)
		}
	})
}

func TestAtSpeedZeroOnlyTheClientIsWaitedFor(t *testing.T) {
	bubble(t, record(t, webSocket()), 0, nil, func(t *testing.T, w *wire) {
		w.send(t, upgrade)
		r := bufio.NewReader(w)
		if _, err := http.ReadResponse(r, nil); err != nil {
			t.Fatal(err)
		}
		w.next(t, r, "0s "+text("welcome"))
		time.Sleep(time.Second)
		w.send(t, said("x"))
		w.next(t, r, "1s "+text("answer"))
		w.next(t, r, "1s "+text("more"))
		w.next(t, r, "1s "+text("last"))
	})
}

// bidi is a request body that was answered before it ended.
func bidi(contentType string, lines ...tape.Line) stream {
	x := tape.Exchange{Request: request("POST", "https://h/a"), Response: response(10*ms, 200, chunked), TwoWay: true, Stream: "streams/0001.ndjson"}
	x.Request.Header = append(x.Request.Header, httpstream.Field{Name: "Content-Type", Value: contentType})
	x.Request.Body.InStream = true
	return stream{x, lines}
}

const postA = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"

func chunkOf(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

func TestABodyIsCountedInBytesOrMessages(t *testing.T) {
	grpc := func(s string) string { return string([]byte{0, 0, 0, 0, byte(len(s))}) + s }
	for _, tc := range []struct {
		name, contentType string
		recorded, now     string
		want              time.Duration
	}{
		{"the same bytes", "text/plain", "hello", "hello", 120 * ms},
		{"more bytes", "text/plain", "hello", "hello, hello", 120 * ms},
		{"fewer bytes, after a pause", "text/plain", "hello", "hell", 100*ms + partialPatience},
		{"the same number of gRPC messages", "application/grpc", grpc("hello") + grpc(""), grpc("") + grpc("hello, hello"), 120 * ms},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := bidi(tc.contentType, client(50*ms, tc.recorded), server(70*ms, "x"), end(70*ms, httpstream.EOF))
			bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
				w.send(t, strings.Replace(postA, "text/plain", tc.contentType, 1))
				time.Sleep(100 * ms)
				go io.WriteString(w, chunkOf(tc.now))
				got := w.arrivals()
				if len(got) != 2 || !strings.HasPrefix(got[1], tc.want.String()+" ") {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

func TestTheEndOfTheRequestIsACause(t *testing.T) {
	s := bidi("text/plain", client(50*ms, "hello"), server(60*ms, "x"), server(110*ms, "y"), end(110*ms, httpstream.EOF))
	s.x.Request.Took = 100 * ms
	bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, postA+chunkOf("hello"))
		go func() {
			time.Sleep(time.Second)
			io.WriteString(w, "0\r\n\r\n")
		}()
		expect(t, w.arrivals(), "10ms HTTP/1.1 200 Hi|Transfer-Encoding: chunked||", "10ms 1|x|", "1.01s 1|y|0||")
	})
}

func TestAClientThatEndsEarlyIsNotWaitedFor(t *testing.T) {
	s := bidi("text/plain", client(50*ms, "hello"), server(60*ms, "x"), client(70*ms, "more"), server(90*ms, "y"), end(90*ms, httpstream.EOF))
	bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, postA)
		time.Sleep(40 * ms)
		go io.WriteString(w, chunkOf("hell")+"0\r\n\r\n")
		expect(t, w.arrivals()[1:], "50ms 1|x|", "60ms 1|y|0||")
	})
}

func TestWhatTheClientSentAfterTheEndIsNoCause(t *testing.T) {
	s := bidi("text/plain", server(20*ms, "x"), client(40*ms, "late"), end(30*ms, httpstream.EOF))
	bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, postA)
		expect(t, w.arrivals()[1:], "20ms 1|x|", "30ms 0||")
	})
}

func TestABodyOfKnownLengthIsMatchedWhole(t *testing.T) {
	one := bidi("text/plain", client(5*ms, "one"), server(30*ms, "1"), end(30*ms, httpstream.EOF))
	two := bidi("text/plain", client(5*ms, "two"), server(30*ms, "2"), end(30*ms, httpstream.EOF))
	one.x.Request.Body = tape.Body{InStream: true, Size: 3, SHA256: tape.HashBody([]byte("one"))}
	two.x.Request.Body = tape.Body{InStream: true, Size: 3, SHA256: tape.HashBody([]byte("two"))}
	two.x.Stream = "streams/0002.ndjson"
	bubble(t, record(t, one, two), 1, nil, func(t *testing.T, w *wire) {
		w.send(t, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\ntwo")
		expect(t, w.arrivals(), "5ms HTTP/1.1 200 Hi|Transfer-Encoding: chunked||", "25ms 1|2|0||")
	})
}

func TestAMessageThatDoesNotComeEndsTheReplayWithItsName(t *testing.T) {
	grpc := func(s string) string { return string([]byte{0, 0, 0, 0, byte(len(s))}) + s }
	ended := bidi("text/plain", client(50*ms, "hello"), server(110*ms, "y"), end(110*ms, httpstream.EOF))
	ended.x.Request.Took = 100 * ms
	for _, tc := range []struct {
		name string
		s    stream
		ask  string
		want string
	}{
		{"a WebSocket's message", webSocket(), upgrade, `call 1: the client's message 1 (`},
		{"a gRPC message", bidi("application/grpc", client(50*ms, grpc("hello")), server(70*ms, "x"), end(70*ms, httpstream.EOF)),
			strings.Replace(postA, "text/plain", "application/grpc", 1),
			`call 1: the client's message 1 ("\x00\x00\x00\x00\x05hello") has not come after 30.04s; it came 40ms after the step before when it was recorded`},
		{"bytes", bidi("text/plain", client(50*ms, "hello"), server(70*ms, "x"), end(70*ms, httpstream.EOF)), postA,
			`call 1: only 0 of the client's 5 bytes, up to "hello", have come after 30.04s; `},
		{"the end of the request", ended, postA + chunkOf("hello"), `call 1: the client has not ended its request after 30.09s; `},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, record(t, tc.s), 1, nil, func(t *testing.T, w *wire) {
				go io.WriteString(w, tc.ask)
				w.arrivals() // which gives up after a minute
				e := <-w.events
				if e.Err == nil || !strings.HasPrefix(e.Err.Error(), tc.want) || e.How != httpstream.Reset {
					t.Errorf("%v, ended %v", e.Err, e.How)
				}
			})
		})
	}
}

func TestAClientThatLeavesBeforeTheRecordedEndIsNamed(t *testing.T) {
	for _, tc := range []struct {
		name  string
		how   httpstream.End
		leave time.Duration
		want  string
	}{
		{"before the last bytes", httpstream.EOF, 50 * ms, "call 1: the client went away after 1 bytes of the answer, which was recorded to its end"},
		{"with all bytes and before the end", httpstream.EOF, 250 * ms, ""},
		{"as when it was recorded", httpstream.Cancelled, 50 * ms, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := tape.Exchange{Request: request("GET", "https://h/"), Response: response(10*ms, 200, chunked), Stream: "streams/0001.ndjson"}
			s := stream{x, []tape.Line{server(20*ms, "a"), server(200*ms, "b"), end(300*ms, tc.how)}}
			bubble(t, record(t, s), 1, nil, func(t *testing.T, w *wire) {
				w.send(t, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
				go io.Copy(io.Discard, w)
				time.Sleep(tc.leave)
				w.Close()
				e := <-w.events
				got := ""
				if err := e.LeftError(); err != nil {
					got = err.Error()
				}
				if e.How != httpstream.Cancelled || got != tc.want {
					t.Errorf("ended %v: %q, want %q", e.How, got, tc.want)
				}
			})
		})
	}
}

func FuzzWebSocketCounter(f *testing.F) {
	f.Add([]byte(said("hello")+frame(0x89, "", true)+frame(0x88, "", true)), 3)
	f.Add([]byte(said(strings.Repeat("x", 125))+said("")), 1)
	f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 0x80, 0x00}, 7)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		x := webSocket().x
		whole, pieces := messageCounter{frames: tape.FramesOf(&x, true)}, messageCounter{frames: tape.FramesOf(&x, true)}
		want, got := whole.count(data), int64(0)
		step = max(step, 1)
		for len(data) > 0 {
			n := min(step, len(data))
			got += pieces.count(data[:n])
			data = data[n:]
		}
		if got != want {
			t.Fatalf("%d messages at once, %d in pieces", want, got)
		}
	})
}

func FuzzGRPCCounter(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 'h', 'i', 1, 0, 0, 0, 0}, 3)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		var whole, pieces grpcCounter
		want, got := whole.count(data), int64(0)
		step = max(step, 1)
		for len(data) > 0 {
			n := min(step, len(data))
			got += pieces.count(data[:n])
			data = data[n:]
		}
		if got != want {
			t.Fatalf("%d messages at once, %d in pieces", want, got)
		}
	})
}
