package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// A placedTape is a tape that was opened, and where the user has it: in a folder, or
// in a volume of the engine, of which this is a copy.
type placedTape struct {
	*tape.Tape
	place string // as --tape has it
	temp  string // the folder of the copy; empty if it is none
}

// openTape opens the tape at a place. Close it.
func openTape(ctx context.Context, place string) (*placedTape, error) {
	at, is, err := recording.ParseVolume(place)
	if err != nil {
		return nil, err
	}
	p := &placedTape{place: place}
	if !is {
		p.Tape, err = tape.Open(place)
		return p, err
	}
	if p.temp, err = os.MkdirTemp("", "wiretape-tape-"); err != nil {
		return nil, err
	}
	dir := filepath.Join(p.temp, "tape")
	if err = compose.ReadTape(ctx, engineOptions(), at, dir); err == nil {
		p.Tape, err = tape.Open(dir)
	}
	if err != nil {
		defer p.close()
		if bad := (*tape.FormatError)(nil); errors.As(err, &bad) {
			bad.File = p.shown(bad.File)
		}
		return nil, err
	}
	return p, nil
}

func (p *placedTape) close() {
	if p != nil && p.temp != "" {
		os.RemoveAll(p.temp)
	}
}

// shown is a file of the tape as the user knows it.
func (p *placedTape) shown(file string) string {
	if p.temp == "" {
		return file
	}
	if rest, ok := strings.CutPrefix(file, filepath.Join(p.temp, "tape")); ok {
		return p.place + filepath.ToSlash(rest)
	}
	return file
}

// name is the tape as seen from here.
func (p *placedTape) name() string {
	if p.temp != "" {
		return p.place
	}
	return relative(p.Dir)
}

// file is a file of the tape as seen from here.
func (p *placedTape) file(name string) string { return relative(p.shown(name)) }

// engineOptions are for what is done with the engine outside a session.
func engineOptions() compose.Options {
	var opt compose.Options
	opt.Version = version
	return opt
}

// onlyFolder refuses a volume where nothing but a folder will do.
func onlyFolder(place, what string) error {
	at, is, err := recording.ParseVolume(place)
	if is && err == nil {
		err = usagef("copy it to a folder first: wiretape tape cp "+at.String()+" DIR; and back to another volume, or another folder of that, with wiretape tape cp DIR volume:NAME/FOLDER",
			"%s needs the tape in a folder, and %s is in a volume", what, at)
	}
	return err
}

// copyOptions are those of tape cp.
type copyOptions struct {
	from, to string
	output   output
}

func copyOptionsOf(c *cli.Context) (copyOptions, error) {
	return copyOptions{c.Args().First(), c.Args().Get(1), outputOf(c)}, exactArgs(c, 2, "the tape, and where its copy is to be")
}

// tapeCopy is tape cp.
func tapeCopy(ctx context.Context, o copyOptions, w io.Writer) error {
	to, toVolume, err := recording.ParseVolume(o.to)
	if err != nil {
		return err
	}
	if !toVolume {
		if err := isFree(o.to); err != nil {
			return err
		}
	}
	from, err := openTape(ctx, o.from)
	defer from.close()
	if err != nil {
		return err
	}
	if toVolume {
		err = compose.WriteTape(ctx, engineOptions(), from.Dir, to)
	} else {
		err = copyToFolder(from.Dir, o.to)
	}
	if err != nil {
		return err
	}
	if o.output == forMachines {
		return newEncoder(w).Encode(map[string]any{"from": o.from, "to": o.to, "calls": len(from.Calls), "cases": len(from.Cases)})
	}
	_, err = fmt.Fprintf(w, "copied %s to %s\n", o.from, o.to)
	return err
}

// isFree refuses a folder in which something is.
func isFree(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return recording.FileError("choose another folder", "copy to %s: %w", dir, err)
	}
	return usagef("choose another folder, or move that away", "there is something in %s already", dir)
}

// copyToFolder makes the copy beside its place, so that half of one is never there.
func copyToFolder(from, to string) error {
	parent := filepath.Dir(filepath.Clean(to))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return recording.FileError("choose another folder", "copy to %s: %w", to, err)
	}
	temp, err := os.MkdirTemp(parent, ".wiretape-cp-")
	if err != nil {
		return recording.FileError("choose another folder", "copy to %s: %w", to, err)
	}
	defer os.RemoveAll(temp)
	whole := filepath.Join(temp, "tape")
	if err := compose.CopyTape(from, whole); err != nil {
		return err
	}
	return tape.Replace(whole, to)
}
