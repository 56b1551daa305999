package tape

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/wiretape/wiretape/httpstream"
)

// A generator makes random but valid parts of a recording, rich in what is hard
// to write down: invisible characters, bytes that are not UTF-8, YAML's own signs.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 1))} }

var awkward = []string{
	"", " ", "\n", "\r\n", "\t", "a", "x: y", "#", " # no comment", "- item", "null", "true", "1.30", "0x1f",
	"2026-01-02", "é", "日本", "🙂", "👩‍👩‍👧", "\u2028", "\u2029", "\u0085", "\ufeff", "\u202e", "\ufffd", "\x00", "\x7f",
	"\xff", "\xc3", "\xed\xa0\x80", "\"", "\\", "'", "{", "}", "[", "*", "&", "!", "|", ">", "%", "@", "`", "---",
	"...", "<<", "=", "~", "?", ",", "data: {\"a\":1}\n\n", "0\r\n\r\n", "<&>", "\U0010ffff", "\ud7ff", "on",
}

func (g generator) str(parts int) string {
	s := ""
	for range g.IntN(parts + 1) {
		s += awkward[g.IntN(len(awkward))]
	}
	return s
}

func (g generator) bytes(parts int) []byte {
	if s := g.str(parts); s != "" {
		return []byte(s)
	}
	return nil
}

func (g generator) maybe() bool { return g.IntN(2) == 0 }

func (g generator) micros(limit int64) time.Duration {
	return time.Duration(g.Int64N(limit)) * time.Microsecond
}

func (g generator) fields() httpstream.Fields {
	var fs httpstream.Fields
	for range g.IntN(4) {
		f := httpstream.Field{Name: []string{"Content-Type", "x-a", "Name", "1", "null", "X~!#$&'*+", g.str(2) + "n"}[g.IntN(7)], Value: g.str(4)}
		if g.IntN(4) == 0 {
			f.Sep, f.After = ":"+g.str(1), g.str(1)
		}
		fs = append(fs, f)
	}
	return fs
}

func (g generator) responseHead() httpstream.ResponseHead {
	h := httpstream.ResponseHead{Proto: []string{"HTTP/1.0", "HTTP/1.1", "HTTP/2.0"}[g.IntN(3)], Status: 100 + g.IntN(900), Header: g.fields()}
	if h.Proto != "HTTP/2.0" || g.IntN(9) == 0 {
		h.Line = fmt.Sprintf("%s %d %s", h.Proto, h.Status, []string{"", "OK", "Not Found", " two", g.str(3)}[g.IntN(5)])
	}
	if g.IntN(9) == 0 {
		h.Line = g.str(3)
	}
	return h
}

func (g generator) exchange(kind Kind, number int) *Exchange {
	x := &Exchange{
		Kind: kind, Number: number, Service: g.str(2), Started: g.micros(1 << 40), TwoWay: g.maybe(),
		Request: Request{
			Proto: "HTTP/1.1", Method: []string{"GET", "POST", "X-" + g.str(1)}[g.IntN(3)],
			URL:    "https://api.example/v1/" + g.str(3) + "?" + g.str(2),
			Header: g.fields(), Trailer: g.fields(), Took: g.micros(1 << 30),
			TLS: []string{"", "1.2", "1.3"}[g.IntN(3)], Protocol: g.str(1),
		},
	}
	if kind == Case && g.maybe() {
		x.Port = 1 + g.IntN(65535)
	}
	if kind == Call && g.maybe() {
		x.Case = 1 + g.IntN(9)
	} else if kind == Call && g.maybe() {
		x.Cases = []int{1 + g.IntN(3), 5 + g.IntN(9)}
	}
	switch g.IntN(4) {
	case 0:
		x.Request.Body = Body{InStream: true, Size: g.Int64N(1 << 40), SHA256: HashBody(g.bytes(2))}
	case 1, 2:
		if data := g.bytes(9); data != nil {
			x.Request.Body = Body{Data: data, Size: int64(len(data)), SHA256: HashBody(data)}
		}
	}
	for range g.IntN(3) {
		x.Interim = append(x.Interim, Response{At: g.micros(1000) - 500*time.Microsecond, Head: g.responseHead()})
	}
	if g.IntN(5) > 0 {
		x.Response = &Response{At: g.micros(1 << 30), Head: g.responseHead()}
	} else {
		x.Failed = "refused" + g.str(2)
	}
	return x
}

func (g generator) line() *Line {
	l := &Line{At: g.micros(1 << 40)}
	if g.IntN(4) == 0 {
		how := []httpstream.End{httpstream.EOF, httpstream.Reset, httpstream.Cancelled, httpstream.Open, httpstream.Malformed}[g.IntN(5)]
		l.End = &httpstream.EndInfo{How: how, Trailer: g.fields(), Code: g.Uint32(), Detail: g.str(2)}
		return l
	}
	l.FromClient = g.maybe()
	l.Data = g.bytes(6)
	l.Rest = g.maybe()
	l.SizeLine = g.str(2)
	if g.maybe() {
		l.Of = 1 + g.Int64N(1<<40)
	}
	return l
}
