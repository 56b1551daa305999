package proxy

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// brokenAnswer is one whose head is refused, with a secret in it.
const brokenAnswer = "HTTP/1.1 200 OK\r\nsk-secret\r\nContent-Length: 0\r\n\r\n"

const brokenReason = "a header line without a colon"

// answerBroken reads a head and answers it so.
func answerBroken(c net.Conn) {
	readHead(c)
	io.WriteString(c, brokenAnswer)
	io.Copy(io.Discard, c)
}

func readHead(c net.Conn) (head string) {
	for b := make([]byte, 1); !strings.HasSuffix(head, "\r\n\r\n"); {
		if _, err := c.Read(b); err != nil {
			return head
		}
		head += string(b)
	}
	return head
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

func TestHTTPThatPassesUnreadIsSaidAndMakesARecordingIncomplete(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"
	passed := int64(len(brokenAnswer))
	tests := []struct {
		name, service, address, ask string
		serve                       func(*Proxy, context.Context, net.Listener) error
	}{
		{"a call", "app", "api.test:80", get, transparent},
		{"a case", "web", "localhost:8080", get, nil},
		{"through a forward proxy", "", "api.test:80", strings.Replace(get, "/ ", "http://api.test:80/ ", 1), explicit("")},
		{"through a reverse proxy", "", "api.test:80", get, explicit("http://api.test:80")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.raw("api.test:80", answerBroken)
			var sink func(Stream) httpstream.Sink
			serve := test.serve
			if serve == nil {
				serve = func(p *Proxy, ctx context.Context, l net.Listener) error {
					dial := func(ctx context.Context) (net.Conn, error) { return w.dial(ctx, named("api.test:80")) }
					return p.ServeIngress(ctx, l, Ingress{Service: "web", Published: "localhost:8080", Dial: dial, Record: sink})
				}
			}
			b := w.recordWith(func(cfg *Config) { sink = cfg.Record }, serve)
			c := b.dialTo(named("api.test:80"))
			io.WriteString(c, test.ask)
			expect(t, c, brokenAnswer)
			c.Close()
			n := b.waitNotice(event.Opaque)
			want := event.Notice{Kind: event.Opaque, Service: test.service, About: test.address, Detail: brokenReason, Bytes: passed, HTTP: true}
			if d := cmp.Diff(want, n); d != "" {
				t.Error(d)
			}
			m := b.tape().Manifest
			if d := cmp.Diff([]tape.Opaque{{Service: test.service, Address: test.address, Reason: brokenReason, Count: 1, Bytes: passed, HTTP: true}}, m.Opaque); d != "" {
				t.Error(d)
			}
			if m.Complete || len(m.Problems) != 1 || !strings.HasSuffix(m.Problems[0], test.address+" passed unrecorded: "+brokenReason) {
				t.Errorf("complete %t, problems %q", m.Complete, m.Problems)
			}
		})
	}
}

// A recording may end before a connection does.
func TestAnUnreadConnectionIsToldOfBeforeItEnds(t *testing.T) {
	w := newWorld(t)
	w.raw("api.test:80", answerBroken)
	var p *Proxy
	b := w.recordWith(nil, func(q *Proxy, ctx context.Context, l net.Listener) error {
		p = q
		return q.Serve(ctx, l)
	})
	c := b.dialTo(named("api.test:80"))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n")
	expect(t, c, brokenAnswer)
	for len(b.all()) == 0 {
		p.TellUnread()
	}
	p.TellUnread()
	c.Close()
	b.close()
	if all := b.all(); len(all) != 1 || all[0].Kind != event.Opaque || !all[0].HTTP {
		t.Errorf("notices %+v", all)
	}
}

// A tape whose recording lacks something of a host is played as far as it goes.
func TestAHostThatWasNotUnderstoodOnceIsHeardInReplay(t *testing.T) {
	w := newWorld(t)
	b, _ := w.replayWith(&tape.Tape{Manifest: tape.Manifest{Opaque: []tape.Opaque{{Address: "api.test:80", Reason: brokenReason, Count: 1, HTTP: true}}}}, transparent)
	if a := ask(t, b.client(), "GET", "http://api.test/", ""); a.status != 502 {
		t.Errorf("got %v, want a miss", a)
	}
}

func TestAForwardProxyRefusesWhatItCannotRoute(t *testing.T) {
	w := newWorld(t)
	b := w.recordWith(nil, explicit(""))
	c := b.dialTo(named("api.test:80"))
	io.WriteString(c, "GET http://api.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
	if line := exchange(t, c, ""); !strings.HasPrefix(line, "HTTP/1.1 400 ") {
		t.Errorf("got %q", line)
	}
	c.Close()
	if n := b.waitNotice(event.Misused); n.Detail != "what came is not HTTP, and was not passed on: more than one Host" {
		t.Errorf("got %+v", n)
	}
}

// A head over the limit is refused, and what it held is shown nowhere.
func TestAHeadOverTheLimitIsQuotedNowhere(t *testing.T) {
	w := newWorld(t)
	large := strings.Repeat("sk-secret", 200_000)
	for _, head := range []string{
		"GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\nX: " + large + "\r\n\r\n",
		"GET http://" + large[:500_000] + ":x/ HTTP/1.1\r\n\r\n",
	} {
		b := w.recordWith(nil, explicit(""))
		c := b.dialTo(named("api.test:80"))
		go io.WriteString(c, head)
		// A request line that is longer still is not taken for HTTP, and is reset.
		if got := readHead(c); got != "" && !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("got %.100q", got)
		}
		body := make([]byte, 1<<20)
		n, _ := io.ReadFull(c, body)
		c.Close()
		b.close()
		for _, shown := range append(texts(b.all()), string(body[:n])) {
			if len(shown) > 500 {
				t.Errorf("%d bytes are shown: %.100q", len(shown), shown)
			}
		}
	}
	rb, _ := w.replayWith(&tape.Tape{}, transparent)
	c := rb.dialTo(named("api.test:80"))
	go io.WriteString(c, "GET / HTTP/1.1\r\nX: "+large+"\r\n\r\n")
	if got := readHead(c); !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("got %.100q", got)
	}
	c.Close()
	if n := rb.waitNotice(event.Misused); len(n.Detail) > 200 || n.Service != "app" {
		t.Errorf("notice %.300v", n)
	}
}

func texts(notices []event.Notice) (list []string) {
	for _, n := range notices {
		list = append(list, n.About+n.Detail)
	}
	return list
}
