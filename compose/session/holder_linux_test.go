package session

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/dev/needs"
)

// stateToJudge is set where this program runs to say what it makes of a session.
const stateToJudge = "WIRETAPE_TEST_STATE"

func TestMain(m *testing.M) {
	if found := os.Getenv(stateToJudge); found != "" {
		judge(found)
		return
	}
	os.Exit(m.Run())
}

func judge(found string) {
	var f Found
	if err := json.Unmarshal([]byte(found), &f.State); err != nil {
		panic(err)
	}
	f.agentRuns = true
	fmt.Printf("held while its agent runs: %t, a tape to rescue then: %t", f.alive(), f.cutOffTape() != "")
	f.agentRuns = false
	fmt.Printf("; without: %t, %t\n", f.alive(), f.cutOffTape() != "")
}

// askFrom has this program judge a session, as the last argument of a command.
func askFrom(t *testing.T, s State, command ...string) string {
	t.Helper()
	found, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command = append(command, self)
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append(os.Environ(), stateToJudge+"="+string(found))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// WSL distributions and dev containers have the host's name and other process numbers.
func TestASessionIsHeldByItsProcessAlsoSeenFromAnotherPIDNamespace(t *testing.T) {
	const isolated = "unshare --pid --fork --mount-proc"
	needs.Kernel(t, func() error {
		return exec.CommandContext(t.Context(), "unshare", "--pid", "--fork", "--mount-proc", "true").Run()
	})
	alive, err := newState("1", "p", agent.Record, EngineInfo{}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	alive.Recording = t.TempDir()
	gone := exec.CommandContext(t.Context(), "sleep", "600")
	if err := gone.Start(); err != nil {
		t.Fatal(err)
	}
	dead := alive
	dead.PID, dead.Process = gone.Process.Pid, processBirth(gone.Process.Pid)
	_ = gone.Process.Kill()
	_ = gone.Wait()

	const (
		held    = "held while its agent runs: true, a tape to rescue then: false; without: true, false"
		ended   = "held while its agent runs: false, a tape to rescue then: true; without: false, true"
		byAgent = "held while its agent runs: true, a tape to rescue then: false; without: false, true"
	)
	for _, c := range []struct {
		name, command string
		state         State
		want          string
	}{
		{"here, of a process that lives", "env", alive, held},
		{"here, of one that is gone", "env", dead, ended},
		{"from another pid namespace, of a process that lives", isolated, alive, byAgent},
		{"from another pid namespace, of one that is gone", isolated, dead, byAgent},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := askFrom(t, c.state, strings.Fields(c.command)...); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
