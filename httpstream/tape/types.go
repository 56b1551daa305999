// Package tape is what a recording is on disk. docs/tape-format.md is its specification.
package tape

import (
	"slices"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

// Version is the newest format that this build reads and the one that it writes.
const Version = 2

// A Kind tells what the app did in an exchange.
type Kind string

const (
	Call Kind = "call" // the app asked the outside
	Case Kind = "case" // a client asked the app
)

// A Manifest is tape.yaml.
type Manifest struct {
	Version  int
	Created  time.Time
	By       string   // the version of wiretape that wrote it
	Project  string   // the compose project's name; empty outside compose
	Services []string // the services that were recorded
	// Complete is false while a recording runs, and stays so if a part of it was lost.
	Complete bool
	Problems []string // why Complete is false, for people
	Opaque   []Opaque // connections that passed unrecorded
	Names    []Name   // what DNS answered
}

// An Opaque is a destination that was relayed but not understood.
type Opaque struct {
	Service string
	Address string // host:port
	Reason  string // "the server spoke first", "TLS without HTTP in its ALPN list", …
	Count   int
	Bytes   int64 // that passed both ways, where that is known
	// HTTP is set where HTTP was being recorded on the connections, so that the
	// tape lacks what passed. The destination is then heard in a replay.
	HTTP bool
}

// A Name is what DNS answered for one name and type.
type Name struct {
	Name    string   // lower case, without the last dot
	Type    string   // "A", "AAAA", "HTTPS", …
	RCode   string   // "NOERROR", "NXDOMAIN", …
	Answers []string // as in a zone file: "A 10.0.0.1", "CNAME x.example"
}

// An Exchange is one call or case.
type Exchange struct {
	Kind    Kind
	Number  int    // from 1, in order of arrival, per kind
	Service string // which service called, or was called
	// Port is, in a case, the port that the service itself was asked at: that of
	// the host, in the URL, may be another each time. 0 if it is not known.
	Port int
	// Case is the number of the case that the call belongs to; 0 for none.
	Case int
	// Cases are those that a call may belong to where it is not known which: they
	// ran side by side. They are two or more, rising, and Case is 0.
	Cases []int
	// Started is when the request's head was complete, since the recording began.
	Started time.Duration

	Request  Request
	Response *Response // nil if none came
	Interim  []Response
	// TwoWay is set where the answer began before the request ended. Times then
	// count from the request's head, otherwise from the request's last byte.
	TwoWay bool
	// Stream is the file of the stream inside the tape, with slashes; empty if there is none.
	Stream string
	// Lines are those of a small answer, which stand in the exchange file in the
	// place of Stream: each ends in LF, as in a stream file. Open leaves them there;
	// Tape.Stream reads them.
	Lines []byte
	// Failed says what went wrong before any answer: "connection refused". Empty otherwise.
	Failed string

	// File is the exchange file that this was read from, for messages; LinesAbove is
	// how many lines it has above the first of Lines.
	File       string
	LinesAbove int
}

// linesInFile reports whether the lines of a small answer are not in memory.
func (x *Exchange) linesInFile() bool { return x.Lines == nil && x.LinesAbove > 0 }

// HasStream reports whether the exchange has lines, in a file of their own or not.
func (x *Exchange) HasStream() bool { return x.Stream != "" || x.Lines != nil || x.linesInFile() }

// A Request as recorded, credentials redacted.
type Request struct {
	Proto  string
	Method string
	// URL is absolute: scheme, host, port unless it is the scheme's own, path, query as sent.
	URL     string
	Header  httpstream.Fields
	Trailer httpstream.Fields
	Body    Body
	// Took is how long the request took from its head to its last byte.
	Took time.Duration
	// TLS is "" for plain text, else the version ("1.3").
	TLS string
	// Protocol is the :protocol of an extended CONNECT (RFC 8441), else empty.
	Protocol string
}

// A Body is a request's body: in the exchange file, or in the stream as client lines.
type Body struct {
	// Data is nil if InStream or InFile, or if the request had no body.
	Data     []byte
	InStream bool
	// InFile is set where the body stands in the exchange file and is not in memory:
	// Exchange.RequestBody reads it.
	InFile bool
	Size   int64
	SHA256 string // hex, of the redacted bytes; empty if the request had no body
}

// A Response head as recorded.
type Response struct {
	At   time.Duration // from the exchange's origin, see Exchange.TwoWay; an interim answer's may be negative
	Head httpstream.ResponseHead
}

// A Line is one line of a stream file.
type Line struct {
	// At counts from the exchange's origin, in whole microseconds. A client line's
	// counts from the request's head, always.
	At               time.Duration
	FromClient       bool
	httpstream.Chunk // of a WebSocket frame: the payload, unmasked and inflated
	// Frame is set where a WebSocket frame begins (RFC 6455 section 5.2). Of counts
	// the bytes of its payload on the wire, and pieces with Rest follow.
	Frame *Frame
	// Compressed is set in the lines of a message that permessage-deflate compressed
	// (RFC 7692), and Deflated is what was on the wire; a line without Compressed is
	// sent as its text says. Unread is set where it could not be inflated.
	Compressed, Unread bool
	Deflated           []byte
	End                *httpstream.EndInfo // set on the last line only
}

// A Frame is the header of a WebSocket frame, but for its length and its mask.
type Frame struct {
	Op       int  // an opcode, see websocket.Text
	More     bool // it does not end its message: FIN is not set
	Reserved int  // RSV1 to RSV3 as a number of three bits, without the one that says compressed
	Status   int  // of a close frame, in front of its data; 0 if it has none
}

// frameNames are the opcodes on a tape.
var frameNames = map[int]string{
	websocket.Continuation: "continuation", websocket.Text: "text", websocket.Binary: "binary",
	websocket.Close: "close", websocket.Ping: "ping", websocket.Pong: "pong",
}

// Name is what a tape calls the frame's opcode.
func (f *Frame) Name() string { return frameNames[f.Op] }

// MayBelongTo reports whether a call is the case's, or may be.
func (x *Exchange) MayBelongTo(number int) bool {
	return number != 0 && (x.Case == number || slices.Contains(x.Cases, number))
}

// Belong makes a call that of the cases, each of which may have made it.
func (x *Exchange) Belong(cases ...int) {
	x.Case, x.Cases = 0, nil
	switch len(cases) {
	case 0:
	case 1:
		x.Case = cases[0]
	default:
		x.Cases = slices.Sorted(slices.Values(cases))
	}
}
