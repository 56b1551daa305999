package http1

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/wiretape/wiretape/httpstream/internal/transport"
	"github.com/wiretape/wiretape/httpstream/relay"
)

// BenchmarkTLSDownload is one download in TLS, direct and through a relay that ends
// TLS on both sides and has a sink that keeps nothing: the relay's own share of what
// recording costs.
func BenchmarkTLSDownload(b *testing.B) {
	const size = 64 << 20
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	server := &tls.Config{Certificates: s.TLS.Certificates}
	client := &tls.Config{InsecureSkipVerify: true}
	for _, relayed := range []bool{false, true} {
		b.Run(map[bool]string{false: "direct", true: "relayed"}[relayed], func(b *testing.B) {
			near, far := tcpPair(b)
			origin := far
			done := make(chan struct{})
			if relayed {
				up, beyond := tcpPair(b)
				origin = beyond
				go func() {
					defer close(done)
					down := tls.Server(transport.NewPollable(far), server)
					Relay(context.Background(), down, tls.Client(transport.NewPollable(up), client), relay.Options{}, silentSink{})
				}()
			} else {
				close(done)
			}
			go func() {
				conn := tls.Server(origin, server)
				defer conn.Close()
				piece := make([]byte, 64<<10)
				for range b.N {
					io.ReadFull(conn, make([]byte, len(getRequest)))
					fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
					for range size / len(piece) {
						if _, err := conn.Write(piece); err != nil {
							return
						}
					}
				}
			}()
			conn := net.Conn(tls.Client(near, client))
			head := make([]byte, len(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)))
			b.SetBytes(size)
			b.ResetTimer()
			for range b.N {
				io.WriteString(conn, getRequest)
				io.ReadFull(conn, head)
				if _, err := io.CopyN(io.Discard, conn, size); err != nil {
					b.Fatal(err)
				}
			}
			conn.Close()
			<-done
		})
	}
}
