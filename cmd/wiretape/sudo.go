package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// withCallersFiles has each command end by giving the files that it may have
// made to the user who ran it through sudo.
func withCallersFiles(commands []*cli.Command) {
	for _, cmd := range commands {
		withCallersFiles(cmd.Subcommands)
		if len(cmd.Subcommands) == 0 && cmd.After == nil {
			cmd.After = func(c *cli.Context) error {
				giveToCaller(os.Getenv, outputsOf(c))
				return nil
			}
		}
	}
}

// outputs are where a command writes.
type outputs struct {
	tapes, reports, files []string
}

func outputsOf(c *cli.Context) outputs {
	var o outputs
	o.tapes = c.StringSlice("tape")
	if dir := c.String("tape"); len(o.tapes) == 0 && dir != "" {
		o.tapes = []string{dir}
	}
	if dir := c.String("report"); dir != "" {
		o.reports = []string{dir}
	}
	if dir := c.Args().First(); dir != "" { // of the tape commands
		o.tapes = append(o.tapes, dir)
	}
	if dir, err := composeDir(c.String("project-directory"), c.StringSlice("file")); err == nil {
		o.tapes = append(o.tapes, filepath.Join(dir, defaultTape))
		o.files = append(o.files, filepath.Join(dir, configName))
		if c.Command.Name == "init" {
			o.files = append(o.files, filepath.Join(dir, gitAttributes))
		}
	}
	if dir, err := mitmtls.DefaultDir(os.Getenv); err == nil {
		for _, name := range []string{mitmtls.RootCertFile, mitmtls.RootKeyFile} {
			o.files = append(o.files, filepath.Join(dir, name))
		}
	}
	return o
}
