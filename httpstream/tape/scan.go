package tape

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/secret"
	"github.com/wiretape/wiretape/httpstream/websocket"
)

// A Secret is a credential on a tape. It does not have the credential itself.
type Secret struct {
	File  string
	Line  int    // 0 if it is not known
	Rule  string // what it was known by
	Where string // "URL", "header X-Key", "request body", "answer"
	Size  int    // bytes
}

// Secrets finds what would have been replaced if the tape were recorded by these rules,
// and is no stand-in.
func (t *Tape) Secrets(r *Redactor) ([]Secret, error) {
	var found []Secret
	var errs []error
	for _, x := range slices.Concat(t.Cases, t.Calls) {
		s := scanner{t: t, r: r, x: x}
		s.finder, _ = r.Bodies()
		if s.finder == nil { // that bodies are kept does not mean that they have none
			s.finder = secret.NewFinder(secret.Rules{})
		}
		if err := s.scan(); err != nil {
			errs = append(errs, err)
		}
		found = append(found, s.found...)
	}
	return found, errors.Join(errs...)
}

// A scanner looks through one exchange.
type scanner struct {
	t      *Tape
	r      *Redactor
	x      *Exchange
	finder *secret.Finder
	file   []byte // the exchange file
	found  []Secret
}

func (s *scanner) scan() error {
	var err error
	if s.file, err = os.ReadFile(s.x.File); err != nil {
		return err
	}
	s.heads()
	body, err := s.x.RequestBody()
	if err != nil {
		return err
	}
	if text, ok := textOf(s.x.Request.Header); ok && len(body) > 0 {
		for _, f := range s.finder.Find(text, body) {
			s.add(&f, body[f.Start:f.End], "request body", s.x.File, s.lineOf(body[f.Start:f.End], "body:"))
		}
	}
	if !s.x.HasStream() {
		return nil
	}
	return s.stream()
}

func textOf(h httpstream.Fields) (secret.Text, bool) {
	return secret.TextOf(h.Get("Content-Type"), h.Get("Content-Encoding"))
}

// add keeps a finding that is no stand-in.
func (s *scanner) add(f *secret.Finding, text []byte, where, file string, line int) {
	if !f.IsStandIn(text) && !bytes.Contains(text, []byte(Redacted)) {
		s.found = append(s.found, Secret{file, line, f.Rule, where, len(text)})
	}
}

// heads looks at what is in the exchange file, beside the body.
func (s *scanner) heads() {
	differ := func(rule, where, was, is string, before ...string) {
		if was != is {
			s.found = append(s.found, Secret{s.x.File, s.lineOf([]byte(was), before...), rule, where, len(was)})
		}
	}
	q := &s.x.Request
	differ("url", "URL", q.URL, s.r.URL(q.URL), "url:")
	fields := func(what string, fs httpstream.Fields) {
		for _, f := range fs {
			differ("header", what+" "+f.Name, f.Value, s.r.Field(f.Name, f.Value), "- "+f.Name+":", "- \""+f.Name+"\":")
		}
	}
	fields("header", q.Header)
	fields("trailer", q.Trailer)
	for _, head := range s.x.Interim {
		fields("header", head.Head.Header)
	}
	if s.x.Response != nil {
		fields("answer's header", s.x.Response.Head.Header)
	}
	differ("text", "failed", s.x.Failed, s.r.Text(s.x.Failed), "failed:")
}

// lineOf is the line of the exchange file that has a text, behind the first of the words
// before it that is there; that word's where the text is written otherwise.
func (s *scanner) lineOf(text []byte, before ...string) int {
	start := -1
	for _, word := range before {
		if start < 0 {
			start = bytes.Index(s.file, []byte(word))
		}
	}
	if start < 0 {
		return 0
	}
	at := start + max(0, bytes.Index(s.file[start:], text))
	return 1 + bytes.Count(s.file[:at], []byte("\n"))
}

// A scannedSide is one direction of a stream, as it is looked through.
type scannedSide struct {
	text     secret.Text
	read     bool
	where    string
	scan     *secret.Scan
	messages Messages
	offset   int64 // bytes of the text so far
	lines    []scannedLine
}

// A scannedLine is where a line begins in the text.
type scannedLine struct {
	offset int64
	line   int
}

func (s *scanner) stream() error {
	in, err := s.t.Stream(s.x)
	if err != nil {
		return err
	}
	defer in.Close()
	sides := [2]scannedSide{{where: "answer"}, {where: "request body"}}
	sides[1].text, sides[1].read = textOf(s.x.Request.Header)
	if s.x.Response != nil {
		sides[0].text, sides[0].read = textOf(s.x.Response.Head.Header)
	}
	socket := s.x.IsWebSocket()
	if socket || s.x.Request.Method == "CONNECT" {
		sides[0].read, sides[1].read = true, true
	}
	for {
		l, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		side := &sides[0]
		if l.FromClient {
			side = &sides[1]
		}
		if socket && l.Frame != nil && l.Frame.Op >= websocket.Close {
			for _, f := range s.finder.Find(secret.Text{}, l.Data) {
				s.add(&f, l.Data[f.Start:f.End], side.where, in.name, in.line)
			}
			continue
		}
		s.feed(in, side, &l)
		if socket && side.messages.Next(&l) {
			s.finish(in, side)
		}
	}
	for i := range sides {
		s.finish(in, &sides[i])
	}
	return nil
}

func (s *scanner) feed(in *StreamReader, side *scannedSide, l *Line) {
	if !side.read || len(l.Data) == 0 {
		return
	}
	if side.scan == nil {
		side.scan, side.offset, side.lines = s.finder.Scan(side.text), 0, nil
	}
	side.lines = append(side.lines, scannedLine{side.offset, in.line})
	side.offset += int64(len(l.Data))
	side.scan.Feed(l.Data)
	s.take(in, side)
}

// finish ends the text of a direction, or a message.
func (s *scanner) finish(in *StreamReader, side *scannedSide) {
	if side.scan != nil {
		side.scan.Close()
		s.take(in, side)
		side.scan.Rest()
		side.scan = nil
	}
}

// take keeps what is known of a text by now.
func (s *scanner) take(in *StreamReader, side *scannedSide) {
	data, offset, found := side.scan.Take()
	for i := range found {
		f := &found[i]
		line := 0
		for _, l := range side.lines {
			if l.offset <= f.Start {
				line = l.line
			}
		}
		s.add(f, data[f.Start-offset:f.End-offset], side.where, in.name, line)
	}
	// Lines that were taken whole are not asked for again.
	for len(side.lines) > 1 && side.lines[1].offset <= offset {
		side.lines = side.lines[1:]
	}
	side.scan.Rest()
}
