package http1

import (
	"context"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/wiretape/wiretape/httpstream/relay"
)

// A relay may hold idleBound bytes for a stream on which nothing happens: heap and
// stacks, with what the test's own two connections take. Held buffers take 60 KiB more.
func TestAStreamThatWaitsHoldsNoBuffers(t *testing.T) {
	const streams = 200
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
	inUse := func() uint64 {
		for range 3 {
			runtime.GC() // a sync.Pool lets go at the second
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := inUse()
	var wg sync.WaitGroup
	var conns []net.Conn
	for range streams {
		client, relayClient := tcpPair(t)
		relayUp, server := tcpPair(t)
		conns = append(conns, client, server)
		wg.Go(func() { Relay(context.Background(), relayClient, relayUp, relay.Options{}, silentSink{}) })
		sendBytes(t, client, getRequest)
		expectBytes(t, server, getRequest)
		sendBytes(t, server, answer)
		expectBytes(t, client, answer)
	}
	each := (int64(inUse()) - int64(before)) / streams
	t.Logf("%d bytes each", each)
	if each > idleBound {
		t.Errorf("a stream holds %d bytes", each)
	}
	for _, c := range conns {
		c.Close()
	}
	wg.Wait()
}
