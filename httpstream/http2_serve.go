package httpstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	h2MaxStreams    = 1000
	h2StreamWindow  = 1 << 20    // that a client may send on a stream ahead of its reader
	h2ConnWindow    = 4 << 20    // the same for all streams of a connection together
	h2DefaultWindow = 64<<10 - 1 // RFC 9113 section 6.9.2
	h2MaxWindow     = 1<<31 - 1
	h2MaxControl    = 64 << 10 // of replies that the client does not read
	h2Burst         = 10000    // of frames that cost us and bring nothing, and
	h2BurstRate     = 2000     // how many of them a second are let pass for ever
)

var (
	errH2Reset = errors.New("httpstream: the client reset the stream")
	errH2Gone  = errors.New("httpstream: the client's connection is gone")
)

// ServeHTTP2 reads the requests of an HTTP/2 connection (RFC 9113), from the
// client preface on, and lets h answer each in a goroutine of its own, until the
// client closes the connection, breaks the protocol, or ctx ends. It closes conn
// and returns when the last handler has: nil if the client closed it, ctx's
// error, a network error, or one that wraps ErrMalformed.
func ServeHTTP2(ctx context.Context, conn net.Conn, h Handler) error {
	return serveHTTP2(ctx, conn, h, h2Budget{left: h2Burst, rate: h2BurstRate})
}

func serveHTTP2(ctx context.Context, conn net.Conn, h Handler, budget h2Budget) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &h2Server{
		conn: conn, handler: h, ctx: ctx,
		reader:     h2TimedReader{conn: conn},
		streams:    make(map[uint32]*h2ServerStream),
		refused:    make(map[uint32]bool),
		sendWindow: h2DefaultWindow, peerWindow: h2DefaultWindow,
		maxFrame:   h2MinFrame,
		recvWindow: h2ConnWindow,
		wake:       make(chan struct{}, 1),
		budget:     budget,
	}
	c.enc = hpack.NewEncoder(&c.block)
	stop := context.AfterFunc(ctx, func() { c.fail(ctx.Err()) })
	defer stop()

	var wg sync.WaitGroup
	wg.Go(c.writeReplies)
	c.reply(h2Greeting(offersConnect(h)))
	err := c.read()
	c.goAway(err)
	c.fail(errH2Gone)
	c.handlers.Wait()
	wg.Wait()
	return h2ServeError(c.cause(), err)
}

// h2ServeError chooses what ServeHTTP2 returns: what ended the connection first.
func h2ServeError(cause, read error) error {
	var connErr http2.ConnectionError
	switch {
	case errors.As(read, &connErr):
		return fmt.Errorf("HTTP/2: %w: %w", ErrMalformed, read)
	case cause != errH2Gone:
		return cause
	case isEOF(read):
		return nil
	}
	return read
}

// A ConnectOfferer is a Handler that says whether clients of HTTP/2 are told that
// they may ask for other protocols with CONNECT (RFC 8441 section 3). Where a
// handler is none, they are.
type ConnectOfferer interface {
	OffersConnect() bool
}

func offersConnect(h Handler) bool {
	o, ok := h.(ConnectOfferer)
	return !ok || o.OffersConnect()
}

// h2Greeting is the server's connection preface (RFC 9113 section 3.4).
func h2Greeting(connect bool) []byte {
	settings := []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: h2MaxStreams},
		{ID: http2.SettingInitialWindowSize, Val: h2StreamWindow},
		{ID: http2.SettingMaxHeaderListSize, Val: h2MaxBlock},
	}
	if connect {
		settings = append(settings, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	}
	b := h2AppendHeader(nil, 6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Val)
	}
	return h2AppendCode(b, http2.FrameWindowUpdate, 0, h2ConnWindow-h2DefaultWindow)
}

// An h2TimedReader remembers when it was read last. What is parsed from a buffer
// over it arrived then.
type h2TimedReader struct {
	conn net.Conn
	at   time.Time
}

func (r *h2TimedReader) Read(p []byte) (int, error) {
	n, err := r.conn.Read(p)
	r.at = time.Now()
	return n, err
}

// An h2Budget is a bucket of frames that cost us and bring nothing.
type h2Budget struct {
	left float64
	rate float64 // a second, up to h2Burst
	last time.Time
}

// spend takes one frame at a time, and reports whether the bucket was not empty.
func (b *h2Budget) spend(at time.Time) bool {
	if !b.last.IsZero() {
		b.left = min(h2Burst, b.left+at.Sub(b.last).Seconds()*b.rate)
	}
	b.last = at
	b.left--
	return b.left >= 0
}

// An h2Server is one served connection. Its own goroutine reads; handlers write
// themselves, so that no hand-over delays them; and one more goroutine writes the
// replies to control frames, so that reading never waits for a client that
// does not read.
type h2Server struct {
	conn     net.Conn
	handler  Handler
	ctx      context.Context
	handlers sync.WaitGroup
	wake     chan struct{} // has replies to write

	// Of the reading goroutine.
	reader h2TimedReader
	framer *http2.Framer
	last   uint32 // highest stream that the client opened
	budget h2Budget

	// wmu orders what is written. It is taken before mu.
	wmu   sync.Mutex
	out   []byte
	block bytes.Buffer // what enc encodes
	enc   *hpack.Encoder

	mu         sync.Mutex
	err        error // why the connection is over
	streams    map[uint32]*h2ServerStream
	refused    map[uint32]bool // streams that were reset: true if by us, so that frames may be under way
	refusals   []uint32        // the same, oldest first
	replies    []byte          // frames to write before any other
	tables     []uint32        // new limits of enc's table, see setTable
	sendWindow int64
	recvWindow int64
	unreturned int64 // bytes to give back to recvWindow
	peerWindow int64 // SETTINGS_INITIAL_WINDOW_SIZE
	maxFrame   int   // SETTINGS_MAX_FRAME_SIZE
}

// fail ends the connection: writers and readers return, contexts are done.
func (c *h2Server) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	for _, s := range c.streams {
		s.failLocked(c.err)
	}
	c.mu.Unlock()
	c.conn.Close()
	c.poke()
}

func (c *h2Server) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *h2Server) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// reply queues frames that answer what the client sent.
func (c *h2Server) reply(frames []byte) {
	c.mu.Lock()
	c.replies = append(c.replies, frames...)
	c.mu.Unlock()
	c.poke()
}

// writeReplies writes queued frames that no handler takes along.
func (c *h2Server) writeReplies() {
	for range c.wake {
		c.wmu.Lock()
		c.mu.Lock()
		over := c.err != nil
		c.out = c.takeReplies(c.out[:0])
		c.mu.Unlock()
		if !over && len(c.out) > 0 {
			if _, err := c.conn.Write(c.out); err != nil {
				over = true
				defer c.fail(err)
			}
		}
		c.wmu.Unlock()
		if over {
			return
		}
	}
}

// takeReplies appends the queued frames. What follows them may use a new HPACK
// table size, for the acknowledgement is among them. It needs wmu and mu.
func (c *h2Server) takeReplies(dst []byte) []byte {
	dst = append(dst, c.replies...)
	c.replies = c.replies[:0]
	for _, size := range c.tables {
		c.enc.SetMaxDynamicTableSize(size)
	}
	c.tables = c.tables[:0]
	return dst
}

// goAway tells the client why the connection ends, if it broke the protocol or
// we end it, and lets it read that (RFC 9113 section 5.4.1).
func (c *h2Server) goAway(err error) {
	var connErr http2.ConnectionError
	if !errors.As(err, &connErr) {
		return
	}
	c.conn.SetDeadline(time.Now().Add(time.Second))
	b := h2AppendHeader(nil, 8, http2.FrameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, c.last)
	b = binary.BigEndian.AppendUint32(b, uint32(connErr))
	c.wmu.Lock()
	c.mu.Lock()
	c.out = append(c.takeReplies(c.out[:0]), b...)
	c.mu.Unlock()
	_, err = c.conn.Write(c.out)
	c.wmu.Unlock()
	if err == nil {
		// A close with unread bytes would be a reset, and take the GOAWAY with it.
		closeWriteConn(c.conn, false)
		io.CopyN(io.Discard, c.conn, 1<<20)
	}
}
