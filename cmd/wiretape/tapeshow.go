package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/body"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A view is what tape show shows of a stream.
type view string

const (
	unitView  view = ""       // events, lines, parts and messages
	chunkView view = "chunks" // as they came
	chatView  view = "chat"   // what a language model said
	rawView   view = "raw"    // the bytes of the body and nothing else
)

// showOptions are those of tape show.
type showOptions struct {
	tapeOptions
	exchange string // see find
	view     view
	request  bool // the request's body in the place of the answer's, in rawView
}

func showFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "units", Usage: "show the events, lines, parts or messages of the bodies; the default"},
		&cli.BoolFlag{Name: "chunks", Usage: "show the chunks as they came instead"},
		&cli.StringFlag{Name: "as", Usage: "show what `WHAT` makes of the answer: chat is a language model's text and its tool calls, whole"},
		&cli.BoolFlag{Name: "raw", Usage: "print the bytes of the answer's body and nothing else"},
		&cli.BoolFlag{Name: "request", Usage: "with --raw: the request's body instead"},
	}
}

// showOptionsOf reads [TAPE] NUMBER|FILE.
func showOptionsOf(c *cli.Context) (showOptions, error) {
	o := showOptions{tapeOptions: tapeOptions{defaultTape, outputOf(c)}, exchange: c.Args().First(), request: c.Bool("request")}
	views := 0
	if c.Bool("units") {
		views++
	}
	for _, v := range []view{chunkView, rawView} {
		if c.Bool(string(v)) {
			o.view = v
			views++
		}
	}
	if as := view(c.String("as")); as != "" {
		if as != chatView {
			return o, usagef("it is chat", "--as can't be %q", string(as))
		}
		o.view = as
		views++
	}
	switch {
	case views > 1:
		return o, usagef("leave all but one of them out", "--units, --chunks, --as and --raw are different views")
	case views == 1 && o.output == forMachines:
		return o, usagef("leave one of them out", "--json prints the lines of the tape, and --units, --chunks, --as and --raw what they make")
	case o.request && o.view != rawView:
		return o, usagef("add --raw, or leave it out", "--request goes with --raw")
	}
	switch c.NArg() {
	case 1:
		return o, nil
	case 2:
		o.dir, o.exchange = c.Args().First(), c.Args().Get(1)
		return o, nil
	case 0:
		return o, exactArgs(c, 1, "the number of an exchange")
	}
	return o, exactArgs(c, 2, "")
}

func tapeShow(ctx context.Context, o showOptions, w io.Writer) error {
	t, err := o.open(ctx)
	defer t.close()
	if err != nil {
		return err
	}
	x, err := find(t, o.exchange)
	switch {
	case err != nil:
		return err
	case o.output == forMachines:
		return showJSON(w, t.Tape, x)
	case o.view == rawView:
		return showRaw(w, t.Tape, x, o.request)
	}
	s := shower{t: t, x: x, paint: painter(w)}
	return paged(w, func(w io.Writer) error {
		s.w = w
		return s.show(o.view)
	})
}

// painter colours values where the output is a terminal; nil elsewhere.
func painter(w io.Writer) func(body.Token, string) string {
	if !colored(w) {
		return nil
	}
	codes := map[body.Token]string{body.Name: "34", body.String: "32", body.Number: "36", body.Literal: "35", body.Remark: "2"}
	return func(t body.Token, s string) string { return sgr(codes[t], s) }
}

// find finds an exchange by number ("3", "case:3") or by file name.
func find(t *placedTape, which string) (*tape.Exchange, error) {
	list := t.Calls
	number, isCase := strings.CutPrefix(which, "case:")
	if isCase {
		list = t.Cases
	} else {
		number = strings.TrimPrefix(which, "call:")
	}
	n, err := strconv.Atoi(number)
	for _, x := range list {
		if err == nil && x.Number == n {
			return x, nil
		}
	}
	for _, x := range append(t.Calls, t.Cases...) {
		base := filepath.Base(x.File)
		if base == filepath.Base(which) || strings.TrimSuffix(base, path.Ext(base)) == which {
			return x, nil
		}
	}
	return nil, usagef("wiretape tape ls "+t.shown(t.Dir)+" lists them; write 3 or call:3 for a call, case:3 for a case",
		"the tape %s has no exchange %q", t.shown(t.Dir), which)
}

// A shower shows one exchange to people.
type shower struct {
	w     io.Writer
	t     *placedTape
	x     *tape.Exchange
	paint func(body.Token, string) string
}

const (
	// shownValue and shownText are how many bytes are shown of a string in JSON, and of
	// other texts.
	shownValue = 160
	shownText  = 2000
	// timeColumn is as wide as the times at the beginning of a line.
	timeColumn = 14
)

// style is for values behind the times.
func (s *shower) style() body.Style {
	indent := timeColumn
	if s.twoSides() {
		indent++
	}
	return body.Style{Paint: s.paint, Value: shownValue, Text: shownText, Indent: strings.Repeat(" ", indent)}
}

func (s *shower) show(v view) error {
	if err := s.requestHead(); err != nil {
		return err
	}
	s.answerHead()
	if v == chatView {
		return s.showChat()
	}
	if !s.x.HasStream() {
		return nil
	}
	fmt.Fprintln(s.w)
	lines := s.lines(v)
	err := eachLine(s.t.Tape, s.x, lines.line)
	return errors.Join(err, lines.stop())
}

func (s *shower) requestHead() error {
	x := s.x
	target := x.Request.URL
	if u, err := url.Parse(target); err == nil && u.Host != "" && x.Request.Method != "" {
		target = u.RequestURI() + "  at " + u.Scheme + "://" + u.Host
	}
	fmt.Fprintf(s.w, "%s %d, %s\n\n%s\n", x.Kind, x.Number, s.t.shown(x.File), strings.TrimRight(requested(x, target)+"  "+x.Request.Proto, " "))
	s.fields(x.Request.Header)
	switch b := x.Request.Body; {
	case b.Size == 0:
	case b.InStream:
		fmt.Fprintf(s.w, "\n(%s, in the stream)\n", report.Size(b.Size))
	default:
		data, err := x.RequestBody()
		if err != nil {
			return err
		}
		fmt.Fprintf(s.w, "\n%s\n", s.document(x.Request.Header, data))
	}
	if x.Failed != "" {
		fmt.Fprintf(s.w, "\nfailed: %s\n", x.Failed)
	}
	return nil
}

// document shows a whole body: JSON over several lines.
func (s *shower) document(header httpstream.Fields, data []byte) string {
	style := s.style()
	style.Indent, style.Width = "", 100
	if decoded := body.Decode(header.Get("Content-Encoding"), data, maxDocument); decoded != nil {
		data = decoded
	}
	return cutLines(style.Show(data, kindOf(header.Get("Content-Type"), data)), "--raw --request")
}

// maxLines is how many lines of a document are shown.
const maxLines = 100

// cutLines leaves out what is more than maxLines, and says which flags print all of it.
func cutLines(text, all string) string {
	lines := strings.Split(text, "\n")
	if len(lines) <= maxLines {
		return text
	}
	return strings.Join(lines[:maxLines], "\n") + fmt.Sprintf("\n(%d more lines: %s)", len(lines)-maxLines, all)
}

func (s *shower) answerHead() {
	if s.x.Response == nil {
		return
	}
	line := s.x.Response.Head.Line
	if line == "" {
		line = fmt.Sprintf("%s %d", s.x.Response.Head.Proto, s.x.Response.Head.Status)
	}
	fmt.Fprintf(s.w, "\n%12s  %s\n", micros(s.x.Response.At), line)
	s.fields(s.x.Response.Head.Header)
}

func (s *shower) fields(fs httpstream.Fields) {
	for _, f := range fs {
		fmt.Fprintf(s.w, "%*s%s: %s\n", timeColumn, "", f.Name, f.Value)
	}
}

func micros(d time.Duration) string {
	return fmt.Sprintf("%.3f ms", float64(d.Microseconds())/1e3)
}

// showJSON prints the exchange file with its own keys, and then the lines of the
// stream as they stand in the tape, so that docs/tape-format.md describes both.
func showJSON(w io.Writer, t *tape.Tape, x *tape.Exchange) error {
	data, err := os.ReadFile(x.File)
	if err != nil {
		return err
	}
	var exchange map[string]any
	if err := yaml.Unmarshal(data, &exchange); err != nil {
		return fmt.Errorf("%s: %w", x.File, err)
	}
	if err := newEncoder(w).Encode(exchange); err != nil {
		return err
	}
	if !x.HasStream() {
		return nil
	}
	return eachLine(t, x, func(l tape.Line) error {
		_, err := w.Write(append(tape.AppendLine(nil, &l), '\n'))
		return err
	})
}

func eachLine(t *tape.Tape, x *tape.Exchange, do func(tape.Line) error) error {
	r, err := t.Stream(x)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := do(l); err != nil {
			return err
		}
	}
}

// showRaw prints the bytes of a body.
func showRaw(w io.Writer, t *tape.Tape, x *tape.Exchange, request bool) error {
	if isTerminal(w) {
		text := &textWriter{w: w}
		return errors.Join(writeRaw(text, t, x, request), text.close())
	}
	return writeRaw(w, t, x, request)
}

func writeRaw(w io.Writer, t *tape.Tape, x *tape.Exchange, request bool) error {
	write := func(data []byte) error {
		_, err := w.Write(data)
		return err
	}
	if request && !x.Request.Body.InStream {
		data, err := x.RequestBody()
		if err != nil {
			return err
		}
		return write(data)
	}
	if !x.HasStream() {
		return nil
	}
	return eachLine(t, x, func(l tape.Line) error {
		if l.End != nil || l.FromClient != request {
			return nil
		}
		return write(l.Data)
	})
}

// A textWriter writes nothing but text, whose characters may be split over writes.
type textWriter struct {
	w    io.Writer
	held []byte // the beginning of a character
}

// Write implements io.Writer.
func (t *textWriter) Write(p []byte) (int, error) {
	b := append(t.held, p...)
	whole := len(b)
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if at := len(b) - i; utf8.RuneStart(b[at]) {
			if !utf8.FullRune(b[at:]) {
				whole = at
			}
			break
		}
	}
	if !isText(b[:whole]) {
		return 0, errNoText()
	}
	if _, err := t.w.Write(b[:whole]); err != nil {
		return 0, err
	}
	t.held = b[whole:]
	return len(p), nil
}

func (t *textWriter) close() error {
	if len(t.held) > 0 {
		return errNoText()
	}
	return nil
}

func errNoText() error {
	return usagef("send it to a file or another program with > or |", "the body is not text, which a terminal might obey")
}

// isText reports whether bytes do nothing to a terminal but move on: no control
// characters, of which some terminals take those of 8 bits as well.
func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return false
		}
	}
	return true
}
