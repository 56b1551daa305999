//go:build unix

package compose

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
)

func TestACommandEndsWhenItsCLIIsKilled(t *testing.T) {
	needs.Time(t)
	// One child, and one that does not care for SIGINT.
	cmd := exec.Command(os.Args[0], "sh", "-c", `sleep 1000 & one=$!; sh -c 'trap "" INT; sleep 1000 & wait' & echo $$ $one $!; wait`)
	cmd.Env = append(os.Environ(), helperEnv+"=command")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var left []string
		for _, word := range strings.Fields(line) {
			if pid, err := strconv.Atoi(word); err != nil || isRunning(pid) {
				left = append(left, word)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("of the processes %s, these are left: %v", strings.TrimSpace(line), left)
		}
	}
}

// isRunning reports whether a process is there and no zombie: who was its parent is gone.
func isRunning(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !os.IsNotExist(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestAWatchdogThatIsDismissedEndsNothing(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	ownProcessGroup(cmd)
	m := newWatchdog(endAtOnce)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.watch(cmd.Process)
	m.dismiss()
	if !isRunning(cmd.Process.Pid) {
		t.Error("the process was ended")
	}
	cmd.Process.Kill()
	cmd.Wait()
}
