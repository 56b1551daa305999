package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// conversations is how many of each kind are recorded and replayed;
// WIRETAPE_CONVERSATIONS=3000 for the full number.
func conversations(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("WIRETAPE_CONVERSATIONS"))
	if err != nil {
		return 60
	}
	t.Logf("%d conversations of each kind", n)
	return n
}

// busy keeps all processors busy until the test ends.
func busy(t *testing.T) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for !stop.Load() {
			}
		})
	}
	t.Cleanup(func() { stop.Store(true); wg.Wait() })
}

// turns is how often each side of conversation i speaks. The server begins; after
// that, each waits for the other.
func turns(i int) int { return 1 + i%7 }

// wsFrame is an unfragmented text frame with a short payload.
func wsFrame(s string, masked bool) []byte {
	if masked {
		key := [4]byte{1, 2, 3, byte(len(s))}
		b := append([]byte{0x81, 0x80 | byte(len(s))}, key[:]...)
		for i := range len(s) {
			b = append(b, s[i]^key[i%4])
		}
		return b
	}
	return append([]byte{0x81, byte(len(s))}, s...)
}

// readFrame reads such a frame.
func readFrame(r io.Reader) (string, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	b := make([]byte, int(head[1]&0x7f)+int(head[1]>>7)*4)
	if _, err := io.ReadFull(r, b); err != nil || head[1]&0x80 == 0 {
		return string(b), err
	}
	key, b := b[:4], b[4:]
	for i := range b {
		b[i] ^= key[i%4]
	}
	return string(b), nil
}

// serveWebSocket says hello, and answers as many messages as the query says.
func serveWebSocket(w http.ResponseWriter, r *http.Request) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	i, _ := strconv.Atoi(r.URL.Query().Get("i"))
	c.Write(wsFrame("hello", false))
	for range turns(i) {
		if _, err := readFrame(rw); err != nil {
			return
		}
		c.Write(wsFrame("answer", false))
	}
	readFrame(rw)
}

func talkWebSocket(c net.Conn, i int) error {
	fmt.Fprintf(c, "GET /ws?i=%d HTTP/1.1\r\nHost: one.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", i)
	r := bufio.NewReader(c)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
		return fmt.Errorf("%v: %w", resp, err)
	}
	for turn := range turns(i) + 1 {
		if _, err := readFrame(r); err != nil {
			return fmt.Errorf("answer %d: %w", turn, err)
		}
		if turn < turns(i) {
			c.Write(wsFrame("message "+strconv.Itoa(turn), true))
		}
	}
	return c.Close()
}

// serveBidi does the same in a body that is answered while it is sent.
func serveBidi(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "hello")
	w.(http.Flusher).Flush()
	buf := make([]byte, 100)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			io.WriteString(w, "answer")
			w.(http.Flusher).Flush()
		}
		if err != nil {
			return
		}
	}
}

func talkBidi(c *http.Client, i int) error {
	body, say := io.Pipe()
	defer say.Close()
	req, err := http.NewRequest("POST", fmt.Sprintf("https://api.example.com/?i=%d", i), body)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	buf := make([]byte, 10)
	for turn := range turns(i) + 1 {
		if _, err := resp.Body.Read(buf); err != nil {
			return fmt.Errorf("answer %d: %w", turn, err)
		}
		if turn < turns(i) {
			fmt.Fprintf(say, "message %d", turn)
		}
	}
	say.Close()
	if n, err := resp.Body.Read(buf); n > 0 || err != io.EOF {
		return fmt.Errorf("%q and %w instead of the end", buf[:n], err)
	}
	return nil
}

func TestCausesStandBeforeTheirEffects(t *testing.T) {
	needs.Time(t)
	n := conversations(t)
	for _, c := range []struct {
		name  string
		start func(*world)
		talk  func(*lab) func(i int) error
	}{
		{"WebSocket", func(w *world) { w.http("one.example.com:80", http.HandlerFunc(serveWebSocket)) }, func(b *lab) func(int) error {
			return func(i int) error {
				c, err := b.tryDial(named("one.example.com:80"))
				if err != nil {
					return err
				}
				defer c.Close()
				return talkWebSocket(c, i)
			}
		}},
		{"bidi", func(w *world) { w.https("api.example.com:443", http.HandlerFunc(serveBidi), "h2") }, func(b *lab) func(int) error {
			clients := make([]*http.Client, n/50+1) // connections to a lab last for its patience only
			for i := range clients {
				clients[i] = b.client("h2")
			}
			return func(i int) error { return talkBidi(clients[i/50], i) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			busy(t)
			w := newWorld(t)
			c.start(w)
			rec := w.recordWith(nil, transparent)
			all(t, n, c.talk(rec))
			tp := rec.tape()
			if len(tp.Calls) != n {
				t.Errorf("%d calls are on the tape, want %d", len(tp.Calls), n)
			}
			for _, x := range tp.Calls {
				checkTurns(t, tp, x)
			}
			b, heard := w.replayWith(tp, transparent)
			all(t, n, c.talk(b))
			if n := heard.misses(); n > 0 {
				t.Errorf("%d misses", n)
			}
		})
	}
}

// all has n conversations, many at a time.
func all(t *testing.T, n int, talk func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	room := make(chan struct{}, 32)
	for i := range n {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			if err := talk(i); err != nil {
				t.Errorf("conversation %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// checkTurns wants the two sides to speak in turns, the server first.
func checkTurns(t *testing.T, tp *tape.Tape, x *tape.Exchange) {
	t.Helper()
	s, err := tp.Stream(x)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var order strings.Builder
	for l, err := range s.Lines() {
		switch {
		case err != nil:
			t.Fatal(err)
		case len(l.Data) == 0:
		case l.FromClient:
			order.WriteByte('c')
		default:
			order.WriteByte('s')
		}
	}
	_, number, _ := strings.Cut(x.Request.URL, "i=")
	i, _ := strconv.Atoi(number)
	if want := "s" + strings.Repeat("cs", turns(i)); order.String() != want {
		t.Errorf("%s: the tape has %s, want %s", x.File, order.String(), want)
	}
}
