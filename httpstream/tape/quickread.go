package tape

import (
	"bytes"
	"encoding/base64"
	"hash/maphash"
	"math"
	"strconv"

	"github.com/wiretape/wiretape/httpstream"
)

// A quickReader reads exchange files in the form that encodeExchange gives them, in
// one pass. It gives up on everything else, were it as well-formed, and on all that
// it could have to say something about: the strict reader (yamlReader) then reads the
// file from its beginning. What both take they read alike.
//
// Exchanges that it reads share what is equal in them, and nothing of it may change.
type quickReader struct {
	b   []byte
	i   int  // where the next line begins
	bad bool // it has given up

	room   []exchangeRoom // for the exchanges to come
	unfold []byte         // a text that is not in the file as it is
	lines  []byte         // those of a small answer
	fields []httpstream.Field

	shared *shared // nil: nothing is shared
}

// shared is what came last: of two that fall into one place, the later.
type shared struct {
	seed    maphash.Seed
	names   [1024]string
	headers [256]sharedFields
	status  map[string]statusLine
}

// An exchangeRoom is what an exchange with an answer takes.
type exchangeRoom struct {
	x Exchange
	p Response
}

// sharedFields are header fields, and how they stand in a file.
type sharedFields struct {
	raw    string
	fields httpstream.Fields
}

// A statusLine is an answer's status as a file has it, read for one protocol.
type statusLine struct {
	proto, line string
	status      int
}

// A key is a name in a mapping with its value on the same line.
type quickEntry struct {
	key, value []byte
	at         int // where the line begins
}

func newQuickReader() *quickReader {
	return &quickReader{shared: &shared{seed: maphash.MakeSeed(), status: map[string]statusLine{}}}
}

// decode reads an exchange file; ok is false where it gave up. The exchange's Lines
// are valid until the next file is read.
func (q *quickReader) decode(data []byte, file string) (x *Exchange, ok bool) {
	q.b, q.i, q.bad, q.lines = data, 0, false, q.lines[:0]
	if len(data) == 0 || data[len(data)-1] != '\n' {
		return nil, false
	}
	if len(q.room) == 0 {
		n := 1
		if q.shared != nil {
			n = 32
		}
		q.room = make([]exchangeRoom, n)
	}
	room := &q.room[0]
	x = &room.x
	x.File = file
	q.exchange(room)
	if q.bad || q.i < len(q.b) || x.Stream != "" && len(q.lines) > 0 || x.validate() != nil {
		*room = exchangeRoom{}
		return nil, false
	}
	if len(q.lines) > 0 {
		x.Lines = q.lines
	}
	q.room = q.room[1:]
	return x, true
}

func (q *quickReader) giveUp() { q.bad = true }

// name is a text that other exchanges may have as well, and then share.
func (q *quickReader) name(b []byte) string {
	if len(b) > 128 || q.shared == nil {
		return string(b)
	}
	s := &q.shared.names[maphash.Bytes(q.shared.seed, b)%uint64(len(q.shared.names))]
	if *s != string(b) {
		*s = string(b)
	}
	return *s
}

// entry takes the next line if it is indented by n spaces; false at one with less,
// and at the end.
func (q *quickReader) entry(n int) (e quickEntry, ok bool) {
	at := q.i
	if q.bad || at >= len(q.b) {
		return e, false
	}
	indent := 0
	for q.b[at+indent] == ' ' { // a line feed is the last byte
		indent++
	}
	if indent < n {
		if q.b[at+indent] == '\n' {
			q.giveUp()
		}
		return e, false
	}
	line := q.b[at+n:]
	line = line[:bytes.IndexByte(line, '\n')]
	q.i = at + n + len(line) + 1
	e.at = at
	colon := bytes.IndexByte(line, ':')
	if indent > n || colon <= 0 {
		q.giveUp()
		return e, false
	}
	e.key = line[:colon]
	switch rest := line[colon+1:]; {
	case len(rest) == 0:
	case len(rest) > 1 && rest[0] == ' ':
		e.value = rest[1:]
	default:
		q.giveUp()
		return e, false
	}
	return e, true
}

// A keysSeen is which keys of a mapping were there.
type keysSeen uint32

// once gives up where a key comes a second time.
func (q *quickReader) once(seen *keysSeen, n int) {
	if *seen&(1<<n) != 0 {
		q.giveUp()
	}
	*seen |= 1 << n
}

func (q *quickReader) exchange(room *exchangeRoom) {
	x := &room.x
	var seen keysSeen
	var call, cas int64
	for {
		e, ok := q.entry(0)
		if !ok {
			break
		}
		switch string(e.key) {
		case "call":
			q.once(&seen, 0)
			call = q.integer(e.value, 1, math.MaxInt32)
		case "case":
			q.once(&seen, 1)
			cas = q.integer(e.value, 1, math.MaxInt32)
		case "service":
			q.once(&seen, 2)
			x.Service = q.name(q.text(e.value))
		case "port":
			q.once(&seen, 3)
			x.Port = int(q.integer(e.value, 1, math.MaxUint16))
		case "started_us":
			q.once(&seen, 4)
			x.Started = q.micros(e.value, 0)
		case "two_way":
			q.once(&seen, 5)
			x.TwoWay = q.yes(e.value)
		case "request":
			q.once(&seen, 6)
			q.nested(e)
			q.request(&x.Request)
		case "response":
			q.once(&seen, 7)
			q.nested(e)
			if seen&(1<<6) == 0 { // its protocol is the request's
				q.giveUp()
			}
			q.response(&room.p, x.Request.Proto)
			x.Response = &room.p
		case "stream":
			q.once(&seen, 8)
			x.Stream = string(q.text(e.value))
			if !validStream(x.Stream) {
				q.giveUp()
			}
		case "lines":
			q.once(&seen, 9)
			x.LinesAbove = bytes.Count(q.b[:q.i], []byte{'\n'})
			q.lines = append(q.lines[:0], q.literal(e.value, 2, eachALine)...)
		default: // cases, failed, interim
			q.giveUp()
		}
	}
	switch {
	case seen&(1<<6) == 0 || seen&3 == 0:
		q.giveUp()
	case seen&1 != 0:
		x.Kind, x.Number, x.Case = Call, int(call), int(cas)
	default:
		x.Kind, x.Number = Case, int(cas)
	}
}

// nested gives up where the value of a mapping is on the line of its key.
func (q *quickReader) nested(e quickEntry) {
	if e.value != nil {
		q.giveUp()
	}
}

func (q *quickReader) request(r *Request) {
	var seen keysSeen
	for {
		e, ok := q.entry(2)
		if !ok {
			break
		}
		switch string(e.key) {
		case "method":
			q.once(&seen, 0)
			r.Method = q.name(q.text(e.value))
		case "url":
			q.once(&seen, 1)
			r.URL = string(q.text(e.value))
		case "proto":
			q.once(&seen, 2)
			r.Proto = q.name(q.text(e.value))
		case "protocol":
			q.once(&seen, 3)
			r.Protocol = q.name(q.text(e.value))
		case "tls":
			q.once(&seen, 4)
			r.TLS = q.name(q.text(e.value))
		case "took_us":
			q.once(&seen, 5)
			r.Took = q.micros(e.value, 0)
		case "headers":
			q.once(&seen, 6)
			q.nested(e)
			r.Header = q.header()
		case "trailers":
			q.once(&seen, 7)
			q.nested(e)
			r.Trailer = q.header()
		case "body", "body_base64":
			q.once(&seen, 8)
			r.Body = q.body(e, len(e.key) > len("body"))
		default: // body_in_stream
			q.giveUp()
		}
	}
	const required = 1<<0 | 1<<1 | 1<<2 // method, url and proto: nothing failed
	if seen&required != required {
		q.giveUp()
	}
}

func (q *quickReader) body(e quickEntry, coded bool) (b Body) {
	var text []byte
	if len(e.value) > 0 && e.value[0] == '|' {
		text = q.literal(e.value, 4, asItIs)
	} else {
		text = q.text(e.value)
	}
	if len(text) == 0 {
		return b
	}
	if coded {
		data, err := base64.StdEncoding.Strict().DecodeString(string(bytes.ReplaceAll(text, []byte{'\n'}, nil)))
		if err != nil || len(data) == 0 {
			q.giveUp()
		}
		b.Data = data
	} else {
		b.Data = bytes.Clone(text)
	}
	b.Size, b.SHA256 = int64(len(b.Data)), HashBody(b.Data)
	return b
}

func (q *quickReader) response(p *Response, requestProto string) {
	var seen keysSeen
	var status []byte
	p.Head.Proto = requestProto
	for {
		e, ok := q.entry(2)
		if !ok {
			break
		}
		switch string(e.key) {
		case "at_us":
			q.once(&seen, 0)
			p.At = q.micros(e.value, -maxMicros)
		case "proto":
			q.once(&seen, 1)
			p.Head.Proto = q.name(q.text(e.value))
		case "status":
			q.once(&seen, 2)
			status = e.value
			if q.plain(status) == nil {
				q.giveUp()
			}
		case "headers":
			q.once(&seen, 3)
			q.nested(e)
			p.Head.Header = q.header()
		default: // line
			q.giveUp()
		}
	}
	if seen&1 == 0 || seen&4 == 0 {
		q.giveUp()
	}
	q.statusOf(&p.Head, status)
}

// statusOf reads a status with its reason.
func (q *quickReader) statusOf(h *httpstream.ResponseHead, text []byte) {
	if q.shared != nil {
		if s, known := q.shared.status[string(text)]; known && s.proto == h.Proto {
			h.Status, h.Line = s.status, s.line
			return
		}
	}
	code, reason, _ := bytes.Cut(text, []byte{' '})
	status, err := strconv.Atoi(string(code))
	if err != nil || len(code) != 3 || status < 100 {
		q.giveUp()
		return
	}
	h.Status = status
	if prefix := statusPrefix(h.Proto, status); prefix != "" {
		h.Line = prefix + string(reason)
	}
	if q.shared != nil && len(q.shared.status) < 100 {
		q.shared.status[string(text)] = statusLine{proto: h.Proto, line: h.Line, status: status}
	}
}

// header reads fields, each "- Name: value" on a line. Those that stand in one file as
// in another are the same in memory.
func (q *quickReader) header() httpstream.Fields {
	const indent, dash = 4, "    - "
	start := q.i
	end := start
	for bytes.HasPrefix(q.b[end:], []byte(dash)) {
		end += bytes.IndexByte(q.b[end:], '\n') + 1
	}
	if next := q.b[end:]; end == start || len(next) > indent && string(next[:indent+1]) == dash[:indent]+" " {
		q.giveUp() // an entry goes on, in the long form
		return nil
	}
	raw := q.b[start:end]
	var slot sharedFields // unless it is one of the shared
	place := &slot
	if q.shared != nil {
		place = &q.shared.headers[maphash.Bytes(q.shared.seed, raw)%uint64(len(q.shared.headers))]
	}
	if place.raw == string(raw) {
		q.i = end
		return place.fields
	}
	q.fields = q.fields[:0]
	for q.i < end && !q.bad {
		line := q.b[q.i+len(dash) : end]
		line = line[:bytes.IndexByte(line, '\n')]
		q.i += len(dash) + len(line) + 1
		colon := bytes.Index(line, []byte(": "))
		if colon <= 0 || colon > maxKey || q.plain(line[:colon]) == nil {
			q.giveUp()
			return nil
		}
		name := q.name(line[:colon])
		q.fields = append(q.fields, httpstream.Field{Name: name, Value: q.name(q.text(line[colon+2:]))})
	}
	if q.bad {
		return nil
	}
	fields := append(make(httpstream.Fields, 0, len(q.fields)), q.fields...)
	if q.shared != nil {
		*place = sharedFields{string(raw), fields}
	}
	return fields
}
