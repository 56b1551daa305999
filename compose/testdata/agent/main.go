// Agent is what runs in the agent's container in this package's tests.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/wiretape/wiretape/compose/agent/program"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "agent" {
		fmt.Fprintln(os.Stderr, "usage: wiretape agent …")
		os.Exit(2)
	}
	if err := program.Main(context.Background(), "test", os.Args[2:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
