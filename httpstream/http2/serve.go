package http2

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

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/internal/transport"
)

const (
	maxStreams    = 1000
	streamWindow  = 1 << 20    // that a client may send on a stream ahead of its reader
	connWindow    = 4 << 20    // the same for all streams of a connection together
	defaultWindow = 64<<10 - 1 // RFC 9113 section 6.9.2
	maxWindow     = 1<<31 - 1
	maxControl    = 64 << 10 // of replies that the client does not read
	burst         = 10000    // of frames that cost us and bring nothing, and
	burstRate     = 2000     // how many of them a second are let pass for ever
)

var (
	errReset = errors.New("httpstream: the client reset the stream")
	errGone  = errors.New("httpstream: the client's connection is gone")
)

// Serve reads the requests of an HTTP/2 connection (RFC 9113), from the
// client preface on, and lets h answer each in a goroutine of its own, until the
// client closes the connection, breaks the protocol, or ctx ends. It closes conn
// and returns when the last handler has: nil if the client closed it, ctx's
// error, a network error, or one that wraps ErrMalformed.
func Serve(ctx context.Context, conn net.Conn, h httpstream.Handler) error {
	return serve(ctx, conn, h, frameBudget{left: burst, rate: burstRate})
}

func serve(ctx context.Context, conn net.Conn, h httpstream.Handler, budget frameBudget) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &serverConn{
		conn: conn, handler: h, ctx: ctx,
		reader:     timedReader{conn: conn},
		streams:    make(map[uint32]*serverStream),
		refused:    make(map[uint32]bool),
		sendWindow: defaultWindow, peerWindow: defaultWindow,
		maxFrame:   minFrame,
		recvWindow: connWindow,
		wake:       make(chan struct{}, 1),
		budget:     budget,
	}
	c.enc = hpack.NewEncoder(&c.block)
	stop := context.AfterFunc(ctx, func() { c.fail(ctx.Err()) })
	defer stop()

	var wg sync.WaitGroup
	wg.Go(c.writeReplies)
	c.reply(greeting(offersConnect(h)))
	err := c.read()
	c.goAway(err)
	c.fail(errGone)
	c.handlers.Wait()
	wg.Wait()
	return serveError(c.cause(), err)
}

// serveError chooses what Serve returns: what ended the connection first.
func serveError(cause, read error) error {
	var connErr http2.ConnectionError
	switch {
	case errors.As(read, &connErr):
		return fmt.Errorf("HTTP/2: %w: %w", httpstream.ErrMalformed, read)
	case !errors.Is(cause, errGone):
		return cause
	case transport.IsEOF(read):
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

func offersConnect(h httpstream.Handler) bool {
	o, ok := h.(ConnectOfferer)
	return !ok || o.OffersConnect()
}

// greeting is the server's connection preface (RFC 9113 section 3.4).
func greeting(connect bool) []byte {
	settings := []http2.Setting{
		{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
		{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		{ID: http2.SettingMaxHeaderListSize, Val: maxBlock},
	}
	if connect {
		settings = append(settings, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
	}
	b := appendHeader(nil, 6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Val)
	}
	return appendCode(b, http2.FrameWindowUpdate, 0, connWindow-defaultWindow)
}

// A timedReader remembers when it was read last. What is parsed from a buffer
// over it arrived then.
type timedReader struct {
	conn net.Conn
	at   time.Time
}

func (r *timedReader) Read(p []byte) (int, error) {
	n, err := r.conn.Read(p)
	r.at = time.Now()
	return n, err
}

// A frameBudget is a bucket of frames that cost us and bring nothing.
type frameBudget struct {
	left float64
	rate float64 // a second, up to burst
	last time.Time
}

// spend takes one frame at a time, and reports whether the bucket was not empty.
func (b *frameBudget) spend(at time.Time) bool {
	if !b.last.IsZero() {
		b.left = min(burst, b.left+at.Sub(b.last).Seconds()*b.rate)
	}
	b.last = at
	b.left--
	return b.left >= 0
}

// A serverConn is one served connection. Its own goroutine reads; handlers write
// themselves, so that no hand-over delays them; and one more goroutine writes the
// replies to control frames, so that reading never waits for a client that
// does not read.
type serverConn struct {
	conn     net.Conn
	handler  httpstream.Handler
	ctx      context.Context
	handlers sync.WaitGroup
	wake     chan struct{} // has replies to write

	// Of the reading goroutine.
	reader timedReader
	framer *http2.Framer
	last   uint32 // highest stream that the client opened
	budget frameBudget

	// wmu orders what is written. It is taken before mu.
	wmu   sync.Mutex
	out   []byte
	block bytes.Buffer // what enc encodes
	enc   *hpack.Encoder

	mu         sync.Mutex
	err        error // why the connection is over
	streams    map[uint32]*serverStream
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
func (c *serverConn) fail(err error) {
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

func (c *serverConn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *serverConn) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// reply queues frames that answer what the client sent.
func (c *serverConn) reply(frames []byte) {
	c.mu.Lock()
	c.replies = append(c.replies, frames...)
	c.mu.Unlock()
	c.poke()
}

// writeReplies writes queued frames that no handler takes along.
func (c *serverConn) writeReplies() {
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
func (c *serverConn) takeReplies(dst []byte) []byte {
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
func (c *serverConn) goAway(err error) {
	var connErr http2.ConnectionError
	if !errors.As(err, &connErr) {
		return
	}
	c.conn.SetDeadline(time.Now().Add(time.Second))
	b := appendHeader(nil, 8, http2.FrameGoAway, 0, 0)
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
		transport.CloseWrite(c.conn, false)
		_, _ = io.CopyN(io.Discard, c.conn, 1<<20)
	}
}
