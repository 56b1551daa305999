package main

import (
	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose/agent/program"
)

// agentCommand is what runs in wiretape's own container.
func agentCommand(io streams) *cli.Command {
	return &cli.Command{
		Name:   "agent",
		Usage:  "the program in wiretape's container; not for use by hand",
		Hidden: true,
		// urfave/cli would take what follows for a command of its own.
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			return program.Main(c.Context, version, c.Args().Slice(), io.in, io.out, io.err)
		},
	}
}
