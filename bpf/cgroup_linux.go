package bpf

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// FindCgroup2 returns where the whole cgroup2 tree is mounted, as far as this
// process's cgroup namespace shows it. The error is an [*Unsupported] where it is
// not mounted; see [MountCgroup2].
func FindCgroup2() (string, error) {
	mounts, err := cgroupMounts()
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		if m.version2 {
			return m.dir, nil
		}
	}
	return "", &Unsupported{
		Feature: "cgroup2 tree",
		Since:   "4.5",
		Hint:    "mount one, or boot with a hybrid or unified cgroup layout",
	}
}

// MountCgroup2 makes dir if needed and mounts the cgroup2 tree there. It needs
// CAP_SYS_ADMIN. What is seen there is what this process's cgroup namespace
// shows.
func MountCgroup2(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	err := unix.Mount("cgroup2", dir, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	switch {
	case errors.Is(err, unix.ENODEV):
		return &Unsupported{Feature: "cgroup2", Since: "4.5", Hint: "use a kernel with CONFIG_CGROUPS", Cause: err}
	case errors.Is(err, unix.EPERM):
		return &Unsupported{Feature: "permission to mount cgroup2", Hint: "add the capability SYS_ADMIN", Cause: err}
	case err != nil:
		return &os.PathError{Op: "mount cgroup2", Path: dir, Err: err}
	}
	return nil
}

// MakeCgroup makes a cgroup2 folder, with the folders above it, and returns its
// id. It is no error if it exists. Below the root it needs CAP_DAC_OVERRIDE, since
// the root's mode lets nobody write.
func MakeCgroup(dir string) (id uint64, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, explainAccess(err)
	}
	return CgroupID(dir)
}

func explainAccess(err error) error {
	if errors.Is(err, unix.EACCES) {
		return &Unsupported{
			Feature: "permission to change the cgroup tree",
			Hint:    "run it as root with the capability DAC_OVERRIDE",
			Cause:   err,
		}
	}
	return err
}

// CgroupID returns the id of the cgroup with that folder in a cgroup2 mount.
func CgroupID(dir string) (uint64, error) {
	if err := checkCgroup2(dir); err != nil {
		return 0, err
	}
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir, 0)
	if err != nil {
		return 0, &os.PathError{Op: "name_to_handle_at", Path: dir, Err: err}
	}
	if b := handle.Bytes(); len(b) == 8 {
		return binary.NativeEndian.Uint64(b), nil
	}
	return 0, fmt.Errorf("%s: its file handle has %d bytes, want 8", dir, handle.Size())
}

// ProcessCgroup returns the path of a process in the cgroup2 tree, as this
// process's cgroup namespace shows it, such as "/docker/0123abcd". It tells
// whether the engine puts its containers there.
func ProcessCgroup(pid int) (string, error) {
	hierarchies, err := hierarchiesOf(strconv.Itoa(pid))
	if err != nil {
		return "", err
	}
	for _, h := range hierarchies {
		if h.controllers == "" {
			return h.path, nil
		}
	}
	return "", &Unsupported{
		Feature: "cgroup2 tree",
		Since:   "4.5",
		Hint:    "boot with a hybrid or unified cgroup layout",
	}
}

func checkCgroup2(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("%s is not in a cgroup2 tree", dir)
	}
	return nil
}

// RemoveCgroups removes a cgroup and all below it from the cgroup2 tree and from
// every v1 hierarchy: an engine on a hybrid host makes the parents of its
// containers in each, and leaves them. Only cgroups without processes can be
// removed; where one is still in use, it is tried again until ctx is done. path is
// counted from the roots, such as "/wiretape-1234". It needs CAP_DAC_OVERRIDE. A
// hierarchy that is not mounted as a whole is mounted for the moment, with
// CAP_SYS_ADMIN, on a folder made in scratch.
func RemoveCgroups(ctx context.Context, path, scratch string) error {
	clean := filepath.Clean("/" + path)
	if clean == "/" || slices.Contains(strings.Split(path, "/"), "..") {
		return fmt.Errorf("remove cgroups %q: not below the root", path)
	}
	hierarchies, err := hierarchiesOf("self")
	if err != nil {
		return err
	}
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range hierarchies {
		errs = append(errs, h.remove(ctx, clean, mounts, scratch))
	}
	return errors.Join(errs...)
}

// A hierarchy is one line of /proc/PID/cgroup (cgroups(7)).
type hierarchy struct {
	controllers string // "cpu,cpuacct" or "name=systemd"; empty for cgroup2
	path        string // of the process
}

func hierarchiesOf(pid string) ([]hierarchy, error) {
	data, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		return nil, err
	}
	var hs []hierarchy
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("/proc/%s/cgroup: unexpected line %q", pid, line)
		}
		hs = append(hs, hierarchy{controllers: parts[1], path: parts[2]})
	}
	return hs, nil
}

func (h hierarchy) remove(ctx context.Context, path string, mounts []cgroupMount, scratch string) error {
	for _, m := range mounts {
		if m.shows(h) {
			return removeTree(ctx, filepath.Join(m.dir, path))
		}
	}
	dir, err := os.MkdirTemp(scratch, "cgroup-")
	if err != nil {
		return err
	}
	if err := h.mount(dir); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	err = removeTree(ctx, filepath.Join(dir, path))
	if e := unix.Unmount(dir, unix.MNT_DETACH); e != nil {
		return errors.Join(err, &os.PathError{Op: "unmount", Path: dir, Err: e})
	}
	return errors.Join(err, os.Remove(dir))
}

func (h hierarchy) mount(dir string) error {
	if h.controllers == "" {
		return MountCgroup2(dir)
	}
	data := h.controllers
	if strings.HasPrefix(data, "name=") {
		data = "none," + data
	}
	err := unix.Mount("cgroup", dir, "cgroup", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, data)
	if err != nil {
		return fmt.Errorf("mount cgroup hierarchy %s on %s: %w", h.controllers, dir, err)
	}
	return nil
}

// retryEvery is how long a cgroup that is still in use is left before the next try.
// A container's last process can be reaped a moment after the engine says so.
const retryEvery = 20 * time.Millisecond

// removeTree removes a cgroup folder, deepest first. The files in it are the
// kernel's and go with it.
func removeTree(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(ctx, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		err = &os.PathError{Op: "rmdir", Path: dir, Err: err}
		if !errors.Is(err, unix.EBUSY) {
			return explainAccess(err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryEvery):
		}
	}
}

type cgroupMount struct {
	dir      string
	version2 bool
	options  []string // of the superblock: the controllers, in v1
}

func (m cgroupMount) shows(h hierarchy) bool {
	if h.controllers == "" || m.version2 {
		return h.controllers == "" && m.version2
	}
	for c := range strings.SplitSeq(h.controllers, ",") {
		if !slices.Contains(m.options, c) {
			return false
		}
	}
	return true
}

// cgroupMounts lists the writable mounts that show a hierarchy from its root.
func cgroupMounts() ([]cgroupMount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var mounts []cgroupMount
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok {
			mounts = append(mounts, m)
		}
	}
	return mounts, lines.Err()
}

// parseMount reads a line of /proc/PID/mountinfo (proc_pid_mountinfo(5)):
// id parent major:minor root dir options [tag]… - type source super-options.
func parseMount(line string) (m cgroupMount, ok bool) {
	before, after, found := strings.Cut(line, " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if !found || len(left) < 6 || len(right) < 3 || left[3] != "/" {
		return m, false
	}
	if right[0] != "cgroup" && right[0] != "cgroup2" {
		return m, false
	}
	if slices.Contains(strings.Split(left[5], ","), "ro") {
		return m, false
	}
	return cgroupMount{
		dir:      unescape(left[4]),
		version2: right[0] == "cgroup2",
		options:  strings.Split(right[2], ","),
	}, true
}

// unescape undoes the \ooo of white space and backslashes in mountinfo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
