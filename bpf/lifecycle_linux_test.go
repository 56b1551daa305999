package bpf

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
)

func haveSetRetval() bool {
	return features.HaveProgramHelper(ebpf.CGroupSockAddr, asm.FnSetRetval) == nil
}

// attached counts the programs on a cgroup.
func attached(t *testing.T, cgroup string) (n int) {
	t.Helper()
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, at := range []ebpf.AttachType{
		ebpf.AttachCGroupInetEgress, ebpf.AttachCGroupSockOps,
		ebpf.AttachCGroupInet4Connect, ebpf.AttachCGroupInet6Connect,
		ebpf.AttachCGroupUDP4Sendmsg, ebpf.AttachCGroupUDP6Sendmsg,
		ebpf.AttachCGroupUDP4Recvmsg, ebpf.AttachCGroupUDP6Recvmsg,
		ebpf.AttachCgroupInet4GetPeername, ebpf.AttachCgroupInet6GetPeername,
	} {
		res, err := link.QueryPrograms(link.QueryOptions{Target: int(dir.Fd()), Attach: at})
		if err != nil {
			t.Fatal(err)
		}
		n += len(res.Programs)
	}
	return n
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

func testCgroup(t *testing.T) string {
	t.Helper()
	l := &lab{t: t}
	l.makeCgroups(needKernel(t))
	return l.session
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	cgroup := testCgroup(t)
	cfg := Config{Cgroup: cgroup, TCPPorts: tcpPorts, DNSPort: dnsPort, ClosedPort: closedPort}
	before := 0
	for i := range 10 {
		r, err := Load(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Attach(); err != nil {
			t.Fatal(err)
		}
		if n := attached(t, cgroup); n != 9 {
			t.Fatalf("%d programs attached, want 9", n)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if n := attached(t, cgroup); n != 0 {
			t.Fatalf("%d programs are still attached", n)
		}
		if n := openFiles(t); i == 0 {
			before = n
		} else if n > before {
			t.Fatalf("%d open files after %d rounds, %d before", n, i+1, before)
		}
	}
}

func TestAttachIsBesideOthers(t *testing.T) {
	cgroup := testCgroup(t)
	for range 2 {
		r, err := Load(Config{Cgroup: cgroup, TCPPorts: tcpPorts})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.Attach(); err != nil {
			t.Fatal(err)
		}
	}
	if n := attached(t, cgroup); n != 18 {
		t.Errorf("%d programs attached, want 18", n)
	}
}

// startHelper starts the test binary as a helper and returns the lines that it prints.
func startHelper(t *testing.T, name string, env []string, files ...*os.File) (*exec.Cmd, io.WriteCloser, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(self(t))
	cmd.Env = helperEnviron(name, env...)
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the helper said %q", lines.Text())
	}
	return cmd, in, lines
}

func TestAKilledHolderLeavesNothingBehind(t *testing.T) {
	cgroup := testCgroup(t)
	cmd, _, _ := startHelper(t, "hold", []string{"CGROUP=" + cgroup})
	if n := attached(t, cgroup); n != 9 {
		t.Fatalf("%d programs attached, want 9", n)
	}
	cmd.Process.Kill()
	cmd.Wait()
	// The kernel frees the last reference to a link in a work queue.
	for range 100 {
		if attached(t, cgroup) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d programs are still attached", attached(t, cgroup))
}

func TestAnotherProcessUsesTheMaps(t *testing.T) {
	l := newLab(t, func(c *Config) { c.TCPPorts = []uint16{15010} })
	if err := l.r.RemoveService(l.webID); err != nil {
		t.Fatal(err)
	}
	files, err := l.r.Files()
	if err != nil {
		t.Fatal(err)
	}
	_, in, lines := startHelper(t, "maps", []string{fmt.Sprintf("SERVICE=%d", l.webID)}, files...)
	for _, f := range files {
		f.Close()
	}
	inNetns(t, l.agent, func() {
		l.listen(t, "tcp", ":15010", func(c net.Conn) {
			flow := [2]netip.AddrPort{c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()}
			json.NewEncoder(in).Encode(flow)
			if lines.Scan() {
				c.Write(lines.Bytes())
			}
		})
	})
	l.wantTaken(l.do(call{Dst: ap("203.0.113.5:443")})[0], ap("203.0.113.5:443"))
}

func TestFilesOfOtherMapsAreRefused(t *testing.T) {
	cgroup := testCgroup(t)
	r, err := Load(Config{Cgroup: cgroup, TCPPorts: tcpPorts})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files, err := r.Files()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if _, err := FromFiles(files[1:]); err == nil {
		t.Error("a file is missing, and there was no error")
	}
	files[0], files[1] = files[1], files[0]
	if _, err := FromFiles(files); err == nil || !strings.Contains(err.Error(), "config") {
		t.Errorf("swapped files: %v", err)
	}
}

func TestAttachNeedsACgroup2Folder(t *testing.T) {
	needKernel(t)
	for _, dir := range []string{t.TempDir(), "/nonexistent"} {
		r, err := Load(Config{Cgroup: dir, TCPPorts: tcpPorts})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Attach(); err == nil {
			t.Errorf("attached to %s", dir)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTheAgentsCapabilitiesSuffice(t *testing.T) {
	cgroup := testCgroup(t)
	cmd := exec.Command(self(t))
	cmd.Env = helperEnviron("probe", "CGROUP="+cgroup)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	cmd = exec.Command(self(t))
	cmd.Env = helperEnviron("probe", "CGROUP="+cgroup, "NO_CAPS=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("no permission to load and attach BPF programs")) {
		t.Errorf("without capabilities: %v: %s", err, out)
	}
}

func TestUnsupportedIsAnErrorValue(t *testing.T) {
	cause := errors.New("operation not supported")
	err := fmt.Errorf("load: %w", &Unsupported{Feature: "BPF socket storage", Since: "5.2", Hint: "use a newer kernel", Cause: cause})
	var u *Unsupported
	if !errors.As(err, &u) || !errors.Is(err, cause) {
		t.Fatal(err)
	}
	const want = "load: no BPF socket storage (needs Linux 5.2): operation not supported"
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}
