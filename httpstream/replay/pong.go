package replay

import (
	"slices"
	"sync"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

const (
	maxPings = 1024 // recorded pings that a pong may answer
	maxPongs = 64   // that wait for the end of a frame
)

// A socketWriter writes a WebSocket's answer. Clients ping on timers of their own,
// with payloads of their own, and close a connection on which no pong comes (RFC
// 6455 section 5.5.3): their pings are answered as they come, and the pongs that
// answered recorded pings are not played.
type socketWriter struct {
	w      httpstream.ResponseWriter
	frames *tape.FrameWriter

	pings []string // recorded, without a pong so far

	closed chan []byte // gets the client's first close frame as it is to be echoed

	mu    sync.Mutex
	at    tape.Messages
	pongs [][]byte // wait for the end of the frame under way
	// mute is set behind a close frame, after which nothing is said (RFC 6455 section
	// 5.5.1), and behind what is no frame, where nothing would be read as one.
	mute bool
}

// close notes the client's close frame.
func (s *socketWriter) close(l *tape.Line) {
	select {
	case s.closed <- tape.AppendFrame(nil, l):
	default:
	}
}

// pinged notes a recorded ping of the client.
func (s *socketWriter) pinged(l *tape.Line) {
	if len(s.pings) < maxPings {
		s.pings = append(s.pings, string(l.Data))
	}
}

// answersPing reports whether a recorded line is the pong to a recorded ping. A
// pong answers the pings before as well (RFC 6455 section 5.5.3).
func (s *socketWriter) answersPing(l *tape.Line) bool {
	if l.Frame == nil || l.Frame.Op != websocket.Pong {
		return false
	}
	i := slices.Index(s.pings, string(l.Data))
	s.pings = s.pings[i+1:]
	return i >= 0
}

// write writes a recorded line.
func (s *socketWriter) write(l *tape.Line) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	wire, err := s.frames.Append(nil, l)
	if err != nil {
		return err
	}
	s.at.Next(l)
	s.mute = s.mute || l.Frame == nil && !l.Rest || l.Frame != nil && l.Frame.Op == websocket.Close
	if !s.at.InFrame() {
		for _, p := range s.pongs {
			wire = append(wire, p...)
		}
		s.pongs = nil
	}
	return s.w.Chunk(httpstream.Chunk{Data: wire})
}

// pong answers a ping.
func (s *socketWriter) pong(payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wire := append(websocket.AppendHeader(nil, websocket.Header{Op: websocket.Pong, Final: true, Length: int64(len(payload))}), payload...)
	if s.mute {
		return
	}
	if s.at.InFrame() {
		if len(s.pongs) < maxPongs {
			s.pongs = append(s.pongs, wire)
		}
		return
	}
	// A client that is gone is the player's to notice.
	if s.w.Chunk(httpstream.Chunk{Data: wire}) == nil {
		s.w.Flush()
	}
}

// answerClose answers the client's close frame, unless the server has closed before.
func (s *socketWriter) answerClose(answer []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mute || s.at.InFrame() {
		return nil
	}
	s.mute = true
	return s.w.Chunk(httpstream.Chunk{Data: answer})
}
