package compose

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wiretape/wiretape/bpf"
	"github.com/wiretape/wiretape/netns"
)

// leakYAML is an app that sends all it can to ORIGIN, which is on a network beside
// the project, and to the host. The engine chooses the gateway.
const leakYAML = `
services:
  leak:
    image: IMAGE
    command: [leak, ORIGIN]
    networks: [default, outside]
networks:
  default:
    ipam: {config: [{subnet: SUBNET}]}
  outside:
    external: true
    name: OUTSIDE
`

// A sniffer counts the packets that come in at an interface for an address.
type sniffer struct {
	n    atomic.Int64
	last atomic.Value
}

// sniff counts in the namespace of pid, at the interface of that name, or at all.
func sniff(t *testing.T, pid int, name string, addr netip.Addr) *sniffer {
	t.Helper()
	ns, err := netns.Of(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	fd := -1
	protocol := binary.NativeEndian.Uint16([]byte{0, syscall.ETH_P_ALL})
	if err := ns.Do(func() (err error) {
		if fd, err = syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, int(protocol)); err != nil || name == "" {
			return err
		}
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		return syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: protocol, Ifindex: i.Index})
	}); err != nil {
		t.Fatal(err)
	}
	syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 50_000})
	s := &sniffer{}
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done; syscall.Close(fd) })
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, from, err := syscall.Recvfrom(fd, buf, 0)
			if ll, ok := from.(*syscall.SockaddrLinklayer); err != nil || n < 20 || !ok || ll.Pkttype == syscall.PACKET_OUTGOING {
				continue
			}
			if dst, _ := netip.AddrFromSlice(buf[16:20]); buf[0]>>4 == 4 && dst == addr {
				s.n.Add(1)
				s.last.Store(fmt.Sprintf("% x", buf[:min(n, 48)]))
			}
		}
	}()
	return s
}

// A leakProject is a project whose app tries to get out, with all that it could
// reach watched.
type leakProject struct {
	*testProject
	t            *testing.T
	address      *strings.Replacer // of ORIGIN and SUBNET
	origin, host *sniffer
}

var subnets atomic.Int32

func newLeakProject(t *testing.T) *leakProject {
	t.Helper()
	// 10.64.0.0/10 is far from what engines choose.
	n := subnets.Add(1)
	subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64 + byte(os.Getpid()%64), byte(n), 0}), 24)
	p := &leakProject{testProject: newTestProject(t, leakYAML), t: t}
	c, err := p.engine.ContainerInspect(t.Context(), p.testProject.outside)
	if err != nil {
		t.Fatal(err)
	}
	origin := netip.MustParseAddr(c.NetworkSettings.Networks[p.testProject.outside].IPAddress)
	p.address = strings.NewReplacer("ORIGIN", origin.String(), "SUBNET", subnet.String())
	p.write("compose.yaml", p.address.Replace(leakYAML))
	p.origin = sniff(t, c.State.Pid, "", origin)
	p.host = sniff(t, os.Getpid(), "", subnet.Addr().Next())
	return p
}

// agentProcess returns the guard's process, or its child's, the worker's.
func (p *leakProject) agentProcess(session string, worker bool) int {
	p.t.Helper()
	c, err := p.engine.ContainerInspect(p.t.Context(), "wiretape-"+session+"-agent")
	if err != nil {
		p.t.Fatal(err)
	}
	if !worker {
		return c.State.Pid
	}
	tasks, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", c.State.Pid))
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", c.State.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, task := range all {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", c.State.Pid, task.Name()))
		tasks = append(tasks, b...)
	}
	pid, err := strconv.Atoi(strings.Fields(string(tasks) + " none")[0])
	if err != nil {
		p.t.Fatal("the worker is not found")
	}
	return pid
}

// during lets the app send for a while, and returns how many packets got out
// meanwhile.
func (p *leakProject) during(d time.Duration) (origin, host int64) {
	origin, host = p.origin.n.Load(), p.host.n.Load()
	time.Sleep(d)
	return p.origin.n.Load() - origin, p.host.n.Load() - host
}

// A test's app tries to get out while each of our processes is killed.
// WIRETAPE_KILL_ROUNDS is how often each is.
func TestNothingGetsOutOfATestWhoeverIsKilled(t *testing.T) {
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("WIRETAPE_KILL_ROUNDS")); err == nil {
		rounds = n
	}
	p := newLeakProject(t)
	// The first fence alone: the app stays on the origin's network.
	t.Setenv(helperEnv+"_KEEP_NETWORKS", "1")
	p.compose("up", "-d")
	if origin, host := p.during(time.Second); origin == 0 || host == 0 {
		t.Fatalf("without a session, %d packets reach the origin, and %d the host", origin, host)
	}
	p.compose("down", "-t", "0")
	before := p.inventory()
	for round := range rounds {
		for _, victim := range []string{"guard", "worker", "agent's container", "CLI"} {
			t.Run(fmt.Sprintf("%s %d", victim, round), func(t *testing.T) {
				p.t, p.testProject.t = t, t
				start := [2]int64{p.origin.n.Load(), p.host.n.Load()}
				cli, id := p.startSession("replay")
				kill := func(pid int) {
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
						t.Error(err)
					}
				}
				p.during(500 * time.Millisecond)
				switch victim {
				case "guard":
					kill(p.agentProcess(id, false))
				case "worker":
					kill(p.agentProcess(id, true))
				case "agent's container":
					p.docker("kill", "wiretape-"+id+"-agent")
				case "CLI":
					cli.Process.Kill()
				}
				p.during(1500 * time.Millisecond)
				if c, err := p.engine.ContainerInspect(t.Context(), p.name+"-leak-1"); err != nil || !c.State.Running {
					t.Errorf("the app does not run: %v", err)
				}
				cli.Process.Kill()
				cli.Wait()
				if _, err := Down(t.Context(), p.options()); err != nil {
					t.Error(err)
				}
				origin, host := p.origin.n.Load()-start[0], p.host.n.Load()-start[1]
				if origin != 0 || host != 0 {
					t.Errorf("%d packets reached the origin (the last: %v), and %d the host (the last: %v)",
						origin, p.origin.last.Load(), host, p.host.last.Load())
				}
				p.wantAsBefore(before, id)
			})
		}
	}
}

// needClosedNetworks skips the test on an engine that runs with --iptables=false:
// what is internal there is not closed.
func (p *leakProject) needClosedNetworks() {
	p.t.Helper()
	name := p.name + "-closed"
	p.docker("network", "create", "--internal", name)
	defer p.docker("network", "rm", name)
	c, err := p.engine.ContainerInspect(p.t.Context(), p.testProject.outside)
	if err != nil {
		p.t.Fatal(err)
	}
	p.docker("run", "-d", "--name", name, "--network", name, p.image, "leak", c.NetworkSettings.Networks[p.testProject.outside].IPAddress)
	defer p.docker("rm", "-f", name)
	if origin, _ := p.during(time.Second); origin != 0 {
		p.t.Skip("the engine's internal networks are open to each other")
	}
}

// What the hooks do not see, because it left the session's cgroup, is kept inside
// by the networks.
func TestAProcessThatLeavesTheCgroupStaysInside(t *testing.T) {
	p := newLeakProject(t)
	p.needClosedNetworks()
	before := p.inventory()
	opt := p.options()
	opt.Mode, opt.Tape = "replay", p.emptyTape()
	var id string
	_, err := Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
		id = s.ID()
		c, err := p.engine.ContainerInspect(ctx, p.name+"-leak-1")
		if err != nil {
			return err
		}
		root, err := bpf.FindCgroup2()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, "cgroup.procs"), []byte(strconv.Itoa(c.State.Pid)), 0); err != nil {
			return err
		}
		if origin, _ := p.during(2 * time.Second); origin != 0 {
			t.Errorf("%d packets reached the origin", origin)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, id)
}

// docker compose makes containers that the override says nothing of.
func TestAServiceOfAnInactiveProfileStaysInside(t *testing.T) {
	p := newLeakProject(t)
	p.write("compose.yaml", p.address.Replace(strings.Replace(leakYAML, "\nnetworks:\n  default:\n", `
  tool:
    profiles: [tools]
    image: IMAGE
    command: [check, "http://ORIGIN/"]
    networks: [outside]
networks:
  default:
`, 1)))
	before := p.inventory()
	start := p.origin.n.Load()
	command, err := FindCommand([]string{"sh", "-c", "docker compose run --rm -T tool; test $? = 1 && docker compose up tool && docker inspect -f '{{.HostConfig.CgroupParent}}' " + p.name + "-tool-1 | grep wiretape"})
	if err != nil {
		t.Fatal(err)
	}
	opt := p.options()
	opt.Mode, opt.Tape = "replay", p.emptyTape()
	var said []string
	log := opt.Progress
	opt.Progress = func(m Progress) {
		if log(m); m.Kind == Warn {
			said = append(said, m.Text)
		}
	}
	var id string
	if _, err := Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
		id = s.ID()
		return command.Run(ctx, s.Env())
	}); err != nil {
		t.Error(err)
	}
	if n := p.origin.n.Load() - start; n != 0 {
		t.Errorf("%d packets reached the origin", n)
	}
	if !strings.Contains(strings.Join(said, "\n"), "service tool was started, but its profile is not enabled") {
		t.Errorf("the warnings are %q", said)
	}
	p.wantAsBefore(before, id)
}

func TestATestHasNetworksInThePlaceOfOthers(t *testing.T) {
	p := newTestProject(t, `
services:
  web:
    image: IMAGE
    command: [web]
    networks: [outside]
    ports: ["127.0.0.1::8080"]
  partner:
    image: IMAGE
    command: [origin]
    networks: {outside: {aliases: [partner.example]}}
  old:
    image: IMAGE
    command: [sleep]
    network_mode: bridge
networks:
  outside:
    external: true
    name: OUTSIDE
`)
	before := p.inventory()
	opt := p.options()
	opt.Mode, opt.Tape = "replay", p.emptyTape()
	var id string
	_, err := Run(t.Context(), opt, func(ctx context.Context, s *Session) error {
		id = s.ID()
		if got, err := fetch(ctx, s, "http://partner.example/a"); err != nil || got != streamed {
			t.Errorf("by its alias: %q, %v", got, err)
		}
		if got, err := fetch(ctx, s, "http://api.example.com/a"); err == nil {
			t.Errorf("what is on the other network is answered: %q", got)
		}
		for _, name := range []string{"web", "partner", "old"} {
			c, err := p.engine.ContainerInspect(ctx, p.name+"-"+name+"-1")
			if err != nil {
				return err
			}
			for n := range c.NetworkSettings.Networks {
				if !strings.HasPrefix(n, "wiretape-"+id+"-") {
					t.Errorf("%s is on network %s", name, n)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wantAsBefore(before, id)
}
