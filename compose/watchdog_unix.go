//go:build unix

package compose

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Scripts of a watchdog: it is told a process group, and then either that it is
// not needed any more, or nothing, because our process is gone.
const (
	// endPatiently gives the group the time that waitOrEnd does.
	endPatiently = `trap '' INT TERM HUP
read -r group || exit 0
read -r _ && exit 0
for try in INT:100 TERM:50; do
	kill -s "${try%:*}" -- "-$group" 2>/dev/null || exit 0
	n=${try#*:}
	while [ "$n" -gt 0 ]; do
		sleep 0.1
		kill -s 0 -- "-$group" 2>/dev/null || exit 0
		n=$((n - 1))
	done
done
kill -s KILL -- "-$group" 2>/dev/null`
	// endAtOnce is for docker commands: they have nothing to lose, and must not
	// make things behind the back of the next undo.
	endAtOnce = `trap '' INT TERM HUP
read -r group || exit 0
read -r _ && exit 0
kill -s KILL -- "-$group" 2>/dev/null`
)

// A watchdog is a process that outlives ours if that is killed, and then ends
// the process group of one that we had started. The kernel's own means for that
// (PR_SET_PDEATHSIG) reach one process and no group, and hang on a thread.
type watchdog struct {
	cmd  *exec.Cmd
	tell io.WriteCloser
}

// newWatchdog starts a watchdog; nil where there is no shell.
func newWatchdog(script string) *watchdog {
	m := &watchdog{cmd: exec.Command("/bin/sh", "-c", script)}
	m.cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	m.cmd.Dir = string(os.PathSeparator)
	ownProcessGroup(m.cmd)
	var err error
	if m.tell, err = m.cmd.StdinPipe(); err != nil {
		return nil
	}
	if m.cmd.Start() != nil {
		return nil
	}
	return m
}

// watch names the process group to end.
func (m *watchdog) watch(leader *os.Process) {
	if m != nil && leader != nil {
		fmt.Fprintln(m.tell, leader.Pid)
	}
}

// dismiss ends the watchdog: the group is not ours to end any more.
func (m *watchdog) dismiss() {
	if m == nil {
		return
	}
	fmt.Fprintln(m.tell)
	m.tell.Close()
	m.cmd.Process.Kill() // it may wait for a group that never was
	m.cmd.Wait()
}
