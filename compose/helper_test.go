package compose

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/images"
	mitmtls "github.com/wiretape/wiretape/tls"
)

// runHelper runs a session that does not end; it prints the session's ID.
func runHelper(project, file, agentFile, ca, emptyTape string) int {
	mode, tape := agent.Mode(os.Getenv(helperEnv)), os.Getenv(helperTapeEnv)
	if mode == agent.Replay {
		tape = emptyTape
	}
	binary, err := images.OpenBinary(agentFile)
	if err == nil {
		var root *mitmtls.Root
		if root, err = mitmtls.LoadOrCreateRoot(ca); err == nil {
			_, err = Run(context.Background(), Options{
				ProjectFlags: ProjectFlags{ProjectName: project, Files: []string{file}},
				KeepNetworks: os.Getenv(helperEnv+"_KEEP_NETWORKS") != "",
				ReadyTimeout: 20 * time.Second,
				Options: session.Options{
					Mode: mode, Tape: tape, Apart: os.Getenv(helperApartEnv) != "", Speed: 1, OnMiss: "fail",
					Root: root, Agent: binary, Version: "test",
				},
			}, func(_ context.Context, s *Session) error {
				fmt.Print(s.ID())
				for _, port := range s.Published() {
					fmt.Print(" ", port.Published)
				}
				fmt.Println()
				select {}
			})
		}
	}
	fmt.Fprintln(os.Stderr, "the helper ended:", err)
	return 1
}
