package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/docs"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// completePatience bounds what is asked of docker compose while somebody waits at a prompt.
const completePatience = 3 * time.Second

// values are those that a flag may have.
func (c *completion) values(f cli.Flag) ([]candidate, directive) {
	switch f.Names()[0] {
	case "file", "env-file", "upstream-ca":
		return nil, withFiles
	case "project-directory", "report":
		return nil, foldersOnly
	case "tape":
		return c.tapes()
	case "service":
		return c.services(), noFiles
	case "case":
		return c.cases(), noFiles
	case "host":
		return c.hosts(), noFiles
	case "on-miss":
		return []candidate{
			{string(agent.Fail), "it gets a 502, and fails the test"},
			{string(agent.Passthrough), "it goes to the real service"},
			{string(agent.RecordMiss), "so it does, and is added to the tape"},
		}, noFiles
	case "sort":
		var list []candidate
		for key := range sortKeys {
			list = append(list, candidate{key, ""}, candidate{"-" + key, "the highest first"})
		}
		slices.SortFunc(list, func(a, b candidate) int {
			return cmp.Or(strings.Compare(strings.TrimPrefix(a.word, "-"), strings.TrimPrefix(b.word, "-")), len(a.word)-len(b.word))
		})
		return list, noFiles
	case "as":
		return []candidate{{string(chatView), "what a language model said"}}, noFiles
	}
	return nil, noFiles
}

// arguments are what may stand at the cursor that is neither a flag nor its value.
func (c *completion) arguments() ([]candidate, directive) {
	switch name := c.verb; {
	case name == "help":
		return c.helpWords(), noFiles
	case name == "completion" && len(c.args) == 0:
		var list []candidate
		for _, s := range shells() {
			list = append(list, candidate{s, ""})
		}
		return list, noFiles
	case name == "tape show" && len(c.args) == 1:
		return exchangeCandidates(c.args[0]), noFiles
	case name == "tape show" && len(c.args) == 0:
		tapes, what := c.tapes()
		return append(exchangeCandidates(defaultTape), tapes...), what
	case name == "tape cp" && len(c.args) < 2, strings.HasPrefix(name, "tape ") && len(c.args) == 0:
		return c.tapes()
	case name == "compose record", name == "compose test":
		return []candidate{{"--", "a command follows"}}, noFiles
	}
	return nil, noFiles
}

func (c *completion) helpWords() []candidate {
	if len(c.args) == 0 {
		list := []candidate{{schemaTopic, "The JSON Schema of wiretape.yaml"}}
		for _, t := range docs.Topics() {
			list = append(list, candidate{t.Name, t.About})
		}
		return append(list, commandCandidates(newApp(streams{}).Commands)...)
	}
	if page := docs.Page(c.args[0]); page != "" && len(c.args) == 1 {
		var list []candidate
		for _, s := range docs.Sections(page) {
			list = append(list, candidate{s, ""})
		}
		return list
	}
	commands := newApp(streams{}).Commands
	for _, word := range c.args {
		cmd := commandOf(commands, word)
		if cmd == nil {
			return nil
		}
		commands = cmd.Subcommands
	}
	return commandCandidates(commands)
}

// project is the one that the flags so far choose.
func (c *completion) project() compose.ProjectFlags {
	last := func(name string) string {
		if v := c.given[name]; len(v) > 0 {
			return v[len(v)-1]
		}
		return ""
	}
	return compose.ProjectFlags{
		Files: c.given["file"], Profiles: c.given["profile"], EnvFiles: c.given["env-file"],
		ProjectName: last("project-name"), ProjectDir: last("project-directory"),
	}
}

func (c *completion) services() []candidate {
	ctx, cancel := context.WithTimeout(c.ctx, completePatience)
	defer cancel()
	tmp, err := os.MkdirTemp("", "wiretape-complete-")
	if err != nil {
		return nil
	}
	defer os.RemoveAll(tmp)
	p, err := compose.LoadProject(ctx, c.project(), tmp)
	if err != nil {
		return nil
	}
	var list []candidate
	for _, name := range p.ServiceNames() {
		list = append(list, candidate{name, p.Services[name].Image})
	}
	return list
}

// tapePlaces are the tapes that the command line names, else the default one.
func (c *completion) tapePlaces() []string {
	if len(c.given["tape"]) > 0 {
		return c.given["tape"]
	}
	if len(c.args) > 0 && strings.HasPrefix(c.verb, "tape ") {
		return c.args[:1]
	}
	dir := "."
	if strings.HasPrefix(c.verb, "compose ") {
		project := c.project()
		if d, err := composeDir(project.ProjectDir, project.Files); err == nil {
			dir = d
		}
	}
	return []string{filepath.Join(dir, filepath.FromSlash(defaultTape))}
}

// openFolder opens a tape in a folder; one in a volume would keep somebody waiting at a prompt.
func openFolder(place string) *tape.Tape {
	t, err := tape.Open(filepath.FromSlash(place))
	if err != nil {
		return nil
	}
	return t
}

func (c *completion) cases() []candidate {
	var list []candidate
	for _, place := range c.tapePlaces() {
		if t := openFolder(place); t != nil {
			for _, x := range t.Cases {
				list = append(list, candidate{caseName(x), requested(x, shorten(x.Request.URL, 60))})
			}
		}
	}
	return list
}

func (c *completion) hosts() []candidate {
	var list []candidate
	for _, place := range c.tapePlaces() {
		t := openFolder(place)
		if t == nil {
			continue
		}
		for _, x := range t.Calls {
			if u, err := url.Parse(x.Request.URL); err == nil && u.Hostname() != "" {
				list = append(list, candidate{u.Hostname(), ""})
			}
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return strings.Compare(a.word, b.word) })
	return slices.Compact(list)
}

// exchangeCandidates are the numbers of a tape's exchanges.
func exchangeCandidates(place string) []candidate {
	t := openFolder(place)
	if t == nil {
		return nil
	}
	var list []candidate
	for _, x := range append(slices.Clone(t.Calls), t.Cases...) {
		word := fmt.Sprint(x.Number)
		if x.Kind == tape.Case {
			word = "case:" + word
		}
		list = append(list, candidate{word, requested(x, shorten(x.Request.URL, 60))})
	}
	return list
}

// tapes are those in the folder that was typed so far, and the folders that may have some; without
// any word, those beside the compose file.
func (c *completion) tapes() ([]candidate, directive) {
	var list []candidate
	dir := c.typed[:strings.LastIndexByte(c.typed, '/')+1]
	folders := []string{dir}
	if dir == "" && strings.HasPrefix("tapes/", c.typed) {
		folders = append(folders, "tapes/")
	}
	for _, in := range folders {
		at := in
		if at == "" {
			at = "."
		}
		entries, err := os.ReadDir(filepath.FromSlash(at))
		if err != nil {
			continue
		}
		for _, e := range entries {
			name := in + e.Name()
			info, err := os.Stat(filepath.FromSlash(name))
			if err != nil || !info.IsDir() || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.FromSlash(name), "tape.yaml")); err == nil {
				list = append(list, candidate{name, "a tape"})
			} else if in == dir {
				list = append(list, candidate{name + "/", ""})
			}
		}
	}
	return list, noFiles
}
