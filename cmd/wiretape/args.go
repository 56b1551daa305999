package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arranged puts flags where urfave/cli looks for them. People write those of docker compose
// in front of the verb, and those of the tape verbs behind the tape.
func arranged(commands []*cli.Command, args []string) []string {
	group := 1
	for group < len(args) && isFlag(args[group]) { // those of wiretape itself have no value
		group++
	}
	if group >= len(args) {
		return args
	}
	g := commandOf(commands, args[group])
	if g == nil || len(g.Subcommands) == 0 {
		return args
	}
	var flags []cli.Flag
	for _, c := range g.Subcommands {
		flags = append(flags, c.Flags...)
	}
	verb := group + 1
	for verb < len(args) && isFlag(args[verb]) {
		n := flagLength(flags, args[verb:])
		if n == 0 {
			return args // what is wrong with it is said where it stands
		}
		verb += n
	}
	out := slices.Clone(args[:group+1])
	if verb >= len(args) {
		return out
	}
	before, rest := args[group+1:verb], args[verb+1:]
	out = append(out, args[verb])
	v := commandOf(g.Subcommands, args[verb])
	if v == nil {
		return append(out, rest...)
	}
	if g.Name == "tape" {
		rest = flagsFirst(v.Flags, rest)
	}
	return append(append(out, before...), rest...)
}

// flagsFirst moves flags in front of the arguments, up to "--".
func flagsFirst(flags []cli.Flag, args []string) []string {
	var first, rest []string
	for len(args) > 0 && args[0] != "--" {
		n := 1
		if isFlag(args[0]) {
			n = min(max(1, flagLength(flags, args)), len(args))
			first = append(first, args[:n]...)
		} else {
			rest = append(rest, args[0])
		}
		args = args[n:]
	}
	return append(append(first, rest...), args...)
}

func isFlag(arg string) bool { return len(arg) > 1 && arg[0] == '-' && arg != "--" }

// flagLength is how many of args a flag takes up with its value; 0 if it is not known.
func flagLength(flags []cli.Flag, args []string) int {
	name, _, joined := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
	f := flagOf(flags, name)
	switch {
	case f == nil:
		return 0
	case joined || !takesValue(f) || len(args) == 1:
		return 1
	}
	return 2
}

func flagOf(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	doc, ok := f.(cli.DocGenerationFlag)
	return ok && doc.TakesValue()
}

func commandOf(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}
