package program

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/wiretape/wiretape/bpf"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/agent/guard"
)

// doctorTarget is an address that no real host has (RFC 2544). The doctor runs in
// a container without any network but loopback, so that nothing leaves even if
// the redirect fails.
const doctorTarget = "198.18.0.1:80"

// Doctor checks that the kernel can do what a session needs: it loads and attaches
// every program and makes one redirected connect. self is this program's path.
func Doctor(ctx context.Context, self string) error {
	if err := os.MkdirAll(agent.CgroupDir, 0o755); err != nil {
		return err
	}
	if err := bpf.MountCgroup2(agent.CgroupDir); err != nil {
		return err
	}
	if err := bpf.Probe(agent.CgroupDir); err != nil {
		return err
	}
	name := fmt.Sprintf("/wiretape-doctor-%d", time.Now().UnixNano())
	defer func() { _ = guard.RemoveCgroups(name) }()
	return redirectedConnect(ctx, self, name)
}

func redirectedConnect(ctx context.Context, self, cgroup string) error {
	dir := filepath.Join(agent.CgroupDir, cgroup)
	id, err := bpf.MakeCgroup(dir)
	if err != nil {
		return err
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	r, err := bpf.Load(bpf.Config{Cgroup: dir, TCPPorts: []uint16{port}, ClosedPort: agent.ClosedPort, Isolate: true})
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.SetService(bpf.Service{CgroupID: id, AgentIPv4: netip.MustParseAddr("127.0.0.1")}); err != nil {
		return err
	}
	if err := r.Attach(); err != nil {
		return err
	}
	// What is isolated is refused until somebody says that it is there to take it.
	live, err := r.Live()
	if err != nil {
		return err
	}
	defer live.Close()
	child, err := startIn(ctx, dir, self)
	if err != nil {
		return fmt.Errorf("start a process in a cgroup of our own: %w", err)
	}
	defer child.Wait()
	_ = l.SetDeadline(time.Now().Add(5 * time.Second))
	conn, err := l.Accept()
	if err != nil {
		return fmt.Errorf("a connect was not redirected: %w", err)
	}
	defer conn.Close()
	origin, ok, err := r.Take(conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort())
	if err != nil {
		return err
	}
	if !ok || origin.Dst.String() != doctorTarget {
		return errors.New("a connect was redirected, but where it wanted to go is not known")
	}
	return nil
}

// startIn starts the doctor's client inside the cgroup (clone3 with CLONE_INTO_CGROUP, Linux 5.7).
func startIn(ctx context.Context, dir, self string) (*exec.Cmd, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, self, "agent", "connect")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	return cmd, cmd.Start()
}

// Connect is the doctor's client.
func Connect(ctx context.Context) error {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", doctorTarget)
	if err != nil {
		return err
	}
	return conn.Close()
}
