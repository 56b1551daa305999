package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose"
)

func doctorCommand(io streams) *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check Docker, compose and the kernel for what a session needs",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print findings as JSON, one a line"},
			&cli.BoolFlag{Name: "privileged", Usage: "check with a --privileged container"},
		},
		Action: func(c *cli.Context) error {
			if err := exactArgs(c, 0, ""); err != nil {
				return err
			}
			r := newReporter(io.out, outputOf(c))
			defer r.close()
			return compose.Doctor(c.Context, compose.DoctorOptions{
				Version: version, Privileged: c.Bool("privileged"),
				Found: r.finding,
			})
		},
	}
}

// finding prints one line of the doctor's.
func (r *reporter) finding(f compose.Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.json {
		r.emit(f)
		return
	}
	r.printFinding(f)
}

func (r *reporter) printFinding(f compose.Finding) {
	mark := r.paint("32", "ok  ")
	if !f.OK {
		mark = r.paint("31", "FAIL")
	}
	fmt.Fprintf(r.out, "%s  %-15s %s\n", mark, f.Check, f.Detail)
}
