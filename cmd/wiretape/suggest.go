package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// closest is the name that was probably meant; empty if none is like it.
func closest(typed string, names []string) string {
	best, least := "", (len(typed)+1)/3 // slips that may be
	for _, name := range names {
		if d := slips(strings.ToLower(typed), name); d < least || d == least && best == "" && d > 0 {
			best, least = name, d
		}
		if len(typed) > 2 && strings.HasPrefix(name, typed) && best == "" {
			best = name
		}
	}
	return best
}

// orClosest is the next step of a message: what was probably meant, with what stands in
// front of it, and where to look.
func orClosest(before, typed string, names []string, otherwise string) string {
	if name := closest(typed, names); name != "" {
		return "did you mean " + before + name + "? " + otherwise
	}
	return otherwise
}

// slips counts the letters that were left out, added, changed or swapped (the optimal
// string alignment distance).
func slips(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := range x {
		for j := range y {
			changed := rows[i][j]
			if x[i] != y[j] {
				changed++
			}
			least := min(changed, rows[i][j+1]+1, rows[i+1][j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				least = min(least, rows[i-1][j-1]+1)
			}
			rows[i+1][j+1] = least
		}
	}
	return rows[len(x)][len(y)]
}

// commandNames are the names of commands for people.
func commandNames(commands []*cli.Command) []string {
	var names []string
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Names()...)
		}
	}
	return names
}

// flagNames are the names of flags that are more than a letter.
func flagNames(flags []cli.Flag) []string {
	var names []string
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				names = append(names, name)
			}
		}
	}
	return names
}

// dashed is a flag's name as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
