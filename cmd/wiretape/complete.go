package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completeVerbs are how scripts for shells ask what could stand at the cursor: with the words
// up to there, the last of which may be empty. It is cobra's protocol, in which docker asks
// its plugins too: a candidate a line, with what it is behind a tab, and a directive.
const (
	completeVerb       = "__complete"
	completeVerbNoDesc = "__completeNoDesc"
)

// A directive says what the shell is to do beside offering the candidates.
type directive int

const (
	withFiles   directive = 0
	noSpace     directive = 2 // behind a candidate
	noFiles     directive = 4
	foldersOnly directive = 16
)

// A candidate is a word that could stand at the cursor.
type candidate struct{ word, about string }

// A completion is what is known of a command line up to the cursor.
type completion struct {
	ctx   context.Context
	verb  string              // its name with those of the groups above it
	given map[string][]string // values of flags, by their first name
	args  []string            // in front of the cursor
	typed string              // of the word at the cursor
}

// printCompletions answers a shell.
func printCompletions(ctx context.Context, app *cli.App, verb string, words []string, w io.Writer) error {
	if len(words) == 0 {
		words = []string{""}
	}
	list, what := complete(ctx, app, words)
	var b strings.Builder
	for _, c := range list {
		b.WriteString(c.word)
		if c.about != "" && verb == completeVerb {
			b.WriteString("\t" + c.about)
		}
		b.WriteByte('\n')
	}
	_, err := fmt.Fprintf(w, "%s:%d\n", &b, what)
	return err
}

// complete finds what could stand in the place of the last of words.
func complete(ctx context.Context, app *cli.App, words []string) ([]candidate, directive) {
	c := completion{ctx: ctx, given: map[string][]string{}, typed: words[len(words)-1]}
	commands, flags := app.Commands, app.Flags
	var value cli.Flag // that the next word is the value of
	for _, word := range words[:len(words)-1] {
		switch {
		case value != nil:
			c.give(value, word)
			value = nil
		case word == "--":
			return nil, withFiles // COMMAND
		case isFlag(word):
			name, joined, ok := strings.Cut(strings.TrimLeft(word, "-"), "=")
			f := flagOf(flags, name)
			switch {
			case f == nil:
			case ok:
				c.give(f, joined)
			case takesValue(f):
				value = f
			}
		case len(commands) > 0:
			cmd := commandOf(commands, word)
			if cmd == nil || cmd.Hidden {
				return nil, noFiles
			}
			c.verb = strings.TrimLeft(c.verb+" "+cmd.Name, " ")
			commands, flags = cmd.Subcommands, flagsUnder(cmd)
		default:
			c.args = append(c.args, word)
		}
	}
	if value != nil {
		return c.only(c.values(value))
	}
	if name, joined, ok := strings.Cut(c.typed, "="); ok && isFlag(c.typed) {
		f := flagOf(flags, strings.TrimLeft(name, "-"))
		if f == nil {
			return nil, noFiles
		}
		c.typed = joined
		return c.only(c.values(f))
	}
	if strings.HasPrefix(c.typed, "-") {
		return c.only(flagCandidates(flags), noFiles)
	}
	if len(commands) > 0 {
		return c.only(commandCandidates(commands), noFiles)
	}
	return c.only(c.arguments())
}

// flagsUnder are a command's flags; those of a group's verbs may stand in front of the verb.
func flagsUnder(c *cli.Command) []cli.Flag {
	all := slices.Clone(c.Flags)
	for _, sub := range c.Subcommands {
		for _, f := range sub.Flags {
			if flagOf(all, f.Names()[0]) == nil {
				all = append(all, f)
			}
		}
	}
	return append(all, cli.HelpFlag)
}

func (c *completion) give(f cli.Flag, value string) {
	name := f.Names()[0]
	c.given[name] = append(c.given[name], value)
}

// only leaves the candidates that begin as what was typed.
func (c *completion) only(list []candidate, what directive) ([]candidate, directive) {
	var out []candidate
	for _, k := range list {
		if strings.HasPrefix(k.word, c.typed) {
			out = append(out, k)
		}
	}
	// What can be gone on with is followed by no space.
	if len(out) > 0 && !slices.ContainsFunc(out, func(k candidate) bool { return !strings.HasSuffix(k.word, "/") }) {
		what |= noSpace
	}
	return out, what
}

func commandCandidates(commands []*cli.Command) []candidate {
	var list []candidate
	for _, c := range commands {
		if !c.Hidden {
			list = append(list, candidate{c.Name, c.Usage})
		}
	}
	return list
}

func flagCandidates(flags []cli.Flag) []candidate {
	var list []candidate
	for _, f := range flags {
		about := ""
		if doc, ok := f.(cli.DocGenerationFlag); ok {
			about = strings.ReplaceAll(doc.GetUsage(), "`", "")
		}
		for _, name := range f.Names() {
			if len(name) > 1 {
				list = append(list, candidate{"--" + name, about})
			}
		}
	}
	return list
}
