package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/agent/guard"
	"github.com/wiretape/wiretape/compose/agent/worker"
)

// Main runs one of the agent's programs, named by the first argument:
//
//	(none)          the guard, which starts the worker
//	worker          the proxy
//	cleanup CGROUP  remove what a session whose agent is gone left of its cgroups
//	doctor          check that the kernel can do what a session needs
//	connect         the doctor's client
func Main(ctx context.Context, version string, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "":
		return guard.Run(ctx, self, stdin, stdout, stderr)
	case "worker":
		return worker.Run(ctx, version, stdin, stdout)
	case "cleanup":
		if len(args) != 2 {
			return errors.New("agent cleanup wants the cgroup's path")
		}
		return guard.Cleanup(args[1])
	case "doctor":
		out := &agent.LineWriter{W: stdout}
		if err := Doctor(ctx, self); err != nil {
			out.Send(agent.FromAgent{Fatal: guard.FatalOf(err)})
			return err
		}
		return out.Send(agent.FromAgent{Ready: true})
	case "connect":
		return Connect(ctx)
	}
	return fmt.Errorf("the agent has no program %q", verb)
}
