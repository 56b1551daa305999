//go:build !linux

package program

import (
	"context"
	"errors"
	"io"
)

// Main runs one of the agent's programs, which exist on Linux only: on other
// systems the agent runs in the engine's Linux machine.
func Main(context.Context, string, []string, io.Reader, io.Writer, io.Writer) error {
	return errors.New("the agent runs on Linux only")
}
