package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/docs"
)

// schemaTopic is the topic that is no page.
const schemaTopic = "schema"

func helpCommand(io streams) *cli.Command {
	return &cli.Command{
		Name: "help", Usage: "print a page of the documentation, or a command's help", ArgsUsage: "[TOPIC [SECTION] | COMMAND...]",
		Description: `   Without a topic it lists them. A section is named as in links, or by its
   words.

   example: wiretape help configuration noise
   example: wiretape help compose test`,
		Action: func(c *cli.Context) error { return runHelp(c, io.out) },
	}
}

func runHelp(c *cli.Context, out io.Writer) error {
	words := c.Args().Slice()
	if len(words) == 0 {
		return listTopics(out)
	}
	if words[0] == schemaTopic && len(words) == 1 {
		_, err := fmt.Fprint(out, docs.Schema)
		return err
	}
	page := docs.Page(words[0])
	if page == "" {
		return commandsHelp(c, words)
	}
	if len(words) > 1 {
		anchor := strings.ToLower(strings.Join(words[1:], "-"))
		section := docs.Section(page, anchor)
		if section == "" {
			next := "wiretape help " + words[0] + " prints the page"
			if s := closest(anchor, docs.Sections(page)); s != "" {
				next = "did you mean wiretape help " + words[0] + " " + s + "?"
			}
			return usagef(next, "the page %s has no section %q", words[0], strings.Join(words[1:], " "))
		}
		page = section
	}
	if isTerminal(out) {
		page = renderMarkdown(page, min(terminalWidth(out), 100), colored(out))
	}
	return paged(out, func(w io.Writer) error {
		_, err := io.WriteString(w, page)
		return err
	})
}

func listTopics(w io.Writer) error {
	fmt.Fprintln(w, "TOPICS:")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range docs.Topics() {
		fmt.Fprintf(tw, "   %s\t%s\n", t.Name, t.About)
	}
	fmt.Fprintf(tw, "   %s\tThe JSON Schema of wiretape.yaml\n", schemaTopic)
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\nwiretape help TOPIC prints one, wiretape help COMMAND the help of a command,\nand wiretape --help lists the commands.")
	return err
}

func topicNames() []string {
	names := []string{schemaTopic}
	for _, t := range docs.Topics() {
		names = append(names, t.Name)
	}
	return names
}

// commandsHelp is the help of a command, as --help behind it gives it.
func commandsHelp(c *cli.Context, words []string) error {
	commands := c.App.Commands
	for i, word := range words {
		cmd := commandOf(commands, word)
		if cmd == nil {
			names := commandNames(commands)
			if i == 0 {
				names = append(names, topicNames()...)
			}
			return usagef(orClosest("wiretape help "+strings.Join(append(words[:i:i], ""), " "), word, names, "the topics are listed by wiretape help, and the commands by wiretape --help"),
				"there is no topic and no command %q", strings.Join(words, " "))
		}
		commands = cmd.Subcommands
	}
	return c.App.RunContext(c.Context, slices.Concat([]string{c.App.Name}, words, []string{"--help"}))
}
