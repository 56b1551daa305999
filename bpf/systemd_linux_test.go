package bpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wiretape/wiretape/dev/needs"
)

const systemdProgram = "/lib/systemd/systemd"

// A systemd is one that runs as the first process of its own namespaces, in a cgroup of
// its own, with nothing to start.
type systemd struct {
	t      *testing.T
	pid    int
	cgroup string // where its cgroup2 tree is here
}

func bootSystemd(t *testing.T) *systemd {
	t.Helper()
	root := needKernel(t)
	needs.Kernel(t, func() error { _, err := os.Stat(systemdProgram); return err })
	s := &systemd{t: t}
	var err error
	if s.cgroup, err = os.MkdirTemp(root, "wiretape-test-"); err != nil {
		t.Fatal(err)
	}
	units := t.TempDir()
	if err := os.WriteFile(filepath.Join(units, "nothing.target"), []byte("[Unit]\nDefaultDependencies=no\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(s.cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd := exec.CommandContext(t.Context(), "unshare", "--pid", "--fork", "--kill-child", "--mount", "--cgroup", "--uts", "--ipc", "--net", "--mount-proc",
		"sh", "-ec", `
mount -o remount,bind,ro /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i container=test PATH=/usr/bin:/bin SYSTEMD_UNIT_PATH="$1" SYSTEMD_GENERATOR_PATH="$1" `+systemdProgram+` --unit=nothing.target --log-target=null
`, "sh", units)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(in.Fd())}
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := removeTree(ctx, s.cgroup); err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		if s.pid, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
			continue
		}
		if out, err := s.run("systemctl", "is-active", "nothing.target"); err == nil && strings.TrimSpace(out) == "active" {
			return s
		}
	}
	t.Fatal("systemd does not start")
	return nil
}

func (s *systemd) run(command ...string) (string, error) {
	cmd := exec.CommandContext(s.t.Context(), "nsenter", append([]string{"-t", strconv.Itoa(s.pid), "-m", "-p", "-C"}, command...)...)
	cmd.Env = helperEnviron("forget")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *systemd) must(command ...string) string {
	s.t.Helper()
	out, err := s.run(command...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// slices lists the loaded slices of that name and below.
func (s *systemd) slices(pattern string) []string {
	s.t.Helper()
	var names []string
	for line := range strings.Lines(s.must("systemctl", "list-units", "--all", "--no-legend", "--plain", "--type=slice", pattern)) {
		names = append(names, strings.Fields(line)[0])
	}
	return names
}

// helpForget forgets a slice as the agent does, which shares the process numbers of
// the machine's systemd: it takes no connection from others.
func helpForget() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return ForgetSlice(ctx, SystemdSocket, os.Args[1])
}

// An engine with the systemd driver runs each container in a scope, whose slices stay.
func TestASliceIsForgottenAndDoesNotComeBack(t *testing.T) {
	s := bootSystemd(t)
	s.must("systemd-run", "--scope", "--slice=wiretape_12-s0.slice", "true")
	s.must("systemd-run", "--scope", "--slice=wiretape_12-s1.slice", "true")
	s.must("systemd-run", "--scope", "--slice=wiretape_123-s0.slice", "true")
	if got := s.slices("wiretape_12*"); len(got) != 5 {
		t.Fatalf("there are %q, so this test shows nothing", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dir := filepath.Join(s.cgroup, "wiretape_12.slice")
	if err := removeTree(ctx, dir); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second has nothing to do
		s.must(self, "wiretape_12.slice")
	}
	if got := s.slices("wiretape_12*"); len(got) != 2 {
		t.Errorf("loaded are %q, want those of the other session alone", got)
	}
	s.must("systemctl", "daemon-reload")
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cgroup is back: %v", err)
	}
}

func TestASliceThatCannotBeForgottenIsNamedWithWhatToDo(t *testing.T) {
	err := ForgetSlice(t.Context(), filepath.Join(t.TempDir(), "none"), "wiretape_12.slice")
	if err == nil || !strings.Contains(err.Error(), "systemctl stop wiretape_12.slice") {
		t.Errorf("got %v", err)
	}
}
