package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/jsonvalue"
	"github.com/wiretape/wiretape/httpstream/llm"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A chat is what a language model says in an exchange, put together, and when.
type chat struct {
	*llm.Assembly
	spans map[string]*span
}

// A span is when the first and the last delta of a piece came.
type span struct {
	first, last time.Duration
	size        int
}

// showChat shows the answer of a language model.
func (s *shower) showChat() error {
	table, err := chatFormats()
	if err != nil {
		return err
	}
	var path string
	if u, err := url.Parse(s.x.Request.URL); err == nil {
		path = u.Path
	}
	c := &chat{Assembly: llm.NewAssembly(table.For(path)), spans: map[string]*span{}}
	var end *tape.Line
	if s.x.HasStream() {
		if end, err = c.read(s); err != nil {
			return err
		}
	}
	if c.Format() == "" {
		return usagef("leave out --as chat, or say in wiretape.yaml where it is: llm_formats",
			"%s %d has no answer of a language model in a format that is known", s.x.Kind, s.x.Number)
	}
	style := s.style()
	style.Indent, style.Value, style.Text, style.Width = "  ", 0, 0, 100
	for _, name := range c.Names() {
		p, at := c.Piece(name), c.spans[name]
		kind := body.Text
		if p.Kind == llm.Tool {
			kind = body.JSON
		}
		title := strings.TrimSuffix(name+": "+p.Function, ": ")
		if at != nil {
			title += "  " + report.Short(at.first)
			if at.last > at.first {
				title += " to " + report.Short(at.last)
			}
		}
		if s.paint != nil {
			title = s.paint(body.Name, title)
		}
		fmt.Fprintf(s.w, "\n%s\n  %s\n", title, style.Show([]byte(p.Text()), kind))
	}
	if usage := c.Usage(); usage != "" {
		fmt.Fprintf(s.w, "\nusage\n  %s\n", style.Show([]byte(usage), body.JSON))
	}
	if c.Cut() {
		fmt.Fprintf(s.w, "\n(the answer is longer than %s; --raw has all of it)\n", report.Size(llm.MaxAnswer))
	}
	if end != nil {
		_, err = fmt.Fprintf(s.w, "\n%12s  end: %s\n", micros(end.At), strings.TrimRight(string(end.End.How)+" "+end.End.Detail, " "))
	}
	return err
}

// chatFormats are those that are built in, and those of a wiretape.yaml here.
func chatFormats() (*llm.Table, error) {
	dir, err := composeDir("", nil)
	if err != nil {
		dir = "."
	}
	if _, err := os.Stat(filepath.Join(dir, configName)); errors.Is(err, fs.ErrNotExist) {
		return llm.Standard(), nil
	}
	c, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	own, err := llm.Parse(c.path(), node(&c.LLMFormats))
	if err != nil {
		return nil, err
	}
	return llm.NewTable(own...)
}

// read takes the events, lines or messages of the answer, and returns the end of the stream.
func (c *chat) read(s *shower) (end *tape.Line, err error) {
	var header = s.x.Request.Header
	if s.x.Response != nil {
		header = s.x.Response.Head.Header
	}
	contentType := header.Get("Content-Type")
	decoder, known := body.NewDecoder(header.Get("Content-Encoding"))
	if decoder != nil {
		defer decoder.Stop()
	}
	if !known {
		return nil, usagef("record without --keep-encoding", "the answer's Content-Encoding %q is not known", header.Get("Content-Encoding"))
	}
	var parser body.Parser
	if f := body.Of(contentType); f.New != nil {
		parser = f.New(contentType, llm.MaxAnswer, func(u *body.Unit) { c.take(u.At, u.Body.Data) })
	}
	var whole []byte
	take := func(at time.Duration, data []byte) {
		if parser != nil {
			parser.Write(at, data)
		} else if len(whole)+len(data) <= maxDocument {
			whole = append(whole, data...)
		}
	}
	var messages tape.Messages
	socket := s.x.IsWebSocket()
	err = eachLine(s.t.Tape, s.x, func(l tape.Line) error {
		switch {
		case l.FromClient:
			return nil
		case l.End != nil:
			end = &l
			if decoder != nil {
				_ = decoder.Close(func(b []byte) { take(l.At, b) }) // what there is of an answer that broke off
			}
		case socket:
			control := l.Frame != nil && l.Frame.Op >= 8 || l.Frame == nil && !l.Rest
			done := messages.Next(&l)
			if !control {
				whole = append(whole, l.Data...)
			}
			if done {
				c.take(l.At, whole)
				whole = nil
			}
			return nil
		case decoder != nil:
			return undecoded(decoder.Write(l.Data, func(b []byte) { take(l.At, b) }))
		default:
			take(l.At, l.Data)
			return nil
		}
		if parser != nil {
			parser.Close(l.At)
		}
		c.take(l.At, whole)
		return nil
	})
	return end, err
}

// take takes one event, or a whole answer.
func (c *chat) take(at time.Duration, data []byte) {
	doc, err := jsonvalue.Parse(data)
	if err != nil {
		return
	}
	c.TakeAll(doc.Value)
	for _, name := range c.Names() {
		size := len(c.Piece(name).Text())
		when := c.spans[name]
		if when == nil {
			c.spans[name] = &span{at, at, size}
		} else if size > when.size {
			when.last, when.size = at, size
		}
	}
}
