package record

import (
	"testing"

	"github.com/wiretape/wiretape/httpstream"
)

func TestTheURLOfARequest(t *testing.T) {
	for _, c := range []struct {
		name                        string
		conn                        Conn
		method, target, authority   string
		scheme, protocol, wantedURL string
	}{
		{"origin form", Conn{Scheme: "https", Authority: "1.2.3.4:443"}, "GET", "/a?b=c%20d", "Api.Example", "", "", "https://api.example/a?b=c%20d"},
		{"the connection's port", Conn{Scheme: "http", Authority: "1.2.3.4:8080"}, "GET", "/", "h", "", "", "http://h:8080/"},
		{"the head's port", Conn{Scheme: "http", Authority: "1.2.3.4:8080"}, "GET", "/", "h:81", "", "", "http://h:81/"},
		{"a default port", Conn{Scheme: "http", Authority: "1.2.3.4:80"}, "GET", "/", "h:80", "", "", "http://h/"},
		{"no host", Conn{Scheme: "http", Authority: "1.2.3.4:8080"}, "GET", "/", "", "", "", "http://1.2.3.4:8080/"},
		{"absolute form", Conn{Scheme: "http", Authority: "proxy:3128"}, "GET", "HTTP://H:80/a", "h", "", "", "http://h/a"},
		{"absolute form without a path", Conn{Scheme: "http"}, "GET", "http://h:81?q", "h:81", "", "", "http://h:81?q"},
		{"a URL in the query", Conn{Scheme: "http"}, "GET", "/?u=http://x/", "h", "", "", "http://h/?u=http://x/"},
		{"asterisk form", Conn{Scheme: "http"}, "OPTIONS", "*", "h", "", "", "http://h"},
		{"authority form", Conn{Scheme: "https"}, "CONNECT", "h:443", "h:443", "", "", "https://h"},
		{"extended CONNECT", Conn{Scheme: "https"}, "CONNECT", "/chat", "h", "https", "websocket", "https://h/chat"},
		{"IPv6", Conn{Scheme: "http", Authority: "[::1]:8080"}, "GET", "/", "[::1]", "", "", "http://[::1]:8080/"},
		{"the head's scheme", Conn{}, "GET", "/", "h", "https", "", "https://h/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := requestURL(&c.conn, &httpstream.RequestHead{Method: c.method, Target: c.target, Authority: c.authority, Scheme: c.scheme, Protocol: c.protocol})
			if got != c.wantedURL {
				t.Errorf("got %s, expected %s", got, c.wantedURL)
			}
		})
	}
}
