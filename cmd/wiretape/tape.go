package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

const defaultTape = "tapes/default"

func tapeCommand(io streams) *cli.Command {
	jsonFlag := &cli.BoolFlag{Name: "json", Usage: "print JSON, one object a line"}
	return &cli.Command{
		Name:  "tape",
		Usage: "look at recordings",
		Subcommands: []*cli.Command{
			{
				Name: "ls", Usage: "list the exchanges of a tape", ArgsUsage: "[TAPE]",
				Description: "   TAPE is a folder, or volume:NAME for a volume of the engine; " + defaultTape + "\n   if it is not given.",
				Flags:       []cli.Flag{jsonFlag},
				Action: func(c *cli.Context) error {
					o, err := tapeOptionsOf(c)
					if err != nil {
						return err
					}
					return tapeLs(c.Context, o, io.out)
				},
			},
			{
				Name: "show", Usage: "print one exchange with its stream, chunk by chunk", ArgsUsage: "[TAPE] NUMBER|FILE",
				Description: "   example: wiretape tape show 1\n   example: wiretape tape show tapes/other case:2",
				Flags:       []cli.Flag{jsonFlag, &cli.BoolFlag{Name: "units", Usage: "show the events, lines or parts of the answer instead of its chunks"}},
				Action: func(c *cli.Context) error {
					o, err := showOptionsOf(c)
					if err != nil {
						return err
					}
					return tapeShow(c.Context, o, io.out)
				},
			},
			{
				Name: "verify", Usage: "check every file of a tape", ArgsUsage: "[TAPE]",
				Flags: []cli.Flag{jsonFlag},
				Action: func(c *cli.Context) error {
					o, err := tapeOptionsOf(c)
					if err != nil {
						return err
					}
					return tapeVerify(c.Context, o, io.out)
				},
			},
			{
				Name: "cp", Usage: "copy a tape to a folder or a volume", ArgsUsage: "TAPE COPY",
				Description: "   Each is a folder, or volume:NAME for a volume of the engine, which is made if\n   it is missing. What is in the copy's place already stays.\n\n   example: wiretape tape cp volume:tapes tapes/chat",
				Flags:       []cli.Flag{jsonFlag},
				Action: func(c *cli.Context) error {
					o, err := copyOptionsOf(c)
					if err != nil {
						return err
					}
					return tapeCopy(c.Context, o, io.out)
				},
			},
			{
				Name: "upgrade", Usage: "write a tape of an older format in the newest", ArgsUsage: "[TAPE]",
				Description: "   example: wiretape tape upgrade tapes/chat",
				Flags:       []cli.Flag{jsonFlag},
				Action: func(c *cli.Context) error {
					o, err := tapeOptionsOf(c)
					if err != nil {
						return err
					}
					return tapeUpgrade(o, io.out)
				},
			},
		},
	}
}

// tapeOptions are those of the tape verbs.
type tapeOptions struct {
	dir    string
	output output
}

// showOptions are those of tape show.
type showOptions struct {
	tapeOptions
	exchange string // see find
	units    bool   // instead of chunks
}

// tapeOptionsOf reads [TAPE].
func tapeOptionsOf(c *cli.Context) (tapeOptions, error) {
	var err error
	if c.NArg() > 1 {
		err = exactArgs(c, 1, "")
	}
	return tapeOptions{cmp.Or(c.Args().First(), defaultTape), outputOf(c)}, err
}

// showOptionsOf reads [TAPE] NUMBER|FILE.
func showOptionsOf(c *cli.Context) (showOptions, error) {
	o := showOptions{tapeOptions{defaultTape, outputOf(c)}, c.Args().First(), c.Bool("units")}
	if o.units && o.output == forMachines {
		return o, usagef("leave one of them out", "--json prints the lines of the tape, and --units what they make")
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

// open opens the tape.
func (o tapeOptions) open(ctx context.Context) (*placedTape, error) {
	return openTape(ctx, filepath.FromSlash(o.dir))
}

func tapeLs(ctx context.Context, o tapeOptions, w io.Writer) error {
	t, err := o.open(ctx)
	defer t.close()
	if err != nil {
		return err
	}
	if o.output == forMachines {
		enc := newEncoder(w)
		for _, x := range append(t.Calls, t.Cases...) {
			if err := enc.Encode(t.listed(x)); err != nil {
				return err
			}
		}
		return nil
	}
	m := t.Manifest
	state := "complete"
	if !m.Complete {
		state = "incomplete"
	}
	fmt.Fprintf(w, "%s: recorded %s by wiretape %s, %s\n", t.shown(t.Dir), m.Created.Local().Format("2006-01-02 15:04"), m.By, state)
	for _, p := range m.Problems {
		fmt.Fprintf(w, "  problem: %s\n", p)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, x := range append(t.Calls, t.Cases...) {
		fmt.Fprintf(tw, "%s %d\t%s\t%s\t%s\n", x.Kind, x.Number, x.Service, requested(x, shorten(x.Request.URL, 72)), result(x))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, o := range m.Opaque {
		fmt.Fprintf(w, "not recorded: %s", o.Address)
		if o.Service != "" {
			fmt.Fprintf(w, " from %s", o.Service)
		}
		fmt.Fprintf(w, ", %s (%s)", report.Times(o.Count), o.Reason)
		if o.Bytes > 0 {
			fmt.Fprintf(w, ", %s", report.Size(o.Bytes))
		}
		fmt.Fprintln(w)
	}
	return nil
}

// newEncoder writes JSON for people to read as well: URLs and text stay as they are.
func newEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

func outcome(x *tape.Exchange) string {
	switch {
	case x.Failed != "":
		return x.Failed
	case x.Response == nil:
		return "no answer"
	}
	return strconv.Itoa(x.Response.Head.Status)
}

// result is the outcome, and when an answer began.
func result(x *tape.Exchange) string {
	if x.Response == nil {
		return shorten(outcome(x), 72)
	}
	return outcome(x) + "  first " + report.Short(x.Response.At)
}

// requested puts the method in front of the target; a call that failed before
// there was a request has none.
func requested(x *tape.Exchange, target string) string {
	return strings.TrimLeft(x.Request.Method+" "+target, " ")
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// A listing is one exchange in tape ls --json.
type listing struct {
	Kind    tape.Kind `json:"kind"`
	Number  int       `json:"number"`
	Service string    `json:"service,omitempty"`
	Case    int       `json:"case,omitempty"`
	Method  string    `json:"method,omitempty"`
	URL     string    `json:"url"`
	Status  int       `json:"status,omitempty"`
	FirstUS int64     `json:"first_us,omitempty"`
	Failed  string    `json:"failed,omitempty"`
	File    string    `json:"file"`
	Stream  string    `json:"stream,omitempty"`
}

func (p *placedTape) listed(x *tape.Exchange) listing {
	l := listing{
		Kind: x.Kind, Number: x.Number, Service: x.Service, Case: x.Case, Method: x.Request.Method, URL: x.Request.URL,
		Failed: x.Failed, File: p.shown(x.File), Stream: x.Stream,
	}
	if x.Response != nil {
		l.Status, l.FirstUS = x.Response.Head.Status, x.Response.At.Microseconds()
	}
	return l
}

func tapeShow(ctx context.Context, o showOptions, w io.Writer) error {
	t, err := o.open(ctx)
	defer t.close()
	if err != nil {
		return err
	}
	x, err := find(t, o.exchange)
	if err != nil {
		return err
	}
	if o.output == forMachines {
		return showJSON(w, t.Tape, x)
	}
	return showText(w, t, x, o.units)
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

func showText(w io.Writer, t *placedTape, x *tape.Exchange, units bool) error {
	target := x.Request.URL
	if u, err := url.Parse(target); err == nil && u.Host != "" && x.Request.Method != "" {
		target = u.RequestURI() + "  at " + u.Scheme + "://" + u.Host
	}
	fmt.Fprintf(w, "%s %d, %s\n\n%s\n", x.Kind, x.Number, t.shown(x.File), strings.TrimRight(requested(x, target)+"  "+x.Request.Proto, " "))
	showFields(w, x.Request.Header)
	if b := x.Request.Body; b.Size > 0 {
		if b.InStream {
			fmt.Fprintf(w, "\n(%s, in the stream)\n", report.Size(b.Size))
		} else {
			data, err := x.RequestBody()
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "\n%s\n", printable(data))
		}
	}
	if x.Failed != "" {
		fmt.Fprintf(w, "\nfailed: %s\n", x.Failed)
	}
	if x.Response != nil {
		line := x.Response.Head.Line
		if line == "" {
			line = fmt.Sprintf("%s %d", x.Response.Head.Proto, x.Response.Head.Status)
		}
		fmt.Fprintf(w, "\n%12s  %s\n", micros(x.Response.At), line)
		showFields(w, x.Response.Head.Header)
	}
	if !x.HasStream() {
		return nil
	}
	fmt.Fprintln(w)
	var view *unitView
	if units {
		if view = newUnitView(w, x); view != nil {
			defer view.stop()
		}
	}
	return eachLine(t.Tape, x, func(l tape.Line) error {
		if view != nil {
			if err := view.line(&l); err != nil || l.End == nil {
				return err
			}
		}
		who := " "
		if l.FromClient {
			who = ">"
		}
		var err error
		if l.End != nil {
			_, err = fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%12s  end: %s %s", micros(l.At), l.End.How, l.End.Detail), " "))
			showFields(w, l.End.Trailer)
		} else {
			_, err = fmt.Fprintf(w, "%12s %s%s\n", micros(l.At), who, shownLine(&l))
		}
		return err
	})
}

// shownLine shows a chunk; of a WebSocket, what kind of frame it is as well.
func shownLine(l *tape.Line) string {
	s := printable(l.Data)
	if l.Unread {
		s = "(compressed, " + report.Size(int64(len(l.Deflated))) + ")"
	}
	f := l.Frame
	if f == nil {
		return s
	}
	name := " " + f.Name()
	if f.Status != 0 {
		name += " " + strconv.Itoa(f.Status)
	}
	if f.More {
		name += " (goes on)"
	}
	return name + "  " + s
}

// printable shows bytes on one line each; what is not text is quoted.
func printable(b []byte) string {
	return strconv.Quote(string(b))
}

func micros(d time.Duration) string {
	return fmt.Sprintf("%.3f ms", float64(d.Microseconds())/1e3)
}

func showFields(w io.Writer, fs httpstream.Fields) {
	for _, f := range fs {
		fmt.Fprintf(w, "%14s%s: %s\n", "", f.Name, f.Value)
	}
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

func tapeVerify(ctx context.Context, o tapeOptions, w io.Writer) error {
	t, err := o.open(ctx)
	defer t.close()
	if err != nil {
		return err
	}
	wrong := 0
	enc := newEncoder(w)
	for _, p := range t.Verify() {
		p.File = t.shown(p.File)
		what := "problem"
		if p.Remark {
			what = "remark"
		} else {
			wrong++
		}
		if o.output != forMachines {
			fmt.Fprintln(w, p)
		} else if err := enc.Encode(map[string]any{"file": p.File, "line": p.Line, what: p.Msg}); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return &event.Problem{Kind: event.BrokenTape, Err: fmt.Errorf("%s: %s", t.shown(t.Dir), report.Plural(wrong, "problem")), Next: "record it again, or mend the files that are named"}
	}
	if o.output != forMachines {
		fmt.Fprintf(w, "%s is sound: %s, %s\n", t.shown(t.Dir), report.Plural(len(t.Calls), "call"), report.Plural(len(t.Cases), "case"))
	}
	return nil
}

// tapeUpgrade is tape upgrade.
func tapeUpgrade(o tapeOptions, w io.Writer) error {
	if err := onlyFolder(o.dir, "wiretape tape upgrade"); err != nil {
		return err
	}
	done, err := tape.Upgrade(filepath.FromSlash(o.dir))
	if err != nil {
		return err
	}
	if o.output == forMachines {
		return newEncoder(w).Encode(map[string]any{"tape": o.dir, "from": done.From, "to": tape.Version, "streams": done.Streams})
	}
	if done.From == tape.Version {
		fmt.Fprintf(w, "%s is format %d already\n", o.dir, tape.Version)
		return nil
	}
	fmt.Fprintf(w, "%s is format %d now, and was %d; %s of WebSockets written anew\n", o.dir, tape.Version, done.From, report.Plural(done.Streams, "stream"))
	return nil
}
