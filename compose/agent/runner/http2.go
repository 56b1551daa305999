package runner

import (
	"bytes"
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wiretape/wiretape/httpstream"
)

const (
	// The app may send as much as it likes; the pipe holds it back.
	largestWindow = 1<<31 - 1
	// Until the app's SETTINGS come (RFC 9113 sections 6.5.2 and 6.9.2).
	firstWindow  = 1<<16 - 1
	largestFrame = 1 << 14
	streamID     = 1
)

// An http2Client sends one request with its fields in their order, which no
// client library does.
type http2Client struct {
	framer *http2.Framer

	mu      sync.Mutex // guards what follows, and writing
	changed sync.Cond
	conn    int64 // how much may be sent, on the connection and on the stream
	stream  int64
	initial int64
	closed  bool
}

// sendHTTP2 is sendHTTP1 for h2c with prior knowledge (RFC 9113 section 3.3).
func (e *exchange) sendHTTP2(conn net.Conn) error {
	c := &http2Client{framer: http2.NewFramer(conn, conn), conn: firstWindow, stream: firstWindow, initial: firstWindow}
	c.changed.L = &c.mu
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		c.read()
	}()
	err := c.send(conn, e)
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed || pipeClosed(err) {
		err = nil
	}
	if err != nil {
		conn.Close()
	}
	<-drained
	return err
}

func (c *http2Client) send(conn net.Conn, e *exchange) error {
	if err := c.greet(conn); err != nil {
		return err
	}
	q := &e.x.Request
	hasBody := q.Body.InStream || len(q.Body.Data) > 0
	fs := httpstream.Fields{
		{Name: ":method", Value: q.Method}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: authority(q.URL)}, {Name: ":path", Value: target(q.Method, q.URL)},
	}
	if err := c.headers(append(fs, e.fields()...), !hasBody && len(q.Trailer) == 0); err != nil {
		return err
	}
	if hasBody {
		whole := !q.Body.InStream && len(q.Trailer) == 0
		if err := e.body(func(chunk httpstream.Chunk) error { return c.data(chunk.Data, whole) }); err != nil {
			return err
		}
		if whole {
			return nil
		}
	}
	if len(q.Trailer) > 0 {
		return c.headers(q.Trailer, true)
	}
	if hasBody {
		return c.data(nil, true)
	}
	return nil
}

func (c *http2Client) greet(conn net.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return err
	}
	if err := c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: largestWindow},
	); err != nil {
		return err
	}
	return c.framer.WriteWindowUpdate(0, largestWindow-firstWindow)
}

// headers sends a header section, in as many frames as it takes.
func (c *http2Client) headers(fs httpstream.Fields, end bool) error {
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
	first := block.Next(largestFrame)
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: streamID, BlockFragment: first, EndStream: end, EndHeaders: block.Len() == 0,
	})
	for err == nil && block.Len() > 0 {
		next := block.Next(largestFrame)
		err = c.framer.WriteContinuation(streamID, block.Len() == 0, next)
	}
	return err
}

// data sends body bytes as flow control lets them.
func (c *http2Client) data(p []byte, end bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for len(p) > 0 && !c.closed && (c.conn <= 0 || c.stream <= 0) {
			c.changed.Wait()
		}
		if c.closed {
			return nil
		}
		n := int(min(int64(len(p)), largestFrame, max(0, c.conn), max(0, c.stream)))
		if err := c.framer.WriteData(streamID, end && n == len(p), p[:n]); err != nil {
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
func (c *http2Client) read() {
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

func (c *http2Client) handle(f http2.Frame) error {
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
		return c.framer.WriteWindowUpdate(streamID, n)
	case *http2.RSTStreamFrame:
		return fmt.Errorf("reset: %v", f.ErrCode)
	}
	return nil
}
