package httpstream

import "testing"

func TestTheURLOfARequest(t *testing.T) {
	for _, c := range []struct {
		name           string
		scheme, dialed string
		head           RequestHead
		want           string
	}{
		{"origin form", "https", "1.2.3.4:443", RequestHead{Method: "GET", Target: "/a?b=c%20d", Authority: "Api.Example"}, "https://api.example/a?b=c%20d"},
		{"the connection's port", "http", "1.2.3.4:8080", RequestHead{Target: "/", Authority: "h"}, "http://h:8080/"},
		{"the head's port", "http", "1.2.3.4:8080", RequestHead{Target: "/", Authority: "h:81"}, "http://h:81/"},
		{"a default port", "http", "1.2.3.4:80", RequestHead{Target: "/", Authority: "h:80"}, "http://h/"},
		{"no host", "http", "1.2.3.4:8080", RequestHead{Target: "/"}, "http://1.2.3.4:8080/"},
		{"absolute form", "http", "proxy:3128", RequestHead{Target: "HTTP://H:80/a", Authority: "h"}, "http://h/a"},
		{"absolute form without a path", "http", "", RequestHead{Target: "http://h:81?q", Authority: "h:81"}, "http://h:81?q"},
		{"absolute form to another scheme and host", "https", "h:443", RequestHead{Target: "HTTP://Other:80/x", Authority: "h"}, "http://other/x"},
		{"a URL in the query", "http", "", RequestHead{Target: "/?u=http://x/", Authority: "h"}, "http://h/?u=http://x/"},
		{"asterisk form", "http", "h:80", RequestHead{Method: "OPTIONS", Target: "*", Authority: "h"}, "http://h"},
		{"authority form", "https", "", RequestHead{Method: "CONNECT", Target: "h:443", Authority: "h:443"}, "https://h"},
		{"authority form through a proxy", "http", "p:3128", RequestHead{Method: "CONNECT", Target: "db:5432", Authority: "db:5432"}, "http://db:5432"},
		{"extended CONNECT", "https", "", RequestHead{Method: "CONNECT", Target: "/chat", Authority: "h", Scheme: "https", Protocol: "websocket"}, "https://h/chat"},
		{"IPv6", "http", "[::1]:8080", RequestHead{Target: "/", Authority: "[::1]"}, "http://[::1]:8080/"},
		{"the head's scheme", "", "", RequestHead{Target: "/", Authority: "h", Scheme: "https"}, "https://h/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.head.URL(c.scheme, c.dialed); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAnOfferOfHTTP2IsNoUpgrade(t *testing.T) {
	for value, want := range map[string]bool{
		"websocket": true, "h2c": false, "H2C, h2": false, "h2c, websocket": true, "TLS/1.0": true, "": false, " , ": false,
	} {
		h := RequestHead{Header: Fields{{Name: "upgrade", Value: value}}}
		if got := h.OffersUpgrade(); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	if (&RequestHead{}).OffersUpgrade() {
		t.Error("no field offers something")
	}
}

func TestTargetsAreCutFromURLs(t *testing.T) {
	for _, tc := range [][3]string{
		{"GET", "http://h:80/a/b?c=d%20e#f", "/a/b?c=d%20e#f"},
		{"GET", "http://h", "/"},
		{"GET", "http://h?x=1", "/?x=1"},
		{"OPTIONS", "http://h", "*"},
		{"GET", "http://[::1]:8080//double", "//double"},
	} {
		if got := OriginForm(tc[0], tc[1]); got != tc[2] {
			t.Errorf("%s %s: %q, want %q", tc[0], tc[1], got, tc[2])
		}
	}
	if _, got, _, _ := SplitURL("http://[::1]:8080/x"); got != "[::1]:8080" {
		t.Error(got)
	}
}
