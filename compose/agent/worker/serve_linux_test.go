package worker

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/agent/dns"
)

func TestAServerThatDiesEndsTheSession(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	server := dns.NewServer(dns.Tape, dns.NewNames(nil, nil, nil))
	serveDNS := func(ctx context.Context) string {
		var out bytes.Buffer
		s := &serving{out: &agent.LineWriter{W: &out}, dns: server}
		server.Health = s.dnsHealth
		s.wg.Go(func() { s.dns.ServeUDP(ctx, conn) })
		conn.Close()
		s.wg.Wait()
		return out.String()
	}
	if got := serveDNS(t.Context()); !strings.Contains(got, `"message":"the DNS server at 127.0.0.1:`) || !strings.Contains(got, " has ended: ") {
		t.Errorf("the agent says %q", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := serveDNS(ended); got != "" {
		t.Errorf("at the session's end, the agent says %q", got)
	}
}
