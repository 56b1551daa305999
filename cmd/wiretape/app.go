package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
)

// The voice of the command line: no capitals at the start, no full stops at the
// end, and behind every error the next step.

// streams are where a command reads and prints.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, io streams) int {
	var left <-chan struct{}
	if len(args) > 1 && args[1] == pluginMetadataVerb {
		return exitCode(io.err, printPluginMetadata(io.out))
	}
	if calledByDocker(args) {
		own, err := pluginArgs(args)
		if err != nil {
			return exitCode(io.err, err)
		}
		args, left = own, leftByDocker()
	}
	ctx, stop := withInterrupts(ctx, left, io.err)
	defer stop()
	app := newApp(io)
	if len(args) > 1 && (args[1] == completeVerb || args[1] == completeVerbNoDesc) {
		return exitCode(io.err, printCompletions(ctx, app, args[1], args[2:], io.out))
	}
	return exitCode(io.err, app.RunContext(ctx, arranged(app.Commands, args)))
}

// withInterrupts ends ctx at the first SIGINT or SIGTERM, or once left is closed. What undoes a session has a
// context of its own, so a second signal only says what is going on.
func withInterrupts(ctx context.Context, left <-chan struct{}, w io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	// Who pipes the output into head must not leave a session undone: without
	// this, the first write to the closed pipe would end the process.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-signals:
				if n > 0 {
					fmt.Fprintln(w, overLiveLine(w)+"wiretape: leaving the project as it was found; this takes a moment")
				}
				cancel()
			case <-left:
				left = nil
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

func newApp(io streams) *cli.App {
	// urfave/cli prints -v as well; the word alone is enough.
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Usage: "print the version"}
	cli.FlagStringer = flagHelp
	app := &cli.App{
		Name:                   "wiretape",
		Usage:                  "record the streams of a docker compose app and play them back offline",
		Version:                version,
		Reader:                 io.in,
		Writer:                 io.out,
		ErrWriter:              io.err,
		UseShortOptionHandling: true,
		HideHelpCommand:        true,
		// As docker compose has it: a comma may be part of a file's name.
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // run reports it
		OnUsageError:              onUsageError,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "debug", Usage: "log what wiretape does to standard error", EnvVars: []string{"WIRETAPE_DEBUG"}},
			cli.HelpFlag, // urfave/cli leaves it out where there is a command help
		},
		Before: func(c *cli.Context) error {
			logrus.SetOutput(io.err)
			logrus.SetLevel(logrus.WarnLevel)
			if c.Bool("debug") {
				logrus.SetLevel(logrus.DebugLevel)
			}
			return nil
		},
		CustomAppHelpTemplate: appHelp,
		Commands: []*cli.Command{
			composeCommand(io), initCommand(io), tapeCommand(io), caCommand(io), doctorCommand(io), proxyCommand(io), pluginCommand(io),
			helpCommand(io), completionCommand(io), agentCommand(io),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef(orClosest("wiretape ", c.Args().First(), commandNames(c.App.Commands), "wiretape --help lists the commands"), "there is no command %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	for _, c := range app.Commands {
		finish(c)
	}
	withCallersFiles(app.Commands)
	return app
}

// finish gives a command and those below it what all have.
func finish(c *cli.Command) {
	c.OnUsageError = onUsageError
	c.HideHelpCommand = true
	c.CustomHelpTemplate = commandHelp
	if len(c.Subcommands) > 0 {
		c.CustomHelpTemplate = groupHelp
		c.Action = func(ctx *cli.Context) error {
			if ctx.Args().Present() {
				typed := ctx.Args().First()
				return usagef(orClosest("wiretape "+c.FullName()+" ", typed, commandNames(c.Subcommands), "wiretape "+c.FullName()+" --help lists them"), "there is no command %q", c.FullName()+" "+typed)
			}
			return cli.ShowSubcommandHelp(ctx)
		}
	}
	for _, sub := range c.Subcommands {
		finish(sub)
	}
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	name, flags := strings.TrimSpace(c.App.Name), c.App.Flags
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != c.App.Name {
		flags = c.Command.Flags
	}
	next := name + " --help shows the flags"
	if typed, ok := strings.CutPrefix(err.Error(), unknownFlag); ok {
		next = orClosest("--", strings.TrimLeft(typed, "-"), flagNames(flags), next)
	}
	return usagef(next, "%s", flagError(err.Error()))
}

// unknownFlag is how package flag begins.
const unknownFlag = "flag provided but not defined: -"

// flagError says what package flag says in the words of this command line.
func flagError(text string) string {
	if name, ok := strings.CutPrefix(text, unknownFlag); ok {
		return "there is no flag " + dashed(strings.TrimLeft(name, "-"))
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return dashed(strings.TrimLeft(name, "-")) + " needs a value"
	}
	if rest, ok := strings.CutPrefix(text, "invalid value "); ok {
		value, rest, _ := strings.Cut(rest, " for flag -")
		name, _, _ := strings.Cut(rest, ":")
		return dashed(name) + " can't be " + value
	}
	return text
}

const appHelp = `wiretape: {{.Usage}}

USAGE:
   wiretape compose record -- COMMAND  bring the project up, run COMMAND, record
   wiretape compose test               play it back offline, compare the answers

COMMANDS:{{range .VisibleCommands}}
   {{join .Names ", "}}{{"\t"}}{{.Usage}}{{end}}

GLOBAL FLAGS:{{range .VisibleFlags}}
   {{.}}{{end}}

` + exitCodesHelp + "\n"

const commandHelp = `{{.HelpName}}: {{.Usage}}

USAGE:
   {{if .UsageText}}{{.UsageText}}{{else}}{{.HelpName}}{{if .VisibleFlags}} [flags]{{end}}{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}{{end}}
{{if .Description}}
{{.Description}}
{{end}}{{if .VisibleFlags}}
FLAGS:{{range .VisibleFlags}}
   {{.}}{{end}}
{{end}}
` + exitCodesHelp + "\n"

const groupHelp = `{{.HelpName}}: {{.Usage}}

USAGE:
   {{.HelpName}} COMMAND [flags]

COMMANDS:{{range .VisibleCommands}}
   {{join .Names ", "}}{{"\t"}}{{.Usage}}{{end}}

` + exitCodesHelp + "\n"

// exactArgs is for commands that take a fixed number of arguments.
func exactArgs(c *cli.Context, n int, what string) error {
	if c.NArg() == n {
		return nil
	}
	if c.NArg() < n {
		return usagef(c.Command.HelpName+" --help shows an example", "%s is missing", what)
	}
	return usagef(c.Command.HelpName+" --help shows an example", "%q is one argument too many", c.Args().Get(n))
}

var errInterrupted = errors.New("interrupted")
