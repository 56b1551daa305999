package main

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

//go:embed completion
var completionScripts embed.FS

// shells are those for which there is a script.
func shells() []string {
	entries, err := completionScripts.ReadDir("completion")
	if err != nil {
		panic(err) // embedded files can be read
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
	}
	return names
}

// completionFile is the script's for a shell.
func completionFile(shell string) string {
	if shell == "powershell" {
		return "completion/powershell.ps1"
	}
	return "completion/" + shell + "." + shell
}

func completionCommand(io streams) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the script by which a shell completes wiretape", ArgsUsage: "bash|zsh|fish|powershell",
		Description: `   Commands, flags, services, tapes, cases and topics are completed.

   example: source <(wiretape completion bash)
   example: wiretape completion zsh > "${fpath[1]}/_wiretape"
   example: wiretape completion fish > ~/.config/fish/completions/wiretape.fish
   example: wiretape completion powershell | Out-String | Invoke-Expression`,
		Action: func(c *cli.Context) error {
			if err := exactArgs(c, 1, "the shell"); err != nil {
				return err
			}
			shell := c.Args().First()
			if !slices.Contains(shells(), shell) {
				return usagef(orClosest("wiretape completion ", shell, shells(), "it is "+strings.Join(shells(), ", ")), "there is no completion for %q", shell)
			}
			script, err := completionScripts.ReadFile(completionFile(shell))
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(io.out, string(script))
			return err
		},
	}
}
