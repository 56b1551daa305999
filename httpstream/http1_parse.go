package httpstream

import (
	"bytes"
	"fmt"
	"strings"
)

const (
	h1MaxHead      = 1 << 20  // bytes of a head, or of a trailer section
	h1MaxChunkLine = 16 << 10 // bytes of a chunk-size line with its extensions
)

// An h1State is where in a message an h1Parser stands.
type h1State uint8

const (
	h1AtStart    h1State = iota // before a message
	h1InHead                    // after the first byte of a head
	h1InLength                  // in a body of known length
	h1InSize                    // in a chunk-size line
	h1InChunk                   // in a chunk's data
	h1AfterChunk                // in the CRLF behind a chunk's data
	h1InTrailer                 // in the trailer section
	h1InClose                   // in a body that ends with the connection
	h1AtEnd                     // the message is complete but not reported
	h1Unframed                  // behind a request whose body's end can't be known
	h1Undecided                 // behind a request that asked to change the protocol
	h1Doubtful                  // behind a request with both Content-Length and Transfer-Encoding
	h1InTunnel                  // in bytes of another protocol
	h1InFrames                  // in WebSocket frames
)

// An h1EventKind tells what an h1Parser found.
type h1EventKind uint8

const (
	h1None    h1EventKind = iota // more bytes are needed
	h1Head                       // a request head or final response head, 101 included
	h1Interim                    // a 1xx response head other than 101
	h1Chunk
	h1End // the end of a message
)

// An h1Event is what an h1Parser found. Chunk data is a part of the bytes that
// it was fed, or valid until it is fed again.
type h1Event struct {
	kind     h1EventKind
	request  *RequestHead
	response *ResponseHead
	chunk    Chunk
	trailer  Fields
}

// An h1Parser splits one direction of an HTTP/1 connection (RFC 9112) into
// events. Bytes are pushed into it as they arrive, split anywhere. It is strict
// where two parsers could disagree on where a message ends.
type h1Parser struct {
	response bool
	// passing is set where another reads the same bytes and judges them itself: a
	// head then has its folds as they came, and a request whose body's length can't
	// be known is reported as one without a body.
	passing bool
	oneHost bool   // a request may not have several Host fields
	method  string // in a response parser: of the request that is answered next

	state  h1State
	line   []byte // the line so far, if it came in parts
	size   int    // of the section so far
	first  bool   // the next line is the first of its head
	req    *RequestHead
	resp   *ResponseHead
	fields Fields
	folded bool // fields has folded lines

	left     int64  // of the body or chunk
	of       int64  // the whole chunk's length
	sizeLine string // of a chunk, where not canonical
	begun    bool   // a piece of the chunk was reported
	upgrade  bool   // the request asks for another protocol
	unframed bool   // the request's body has no known end
	doubtful bool   // the request says twice where its body ends
	frames   wsSplitter
}

// next consumes some bytes of b, n of them, and reports at most one event. It is
// called again, with what is left, until it reports h1None; the end of a message
// may be reported without any byte. After an error, which wraps ErrMalformed,
// it is not called again.
func (p *h1Parser) next(b []byte) (n int, ev h1Event, err error) {
	for {
		var m int
		before := p.state
		m, ev, err = p.step(b[n:])
		n += m
		if err != nil || ev.kind != h1None {
			return n, ev, err
		}
		if p.state == before && n == len(b) || p.state == h1Undecided || p.state == h1Doubtful {
			return n, ev, nil
		}
	}
}

func (p *h1Parser) step(b []byte) (int, h1Event, error) {
	if len(b) == 0 && p.state != h1AtEnd && p.state != h1InFrames {
		return 0, h1Event{}, nil
	}
	switch p.state {
	case h1AtStart:
		return p.start(b)
	case h1InHead:
		return p.head(b)
	case h1InTrailer:
		return p.trailer(b)
	case h1InSize:
		return p.chunkSize(b)
	case h1InLength, h1InChunk:
		return p.body(b)
	case h1AfterChunk:
		return p.afterChunk(b)
	case h1InClose, h1InTunnel:
		return len(b), h1Event{kind: h1Chunk, chunk: Chunk{Data: b}}, nil
	case h1InFrames:
		return p.webSocket(b)
	case h1AtEnd:
		return 0, p.end(nil), nil
	case h1Unframed:
		return 0, h1Event{}, errH1Unframed
	}
	return 0, h1Event{}, nil
}

// inHead reports whether the next byte belongs to a head.
func (p *h1Parser) inHead() bool { return p.state == h1AtStart || p.state == h1InHead }

// switchTo continues behind a head or an h1Undecided request in another protocol.
func (p *h1Parser) switchTo(webSocket bool) {
	p.state = h1InTunnel
	if webSocket {
		p.state = h1InFrames
	}
}

// resume continues behind an h1Undecided or h1Doubtful request in HTTP.
func (p *h1Parser) resume() { p.state = h1AtStart }

// eof is called when the connection ended. It returns a last chunk that was
// held, if any, and whether a message may end here.
func (p *h1Parser) eof() (held []byte, ok bool) {
	switch p.state {
	case h1AtStart, h1InClose, h1InTunnel, h1Undecided, h1Doubtful, h1Unframed:
		return nil, true
	case h1InFrames:
		return p.frames.held, true
	}
	return nil, false
}

// start skips empty lines before a message (RFC 9112 section 2.2). Servers write
// them behind a body as clients do.
func (p *h1Parser) start(b []byte) (int, h1Event, error) {
	n := 0
	for n < len(b) && (b[n] == '\r' || b[n] == '\n') {
		n++
	}
	if p.size += n; p.size > h1MaxChunkLine {
		return 0, h1Event{}, malformed("too many empty lines between messages")
	}
	if n < len(b) {
		p.state, p.first, p.size, p.fields, p.folded = h1InHead, true, 0, nil, false
	}
	return n, h1Event{}, nil
}

// An h1LineKind says what a line may hold and how it may end.
type h1LineKind uint8

const (
	h1LineOfStart h1LineKind = iota
	h1LineOfField            // may hold control characters
	h1LineOfSize             // may not end in LF alone
)

func (k h1LineKind) check(line []byte) error {
	if k == h1LineOfField {
		return h1CheckValue(line)
	}
	return h1CheckText(line)
}

// takeLine gathers one line, which ends in CRLF or LF alone (RFC 9112 section
// 2.2). The line is nil until it is complete, and has no line end.
func (p *h1Parser) takeLine(b []byte, limit int, kind h1LineKind) (n int, line []byte, err error) {
	end := bytes.IndexByte(b, '\n')
	n = end + 1
	if end < 0 {
		n = len(b)
	}
	if p.size += n; p.size > limit {
		return 0, nil, malformed("more than %d bytes without an end", limit)
	}
	line = b[:n]
	if k := len(p.line); k > 0 && p.line[k-1] == '\r' && line[0] != '\n' {
		return 0, nil, malformed("a CR without LF")
	}
	if end < 0 || len(p.line) > 0 {
		p.line = append(p.line, line...)
	}
	if end < 0 {
		// The last byte may be the CR of a CRLF.
		return n, nil, kind.check(bytes.TrimSuffix(line, []byte{'\r'}))
	}
	if len(p.line) > 0 {
		line, p.line = p.line, nil
	}
	line = line[:len(line)-1]
	if k := len(line); k > 0 && line[k-1] == '\r' {
		line = line[:k-1]
	} else if kind == h1LineOfSize {
		return 0, nil, malformed("a line that ends without CR")
	}
	return n, line, kind.check(line)
}

func (p *h1Parser) head(b []byte) (int, h1Event, error) {
	n := 0
	for n < len(b) {
		kind := h1LineOfField
		if p.first {
			kind = h1LineOfStart
		}
		m, line, err := p.takeLine(b[n:], h1MaxHead, kind)
		if err != nil {
			return n, h1Event{}, err
		}
		n += m
		switch {
		case line == nil:
			return n, h1Event{}, nil
		case p.first:
			err = p.firstLine(string(line))
			p.first = false
		case len(line) == 0:
			ev, err := p.headDone()
			return n, ev, err
		default:
			err = p.field(string(line))
		}
		if err != nil {
			return n, h1Event{}, err
		}
	}
	return n, h1Event{}, nil
}

func (p *h1Parser) firstLine(line string) (err error) {
	if p.response {
		p.resp, err = h1ParseStatusLine(line)
	} else {
		p.req, err = h1ParseRequestLine(line)
	}
	return err
}

func (p *h1Parser) field(line string) error {
	if line[0] == ' ' || line[0] == '\t' {
		if len(p.fields) == 0 {
			return malformed("a folded line without a header line before it")
		}
		p.folded = true
		return h1Fold(&p.fields[len(p.fields)-1], line)
	}
	f, err := h1ParseField(line)
	if err != nil {
		return err
	}
	p.fields = append(p.fields, f)
	return nil
}

// headDone decides how long the body is (RFC 9112 section 6.3).
func (p *h1Parser) headDone() (h1Event, error) {
	p.size = 0
	if p.response {
		return p.responseDone()
	}
	req := p.req
	req.Header = p.fields
	if p.folded && !p.passing {
		req.Header = h1Unfold(req.Header)
	}
	req.Authority = h1Authority(req)
	if p.oneHost && len(req.Header.Values("Host")) > 1 {
		return h1Event{}, malformed("more than one Host")
	}
	framing, length, err := h1Framing(req.Proto, req.Header, false)
	if p.passing && err == errH1Unframed {
		p.upgrade, p.unframed = false, true
		p.state = h1AtEnd
		return h1Event{kind: h1Head, request: req}, nil
	}
	if err != nil {
		return h1Event{}, err
	}
	p.upgrade = req.Method == "CONNECT" || req.Header.Has("Upgrade")
	p.doubtful = framing == h1Chunked && req.Header.Has("Content-Length")
	if p.upgrade && p.doubtful {
		return h1Event{}, malformed("Upgrade beside Content-Length and Transfer-Encoding")
	}
	if req.Method == "CONNECT" {
		framing = h1NoBody
	}
	p.beginBody(framing, length)
	return h1Event{kind: h1Head, request: req}, nil
}

func (p *h1Parser) responseDone() (h1Event, error) {
	resp := p.resp
	resp.Header = p.fields
	if p.folded {
		resp.Header = h1Unfold(resp.Header)
	}
	status := resp.Status
	switch {
	case status == 101:
		p.frames = wsSplitter{}
		p.switchTo(h1IsWebSocket(resp.Header))
		return h1Event{kind: h1Head, response: resp}, nil
	case status < 200:
		p.state = h1AtStart
		return h1Event{kind: h1Interim, response: resp}, nil
	case p.method == "CONNECT" && status < 300:
		p.state = h1InTunnel
		return h1Event{kind: h1Head, response: resp}, nil
	}
	framing, length, err := h1Framing(resp.Proto, resp.Header, true)
	if p.method == "HEAD" || status == 204 || status == 304 {
		framing, err = h1NoBody, nil
	}
	if err != nil {
		return h1Event{}, err
	}
	p.beginBody(framing, length)
	return h1Event{kind: h1Head, response: resp}, nil
}

func (p *h1Parser) beginBody(framing h1BodyFraming, length int64) {
	switch {
	case framing == h1Chunked:
		p.state = h1InSize
	case framing == h1Length && length > 0:
		p.state, p.left = h1InLength, length
	case framing == h1UntilClose:
		p.state = h1InClose
	default:
		p.state = h1AtEnd
	}
}

// body reports what is there of a chunk, or of a body with a length.
func (p *h1Parser) body(b []byte) (int, h1Event, error) {
	b = b[:min(int64(len(b)), p.left)]
	p.left -= int64(len(b))
	c := Chunk{Data: b}
	if p.state == h1InChunk {
		c.Rest = p.begun
		if !p.begun {
			c.SizeLine = p.sizeLine
			if p.of > int64(len(b)) {
				c.Of = p.of
			}
		}
		p.begun = true
	}
	if p.left == 0 {
		if p.state == h1InChunk {
			p.state = h1AfterChunk
		} else {
			p.state = h1AtEnd
		}
	}
	return len(b), h1Event{kind: h1Chunk, chunk: c}, nil
}

func (p *h1Parser) chunkSize(b []byte) (int, h1Event, error) {
	n, line, err := p.takeLine(b, h1MaxChunkLine, h1LineOfSize)
	if err != nil || line == nil {
		return n, h1Event{}, err
	}
	p.size = 0
	size, canonical, err := h1ParseChunkSize(line)
	if err != nil {
		return 0, h1Event{}, err
	}
	p.sizeLine = ""
	if !canonical {
		p.sizeLine = string(line)
	}
	if size > 0 {
		p.state, p.left, p.of, p.begun = h1InChunk, size, size, false
		return n, h1Event{}, nil
	}
	p.state, p.fields, p.folded = h1InTrailer, nil, false
	if p.sizeLine != "" {
		return n, h1Event{kind: h1Chunk, chunk: Chunk{SizeLine: p.sizeLine}}, nil
	}
	return n, h1Event{}, nil
}

func (p *h1Parser) afterChunk(b []byte) (int, h1Event, error) {
	const crlf = "\r\n"
	for i, c := range b[:min(len(b), len(crlf)-p.size)] {
		if c != crlf[p.size+i] {
			return 0, h1Event{}, malformed("a chunk longer than its size says")
		}
	}
	n := min(len(b), len(crlf)-p.size)
	if p.size += n; p.size == len(crlf) {
		p.state, p.size = h1InSize, 0
	}
	return n, h1Event{}, nil
}

func (p *h1Parser) trailer(b []byte) (int, h1Event, error) {
	n := 0
	for n < len(b) {
		m, line, err := p.takeLine(b[n:], h1MaxHead, h1LineOfField)
		if err != nil {
			return n, h1Event{}, err
		}
		n += m
		if line == nil {
			break
		}
		if len(line) == 0 {
			trailer := p.fields
			if p.folded {
				trailer = h1Unfold(trailer)
			}
			return n, p.end(trailer), nil
		}
		if err := p.field(string(line)); err != nil {
			return n, h1Event{}, err
		}
	}
	return n, h1Event{}, nil
}

func (p *h1Parser) end(trailer Fields) h1Event {
	p.state, p.size, p.fields = h1AtStart, 0, nil
	switch {
	case p.response:
	case p.unframed:
		p.state = h1Unframed
	case p.doubtful:
		p.state = h1Doubtful
	case p.upgrade:
		p.state = h1Undecided
	}
	return h1Event{kind: h1End, trailer: trailer}
}

// webSocket reports messages; bytes that are no frames are reported as they come.
func (p *h1Parser) webSocket(b []byte) (int, h1Event, error) {
	n, c, ok := p.frames.next(b)
	if !ok {
		p.state = h1InTunnel
	}
	if len(c.Data) == 0 {
		return n, h1Event{}, nil
	}
	return n, h1Event{kind: h1Chunk, chunk: c}, nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// h1IsWebSocket reports whether a 101 answer changes to RFC 6455.
func h1IsWebSocket(h Fields) bool {
	return strings.EqualFold(strings.TrimSpace(h.Get("Upgrade")), "websocket")
}
