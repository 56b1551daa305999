package http2

import (
	"bufio"
	"errors"
	"io"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wiretape/wiretape/httpstream"
)

// read reads frames until the connection ends.
func (c *serverConn) read() error {
	br := bufio.NewReaderSize(&c.reader, readSize)
	for i := range len(http2.ClientPreface) {
		b, err := br.ReadByte()
		if err != nil {
			return err
		}
		if b != http2.ClientPreface[i] {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
	}
	c.framer = http2.NewFramer(io.Discard, br)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(minFrame)
	c.framer.MaxHeaderListSize = maxBlock
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for first := true; ; first = false {
		f, err := c.framer.ReadFrame()
		if err == nil && first {
			if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
				return http2.ConnectionError(http2.ErrCodeProtocol)
			}
		}
		if err == nil {
			err = c.frame(f)
		}
		if err = c.streamError(err); err != nil {
			return err
		}
	}
}

// streamError resets the one stream that an error is about; others it returns.
func (c *serverConn) streamError(err error) error {
	if errors.Is(err, http2.ErrFrameTooLarge) {
		return http2.ConnectionError(http2.ErrCodeFrameSize)
	}
	var streamErr http2.StreamError
	if !errors.As(err, &streamErr) {
		return err
	}
	id := streamErr.StreamID
	if id > c.last {
		if id%2 == 0 {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.last = id
	}
	if err := c.spend(); err != nil {
		return err
	}
	c.mu.Lock()
	if s := c.streams[id]; s != nil {
		s.over = true
		s.failLocked(err)
	}
	c.refuse(id, streamErr.Code)
	c.mu.Unlock()
	c.poke()
	return nil
}

// refuse queues RST_STREAM and remembers the stream, for more of its frames may
// be under way. It needs mu.
func (c *serverConn) refuse(id uint32, code http2.ErrCode) {
	c.replies = appendCode(c.replies, http2.FrameRSTStream, id, uint32(code))
	c.remember(id, true)
}

// remember notes a stream that was reset, by us or by the client. It needs mu.
func (c *serverConn) remember(id uint32, ours bool) {
	if _, known := c.refused[id]; known {
		return
	}
	c.refused[id] = ours
	if c.refusals = append(c.refusals, id); len(c.refusals) > maxStreams {
		delete(c.refused, c.refusals[0])
		c.refusals = c.refusals[1:]
	}
}

// spend charges the client for a frame that brings nothing.
func (c *serverConn) spend() error {
	c.mu.Lock()
	unread := len(c.replies)
	c.mu.Unlock()
	if !c.budget.spend(c.reader.at) || unread > maxControl {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return nil
}

func (c *serverConn) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if err := c.spend(); err != nil {
		return err
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PriorityFrame:
		switch {
		case f.StreamDep != f.StreamID:
		case f.StreamID > c.last: // which a reset would say is open
			return http2.ConnectionError(http2.ErrCodeProtocol)
		default:
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.reply(append(appendHeader(nil, 8, http2.FramePing, http2.FlagPingAck, 0), f.Data[:]...))
		}
	case *http2.RSTStreamFrame:
		if f.StreamID > c.last {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.mu.Lock()
		if s := c.streams[f.StreamID]; s != nil {
			s.over = true // no answer is due to a reset
			s.failLocked(errReset)
		}
		c.mu.Unlock()
	}
	return nil
}

func (c *serverConn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.setTable(s.Val)
		case http2.SettingMaxFrameSize:
			c.maxFrame = int(s.Val)
		case http2.SettingInitialWindowSize:
			grow := int64(s.Val) - c.peerWindow
			c.peerWindow = int64(s.Val)
			for _, st := range c.streams {
				if st.sendWindow += grow; st.sendWindow > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
				st.sendable.Signal()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.replies = appendHeader(c.replies, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	c.poke()
	return nil
}

// setTable notes a new limit of the HPACK table: of many the least and the last
// count (RFC 7541 section 4.2). It needs mu.
func (c *serverConn) setTable(size uint32) {
	if len(c.tables) == 2 {
		c.tables = append(c.tables[:0], min(c.tables[0], c.tables[1]))
	}
	c.tables = append(c.tables, size)
}

func (c *serverConn) windowUpdate(f *http2.WindowUpdateFrame) error {
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if c.sendWindow += int64(f.Increment); c.sendWindow > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		for _, s := range c.streams {
			s.sendable.Signal()
		}
		return nil
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return nil
	}
	if s.sendWindow += int64(f.Increment); s.sendWindow > maxWindow {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	s.sendable.Signal()
	return nil
}

// data takes a DATA frame (RFC 9113 section 6.1).
func (c *serverConn) data(f *http2.DataFrame) error {
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if len(f.Data()) == 0 && !f.StreamEnded() {
		if err := c.spend(); err != nil {
			return err
		}
	}
	size := int64(f.Length)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recvWindow -= size; c.recvWindow < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	s := c.streams[f.StreamID]
	switch {
	case s == nil && !c.refused[f.StreamID], s != nil && (s.complete || errors.Is(s.err, errReset)):
		c.credit(size)
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	case s == nil || s.err != nil:
		c.credit(size)
		return nil
	}
	if s.recvWindow -= size; s.recvWindow < 0 {
		c.credit(size)
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	s.received += int64(len(f.Data()))
	if s.declared >= 0 && s.received > s.declared {
		c.credit(size)
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	}
	s.body.Write(f.Data())
	padding := size - int64(len(f.Data()))
	c.credit(padding)
	s.credit(padding)
	s.arrived.Signal()
	if f.StreamEnded() {
		return s.finish(c.reader.at, nil)
	}
	return nil
}

// credit gives room in the connection's window back to the client. It needs mu.
func (c *serverConn) credit(n int64) {
	if c.unreturned += n; c.unreturned >= connWindow/4 {
		c.replies = appendCode(c.replies, http2.FrameWindowUpdate, 0, uint32(c.unreturned))
		c.recvWindow += c.unreturned
		c.unreturned = 0
		c.poke()
	}
}

// headers takes a complete field block: a request or its trailers.
func (c *serverConn) headers(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	if f.HasPriority() && f.Priority.StreamDep == id {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol} // RFC 7540 section 5.3.1
	}
	if id > c.last && id%2 == 1 {
		c.last = id
		return c.request(f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	ours, reset := c.refused[id]
	switch {
	case s == nil && ours:
		return nil
	case s == nil && reset:
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	case s == nil:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case s.err != nil && !errors.Is(s.err, errReset):
		return nil
	case s.complete && s.answered: // closed, though its handler has not returned yet
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	case s.complete || s.err != nil:
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	}
	trailer, err := trailerOf(f.Fields, f.StreamEnded())
	if err != nil || f.Truncated {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol, Cause: err}
	}
	return s.finish(c.reader.at, trailer)
}

// request begins a stream, or refuses it.
func (c *serverConn) request(f *http2.MetaHeadersFrame) error {
	refuse := func(code http2.ErrCode, err error) error {
		return http2.StreamError{StreamID: f.StreamID, Code: code, Cause: err}
	}
	if f.Truncated {
		return refuse(http2.ErrCodeEnhanceYourCalm, errTooLarge)
	}
	if err := checkRequest(f.Fields); err != nil {
		return refuse(http2.ErrCodeProtocol, err)
	}
	head, err := requestHead(f.Fields)
	if err != nil {
		return refuse(http2.ErrCodeProtocol, err)
	}
	declared, err := contentLength(head.Header)
	if err != nil {
		return refuse(http2.ErrCodeProtocol, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if c.full() {
		return refuse(http2.ErrCodeRefusedStream, nil)
	}
	s := newServerStream(c, f.StreamID, declared)
	if f.StreamEnded() {
		if err := s.finish(c.reader.at, nil); err != nil {
			s.cancel()
			return err
		}
	}
	c.streams[s.id] = s
	req := &httpstream.Request{Head: head, Arrived: c.reader.at, Body: s, Complete: s.completed}
	c.handlers.Go(func() { s.serve(req) })
	return nil
}

// full reports whether the client has as many streams open as it may, or left so
// many that their handlers are not done yet. It needs mu.
func (c *serverConn) full() bool {
	if len(c.streams) < maxStreams {
		return false
	}
	open := 0
	for _, s := range c.streams {
		if s.open() {
			open++
		}
	}
	return open >= maxStreams || len(c.streams) >= 2*maxStreams
}

// contentLength returns the length that a request says its body has, or -1.
func contentLength(fields httpstream.Fields) (int64, error) {
	length := int64(-1)
	for _, v := range fields.Values("content-length") {
		n, err := strconv.ParseUint(v, 10, 63)
		if err != nil || length >= 0 && length != int64(n) {
			return 0, errors.New("content-length is not one number")
		}
		length = int64(n)
	}
	return length, nil
}
