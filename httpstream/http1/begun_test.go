package http1

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/relay"
)

func TestARelayCanBeAskedToTellAllThatItRead(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	client, down := net.Pipe()
	up, origin := net.Pipe()
	heard := &answerLog{end: make(chan httpstream.EndInfo, 1)}
	begun, ended := make(chan func(), 1), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		Relay(context.Background(), down, up, relay.Options{Begun: func(catchUp func()) func() {
			begun <- catchUp
			return func() { close(ended) }
		}}, heard)
	}()
	catchUp := <-begun
	go io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	buf := make([]byte, 1<<10)
	if _, err := origin.Read(buf); err != nil {
		t.Fatal(err)
	}
	// The client does not read, so the relay can't get rid of the answer.
	if _, err := io.WriteString(origin, answer); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	for {
		catchUp() // the read that took the answer may not be stamped yet
		select {
		case end := <-heard.end:
			if end.How != httpstream.EOF || len(heard.chunks) != 1 || string(heard.chunks[0].Data) != "ok" {
				t.Errorf("the sink heard %+v and %+v", heard.chunks, end)
			}
		case <-deadline:
			t.Fatal("the answer is not told")
		default:
			time.Sleep(time.Millisecond)
			continue
		}
		break
	}
	if _, err := io.ReadFull(client, buf[:len(answer)]); err != nil || string(buf[:len(answer)]) != answer {
		t.Errorf("the client got %q and %v", buf, err)
	}
	client.Close()
	origin.Close()
	<-done
	<-ended
}
