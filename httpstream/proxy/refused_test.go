package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// rawAsk sends a request and returns the status and body of the answer.
func rawAsk(t *testing.T, c net.Conn, request string) (status int, body string) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// A client that asks whether it may send its body is told no, as it was when that
// was recorded, and the same request without the question is another one.
func TestARefusedExpectationIsPlayedAsOne(t *testing.T) {
	for _, refusal := range []string{"417 Expectation Failed", "401 Unauthorized", "307 Temporary Redirect"} {
		t.Run(refusal, func(t *testing.T) {
			w := newWorld(t)
			w.raw("api.test:80", func(c net.Conn) {
				head := readHead(c)
				if strings.Contains(head, "Expect") && !strings.Contains(head, "Bearer") {
					io.WriteString(c, "HTTP/1.1 "+refusal+"\r\nContent-Length: 2\r\n\r\nno")
					io.Copy(io.Discard, c)
					return
				}
				if strings.Contains(head, "Expect") {
					io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
				}
				io.CopyN(io.Discard, c, 4)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
			})
			run := func(b *lab) {
				t.Helper()
				const post = "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\n"
				c := b.dialTo(named("api.test:80"))
				status, body := rawAsk(t, c, post+"Expect: 100-continue\r\n\r\n")
				if !strings.HasPrefix(refusal, strconv.Itoa(status)) || body != "no" {
					t.Errorf("%d %q, want %s", status, body, refusal)
				}
				c.Close()
				c = b.dialTo(named("api.test:80"))
				if status, body = rawAsk(t, c, post+"\r\nbody"); status != 200 || body != "yes" {
					t.Errorf("without the question: %d %q", status, body)
				}
				c.Close()
				c = b.dialTo(named("api.test:80"))
				io.WriteString(c, post+"Authorization: Bearer x\r\nExpect: 100-continue\r\n\r\n")
				expect(t, c, "HTTP/1.1 100 Continue\r\n\r\n")
				if status, body = rawAsk(t, c, "body"); status != 200 || body != "yes" {
					t.Errorf("with credentials: %d %q", status, body)
				}
				c.Close()
			}
			rec := w.recordWith(nil, transparent)
			run(rec)
			tp := rec.tape()
			if !tp.Manifest.Complete || len(tp.Calls) != 3 {
				t.Errorf("complete %t, %d calls", tp.Manifest.Complete, len(tp.Calls))
			}
			b, heard := w.replayWith(tp, transparent)
			run(b)
			if n := heard.misses(); n > 0 {
				t.Errorf("%d misses", n)
			}
		})
	}
}

// The body of a request that offers another protocol counts, whatever says how long it is.
func TestARequestThatOffersAnUpgradeIsMatchedByItsBody(t *testing.T) {
	w := newWorld(t)
	w.http("api.test:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		io.WriteString(rw, "got "+string(body))
	}))
	const post = "POST / HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n"
	ask := func(b *lab, text string) {
		t.Helper()
		c := b.dialTo(named("api.test:80"))
		defer c.Close()
		if status, body := rawAsk(t, c, post+text+"\r\n0\r\n\r\n"); status != 200 || body != "got "+text {
			t.Errorf("%d %q for %s", status, body, text)
		}
	}
	rec := w.recordWith(nil, transparent)
	ask(rec, "a")
	ask(rec, "b")
	b, heard := w.replayWith(rec.tape(), transparent)
	ask(b, "b")
	ask(b, "a")
	if n := heard.misses(); n > 0 {
		t.Errorf("%d misses", n)
	}
}

func TestAClientThatHalfClosesGetsTheWholeAnswer(t *testing.T) {
	w := newWorld(t)
	w.raw("api.test:80", func(c net.Conn) {
		readHead(c)
		io.Copy(io.Discard, c) // until the client has closed its side
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
		io.WriteString(c, "def")
	})
	run := func(b *lab) {
		t.Helper()
		c := b.dialTo(named("api.test:80"))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n")
		c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(got), "abcdef") {
			t.Errorf("%q, %v", got, err)
		}
	}
	rec := w.recordWith(nil, transparent)
	run(rec)
	b, heard := w.replayWith(rec.tape(), transparent)
	run(b)
	b.close()
	if len(heard.list) != 1 || heard.list[0].How != "eof" || heard.list[0].Err != nil {
		t.Errorf("events %+v", heard.list)
	}
}
