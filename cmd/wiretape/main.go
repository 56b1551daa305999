// Wiretape records every stream that a docker compose app consumes from the
// outside world, and plays it back byte for byte with the original timing.
package main

import (
	"context"
	"os"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run(context.Background(), os.Args, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}
