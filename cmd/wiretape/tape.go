package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose/report"
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
				Description: "   TAPE is a folder, or volume:NAME for a volume of the engine; " + defaultTape + "\n   if it is not given.\n\n   example: wiretape tape ls --host '*.openai.com' --sort -first",
				Flags:       flags([]cli.Flag{jsonFlag}, listFlags()),
				Action: func(c *cli.Context) error {
					o, err := listOptionsOf(c)
					if err != nil {
						return err
					}
					return tapeLs(c.Context, o, io.out)
				},
			},
			{
				Name: "show", Usage: "print one exchange with its events, lines or messages", ArgsUsage: "[TAPE] NUMBER|FILE",
				Description: "   example: wiretape tape show 1\n   example: wiretape tape show tapes/other case:2\n   example: wiretape tape show --as chat 1",
				Flags:       flags([]cli.Flag{jsonFlag}, showFlags()),
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
			tapeScanCommand(io, jsonFlag),
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

// tapeOptionsOf reads [TAPE].
func tapeOptionsOf(c *cli.Context) (tapeOptions, error) {
	var err error
	if c.NArg() > 1 {
		err = exactArgs(c, 1, "")
	}
	return tapeOptions{cmp.Or(c.Args().First(), defaultTape), outputOf(c)}, err
}

// open opens the tape.
func (o tapeOptions) open(ctx context.Context) (*placedTape, error) {
	return openTape(ctx, filepath.FromSlash(o.dir))
}

// newEncoder writes JSON for people to read as well: URLs and text stay as they are.
func newEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

func tapeVerify(ctx context.Context, o tapeOptions, w io.Writer) error {
	t, err := o.open(ctx)
	defer t.close()
	if err != nil {
		return err
	}
	config, err := readConfig(".")
	if err != nil {
		return err
	}
	problems := t.Verify()
	if !config.Redact.KeepBodies {
		// What can't be read is a problem of its own already.
		found, _ := t.Secrets(tape.NewRedactor(config.Redact.rules()))
		for i := range found {
			problems = append(problems, tape.Problem{File: found[i].File, Line: found[i].Line, Msg: "holds a secret: " + secretText(&found[i])})
		}
	}
	wrong := 0
	enc := newEncoder(w)
	for _, p := range problems {
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
