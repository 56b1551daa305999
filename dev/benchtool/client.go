//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

const roleClient = "client"

// A job is what a client process does; it comes as JSON on its stdin.
type job struct {
	Addr  string // of the server, or of a reverse proxy for it
	Paths []string
	// Stagger is the time between the beginnings of two streams.
	Stagger time.Duration
	// InTurn asks for one path after the other, each on a connection of its own
	// unless KeepAlive is set, instead of all at once.
	InTurn, KeepAlive bool
	// Roots, where set, are PEM certificates to trust, and the client speaks
	// HTTP/2 over TLS, or HTTP/1.1 if HTTP1 is set; Proxy is the host:port of a
	// forward proxy to use, if any.
	Roots, Proxy string
	HTTP1        bool
	// Body, where set, is JSON that is sent with POST, for a chat completion.
	Body string
}

// A stream is what a client saw of one answer, in nanoseconds of the monotonic clock.
type stream struct {
	Path string
	// Began is when the request's write began, and Asked when it was complete.
	// The client may lose its processor to the server in between.
	Began, Asked int64
	// Head is when the head had arrived.
	Head int64
	// Sent is when the origin sent the head, as that says.
	Sent   int64
	Events []arrival
	Ended  int64
	Bytes  int64
}

// An arrival is one event of a stream.
type arrival struct {
	Number int
	Sent   int64 // by the origin
	At     int64 // when the read that brought its last byte returned
}

// runClient does a job and writes the streams as JSON.
func runClient(in io.Reader, out io.Writer) error {
	// What is measured here is the server.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(1 << 30)
	var j job
	if err := json.NewDecoder(in).Decode(&j); err != nil {
		return err
	}
	clk, err := newClock()
	if err != nil {
		return err
	}
	c := &client{job: j, clock: clk}
	streams, err := c.run()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(streams)
}

type client struct {
	job
	clock clock
}

func (c *client) run() ([]stream, error) {
	switch {
	case c.HTTP1:
		return c.runTLS()
	case c.Roots != "":
		return c.runHTTP2()
	case c.InTurn:
		return c.runInTurn()
	}
	return c.runParallel()
}

func (c *client) runParallel() ([]stream, error) {
	streams := make([]stream, len(c.Paths))
	errs := make([]error, len(c.Paths))
	conns := make([]*clientConn, len(c.Paths))
	for i := range conns {
		var err error
		if conns[i], err = c.dial(); err != nil {
			return nil, err
		}
		defer conns[i].conn.Close()
	}
	var wg sync.WaitGroup
	for i, path := range c.Paths {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * c.Stagger)
			streams[i], errs[i] = conns[i].get(path, c.Body)
		})
	}
	wg.Wait()
	return streams, errors.Join(errs...)
}

func (c *client) runInTurn() ([]stream, error) {
	var streams []stream
	var conn *clientConn
	defer func() {
		if conn != nil {
			conn.conn.Close()
		}
	}()
	for _, path := range c.Paths {
		if conn == nil || !c.KeepAlive {
			if conn != nil {
				conn.conn.Close()
			}
			var err error
			if conn, err = c.dial(); err != nil {
				return nil, err
			}
		}
		s, err := conn.get(path, c.Body)
		if err != nil {
			return nil, err
		}
		streams = append(streams, s)
	}
	return streams, nil
}

// A clientConn is an HTTP/1.1 connection.
type clientConn struct {
	conn *timedConn
	in   *bufio.Reader
}

func (c *client) dial() (*clientConn, error) {
	conn, err := net.Dial("tcp", c.Addr)
	if err != nil {
		return nil, err
	}
	timed := &timedConn{Conn: conn, clock: c.clock}
	buffer := 64 << 10
	if len(c.Paths) > 500 {
		buffer = 4 << 10
	}
	return &clientConn{timed, bufio.NewReaderSize(timed, buffer)}, nil
}

func (c *clientConn) get(path, body string) (stream, error) {
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n", path)
	if body != "" {
		request = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	s := stream{Path: path, Began: c.conn.clock.now()}
	if _, err := io.WriteString(c.conn, request); err != nil {
		return s, err
	}
	s.Asked = c.conn.clock.now()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return s, err
	}
	s.Head = c.conn.at
	err = s.read(resp, &timedReader{resp.Body, func() int64 { return c.conn.at }, 0})
	return s, err
}

// A timedReader knows when what it read last had arrived.
type timedReader struct {
	io.Reader
	clock func() int64
	at    int64
}

// Read implements io.Reader.
func (r *timedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.at = r.clock()
	return n, err
}

// read reads an answer to its end.
func (s *stream) read(resp *http.Response, body *timedReader) error {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 2000))
		return fmt.Errorf("%s: %s: %s", s.Path, resp.Status, text)
	}
	s.Sent, _ = strconv.ParseInt(resp.Header.Get(sentField), 10, 64)
	var err error
	if isBlob(s.Path) {
		s.Bytes, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{body}, make([]byte, 64<<10))
	} else {
		err = s.readEvents(body)
	}
	s.Ended = body.at
	return err
}

func (s *stream) readEvents(body *timedReader) error {
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		s.Bytes += int64(len(lines.Bytes())) + 1
		n, sent, ok := parseEvent(lines.Bytes())
		if !ok {
			n, sent, ok = parseChat(lines.Bytes())
		}
		if ok {
			s.Events = append(s.Events, arrival{n, sent, body.at})
		}
	}
	return lines.Err()
}

// runTLS gets the first path over TLS and HTTP/1.1.
func (c *client) runTLS() ([]stream, error) {
	addr := c.Addr
	if c.Proxy != "" {
		addr = c.Proxy
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if c.Proxy != "" {
		fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", c.Addr)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("CONNECT %s: %s", c.Addr, resp.Status)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.Roots))
	timed := &timedConn{Conn: tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}), clock: c.clock}
	s, err := (&clientConn{timed, bufio.NewReaderSize(timed, 64<<10)}).get(c.Paths[0], c.Body)
	return []stream{s}, err
}

// runHTTP2 gets the paths in turn with net/http, which sees an event once it has
// ended TLS, framing and a hand-over between two goroutines; its floor does so too.
func (c *client) runHTTP2() ([]stream, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.Roots))
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
	}
	if c.Proxy != "" {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: c.Proxy})
	}
	defer transport.CloseIdleConnections()
	var streams []stream
	for _, path := range c.Paths {
		s, err := c.getHTTP2(transport, path)
		if err != nil {
			return nil, err
		}
		streams = append(streams, s)
	}
	return streams, nil
}

func (c *client) getHTTP2(transport *http.Transport, path string) (stream, error) {
	s := stream{Path: path}
	req, err := http.NewRequest("GET", "https://"+c.Addr+path, nil)
	if err != nil {
		return s, err
	}
	asked := make(chan int64, 1)
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { asked <- c.clock.now() }}
	resp, err := transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return s, err
	}
	s.Head = c.clock.now()
	s.Asked = <-asked
	if resp.ProtoMajor != 2 {
		resp.Body.Close()
		return s, fmt.Errorf("%s was answered with %s", path, resp.Proto)
	}
	err = s.read(resp, &timedReader{resp.Body, c.clock.now, 0})
	return s, err
}
