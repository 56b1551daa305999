package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
)

// A script is one exchange: what a client sends, and what the origin answers to it.
type script struct {
	request string
	parts   []string // each is a write of the origin's
	closes  bool     // the origin closes the connection behind it
}

func (s *script) answer() string { return strings.Join(s.parts, "") }

// randomScript makes the nth exchange; last is set for one that may end its connection.
func randomScript(rng *rand.Rand, n int, last bool) *script {
	pick := func(values ...string) string { return values[rng.IntN(len(values))] }
	s := &script{}
	body := randomBody(rng)
	method := pick("GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "QUERY")
	path := fmt.Sprintf("/x/%d", n)
	if rng.IntN(3) == 0 {
		path += pick("?q=%20é", "?a=1&a=2", "?", "/100%25", "/a%2Fb;c")
	}
	var q strings.Builder
	fmt.Fprintf(&q, "%s %s HTTP/1.1\r\n%s origin.example.com\r\n", method, path, pick("Host:", "host:", "HOST: "))
	for range rng.IntN(3) {
		q.WriteString(pick("X-A: 1\r\n", "x-a:2 \r\n", "X-Empty:\r\n", "Cookie: a=b; c=d\r\n", "Accept: */*\r\n", "X-Fold: a\r\n b\r\n", "TE: identity\r\n"))
	}
	switch ask := randomBody(rng); {
	case method != "POST" && method != "PUT":
		q.WriteString("\r\n")
	case rng.IntN(2) == 0:
		fmt.Fprintf(&q, "Content-Length: %d\r\n\r\n%s", len(ask), ask)
	case rng.IntN(4) == 0: // RFC 9112 section 6.3: equal lengths are one
		fmt.Fprintf(&q, "Content-Length: %d\r\nContent-Length: %d\r\n\r\n%s", len(ask), len(ask), ask)
	default:
		q.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		q.WriteString(strings.Join(chunked(rng, ask), ""))
	}
	s.request = q.String()

	for rng.IntN(5) == 0 {
		s.parts = append(s.parts, pick("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n"))
	}
	head := "HTTP/1.1 " + pick("200 OK", "200 ", "201 It's \xfc", "404 Not Found", "500 X", "302 Found") + "\r\n"
	for range rng.IntN(4) {
		head += pick("X-B: 1\r\n", "x-b:2\t\r\n", "Set-Cookie: a=REDACTED\r\n", "Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n", "ETag:  \"a\"\r\n",
			"Content-Type: text/event-stream\r\n", "X-Utf: \xc3\xa9\r\n", "X-Control: a\x01b\r\n")
	}
	bodiless := method == "HEAD"
	if rng.IntN(8) == 0 {
		head = "HTTP/1.1 " + pick("204 No Content", "304 Not Modified") + "\r\nX-C: d\r\n"
		bodiless = true
	}
	switch kind := rng.IntN(5); {
	case bodiless:
		s.parts = append(s.parts, head+pick("", "Content-Type: a/b\r\n")+"\r\n")
	case kind < 2:
		s.parts = append(s.parts, fmt.Sprintf("%sContent-Length: %d\r\n\r\n", head, len(body)))
		s.parts = append(s.parts, split(rng, body)...)
	case kind < 4 || !last:
		s.parts = append(s.parts, head+"Transfer-Encoding: chunked\r\n\r\n")
		s.parts = append(s.parts, chunked(rng, body)...)
	default:
		s.parts = append(s.parts, head+"\r\n")
		s.parts = append(s.parts, split(rng, body)...)
		s.closes = true
	}
	if rng.IntN(3) == 0 { // one write has more than one of them
		s.parts = []string{s.answer()}
	}
	return s
}

func randomBody(rng *rand.Rand) string {
	text := []string{"data: é\n\n", "0\r\n\r\n", "\x00\xff", "HTTP/1.1 200 OK\r\n\r\n", "{\"a\":1}\n", "x"}[rng.IntN(6)]
	return strings.Repeat(text, rng.IntN(1+rng.IntN(1+rng.IntN(4000))))
}

// split cuts anywhere.
func split(rng *rand.Rand, s string) (parts []string) {
	for s != "" {
		n := 1 + rng.IntN(len(s))
		parts = append(parts, s[:n])
		s = s[n:]
	}
	return parts
}

// chunked frames a body as chunks, with all that RFC 9112 section 7.1 allows.
func chunked(rng *rand.Rand, body string) (parts []string) {
	for _, part := range split(rng, body) {
		size := strconv.FormatInt(int64(len(part)), 16)
		switch rng.IntN(6) {
		case 0:
			size = "00" + strings.ToUpper(size)
		case 1:
			size += ";a=\"b\""
		}
		parts = append(parts, size+"\r\n"+part+"\r\n")
	}
	end := []string{"0\r\n\r\n", "000\r\n\r\n", "0;x\r\n\r\n", "0\r\nX-Trailer: t\r\nx-t:u\r\n\r\n"}[rng.IntN(4)]
	return append(parts, end)
}

// answerFrom serves connections on which each request is that of a script.
func answerFrom(scripts map[string]*script) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			s := scripts[strings.Fields(line)[1]]
			if s == nil {
				return
			}
			// What the proxy changes on its way (Accept-Encoding) is not in these requests.
			if _, err := io.CopyN(io.Discard, r, int64(len(s.request)-len(line))); err != nil {
				return
			}
			for _, part := range s.parts {
				if _, err := io.WriteString(c, part); err != nil {
					return
				}
			}
			if s.closes {
				return
			}
		}
	}
}

// converse sends scripts one after the other on a connection, and reports what
// does not come back as the origin sent it.
func converse(t *testing.T, c net.Conn, scripts []*script) {
	t.Helper()
	r := bufio.NewReader(c)
	for _, s := range scripts {
		if _, err := io.WriteString(c, s.request); err != nil {
			t.Errorf("%q: %v", s.request, err)
			return
		}
		want := s.answer()
		got := make([]byte, len(want))
		n, err := io.ReadFull(r, got)
		if err != nil || string(got) != want {
			t.Errorf("%q\nwas answered with\n%q and %v, want\n%q", s.request, short(got[:n]), err, short([]byte(want)))
			return
		}
		if s.closes {
			if b, err := r.ReadByte(); err != io.EOF {
				t.Errorf("%q: behind the answer came %q and %v, want the end", s.request, b, err)
			}
			return
		}
	}
}

func short(b []byte) []byte {
	const most = 2000
	if len(b) > most {
		return append(bytes.Clone(b[:most]), "..."...)
	}
	return b
}

// WIRETAPE_TEST_EXCHANGES sets how many exchanges there are.
func TestRandomExchangesAreRecordedAndPlayedByteForByte(t *testing.T) {
	needs.Time(t)
	total := 400
	if n, err := strconv.Atoi(os.Getenv("WIRETAPE_TEST_EXCHANGES")); err == nil {
		total = n
	}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("WIRETAPE_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("WIRETAPE_TEST_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	scripts := map[string]*script{}
	var conversations [][]*script
	for n := 0; n < total; {
		list := make([]*script, 1+rng.IntN(6))
		for i := range list {
			list[i] = randomScript(rng, n, i == len(list)-1)
			scripts[strings.Fields(list[i].request)[1]] = list[i]
			n++
		}
		conversations = append(conversations, list)
	}
	w := newWorld(t)
	w.raw("origin.example.com:80", answerFrom(scripts))
	all := func(b *lab) {
		var wg sync.WaitGroup
		slots := make(chan struct{}, 8)
		for _, list := range conversations {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				c, err := b.tryDial(named("origin.example.com:80"))
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				converse(t, c, list)
			})
		}
		wg.Wait()
	}
	b := w.recordWith(nil, transparent)
	all(b)
	recorded := b.tape()
	asked := 0
	for _, list := range conversations {
		asked += len(list)
	}
	if len(recorded.Calls) != asked {
		t.Errorf("%d calls are on the tape, want %d", len(recorded.Calls), asked)
	}
	if !recorded.Manifest.Complete || len(recorded.Manifest.Opaque) > 0 {
		t.Errorf("the manifest says %+v", recorded.Manifest)
	}
	if t.Failed() {
		return
	}
	w.put("origin.example.com:80", "127.0.0.1:1")
	player, heard := w.replayWith(recorded, transparent)
	all(player)
	if n := heard.misses(); n > 0 {
		t.Errorf("%d misses", n)
	}
}
