package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"
)

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close(); in.Close() })
	return out.(*net.TCPConn), in.(*net.TCPConn)
}

// tlsPair returns the two ends of a TLS connection; the second is on a Pollable.
func tlsPair(t *testing.T) (far, near *tls.Conn) {
	t.Helper()
	far, near = silentTLSPair(t)
	done := make(chan error, 1)
	go func() { done <- far.Handshake() }()
	if err := near.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return far, near
}

// silentTLSPair is tlsPair before any handshake.
func silentTLSPair(t *testing.T) (far, near *tls.Conn) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	a, b := tcpPair(t)
	far = tls.Client(a, &tls.Config{InsecureSkipVerify: true})
	return far, tls.Server(NewPollable(b), &tls.Config{Certificates: s.TLS.Certificates})
}

// A countedBuffer says when the reader waits.
type countedBuffer struct {
	Buffer
	idle chan struct{}
}

func (b *countedBuffer) Idle() {
	b.Buffer.Idle()
	select {
	case b.idle <- struct{}{}:
	default:
	}
}

func TestAReaderThatWaitsHasNoMemory(t *testing.T) {
	for name, pair := range map[string]func(*testing.T) (far, near net.Conn){
		"TCP":                      func(t *testing.T) (net.Conn, net.Conn) { a, b := tcpPair(t); return a, b },
		"TLS":                      func(t *testing.T) (net.Conn, net.Conn) { a, b := tlsPair(t); return a, b },
		"TLS before its handshake": func(t *testing.T) (net.Conn, net.Conn) { a, b := silentTLSPair(t); return a, b },
		"TLS that was peeked":      func(t *testing.T) (net.Conn, net.Conn) { a, b := tlsPair(t); return a, WithPrefix(b, []byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			far, near := pair(t)
			space := &countedBuffer{idle: make(chan struct{}, 1)}
			r := NewReader(near, space)
			var want, got bytes.Buffer
			if HasPrefix(near) {
				want.WriteString("x")
			}
			ended := make(chan error, 1)
			go func() {
				for {
					n, err := r.Read()
					got.Write(space.Space()[:n])
					if err != nil {
						ended <- err
						return
					}
				}
			}()
			rng := rand.New(rand.NewPCG(1, 2))
			for range 200 {
				piece := make([]byte, 1+rng.IntN(1<<rng.IntN(17)))
				for i := range piece {
					piece[i] = byte(rng.Uint32())
				}
				want.Write(piece)
				if _, err := far.Write(piece); err != nil {
					t.Fatal(err)
				}
				if rng.IntN(4) == 0 {
					<-space.idle
				}
			}
			far.Close()
			if err := <-ended; !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%d bytes came of %d, or others", got.Len(), want.Len())
			}
		})
	}
}

func TestAReaderFailsAsItsConnectionDoes(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, c := range []struct {
			name string
			do   func(far, near net.Conn)
			want error
		}{
			{"a deadline", func(_, near net.Conn) { near.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
			{"a close by this side", func(_, near net.Conn) { TCP(near).Close() }, net.ErrClosed},
			{"a reset", func(far, _ net.Conn) { Reset(far, false) }, syscall.ECONNRESET},
			{"a FIN without a close_notify", func(far, _ net.Conn) { TCP(far).CloseWrite() }, io.EOF},
		} {
			t.Run(c.name+map[bool]string{true: " of TLS"}[secure], func(t *testing.T) {
				var far, near net.Conn
				if secure {
					far, near = tlsPair(t)
				} else {
					far, near = tcpPair(t)
				}
				space := &countedBuffer{idle: make(chan struct{}, 1)}
				r := NewReader(near, space)
				ended := make(chan error, 1)
				go func() {
					_, err := r.Read()
					ended <- err
				}()
				<-space.idle
				c.do(far, near)
				if err := <-ended; !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		}
	}
}
