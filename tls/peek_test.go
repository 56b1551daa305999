package mitmtls

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// A readConn reads from r, and fails the test when it is written to.
type readConn struct {
	net.Conn
	t *testing.T
	r io.Reader
}

func (c readConn) Read(p []byte) (int, error) { return c.r.Read(p) }
func (c readConn) Write(p []byte) (int, error) {
	c.t.Errorf("%d bytes were sent to the client", len(p))
	return len(p), nil
}

// clientHello is what crypto/tls sends first, in as many records as it likes.
func clientHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	var w captureConn
	_ = tls.Client(&w, cfg).Handshake()
	if w.sent.Len() == 0 {
		t.Fatal("no ClientHello was sent")
	}
	return w.sent.Bytes()
}

type captureConn struct {
	net.Conn
	sent bytes.Buffer
}

func (c *captureConn) Write(p []byte) (int, error)      { return c.sent.Write(p) }
func (c *captureConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (c *captureConn) Close() error                     { return nil }
func (c *captureConn) SetDeadline(time.Time) error      { return nil }
func (c *captureConn) SetReadDeadline(time.Time) error  { return nil }
func (c *captureConn) SetWriteDeadline(time.Time) error { return nil }

// records splits one handshake message over records of at most size bytes.
func records(hello []byte, size int) []byte {
	message := hello[5:]
	var out []byte
	for part := range slices.Chunk(message, size) {
		out = append(out, 22, 3, 1, byte(len(part)>>8), byte(len(part)))
		out = append(out, part...)
	}
	return out
}

// padded makes a ClientHello longer by a padding extension (RFC 7685).
func padded(hello []byte, n int) []byte {
	body := bytes.Clone(hello[9:])
	at := 2 + 32
	at += 1 + int(body[at])                          // session id
	at += 2 + int(body[at])<<8 + int(body[at+1])     // cipher suites
	at += 1 + int(body[at])                          // compression methods
	extensions := int(body[at])<<8 + int(body[at+1]) // their length
	body = append(body, 0, 21, byte(n>>8), byte(n))  // type 21, length
	body = append(body, make([]byte, n)...)          // zeros
	extensions += 4 + n                              //
	body[at], body[at+1] = byte(extensions>>8), byte(extensions)
	message := append([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	return append([]byte{22, 3, 1, 0, 0}, message...) // of a length that records() sets
}

func TestClientHelloIsReadAndReplayed(t *testing.T) {
	cfg := &tls.Config{ServerName: "api.openai.com", NextProtos: []string{"h2", "http/1.1", "acme"}}
	plain := clientHello(t, cfg)
	for _, tc := range []struct {
		name string
		wire []byte
	}{
		{"one record", plain},
		{"records of one byte", records(plain, 1)},
		{"records of 100 bytes", records(plain, 100)},
		{"20 KiB, as of post-quantum keys", records(padded(plain, 20<<10), 16<<10)},
		{"60 KiB", records(padded(plain, 60<<10), 16<<10)},
		{"with bytes behind it", append(bytes.Clone(plain), "early data"...)},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{
			"at once":      func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
			"in halves":    iotest.HalfReader,
		} {
			t.Run(tc.name+" "+how, func(t *testing.T) {
				conn := readConn{t: t, r: reader(bytes.NewReader(tc.wire))}
				hello, replay, err := PeekClientHello(conn)
				if err != nil {
					t.Fatal(err)
				}
				if hello.ServerName != cfg.ServerName || !slices.Equal(hello.SupportedProtos, cfg.NextProtos) {
					t.Errorf("got %q and %q", hello.ServerName, hello.SupportedProtos)
				}
				if !slices.Contains(hello.SupportedVersions, tls.VersionTLS13) || hello.Conn != replay {
					t.Errorf("versions %x, or another connection than the replaying one", hello.SupportedVersions)
				}
				if got, err := io.ReadAll(replay); err != nil || !bytes.Equal(got, tc.wire) {
					t.Errorf("replayed %d bytes of %d (%v)", len(got), len(tc.wire), err)
				}
			})
		}
	}
}

func TestBytesThatAreNoClientHelloAreReplayed(t *testing.T) {
	plain := clientHello(t, &tls.Config{ServerName: "a.example"})
	endless := bytes.Repeat(records(append([]byte{22, 3, 1, 0, 0, 1, 0, 0xff, 0xff}, make([]byte, 0xff00)...), 200), 8)
	for name, wire := range map[string][]byte{
		"nothing":                  nil,
		"an HTTP request":          []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
		"a truncated hello":        plain[:len(plain)-1],
		"a server's hello":         append([]byte{22, 3, 3, 0, 4, 2, 0, 0, 0}, make([]byte, 100)...),
		"an alert":                 {21, 3, 3, 0, 2, 2, 40},
		"a hello of nonsense":      append([]byte{22, 3, 1, 0, 54, 1, 0, 0, 50}, bytes.Repeat([]byte{0xee}, 50)...),
		"a hello of 16 MiB":        records(append([]byte{22, 3, 1, 0, 0, 1, 0xff, 0xff, 0xff}, make([]byte, 1000)...), 500),
		"a hello that never ends":  endless,
		"empty records for ever":   bytes.Repeat([]byte{22, 3, 1, 0, 0}, 40000),
		"an oversized record":      append([]byte{22, 3, 1, 0xff, 0xff}, make([]byte, 70000)...),
		"records of application":   bytes.Repeat([]byte{23, 3, 3, 0, 1, 0}, 10),
		"Postgres' request of TLS": {0, 0, 0, 8, 4, 210, 22, 47},
	} {
		t.Run(name, func(t *testing.T) {
			conn := readConn{t: t, r: bytes.NewReader(wire)}
			hello, replay, err := PeekClientHello(conn)
			if err == nil || hello != nil {
				t.Fatalf("got the hello %v", hello)
			}
			if got, err := io.ReadAll(replay); err != nil || !bytes.Equal(got, wire) {
				t.Errorf("replayed %d bytes of %d (%v)", len(got), len(wire), err)
			}
		})
	}
}

func TestReadErrorIsTheCause(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	server.SetReadDeadline(time.Now().Add(-time.Second))
	if _, _, err := PeekClientHello(server); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestHandshakeGoesOnAfterPeeking(t *testing.T) {
	i := newIssuer(t, newRoot(t))
	addr := serve(t, i)
	pool := x509.NewCertPool()
	pool.AddCert(i.chain[1])
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "a.example", MinVersion: version, MaxVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		c.CloseWrite()
		b, err := io.ReadAll(c)
		c.Close()
		if err != nil || !strings.HasSuffix(string(b), "\r\n\r\nhello a.example") {
			t.Errorf("got %q, %v", b, err)
		}
	}
}

func TestReplayKeepsTheConnectionsAbilities(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	io.WriteString(client, "not TLS at all")
	client.(*net.TCPConn).CloseWrite()
	_, replay, err := PeekClientHello(server)
	if err == nil {
		t.Fatal("no error")
	}
	var out strings.Builder
	if n, err := io.Copy(&out, replay); err != nil || n != 14 || out.String() != "not TLS at all" {
		t.Errorf("copied %d bytes %q, %v", n, out.String(), err)
	}
	if err := replay.(interface{ SetLinger(int) error }).SetLinger(5); err != nil {
		t.Error(err)
	}
	if replay.(interface{ NetConn() net.Conn }).NetConn() != server {
		t.Error("NetConn is another connection")
	}
	if err := replay.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(client); err != nil || len(b) != 0 {
		t.Errorf("the client read %q, %v; want the end alone", b, err)
	}
}

// serve answers HTTPS on loopback with the names that were asked for, peeking
// first as the proxy does.
func serve(t *testing.T, i *Issuer) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			answer(i, conn)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func answer(i *Issuer, conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	hello, replay, err := PeekClientHello(conn)
	if err != nil {
		return
	}
	name := hello.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(conn.LocalAddr().String())
	}
	cert, err := i.Leaf(context.Background(), name)
	if err != nil {
		return
	}
	srv := tls.Server(replay, &tls.Config{Certificates: []tls.Certificate{*cert}})
	buf := make([]byte, 4096)
	if n, _ := srv.Read(buf); n > 0 {
		io.WriteString(srv, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello "+name)
		srv.Close()
	}
}

func FuzzPeekClientHello(f *testing.F) {
	plain := clientHello(f, &tls.Config{ServerName: "a.example", NextProtos: []string{"h2"}})
	f.Add(plain)
	f.Add(records(plain, 7))
	f.Add(plain[:50])
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		hello, replay, err := PeekClientHello(readConn{t: t, r: bytes.NewReader(wire)})
		if (hello == nil) != (err != nil) {
			t.Error("neither hello nor error")
		}
		if got, err := io.ReadAll(replay); err != nil || !bytes.Equal(got, wire) {
			t.Error("the bytes were not replayed")
		}
	})
}
