package bpf

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMountinfoLinesOfWholeHierarchiesAreUsed(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       string // dir; empty: not used
		shows      []string
		showsNot   []string
	}{
		{"cgroup2", "41 32 0:36 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw",
			"/sys/fs/cgroup/unified", []string{""}, []string{"pids"}},
		{"a v1 hierarchy of two controllers", "35 24 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
			"/sys/fs/cgroup/cpu,cpuacct", []string{"cpu,cpuacct"}, []string{"", "cpuset", "name=systemd"}},
		{"a named v1 hierarchy", "35 24 0:30 / /run/sys\\040temd rw a:1 b:2 - cgroup systemd rw,xattr,name=systemd",
			"/run/sys temd", []string{"name=systemd"}, []string{"", "cpu"}},
		{"a part of a hierarchy", "35 24 0:30 /docker/1 /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids", "", nil, nil},
		{"a read-only mount", "41 32 0:36 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw", "", nil, nil},
		{"another file system", "41 32 0:36 / / rw - ext4 /dev/vda rw", "", nil, nil},
		{"a line that is cut short", "41 32 0:36 / /sys/fs/cgroup rw - cgroup2", "", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, ok := parseMount(tt.line)
			if ok != (tt.want != "") || m.dir != tt.want {
				t.Fatalf("got %+v, %v", m, ok)
			}
			for _, c := range tt.shows {
				if !m.shows(hierarchy{controllers: c}) {
					t.Errorf("does not show %q", c)
				}
			}
			for _, c := range tt.showsNot {
				if m.shows(hierarchy{controllers: c}) {
					t.Errorf("shows %q", c)
				}
			}
		})
	}
}

func FuzzParseMount(f *testing.F) {
	f.Add("41 32 0:36 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw")
	f.Add(`35 24 0:30 / /run/sys\040temd\ rw - cgroup systemd rw,xattr,name=systemd`)
	f.Add(" - cgroup2 cgroup2 rw")
	f.Fuzz(func(t *testing.T, line string) {
		m, ok := parseMount(line)
		if ok && (m.dir == "" || len(m.options) == 0) {
			t.Errorf("%q: %+v", line, m)
		}
		if !strings.Contains(line, `\`) && unescape(line) != line {
			t.Errorf("%q was unescaped", line)
		}
	})
}

// eachHierarchy calls f with the session's folder in every hierarchy that is
// mounted here.
func eachHierarchy(t *testing.T, path string, f func(dir string)) {
	t.Helper()
	mounts, err := cgroupMounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		f(filepath.Join(m.dir, path))
	}
}

func TestCgroupsAreRemovedFromEveryHierarchy(t *testing.T) {
	root := needKernel(t)
	session, err := os.MkdirTemp(root, "wiretape-test-")
	if err != nil {
		t.Fatal(err)
	}
	path := "/" + filepath.Base(session)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, mounted := range []bool{true, false} {
		eachHierarchy(t, path, func(dir string) {
			if err := os.MkdirAll(filepath.Join(dir, "web", "container"), 0o755); err != nil {
				t.Fatal(err)
			}
		})
		scratch := t.TempDir()
		if mounted {
			err = RemoveCgroups(ctx, path, scratch)
		} else {
			err = removeWithoutMounts(ctx, path, scratch)
		}
		if err != nil {
			t.Fatal(err)
		}
		eachHierarchy(t, path, func(dir string) {
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is still there: %v", dir, err)
			}
		})
		if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
			t.Errorf("left in scratch: %v, %v", left, err)
		}
	}
	if err := RemoveCgroups(ctx, path, t.TempDir()); err != nil {
		t.Errorf("nothing to remove: %v", err)
	}
}

func removeWithoutMounts(ctx context.Context, path, scratch string) error {
	hierarchies, err := hierarchiesOf("self")
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range hierarchies {
		errs = append(errs, h.remove(ctx, path, nil, scratch))
	}
	return errors.Join(errs...)
}

func TestACgroupInUseIsRemovedOnceItIsEmpty(t *testing.T) {
	l := &lab{t: t}
	l.makeCgroups(needKernel(t))
	l.app = newNetns(t)
	cmd := l.command(l.web, "sleep", "60")
	l.start(cmd)
	defer cmd.Wait()
	defer cmd.Process.Kill()

	if got, err := ProcessCgroup(cmd.Process.Pid); err != nil || got != "/"+filepath.Base(l.session)+"/web" {
		t.Errorf("ProcessCgroup: %q, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := removeTree(ctx, l.session); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("removed a cgroup in use: %v", err)
	}
	removed := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		removed <- removeTree(ctx, l.session)
	}()
	cmd.Process.Kill()
	cmd.Wait()
	if err := <-removed; err != nil {
		t.Error(err)
	}
}

func TestOnlyCgroupsBelowTheRootAreRemoved(t *testing.T) {
	for _, path := range []string{"", "/", ".", "a/..", "/../a", "a/../../b"} {
		if err := RemoveCgroups(t.Context(), path, t.TempDir()); err == nil {
			t.Errorf("%q was accepted", path)
		}
	}
}

func TestCgroupIDIsTheOneThatTheKernelCounts(t *testing.T) {
	l := &lab{t: t}
	l.makeCgroups(needKernel(t))
	var st unix.Stat_t
	if err := unix.Stat(l.web, &st); err != nil {
		t.Fatal(err)
	}
	if st.Ino != l.webID { // equal on 64-bit kernels since 5.5
		t.Errorf("id %d, inode %d", l.webID, st.Ino)
	}
	if _, err := CgroupID(t.TempDir()); err == nil {
		t.Error("a folder elsewhere has a cgroup id")
	}
}

func TestCgroup2CanBeMountedAnywhere(t *testing.T) {
	root := needKernel(t)
	dir := filepath.Join(t.TempDir(), "cgroup2")
	if err := MountCgroup2(dir); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	want, err := CgroupID(root)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := CgroupID(dir); err != nil || got != want {
		t.Errorf("root id %d, %v; want %d", got, err, want)
	}
	if out, err := exec.Command("stat", "-f", "-c", "%T", dir).Output(); err == nil && strings.TrimSpace(string(out)) != "cgroup2fs" {
		t.Errorf("mounted a %s", out)
	}
}
