package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/httpstream/tape"
)

func tapeScanCommand(io streams, jsonFlag cli.Flag) *cli.Command {
	return &cli.Command{
		Name: "scan", Usage: "find secrets that are on a tape", ArgsUsage: "[TAPE...]",
		Description: "   Finds what a recording would replace today, with file and line. What stands\n   for a secret is none. Rules are those of the wiretape.yaml in this folder.\n\n   example: wiretape tape scan tapes/*\n   example: wiretape tape scan --sarif >secrets.sarif",
		Flags:       []cli.Flag{jsonFlag, &cli.BoolFlag{Name: "sarif", Usage: "print SARIF 2.1.0, for code scanning"}},
		Action: func(c *cli.Context) error {
			o := scanOptions{tapes: c.Args().Slice(), output: outputOf(c), sarif: c.Bool("sarif")}
			if o.sarif && o.output == forMachines {
				return usagef("choose one", "--json and --sarif are two formats")
			}
			if len(o.tapes) == 0 {
				o.tapes = []string{defaultTape}
			}
			return tapeScan(c.Context, o, io.out, c.App.Version)
		},
	}
}

// scanOptions are those of tape scan.
type scanOptions struct {
	tapes  []string
	output output
	sarif  bool
}

// tapeScan is tape scan.
func tapeScan(ctx context.Context, o scanOptions, w io.Writer, version string) error {
	config, err := readConfig(".")
	if err != nil {
		return err
	}
	redact := tape.NewRedactor(config.Redact.rules())
	var all []tape.Secret
	for _, dir := range o.tapes {
		found, err := secretsOf(ctx, dir, redact)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	switch {
	case o.sarif:
		err = newEncoder(w).Encode(sarifOf(all, version))
	case o.output == forMachines:
		enc := newEncoder(w)
		for _, s := range all {
			err = cmp.Or(err, enc.Encode(map[string]any{"file": s.File, "line": s.Line, "rule": s.Rule, "where": s.Where, "size": s.Size}))
		}
	default:
		for _, s := range all {
			fmt.Fprintf(w, "%s: %s\n", placeOf(&s), secretText(&s))
		}
	}
	if err != nil {
		return err
	}
	if len(all) > 0 {
		return &event.Problem{
			Kind: event.BrokenTape, Err: fmt.Errorf("%s on %s", report.Plural(len(all), "secret"), strings.Join(o.tapes, ", ")),
			Next: "revoke what is still valid, and record again; what is none: name it under redact.keep_members, keep_headers or keep_params in " + configName,
		}
	}
	if o.output != forMachines && !o.sarif {
		fmt.Fprintf(w, "no secrets on %s\n", strings.Join(o.tapes, ", "))
	}
	return nil
}

// secretsOf finds the secrets of one tape.
func secretsOf(ctx context.Context, dir string, redact *tape.Redactor) ([]tape.Secret, error) {
	t, err := openTape(ctx, filepath.FromSlash(dir))
	defer t.close()
	if err != nil {
		return nil, err
	}
	found, err := t.Secrets(redact)
	for i := range found {
		found[i].File = t.shown(found[i].File)
	}
	return found, err
}

func placeOf(s *tape.Secret) string {
	if s.Line == 0 {
		return s.File
	}
	return fmt.Sprintf("%s:%d", s.File, s.Line)
}

func secretText(s *tape.Secret) string {
	return fmt.Sprintf("%s in the %s, %s", s.Rule, s.Where, report.Plural(s.Size, "byte"))
}

// sarifOf is a log in the Static Analysis Results Interchange Format 2.1.0 (OASIS).
func sarifOf(found []tape.Secret, version string) any {
	type object = map[string]any
	var rules []object
	results := []object{}
	var known []string
	for i := range found {
		s := &found[i]
		if !slices.Contains(known, s.Rule) {
			known = append(known, s.Rule)
			rules = append(rules, object{"id": s.Rule})
		}
		location := object{"artifactLocation": object{"uri": filepath.ToSlash(s.File)}}
		if s.Line > 0 {
			location["region"] = object{"startLine": s.Line}
		}
		results = append(results, object{
			"ruleId": s.Rule, "level": "error", "message": object{"text": secretText(s)},
			"locations": []object{{"physicalLocation": location}},
		})
	}
	return object{
		"$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		"version": "2.1.0",
		"runs": []object{{
			"tool":    object{"driver": object{"name": "wiretape", "version": version, "rules": rules}},
			"results": results,
		}},
	}
}
