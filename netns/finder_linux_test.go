package netns

import (
	"bufio"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wiretape/wiretape/dev/needs"
)

// cgroup makes a cgroup2 folder for the test.
func cgroup(t *testing.T) string {
	t.Helper()
	needKernel(t)
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[2] == "cgroup2" {
			dir, err := os.MkdirTemp(fields[1], "wiretape-test-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { removeAll(t, dir) })
			return dir
		}
	}
	needs.Kernel(t, func() error { return errors.New("no cgroup2 tree is mounted") })
	return ""
}

func removeAll(t *testing.T, dir string) {
	children, _ := filepath.Glob(filepath.Join(dir, "*/"))
	for _, c := range children {
		if fi, err := os.Lstat(c); err == nil && fi.IsDir() {
			removeAll(t, c)
		}
	}
	var err error
	for range 100 {
		if err = unix.Rmdir(dir); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("remove %s: %v", dir, err)
}

// sleeper starts a process in the namespace and the cgroup, and returns what ends it.
func sleeper(t *testing.T, ns *NS, cgroup string) (pid int, end func()) {
	t.Helper()
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

func subgroup(t *testing.T, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func newFinder(t *testing.T, roots ...string) *Finder {
	f := NewFinder(roots...)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func find(t *testing.T, f *Finder, addr string) (Process, error) {
	t.Helper()
	return f.ByAddr(t.Context(), netip.MustParseAddr(addr))
}

func wantProcess(t *testing.T, f *Finder, addr string, pid int, cgroup string, inode uint64) Process {
	t.Helper()
	p, err := find(t, f, addr)
	if err != nil {
		t.Fatalf("%s: %v", addr, err)
	}
	if p.PID != pid || p.Cgroup != cgroup || p.NS.Inode() != inode {
		t.Fatalf("%s: %+v in %d, want %d in %s in %d", addr, p, p.NS.Inode(), pid, cgroup, inode)
	}
	return p
}

func TestAProcessIsFoundByAnyOfItsAddresses(t *testing.T) {
	root, other := cgroup(t), cgroup(t)
	web, db := subgroup(t, root, "web", "0123"), subgroup(t, other, "db", "4567")
	a := newNS(t, "10.78.0.2/24", "10.79.0.2/24", "fd78::2/64")
	b := newNS(t, "10.78.0.3/24")
	webPID, _ := sleeper(t, a, web)
	dbPID, _ := sleeper(t, b, db)

	f := newFinder(t, root, other)
	for _, addr := range []string{"10.78.0.2", "10.79.0.2", "fd78::2", "::ffff:10.78.0.2"} {
		wantProcess(t, f, addr, webPID, web, a.Inode())
	}
	p := wantProcess(t, f, "10.78.0.3", dbPID, db, b.Inode())
	if err := hello(p.NS, listen(t, b, "10.78.0.3:0")); err != nil {
		t.Error(err)
	}
	for _, addr := range []string{"10.78.0.4", "127.0.0.1", "::1"} {
		if p, err := find(t, f, addr); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %+v, %v", addr, p, err)
		}
	}
}

func TestNewProcessesAndAddressesAreFoundAtOnce(t *testing.T) {
	root := cgroup(t)
	f := newFinder(t, root)
	if _, err := find(t, f, "10.78.0.2"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	ns := newNS(t, "10.78.0.2/24")
	web := subgroup(t, root, "web")
	pid, _ := sleeper(t, ns, web)
	wantProcess(t, f, "10.78.0.2", pid, web, ns.Inode())
	ip(t, ns, "addr add 10.99.0.2/24 dev eth0")
	wantProcess(t, f, "10.99.0.2", pid, web, ns.Inode())
}

func TestAnotherProcessStandsInForOneThatEnded(t *testing.T) {
	root := cgroup(t)
	ns := newNS(t, "10.78.0.2/24")
	first, second := subgroup(t, root, "a"), subgroup(t, root, "b")
	pid1, end1 := sleeper(t, ns, first)
	f := newFinder(t, root)
	p := wantProcess(t, f, "10.78.0.2", pid1, first, ns.Inode())
	pid2, end2 := sleeper(t, ns, second)
	end1()
	wantProcess(t, f, "10.78.0.2", pid2, second, ns.Inode())
	if _, err := p.NS.Cookie(); err != nil {
		t.Errorf("the namespace was closed while in use: %v", err)
	}
	end2()
	if p, err := find(t, f, "10.78.0.2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("found %+v, %v", p, err)
	}
	if err := p.NS.Do(func() error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the namespace is still held: %v", err)
	}
}

func TestAnAddressThatMovedIsFoundWhereItIsNow(t *testing.T) {
	root := cgroup(t)
	a, b := newNS(t, "10.78.0.2/24"), newNS(t, "10.78.0.2/24")
	pidA, endA := sleeper(t, a, root)
	f := newFinder(t, root)
	wantProcess(t, f, "10.78.0.2", pidA, root, a.Inode())
	endA()
	pidB, _ := sleeper(t, b, root)
	wantProcess(t, f, "10.78.0.2", pidB, root, b.Inode())
}

func TestManyMissesShareScans(t *testing.T) {
	root := cgroup(t)
	ns := newNS(t, "10.78.0.2/24")
	pid, _ := sleeper(t, ns, root)
	f := newFinder(t, root)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			if i%3 == 0 {
				if p, err := f.ByAddr(context.Background(), netip.MustParseAddr("10.78.0.2")); err != nil || p.PID != pid {
					t.Errorf("%+v, %v", p, err)
				}
			} else if _, err := f.ByAddr(context.Background(), netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})); !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// One by one they would have waited 200 × 20 ms.
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestAFinderSaysWhyItCantLook(t *testing.T) {
	needKernel(t)
	f := newFinder(t, "/nonexistent")
	if _, err := find(t, f, "10.78.0.2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing cgroup: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.ByAddr(ctx, netip.MustParseAddr("10.78.0.2")); err == nil {
		t.Error("found with a cancelled context")
	}
	closed := NewFinder(cgroup(t))
	closed.Close()
	if _, err := find(t, closed, "10.78.0.2"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func BenchmarkDo(b *testing.B) {
	ns, err := Of(os.Getpid())
	if err != nil {
		b.Skip(err)
	}
	defer ns.Close()
	for b.Loop() {
		if err := ns.Do(func() error { return nil }); err != nil {
			b.Skip(err)
		}
	}
}
