package bpf

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wiretape/wiretape/dev/leaktest"
)

// helperEnv makes the test binary a helper process instead.
const helperEnv = "WIRETAPE_BPF_HELPER"

// helperEnviron is the environment of a helper. Under the race detector, a process
// would wait a second before it exits.
func helperEnviron(name string, env ...string) []string {
	return append(append(os.Environ(), helperEnv+"="+name, "GORACE=atexit_sleep_ms=0"), env...)
}

func TestMain(m *testing.M) {
	helpers := map[string]func() error{
		"calls":  helpCalls,
		"forget": helpForget,
		"many":   helpMany,
		"maps":   helpMaps,
		"hold":   helpHold,
		"probe":  helpProbe,
		"send":   helpSend,
		"serve":  helpServe,
	}
	if help := helpers[os.Getenv(helperEnv)]; help != nil {
		if err := help(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.Main(m)
}

// A call is one use of a socket, through the system calls themselves.
type call struct {
	Family      int // unix.AF_INET or AF_INET6; the destination's by default
	Proto       int // unix.IPPROTO_MPTCP; else as the type says
	UDP         bool
	Unconnected bool // UDP: sendto instead of connect and send
	V6Only      bool
	Bind        netip.AddrPort
	Dst         netip.AddrPort
	Then        netip.AddrPort // connect the same socket once more
	FastOpen    bool
}

type result struct {
	Err   string
	Peer  netip.AddrPort // getpeername
	From  netip.AddrPort // recvfrom
	Reply string
	PID   int `json:"-"`
}

func helpCalls() error {
	var calls []call
	if err := json.Unmarshal([]byte(os.Getenv("CALLS")), &calls); err != nil {
		return err
	}
	results := make([]result, len(calls))
	for i, c := range calls {
		if err := c.run(&results[i]); err != nil {
			results[i].Err = err.Error()
		}
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}

func (c call) run(r *result) error {
	if c.Family == 0 {
		c.Family = unix.AF_INET6
		if c.Dst.Addr().Is4() {
			c.Family = unix.AF_INET
		}
	}
	kind := unix.SOCK_STREAM
	if c.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(c.Family, kind|unix.SOCK_CLOEXEC, c.Proto)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	timeout := unix.Timeval{Sec: 1}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
	if c.V6Only {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if c.Bind.IsValid() {
		if err := unix.Bind(fd, sockaddr(c.Family, c.Bind)); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	if err := c.reach(fd); err != nil {
		return err
	}
	if !c.Unconnected {
		peer, err := unix.Getpeername(fd)
		if err != nil {
			return fmt.Errorf("getpeername: %w", err)
		}
		r.Peer = fromSockaddr(peer)
	}
	return c.read(fd, r)
}

func (c call) reach(fd int) error {
	if c.FastOpen {
		if err := unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, sockaddr(c.Family, c.Dst)); err != nil {
			return fmt.Errorf("sendto: %w", err)
		}
		return nil
	}
	if c.Unconnected {
		for _, dst := range []netip.AddrPort{c.Dst, c.Then} {
			if !dst.IsValid() {
				continue
			}
			if err := unix.Sendto(fd, []byte("?"), 0, sockaddr(c.Family, dst)); err != nil {
				return fmt.Errorf("sendto: %w", err)
			}
		}
		return nil
	}
	if err := unix.Connect(fd, sockaddr(c.Family, c.Dst)); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if c.Then.IsValid() {
		if err := unix.Connect(fd, sockaddr(c.Family, c.Then)); err != nil {
			return fmt.Errorf("connect again: %w", err)
		}
	}
	return nil
}

func (c call) read(fd int, r *result) error {
	if c.UDP && !c.Unconnected {
		if _, err := unix.Write(fd, []byte("?")); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	buf := make([]byte, 4096)
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return fmt.Errorf("recv: %w", err)
		}
		r.Reply += string(buf[:n])
		if c.UDP {
			r.From = fromSockaddr(from)
			return nil
		}
		if n == 0 {
			return nil
		}
	}
}

func sockaddr(family int, a netip.AddrPort) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// helpMany makes N connections at once to as many destinations and checks that each
// agent end knows its own.
func helpMany() error {
	n, err := strconv.Atoi(os.Getenv("N"))
	if err != nil {
		return err
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = connectOne(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func connectOne(i int) error {
	dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 443)
	c, err := net.DialTimeout("tcp", dst.String(), 30*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	var got taken
	if err := json.NewDecoder(c).Decode(&got); err != nil {
		return err
	}
	if !got.Known || got.Again || got.Origin.Dst != dst || int(got.Origin.PID) != os.Getpid() {
		return fmt.Errorf("%v: the agent knows %+v", dst, got)
	}
	if c.RemoteAddr().String() != dst.String() {
		return fmt.Errorf("%v: peer %v", dst, c.RemoteAddr())
	}
	return nil
}

// helpMaps uses the maps that it inherits as the worker does: it sets the service,
// waits for a line "local remote", and takes that connection.
func helpMaps() error {
	var files []*os.File
	for i := range len(new(Maps).named()) {
		files = append(files, os.NewFile(uintptr(3+i), "map"))
	}
	m, err := FromFiles(files)
	if err != nil {
		return err
	}
	for _, f := range files {
		f.Close()
	}
	id, err := strconv.ParseUint(os.Getenv("SERVICE"), 10, 64)
	if err != nil {
		return err
	}
	if err := m.SetService(Service{CgroupID: id, AgentIPv4: agent4}); err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var flow [2]netip.AddrPort
		if err := json.Unmarshal(in.Bytes(), &flow); err != nil {
			return err
		}
		var out taken
		if out.Origin, out.Known, err = m.Take(flow[0], flow[1]); err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
			return err
		}
	}
	return m.Close()
}

// helpHold attaches to CGROUP and waits to be killed.
func helpHold() error {
	r, err := Load(Config{
		Cgroup: os.Getenv("CGROUP"), TCPPorts: tcpPorts, DNSPort: dnsPort, ClosedPort: closedPort,
		Isolate: os.Getenv("ISOLATE") != "",
	})
	if err != nil {
		return err
	}
	if id, err := strconv.ParseUint(os.Getenv("SERVICE"), 10, 64); err == nil {
		if err := r.SetService(Service{CgroupID: id, AgentIPv4: agent4, AgentIPv6: agent6}); err != nil {
			return err
		}
		if err := r.Borrow(netip.PrefixFrom(agent4, 32)); err != nil {
			return err
		}
		if _, err := r.Live(); err != nil {
			return err
		}
	}
	if err := r.Attach(); err != nil {
		return err
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(r)
	return errors.New("not killed")
}

// helpProbe probes with no capabilities but those that the agent container has.
func helpProbe() error {
	runtime.LockOSThread()
	const have = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_OVERRIDE
	caps := [2]unix.CapUserData{{Effective: have, Permitted: have}}
	if os.Getenv("NO_CAPS") != "" {
		caps[0] = unix.CapUserData{Effective: 1 << unix.CAP_DAC_OVERRIDE, Permitted: 1 << unix.CAP_DAC_OVERRIDE}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &caps[0]); err != nil {
		return err
	}
	return Probe(os.Getenv("CGROUP"))
}
