// Package httpstream is the contract between those who know a protocol on the wire
// and those who record, play or compare what it carries: exchanges, heads, fields,
// chunks and how they end. It holds no policy, writes no files and keeps no body in
// memory.
package httpstream

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
)

// ErrMalformed is wrapped by the errors for bytes that are not HTTP.
var ErrMalformed = errors.New("malformed HTTP")

// A MalformedError is an ErrMalformed with its reason.
type MalformedError struct {
	Reason string
}

// Error implements error.
func (e *MalformedError) Error() string { return ErrMalformed.Error() + ": " + e.Reason }

// Unwrap returns ErrMalformed.
func (e *MalformedError) Unwrap() error { return ErrMalformed }

// A Field is one header or trailer line. Order, case and repetition are kept.
type Field struct {
	Name  string
	Value string
	// Sep is what stood between name and value, the colon included, and After is
	// the white space behind the value. Both are empty when the line was written
	// "Name: value", and always in HTTP/2.
	Sep, After string
}

// Fields is a header or trailer section in wire order.
type Fields []Field

// Get returns the value of the first field of that name, compared without case.
func (fs Fields) Get(name string) string {
	for i := range fs {
		if strings.EqualFold(fs[i].Name, name) {
			return fs[i].Value
		}
	}
	return ""
}

// Values returns the values of all fields of that name, in order.
func (fs Fields) Values(name string) []string {
	var vs []string
	for i := range fs {
		if strings.EqualFold(fs[i].Name, name) {
			vs = append(vs, fs[i].Value)
		}
	}
	return vs
}

// Has reports whether a field of that name is present.
func (fs Fields) Has(name string) bool {
	for i := range fs {
		if strings.EqualFold(fs[i].Name, name) {
			return true
		}
	}
	return false
}

// A RequestHead is a request line and its header section.
type RequestHead struct {
	Proto  string // "HTTP/1.0", "HTTP/1.1" or "HTTP/2.0"
	Method string
	// Target is the request-target as it came: origin, absolute, authority or
	// asterisk form (RFC 9112 section 3.2), or :path.
	Target    string
	Scheme    string // :scheme; empty in HTTP/1
	Authority string // :authority, else the Host field, else the target's authority
	Protocol  string // :protocol of an extended CONNECT (RFC 8441); else empty
	Header    Fields // without pseudo-header fields
}

// A ResponseHead is a status line and its header section.
type ResponseHead struct {
	Proto  string // "HTTP/1.0", "HTTP/1.1" or "HTTP/2.0"
	Status int
	// Line is the status line as it came, without its line end. Empty in HTTP/2.
	Line   string
	Header Fields
}

// A Chunk is body bytes that arrived together.
type Chunk struct {
	// Data is valid only until the call that it was passed to returns.
	Data []byte
	// Of is the whole length of the HTTP/1.1 chunk or HTTP/2 DATA frame that Data
	// begins, where that is more than len(Data); the pieces that follow have
	// Rest set. Both are zero for a chunk that is whole.
	Of   int64
	Rest bool
	// SizeLine is the chunk-size line as it came (RFC 9112 section 7.1), without
	// its line end, where it is not the lower-case hexadecimal length alone. A
	// chunk without Data that has one is the last chunk (size 0) of the body.
	SizeLine string
}

// End says how one direction of an exchange ended.
type End string

const (
	EOF       End = "eof"       // as the framing says; for a close-delimited body, at the close
	Reset     End = "reset"     // the server cut it short by RST or RST_STREAM
	Closed    End = "closed"    // the server closed the connection inside the framing
	Cancelled End = "cancelled" // the client went away first
	Open      End = "open"      // still going when the recording ended
	Malformed End = "malformed" // bytes that are not HTTP; they were relayed, not understood
)

// An EndInfo is the end of a response.
type EndInfo struct {
	How     End
	Trailer Fields
	// Code is the HTTP/2 error code of an RST_STREAM (RFC 9113 section 7); 0 in HTTP/1.
	Code uint32
	// Detail is for people: what was wrong, empty for EOF.
	Detail string
	// ClientDone is set where the client had closed its side of an HTTP/1
	// connection before the answer was complete, which ended in EOF all the same:
	// as a rule it went away, and the server took notice. It is on no tape.
	ClientDone bool
}

// A Sink is told of the exchanges that pass on one connection. Its methods are
// called from the goroutines that relay the bytes, after the bytes went on;
// an implementation does not block for longer than a memory copy takes.
type Sink interface {
	// Request begins an exchange, at the time when the last byte of its head
	// arrived. It is called just before the head goes on, so that exchanges on
	// several connections begin in the order of their causes.
	Request(at time.Time, head *RequestHead) Exchange
}

// An Exchange is told what happens in one exchange, each event with the time of
// the read that completed it, so things that arrived together have equal times.
// Request and response methods may be called from two goroutines at once;
// the methods of one direction are called in order, and what a peer sent after it
// got something from the other is told after that. End is called once, last
// of the response methods; RequestEnd may come later or, where the client goes
// away or the server answers early, never.
type Exchange interface {
	RequestChunk(at time.Time, c Chunk)
	RequestEnd(at time.Time, trailer Fields)
	// Interim is a 1xx answer (RFC 9110 section 15.2), other than 101.
	Interim(at time.Time, head *ResponseHead)
	Response(at time.Time, head *ResponseHead)
	ResponseChunk(at time.Time, c Chunk)
	End(at time.Time, end EndInfo)
}

// Discard is a Sink, and an Exchange, that keeps nothing.
type Discard struct{}

// Request implements Sink.
func (Discard) Request(time.Time, *RequestHead) Exchange { return Discard{} }

// RequestChunk implements Exchange.
func (Discard) RequestChunk(time.Time, Chunk) {}

// RequestEnd implements Exchange.
func (Discard) RequestEnd(time.Time, Fields) {}

// Interim implements Exchange.
func (Discard) Interim(time.Time, *ResponseHead) {}

// Response implements Exchange.
func (Discard) Response(time.Time, *ResponseHead) {}

// ResponseChunk implements Exchange.
func (Discard) ResponseChunk(time.Time, Chunk) {}

// End implements Exchange.
func (Discard) End(time.Time, EndInfo) {}

// A Handler answers requests that a Serve function reads.
type Handler interface {
	ServeStream(ctx context.Context, req *Request, w ResponseWriter)
}

// A Request is a request being served. ServeStream may answer before it has read Body to its end.
type Request struct {
	Head *RequestHead
	// Arrived is when the last byte of the head was read.
	Arrived time.Time
	// Body ends in io.EOF when the request is complete. Never nil. For an upgraded
	// connection (101) and for CONNECT it is the raw bytes that the client sends.
	Body io.Reader
	// Finished is closed when the client of an HTTP/1 connection has closed its side.
	// It may still read the answer, or be gone: only writing to it tells. Nil in HTTP/2.
	Finished <-chan struct{}
	// Complete returns when the read that completed the request was made, and the
	// trailer; it is valid once Body has returned io.EOF.
	Complete func() (at time.Time, trailer Fields)
}

// A ResponseWriter writes an answer exactly as told: it adds no field, changes no
// order and draws its own chunk boundaries nowhere. Calls up to a Flush leave in
// one write to the connection, as far as HTTP/2 flow control lets them. Its
// methods return an error when the client is gone; ctx is then done as well.
// Framing follows the head: Transfer-Encoding chunked, Content-Length, or neither.
// Where the client's protocol differs from head.Proto, the head is translated:
// connection fields are dropped for HTTP/2, and for HTTP/1.1 a body without a
// length is sent chunked.
type ResponseWriter interface {
	Interim(head *ResponseHead) error
	Head(head *ResponseHead) error
	Chunk(c Chunk) error
	// Flush sends what the calls before it gathered.
	Flush() error
	// End ends the answer and flushes. Closed closes the connection
	// of HTTP/1 orderly; anything else but EOF cuts the answer short: RST for
	// HTTP/1, RST_STREAM with end.Code for HTTP/2.
	End(end EndInfo) error
}
