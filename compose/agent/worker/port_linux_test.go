package worker

import (
	"testing"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func TestACaseGoesToThePortThatItWasRecordedAt(t *testing.T) {
	port := func(service string, port int, published string) servicePort {
		return servicePort{Ingress: agent.Ingress{Service: service, Port: port, Published: published}}
	}
	two := []servicePort{port("web", 8080, "127.0.0.1:1002"), port("web", 8081, "127.0.0.1:1001"), port("db", 80, "localhost:1003")}
	for _, test := range []struct {
		name    string
		ports   []servicePort
		service string
		port    int
		url     string
		want    int // 0 for none
	}{
		{"the engine gave the ports' numbers the other way round", two, "web", 8080, "http://127.0.0.1:1001/", 8080},
		{"a tape of format 1 has the host's port alone", two, "web", 0, "http://127.0.0.1:1001/", 8081},
		{"the service listens elsewhere by now, behind the same port", two, "web", 3000, "http://127.0.0.1:1002/", 8080},
		{"the only port", two, "db", 0, "http://127.0.0.1:9/", 80},
		{"neither is there any more", two, "web", 3000, "http://127.0.0.1:9/", 0},
		{"the service publishes nothing", two, "cache", 1, "http://127.0.0.1:9/", 0},
	} {
		p, err := portOf(test.ports, &tape.Exchange{Service: test.service, Port: test.port, Request: tape.Request{URL: test.url}})
		if p.Port != test.want || (err == nil) != (test.want != 0) {
			t.Errorf("%s: port %d, %v", test.name, p.Port, err)
		}
	}
}
