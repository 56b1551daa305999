package http1

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/wiretape/wiretape/httpstream"
)

const (
	maxHead      = 1 << 20  // bytes of a head, or of a trailer section
	maxChunkLine = 16 << 10 // bytes of a chunk-size line with its extensions
	keepLine     = 4 << 10  // bytes of a buffer that is kept for the next line
)

// A state is where in a message a parser stands.
type state uint8

const (
	atStart    state = iota // before a message
	inHead                  // after the first byte of a head
	inLength                // in a body of known length
	inSize                  // in a chunk-size line
	inChunk                 // in a chunk's data
	afterChunk              // in the CRLF behind a chunk's data
	inTrailer               // in the trailer section
	inClose                 // in a body that ends with the connection
	atEnd                   // the message is complete but not reported
	unframed                // behind a request whose body's end can't be known
	undecided               // behind a request that asked to change the protocol
	doubtful                // behind a request with both Content-Length and Transfer-Encoding
	inTunnel                // in bytes of another protocol
)

// An eventKind tells what a parser found.
type eventKind uint8

const (
	noEvent      eventKind = iota // more bytes are needed
	headEvent                     // a request head or final response head, 101 included
	interimEvent                  // a 1xx response head other than 101
	chunkEvent
	endEvent // the end of a message
)

// An event is what a parser found. Chunk data is a part of the bytes that
// it was fed, or valid until it is fed again.
type event struct {
	kind     eventKind
	request  *httpstream.RequestHead
	response *httpstream.ResponseHead
	chunk    httpstream.Chunk
	trailer  httpstream.Fields
}

// A parser splits one direction of an HTTP/1 connection (RFC 9112) into
// events. Bytes are pushed into it as they arrive, split anywhere. It is strict
// where two parsers could disagree on where a message ends.
type parser struct {
	response bool
	// passing is set where another reads the same bytes and judges them itself: a
	// head then has its folds as they came, and a request whose body's length can't
	// be known is reported as one without a body.
	passing bool
	oneHost bool   // a request may not have several Host fields
	method  string // in a response parser: of the request that is answered next

	state  state
	line   []byte // the line so far, if it came in parts
	size   int    // of the section so far
	first  bool   // the next line is the first of its head
	req    *httpstream.RequestHead
	resp   *httpstream.ResponseHead
	fields httpstream.Fields
	folded bool // fields has folded lines

	left     int64  // of the body or chunk
	of       int64  // the whole chunk's length
	sizeLine string // of a chunk, where not canonical
	begun    bool   // a piece of the chunk was reported
	upgrade  bool   // the request asks for another protocol
	unframed bool   // the request's body has no known end
	doubtful bool   // the request says twice where its body ends
}

// next consumes some bytes of b, n of them, and reports at most one event. It is
// called again, with what is left, until it reports noEvent; the end of a message
// may be reported without any byte. After an error, which wraps ErrMalformed,
// it is not called again.
func (p *parser) next(b []byte) (n int, ev event, err error) {
	for {
		var m int
		before := p.state
		m, ev, err = p.step(b[n:])
		n += m
		if err != nil || ev.kind != noEvent {
			return n, ev, err
		}
		if p.state == before && n == len(b) || p.state == undecided || p.state == doubtful {
			return n, ev, nil
		}
	}
}

func (p *parser) step(b []byte) (int, event, error) {
	if len(b) == 0 && p.state != atEnd {
		return 0, event{}, nil
	}
	switch p.state {
	case atStart:
		return p.start(b)
	case inHead:
		return p.head(b)
	case inTrailer:
		return p.trailer(b)
	case inSize:
		return p.chunkSize(b)
	case inLength, inChunk:
		return p.body(b)
	case afterChunk:
		return p.afterChunk(b)
	case inClose, inTunnel:
		return len(b), event{kind: chunkEvent, chunk: httpstream.Chunk{Data: b}}, nil
	case atEnd:
		return 0, p.end(nil), nil
	case unframed:
		return 0, event{}, errUnframed
	}
	return 0, event{}, nil
}

// inHead reports whether the next byte belongs to a head.
func (p *parser) inHead() bool { return p.state == atStart || p.state == inHead }

// change continues behind a head or an undecided request in another protocol.
func (p *parser) change() { p.state = inTunnel }

// resume continues behind an undecided or doubtful request in HTTP.
func (p *parser) resume() { p.state = atStart }

// mayEnd reports whether a message may end where the connection does.
func (p *parser) mayEnd() bool {
	switch p.state {
	case atStart, inClose, inTunnel, undecided, doubtful, unframed:
		return true
	}
	return false
}

// start skips empty lines before a message (RFC 9112 section 2.2). Servers write
// them behind a body as clients do.
func (p *parser) start(b []byte) (int, event, error) {
	n := 0
	for n < len(b) && (b[n] == '\r' || b[n] == '\n') {
		n++
	}
	if p.size += n; p.size > maxChunkLine {
		return 0, event{}, malformed("too many empty lines between messages")
	}
	if n < len(b) {
		p.state, p.first, p.size, p.fields, p.folded = inHead, true, 0, nil, false
	}
	return n, event{}, nil
}

// A lineKind says what a line may hold and how it may end.
type lineKind uint8

const (
	lineOfStart lineKind = iota
	lineOfField          // may hold control characters
	lineOfSize           // may not end in LF alone
)

func (k lineKind) check(line []byte) error {
	if k == lineOfField {
		return checkValue(line)
	}
	return checkText(line)
}

// takeLine gathers one line, which ends in CRLF or LF alone (RFC 9112 section
// 2.2). The line is nil until it is complete, has no line end, and is valid until
// the next call.
func (p *parser) takeLine(b []byte, limit int, kind lineKind) (n int, line []byte, err error) {
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
		line = p.line
		if p.line = p.line[:0]; cap(p.line) > keepLine {
			p.line = nil
		}
	}
	line = line[:len(line)-1]
	if k := len(line); k > 0 && line[k-1] == '\r' {
		line = line[:k-1]
	} else if kind == lineOfSize {
		return 0, nil, malformed("a line that ends without CR")
	}
	return n, line, kind.check(line)
}

func (p *parser) head(b []byte) (int, event, error) {
	text := p.wholeHead(b)
	n := 0
	for n < len(b) {
		kind := lineOfField
		if p.first {
			kind = lineOfStart
		}
		m, line, err := p.takeLine(b[n:], maxHead, kind)
		if err != nil {
			return n, event{}, err
		}
		var s string
		if text != "" {
			s = text[n : n+len(line)]
		} else {
			s = string(line)
		}
		n += m
		switch {
		case line == nil:
			return n, event{}, nil
		case p.first:
			err = p.firstLine(s)
			p.first = false
		case len(line) == 0:
			ev, err := p.headDone()
			return n, ev, err
		default:
			err = p.field(s)
		}
		if err != nil {
			return n, event{}, err
		}
	}
	return n, event{}, nil
}

// wholeHead returns a head as one text, which its lines are parts of, where b has all
// of it; else nothing.
func (p *parser) wholeHead(b []byte) string {
	if !p.first || len(p.line) > 0 {
		return ""
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return ""
	}
	if n := bytes.Count(b[:end], []byte{'\n'}); n > 0 {
		p.fields = make(httpstream.Fields, 0, n)
	}
	return string(b[:end+len("\r\n\r\n")])
}

func (p *parser) firstLine(line string) (err error) {
	if p.response {
		p.resp, err = parseStatusLine(line)
	} else {
		p.req, err = parseRequestLine(line)
	}
	return err
}

func (p *parser) field(line string) error {
	if line[0] == ' ' || line[0] == '\t' {
		if len(p.fields) == 0 {
			return malformed("a folded line without a header line before it")
		}
		p.folded = true
		return fold(&p.fields[len(p.fields)-1], line)
	}
	f, err := parseField(line)
	if err != nil {
		return err
	}
	p.fields = append(p.fields, f)
	return nil
}

// headDone decides how long the body is (RFC 9112 section 6.3).
func (p *parser) headDone() (event, error) {
	p.size = 0
	if p.response {
		return p.responseDone()
	}
	req := p.req
	req.Header = p.fields
	if p.folded && !p.passing {
		req.Header = unfold(req.Header)
	}
	req.Authority = authorityOf(req)
	if p.oneHost && len(req.Header.Values("Host")) > 1 {
		return event{}, malformed("more than one Host")
	}
	framing, length, err := framingOf(req.Proto, req.Header, false)
	if p.passing && errors.Is(err, errUnframed) {
		p.upgrade, p.unframed = false, true
		p.state = atEnd
		return event{kind: headEvent, request: req}, nil
	}
	if err != nil {
		return event{}, err
	}
	p.upgrade = req.Method == "CONNECT" || req.Header.Has("Upgrade")
	p.doubtful = framing == chunked && req.Header.Has("Content-Length")
	if p.upgrade && p.doubtful {
		return event{}, malformed("Upgrade beside Content-Length and Transfer-Encoding")
	}
	if req.Method == "CONNECT" {
		framing = noBody
	}
	p.beginBody(framing, length)
	return event{kind: headEvent, request: req}, nil
}

func (p *parser) responseDone() (event, error) {
	resp := p.resp
	resp.Header = p.fields
	if p.folded {
		resp.Header = unfold(resp.Header)
	}
	status := resp.Status
	switch {
	case status == 101:
		p.change()
		return event{kind: headEvent, response: resp}, nil
	case status < 200:
		p.state = atStart
		return event{kind: interimEvent, response: resp}, nil
	case p.method == "CONNECT" && status < 300:
		p.state = inTunnel
		return event{kind: headEvent, response: resp}, nil
	}
	framing, length, err := framingOf(resp.Proto, resp.Header, true)
	if p.method == "HEAD" || status == 204 || status == 304 {
		framing, err = noBody, nil
	}
	if err != nil {
		return event{}, err
	}
	p.beginBody(framing, length)
	return event{kind: headEvent, response: resp}, nil
}

func (p *parser) beginBody(framing bodyFraming, length int64) {
	switch {
	case framing == chunked:
		p.state = inSize
	case framing == byLength && length > 0:
		p.state, p.left = inLength, length
	case framing == untilClose:
		p.state = inClose
	default:
		p.state = atEnd
	}
}

// body reports what is there of a chunk, or of a body with a length.
func (p *parser) body(b []byte) (int, event, error) {
	b = b[:min(int64(len(b)), p.left)]
	p.left -= int64(len(b))
	c := httpstream.Chunk{Data: b}
	if p.state == inChunk {
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
		if p.state == inChunk {
			p.state = afterChunk
		} else {
			p.state = atEnd
		}
	}
	return len(b), event{kind: chunkEvent, chunk: c}, nil
}

func (p *parser) chunkSize(b []byte) (int, event, error) {
	n, line, err := p.takeLine(b, maxChunkLine, lineOfSize)
	if err != nil || line == nil {
		return n, event{}, err
	}
	p.size = 0
	size, canonical, err := parseChunkSize(line)
	if err != nil {
		return 0, event{}, err
	}
	p.sizeLine = ""
	if !canonical {
		p.sizeLine = string(line)
	}
	if size > 0 {
		p.state, p.left, p.of, p.begun = inChunk, size, size, false
		return n, event{}, nil
	}
	p.state, p.fields, p.folded = inTrailer, nil, false
	if p.sizeLine != "" {
		return n, event{kind: chunkEvent, chunk: httpstream.Chunk{SizeLine: p.sizeLine}}, nil
	}
	return n, event{}, nil
}

func (p *parser) afterChunk(b []byte) (int, event, error) {
	const crlf = "\r\n"
	for i, c := range b[:min(len(b), len(crlf)-p.size)] {
		if c != crlf[p.size+i] {
			return 0, event{}, malformed("a chunk longer than its size says")
		}
	}
	n := min(len(b), len(crlf)-p.size)
	if p.size += n; p.size == len(crlf) {
		p.state, p.size = inSize, 0
	}
	return n, event{}, nil
}

func (p *parser) trailer(b []byte) (int, event, error) {
	n := 0
	for n < len(b) {
		m, line, err := p.takeLine(b[n:], maxHead, lineOfField)
		if err != nil {
			return n, event{}, err
		}
		n += m
		if line == nil {
			break
		}
		if len(line) == 0 {
			trailer := p.fields
			if p.folded {
				trailer = unfold(trailer)
			}
			return n, p.end(trailer), nil
		}
		if err := p.field(string(line)); err != nil {
			return n, event{}, err
		}
	}
	return n, event{}, nil
}

func (p *parser) end(trailer httpstream.Fields) event {
	p.state, p.size, p.fields = atStart, 0, nil
	switch {
	case p.response:
	case p.unframed:
		p.state = unframed
	case p.doubtful:
		p.state = doubtful
	case p.upgrade:
		p.state = undecided
	}
	return event{kind: endEvent, trailer: trailer}
}

func malformed(format string, args ...any) error {
	return &httpstream.MalformedError{Reason: fmt.Sprintf(format, args...)}
}
