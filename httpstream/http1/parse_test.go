package http1

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/httpstream"
)

// parsed gathers what a parser reports. Pieces of bodies that are not chunked
// are joined, since they are reads; pieces of chunks are joined by Rest.
type parsed struct {
	events []string
	chunk  *httpstream.Chunk
	joined bool // the chunk is made of reads
}

func (l *parsed) closeChunk() {
	if l.chunk != nil {
		l.events = append(l.events, fmt.Sprintf("chunk %q size line %q", l.chunk.Data, l.chunk.SizeLine))
		l.chunk = nil
	}
}

func (l *parsed) add(ev event, reads bool) {
	switch {
	case ev.kind == chunkEvent && l.chunk != nil && (ev.chunk.Rest || reads && l.joined):
		l.chunk.Data = append(l.chunk.Data, ev.chunk.Data...)
		return
	case ev.kind == chunkEvent:
		l.closeChunk()
		c := ev.chunk
		c.Data = bytes.Clone(c.Data)
		l.chunk, l.joined = &c, reads
		return
	}
	l.closeChunk()
	switch {
	case ev.kind == endEvent:
		l.events = append(l.events, fmt.Sprintf("end %q", AppendFields(nil, ev.trailer)))
	case ev.request != nil:
		l.events = append(l.events, fmt.Sprintf("request %q for %q", AppendRequestHead(nil, ev.request), ev.request.Authority))
	case ev.response != nil:
		l.events = append(l.events, fmt.Sprintf("response %q", appendResponse(nil, ev.response)))
	}
}

// parseAll parses in parts of the lengths that cut gives, and checks Of.
func parseAll(p *parser, in []byte, cut func(left int) int) (events []string, err error) {
	var l parsed
	for len(in) > 0 {
		part := bytes.Clone(in[:max(1, min(len(in), cut(len(in))))])
		in = in[len(part):]
		for {
			if p.state == undecided {
				p.resume()
			}
			reads := p.state == inLength || p.state == inClose || p.state == inTunnel
			n, ev, err := p.next(part)
			if err != nil {
				l.closeChunk()
				return l.events, err
			}
			if n > len(part) {
				return nil, fmt.Errorf("consumed %d of %d", n, len(part))
			}
			part = part[n:]
			if ev.kind == noEvent {
				if len(part) > 0 && p.state != undecided {
					return nil, fmt.Errorf("left %q", part)
				}
				if len(part) == 0 {
					break
				}
				continue
			}
			if c := ev.chunk; c.Of != 0 && (c.Rest || c.Of <= int64(len(c.Data))) {
				return nil, fmt.Errorf("chunk of %d with Of %d", len(c.Data), c.Of)
			}
			l.add(ev, reads || p.state == inTunnel)
		}
	}
	l.closeChunk()
	return l.events, nil
}

func whole(left int) int { return left }
func byteWise(int) int   { return 1 }

func wsFrame(first byte, payload string) string {
	switch n := len(payload); {
	case n < 126:
		return string([]byte{first, byte(n)}) + payload
	case n < 1<<16:
		return string([]byte{first, 126, byte(n >> 8), byte(n)}) + payload
	default:
		return string([]byte{first, 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + payload
	}
}

const switchHead = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"

func TestParserReportsWhatIsOnTheWire(t *testing.T) {
	tests := []struct {
		name     string
		response bool
		method   string
		in       string
		want     []string
	}{
		{"pipelined requests with empty lines before them", false, "", "\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\nPOST /b HTTP/1.1\r\nhost:h2\r\nContent-Length: 3\r\n\r\nabcGET /c HTTP/1.0\r\n\r\n", []string{
			`request "GET /a HTTP/1.1\r\nHost: h\r\n\r\n" for "h"`, `end ""`,
			`request "POST /b HTTP/1.1\r\nhost:h2\r\nContent-Length: 3\r\n\r\n" for "h2"`, `chunk "abc" size line ""`, `end ""`,
			`request "GET /c HTTP/1.0\r\n\r\n" for ""`, `end ""`,
		}},
		{"order, case and white space of fields", false, "", "GET http://x:8/ HTTP/1.1\r\nB:1\r\na:\t 2 \r\nB: \r\nC:\r\nD:  \r\n\r\n", []string{
			`request "GET http://x:8/ HTTP/1.1\r\nB:1\r\na:\t 2 \r\nB: \r\nC:\r\nD:  \r\n\r\n" for "x:8"`, `end ""`,
		}},
		{"lines that end in LF alone", true, "GET", "HTTP/1.1 200\nContent-Length: 1\n\nx", []string{
			`response "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n"`, `chunk "x" size line ""`, `end ""`,
		}},
		{"chunks with what looks like an end in them", true, "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0A;a=\"b\"\r\n0123456789\r\n0\r\nT: 1\r\n\r\n", []string{
			`response "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"`, `chunk "0\r\n\r\n" size line ""`,
			`chunk "0123456789" size line "0A;a=\"b\""`, `end "T: 1\r\n"`,
		}},
		{"a last chunk with an extension", true, "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1 \r\na\r\n00;x\r\n\r\n", []string{
			`response "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"`, `chunk "a" size line "1 "`, `chunk "" size line "00;x"`, `end ""`,
		}},
		{"interim answers", true, "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", []string{
			`response "HTTP/1.1 100 Continue\r\n\r\n"`, `response "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"`,
			`response "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"`, `end ""`,
			`response "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"`, `end ""`,
		}},
		{"an answer to HEAD", true, "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", []string{
			`response "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"`, `end ""`, `response "HTTP/1.1 200 OK\r\n\r\n"`, `end ""`,
		}},
		{"a body that ends with the connection", true, "GET", "HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 200", []string{
			`response "HTTP/1.0 200 OK\r\n\r\n"`, `chunk "HTTP/1.1 200" size line ""`,
		}},
		{"an answer to CONNECT", true, "CONNECT", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nraw", []string{
			`response "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"`, `chunk "raw" size line ""`,
		}},
		{"the same Content-Length twice in an answer", true, "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nab", []string{
			`response "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\n"`, `chunk "ab" size line ""`, `end ""`,
		}},
		{"bytes of another protocol", true, "GET", switchHead + wsFrame(0x81, "one") + wsFrame(0x01, "tw"), []string{
			fmt.Sprintf("response %q", switchHead), `chunk "\x81\x03one\x01\x02tw" size line ""`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for name, cut := range map[string]func(int) int{"at once": whole, "byte by byte": byteWise} {
				p := &parser{response: test.response, method: test.method}
				got, err := parseAll(p, []byte(test.in), cut)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if strings.Join(got, "\n") != strings.Join(test.want, "\n") {
					t.Errorf("%s:\ngot  %s\nwant %s", name, strings.Join(got, "\n     "), strings.Join(test.want, "\n     "))
				}
			}
		})
	}
}

func TestParserRefusesWhatReadersTakeDifferently(t *testing.T) {
	const post, ok, chunked = "POST / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
	tests := map[string]string{
		"different Content-Length":        ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"a Content-Length with a sign":    post + "Content-Length: +1\r\n\r\n",
		"an empty Content-Length":         post + "Content-Length:\r\n\r\n",
		"a Content-Length overflow":       post + "Content-Length: 9223372036854775808\r\n\r\n",
		"chunked that is not last":        post + "Transfer-Encoding: chunked, gzip\r\n\r\n",
		"chunked twice":                   post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		"an unknown coding":               post + "Transfer-Encoding: xchunked\r\n\r\n",
		"identity for a coding":           post + "Transfer-Encoding: identity\r\n\r\n",
		"an empty coding":                 post + "Transfer-Encoding:\r\n\r\n",
		"chunked in HTTP/1.0":             "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"white space before the colon":    post + "Content-Length : 1\r\n\r\n",
		"lengths written differently":     post + "Content-Length: 1\r\nContent-Length: 01\r\n\r\n",
		"a wrong length and chunked":      post + "Content-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"length and chunked in two lines": post + "Content-Length: 1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
		"length and chunked behind a tab": post + "Content-Length: 1\r\nTransfer-Encoding:\tchunked\r\n\r\n",
		"length, chunked and an upgrade":  post + "Upgrade: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"a folded length":                 post + "Content-Length:\r\n 1\r\n\r\n",
		"a folded coding":                 post + "Transfer-Encoding:\r\n chunked\r\n\r\n",
		"a length in a fold":              post + "A: b\r\n Content-Length: 1\r\n\r\n",
		"a coding in a fold":              post + "A: b\r\n\tTransfer-Encoding : chunked\r\n\r\n",
		"an empty fold":                   post + "A: b\r\n \r\n\r\n",
		"a control byte in a Host":        "GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n",
		"a folded first line":             post + " A: b\r\n\r\n",
		"a line without a colon":          post + "A\r\n\r\n",
		"a line without a name":           post + ": b\r\n\r\n",
		"a bare CR in a value":            post + "A: b\rContent-Length: 1\r\n\r\n",
		"a bare CR behind a name":         post + "A\r: b\r\n\r\n",
		"a NUL":                           post + "A: b\x00\r\n\r\n",
		"a vertical tab":                  post + "Transfer-Encoding: \x0bchunked\r\n\r\n",
		"two spaces in the request line":  "GET  / HTTP/1.1\r\n\r\n",
		"a request line without version":  "GET /\r\n\r\n",
		"a tab in the request line":       "GET\t/ HTTP/1.1\r\n\r\n",
		"a space in the target":           "GET /a b HTTP/1.1\r\n\r\n",
		"another version":                 "GET / HTTP/2.0\r\n\r\n",
		"the HTTP/2 preface":              "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"bytes that are not HTTP":         "\x16\x03\x01",
		"a status of two digits":          "HTTP/1.1 20 OK\r\n\r\n",
		"another protocol's status line":  "HTTP/3 200 OK\r\n\r\n",
		"a chunk size that is too large":  chunked + "8000000000000000\r\n",
		"a chunk size with a sign":        chunked + "+1\r\na\r\n",
		"a chunk size with 0x":            chunked + "0x1\r\na\r\n",
		"an empty chunk size":             chunked + "\r\n",
		"only an extension":               chunked + ";a\r\n",
		"a chunk size with LF alone":      chunked + "1\na\r\n",
		"a bare CR in an extension":       chunked + "1;a\rb\r\n",
		"a chunk longer than its size":    chunked + "1\r\nab\r\n",
		"LF alone behind a chunk":         chunked + "1\r\na\n",
		"a chunk-size line without end":   chunked + "1;" + strings.Repeat("a", maxChunkLine) + "\r\n",
		"a head without end":              post + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 1100),
		"a line without end":              post + "A: " + strings.Repeat("b", maxHead),
		"empty lines without end":         strings.Repeat("\r\n", maxChunkLine),
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			for _, cut := range []func(int) int{whole, byteWise} {
				p := &parser{response: strings.HasPrefix(in, "HTTP/"), method: "GET"}
				if events, err := parseAll(p, []byte(in), cut); !errors.Is(err, httpstream.ErrMalformed) {
					t.Errorf("error %v after %q", err, events)
				}
			}
		})
	}
}

func TestParserReportsPiecesOfAChunkAsTheyArrive(t *testing.T) {
	p := &parser{response: true, method: "GET"}
	var got []string
	for _, in := range []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n012", "3456", "789", "\r\n2\r\nab\r\n"} {
		for b := []byte(in); ; {
			n, ev, err := p.next(b)
			if err != nil {
				t.Fatal(err)
			}
			if ev.kind == noEvent {
				break
			}
			if ev.kind == chunkEvent {
				c := ev.chunk
				got = append(got, fmt.Sprintf("%s of %d rest %t line %q", c.Data, c.Of, c.Rest, c.SizeLine))
			}
			b = b[n:]
		}
	}
	want := []string{`012 of 10 rest false line "A"`, `3456 of 0 rest true line ""`, `789 of 0 rest true line ""`, `ab of 0 rest false line ""`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
}

var seeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0A\r\n0\r\n\r\n01234\r\n000\r\nT: x\r\n\r\nGET / HTTP/1.0\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\nContent-Length: 3\n\nabcHTTP/1.1 200 OK\r\n\r\nrest",
	switchHead + "\x81\x03one\x01\x02tw\x89\x04ping\x80\x01o\x88\x00",
	"HTTP/1.1 200 OK\r\nA:b \r\nA:\t\r\n\r\n\x00\xff",
}

// FuzzParserIsInvariantUnderSplits also checks that it never panics and, for
// what it understands, that heads read back as they were.
func FuzzParserIsInvariantUnderSplits(f *testing.F) {
	for i, seed := range seeds {
		f.Add([]byte(seed), uint8(i*7+1))
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		if len(in) > 4<<10 {
			return
		}
		parse := func(cut func(int) int) ([]string, error) {
			p := &parser{response: bytes.HasPrefix(in, []byte("HTTP/")), method: "GET"}
			return parseAll(p, in, cut)
		}
		want, wantErr := parse(whole)
		k := int(step)
		for _, cut := range []func(int) int{byteWise, func(int) int { k = k*31 + 7; return k % 23 }} {
			got, err := parse(cut)
			if errors.Is(err, httpstream.ErrMalformed) != errors.Is(wantErr, httpstream.ErrMalformed) {
				t.Fatalf("errors %v and %v", wantErr, err)
			}
			if err != nil && !errors.Is(err, httpstream.ErrMalformed) {
				t.Fatal(err)
			}
			if wantErr == nil && strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Fatalf("at once %q\nin parts %q", want, got)
			}
		}
	})
}

// FuzzHeadReadsBackAsItWas checks parse(serialise(parse(x))) == parse(x), and
// that a head with CRLF is serialised to the very bytes that it was read from.
func FuzzHeadReadsBackAsItWas(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p := &parser{response: bytes.HasPrefix(in, []byte("HTTP/")), method: "GET"}
		n, ev, err := p.next(in)
		if err != nil || ev.kind != headEvent && ev.kind != interimEvent || p.folded {
			return
		}
		var out []byte
		if p.response {
			out = appendResponse(nil, ev.response)
			if err := checkFields(ev.response.Header); err != nil {
				t.Fatal(err)
			}
		} else {
			out = AppendRequestHead(nil, ev.request)
		}
		head := bytes.TrimLeft(in[:n], "\r\n")
		if !bytes.Equal(bytes.ReplaceAll(head, []byte("\r\n"), []byte("\n")), bytes.ReplaceAll(out, []byte("\r\n"), []byte("\n"))) {
			t.Fatalf("read %q\nwrote %q", head, out)
		}
	})
}
