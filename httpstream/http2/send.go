package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
)

const (
	// sendStream is the one stream of a connection that Send opens.
	sendStream = 1
)

// A clientConn sends one request with its fields in their order, which no
// client library does.
type clientConn struct {
	framer *http2.Framer

	mu      sync.Mutex // guards what follows, and writing
	changed sync.Cond
	conn    int64 // how much may be sent, on the connection and on the stream
	stream  int64
	initial int64
	closed  bool
}

// Send writes a request as a client of HTTP/2 with prior knowledge (RFC 9113 section
// 3.3) on a connection of its own, and answers what the protocol asks for. The
// answer is dropped: who relays the connection has told its sink. It returns nil
// when conn has ended, the error of out.Stream, or that of a write to a connection
// that is not at its end. With an error it closes conn.
func Send(conn net.Conn, out *httpstream.Outgoing) error {
	c := &clientConn{framer: http2.NewFramer(conn, conn), conn: defaultWindow, stream: defaultWindow, initial: defaultWindow}
	c.changed.L = &c.mu
	drained := make(chan struct{})
	err := c.greet(conn) // before anything is read, which may have to be answered
	go func() {
		defer close(drained)
		c.read()
	}()
	if err == nil {
		err = c.send(out)
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed || transport.IsClosed(err) || errors.Is(err, io.EOF) {
		err = nil
	} else if err == nil && out.Sent != nil {
		out.Sent()
	}
	if err != nil {
		conn.Close()
	}
	<-drained
	return err
}

func (c *clientConn) send(out *httpstream.Outgoing) error {
	h := out.Head
	fields := append(httpstream.Fields{
		{Name: ":method", Value: h.Method}, {Name: ":scheme", Value: h.Scheme},
		{Name: ":authority", Value: h.Authority}, {Name: ":path", Value: h.Target},
	}, h.Header...)
	if out.Stream != nil {
		if err := c.headers(fields, false); err != nil {
			return err
		}
		for chunk, err := range out.Stream {
			if err == nil {
				err = c.data(chunk.Data, false)
			}
			if err != nil {
				return err
			}
		}
		return c.end(out.Trailers())
	}
	trailer := out.Trailers()
	whole := len(trailer) == 0
	if err := c.headers(fields, whole && len(out.Data) == 0); err != nil {
		return err
	}
	if len(out.Data) > 0 {
		if err := c.data(out.Data, whole); err != nil {
			return err
		}
	}
	if whole {
		return nil
	}
	return c.end(trailer)
}

// end ends a request whose last frame did not.
func (c *clientConn) end(trailer httpstream.Fields) error {
	if len(trailer) > 0 {
		return c.headers(trailer, true)
	}
	return c.data(nil, true)
}

func (c *clientConn) greet(conn net.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return err
	}
	if err := c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow},
	); err != nil {
		return err
	}
	return c.framer.WriteWindowUpdate(0, maxWindow-defaultWindow)
}

// headers sends a header section, in as many frames as it takes.
func (c *clientConn) headers(fs httpstream.Fields, end bool) error {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	enc.SetMaxDynamicTableSize(0) // trailers come from an encoder of their own
	for _, f := range fs {
		if err := enc.WriteField(hpack.HeaderField{Name: f.Name, Value: f.Value}); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := block.Next(minFrame)
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: sendStream, BlockFragment: first, EndStream: end, EndHeaders: block.Len() == 0,
	})
	for err == nil && block.Len() > 0 {
		next := block.Next(minFrame)
		err = c.framer.WriteContinuation(sendStream, block.Len() == 0, next)
	}
	return err
}

// data sends body bytes as flow control lets them.
func (c *clientConn) data(p []byte, end bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for len(p) > 0 && !c.closed && (c.conn <= 0 || c.stream <= 0) {
			c.changed.Wait()
		}
		if c.closed {
			return nil
		}
		n := int(min(int64(len(p)), minFrame, max(0, c.conn), max(0, c.stream)))
		if err := c.framer.WriteData(sendStream, end && n == len(p), p[:n]); err != nil {
			return err
		}
		c.conn -= int64(n)
		c.stream -= int64(n)
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
}

// read answers what the protocol asks for; the answer itself the sink has seen.
func (c *clientConn) read() {
	for {
		f, err := c.framer.ReadFrame()
		if err == nil {
			err = c.handle(f)
		}
		if err != nil {
			c.mu.Lock()
			c.closed = true
			c.changed.Broadcast()
			c.mu.Unlock()
			return
		}
	}
}

func (c *clientConn) handle(f http2.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			c.stream += int64(v) - c.initial
			c.initial = int64(v)
		}
		return c.framer.WriteSettingsAck()
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.conn += int64(f.Increment)
		} else {
			c.stream += int64(f.Increment)
		}
	case *http2.DataFrame:
		n := f.Length
		if n == 0 {
			return nil
		}
		if err := c.framer.WriteWindowUpdate(0, n); err != nil {
			return err
		}
		if f.StreamEnded() {
			return nil
		}
		return c.framer.WriteWindowUpdate(sendStream, n)
	case *http2.RSTStreamFrame:
		return fmt.Errorf("reset: %v", f.ErrCode)
	}
	return nil
}
