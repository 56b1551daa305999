package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// Help is read in terminals of 80 columns. Examples are to be copied, so they
// are never broken.
func TestHelpFitsEightyColumns(t *testing.T) {
	var visit func(args []string, commands []*cli.Command)
	visit = func(args []string, commands []*cli.Command) {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append(args, "--help"), streams{strings.NewReader(""), &out, &errs}); code != exitOK || errs.Len() > 0 {
			t.Errorf("%v --help: exit code %d, %s", args, code, &errs)
		}
		for line := range strings.Lines(out.String()) {
			line = strings.TrimRight(line, "\n")
			if utf8.RuneCountInString(line) > 80 && !strings.HasPrefix(line, "   example: ") {
				t.Errorf("%v --help has a line of %d columns:\n%s", args, utf8.RuneCountInString(line), line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%v --help has a line that ends in a space:\n%s", args, line)
			}
		}
		for _, c := range commands {
			if !c.Hidden {
				visit(append(args[:len(args):len(args)], c.Name), c.Subcommands)
			}
		}
	}
	visit([]string{"wiretape"}, newApp(streams{}).Commands)
}

func TestFlagHelp(t *testing.T) {
	tests := []struct {
		name string
		flag cli.Flag
		want string
	}{
		{"a switch", &cli.BoolFlag{Name: "json", Usage: "print JSON"}, "--json\tprint JSON"},
		{"a letter comes first", &cli.StringSliceFlag{Name: "file", Aliases: []string{"f"}, Usage: "compose `FILE`"}, "-f, --file FILE\tcompose FILE"},
		{"a default", &cli.IntFlag{Name: "parallel", Usage: "send `N` at once", Value: 1}, "--parallel N\tsend N at once (default: 1)"},
		{"an environment variable", &cli.BoolFlag{Name: "debug", Usage: "log", EnvVars: []string{"WIRETAPE_DEBUG"}}, "--debug\tlog [$WIRETAPE_DEBUG]"},
		{
			"long texts go on below",
			&cli.StringFlag{Name: "tape", Usage: "`DIR` to record to (default: tapes/default beside the compose file)"},
			"--tape DIR\tDIR to record to (default: tapes/default beside\n   \tthe compose file)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := flagHelp(tt.flag); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
