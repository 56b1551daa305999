package replay

import (
	"testing"

	"github.com/wiretape/wiretape/httpstream"
)

func TestRequestURL(t *testing.T) {
	for _, tc := range []struct {
		name              string
		head              httpstream.RequestHead
		scheme, authority string
		want              string
	}{
		{"the Host field", httpstream.RequestHead{Target: "/a?b", Authority: "API.example"}, "https", "10.0.0.1:443", "https://api.example/a?b"},
		{"the connection's address where there is none", httpstream.RequestHead{Target: "/"}, "http", "10.0.0.1:80", "http://10.0.0.1/"},
		{"the connection's port where Host has none", httpstream.RequestHead{Target: "/", Authority: "h"}, "https", "10.0.0.1:8443", "https://h:8443/"},
		{"a port of its own", httpstream.RequestHead{Target: "/", Authority: "h:8080"}, "http", "10.0.0.1:80", "http://h:8080/"},
		{"an IPv6 address", httpstream.RequestHead{Target: "/", Authority: "[::1]"}, "http", "[::1]:8080", "http://[::1]:8080/"},
		{"absolute form", httpstream.RequestHead{Target: "HTTP://Other:80/x", Authority: "h"}, "https", "h:443", "http://other/x"},
		{"a path that looks absolute", httpstream.RequestHead{Target: "/?u=http://x/", Authority: "h"}, "http", "h:80", "http://h/?u=http://x/"},
		{"HTTP/2", httpstream.RequestHead{Target: "/", Scheme: "https", Authority: "h"}, "", "", "https://h/"},
		{"CONNECT", httpstream.RequestHead{Method: "CONNECT", Target: "db:5432", Authority: "db:5432"}, "http", "p:3128", "http://db:5432"},
		{"OPTIONS *", httpstream.RequestHead{Method: "OPTIONS", Target: "*", Authority: "h"}, "http", "h:80", "http://h"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := RequestURL(&tc.head, tc.scheme, tc.authority); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
