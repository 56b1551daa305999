package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/wiretape/wiretape/netns"
)

// A container is one child of a service's cgroup that has a process.
type container struct {
	cgroup string
	pid    int
}

// containersOf lists the containers of the service whose cgroup is dir.
func containersOf(dir string) ([]container, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var cs []container
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		sub := filepath.Join(dir, e.Name())
		if pid, ok := anyPID(sub); ok {
			cs = append(cs, container{cgroup: sub, pid: pid})
		}
	}
	return cs, nil
}

// anyPID returns a process of the cgroup or of one below it.
func anyPID(dir string) (pid int, ok bool) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil
		}
		first, _, _ := strings.Cut(string(b), "\n")
		if n, err := strconv.Atoi(first); err == nil && n > 0 {
			pid, ok = n, true
			return fs.SkipAll
		}
		return nil
	})
	return pid, ok
}

// listening lists the TCP ports on which something listens in the network
// namespace of pid, from /proc/PID/net/tcp and tcp6 (proc(5)).
func listening(pid int) ([]int, error) {
	ports := []int{}
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if err != nil {
			if name == "tcp6" && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			fields := strings.Fields(sc.Text())
			const listen = "0A"
			if len(fields) < 4 || fields[3] != listen {
				continue
			}
			_, port, _ := strings.Cut(fields[1], ":")
			if n, err := strconv.ParseUint(port, 16, 16); err == nil && !slices.Contains(ports, int(n)) {
				ports = append(ports, int(n))
			}
		}
		f.Close()
		if err := sc.Err(); err != nil {
			return nil, err
		}
	}
	slices.Sort(ports)
	return ports, nil
}

// serviceDialer connects to a port of a service's containers, in turn.
type serviceDialer struct {
	dir  string // the service's cgroup
	port int
	next atomic.Uint32
}

func (d *serviceDialer) dial(ctx context.Context) (net.Conn, error) {
	cs, err := containersOf(d.dir)
	if err != nil {
		return nil, err
	}
	if len(cs) == 0 {
		return nil, errors.New("the service has no running container")
	}
	var errs []error
	first := int(d.next.Add(1))
	for i := range cs {
		conn, err := dialContainer(ctx, cs[(first+i)%len(cs)], d.port)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dialContainer connects from inside the container's own namespace to one of its
// addresses, so that it works on every network that it may be on, and as what
// listens there sees it: not on loopback.
func dialContainer(ctx context.Context, c container, port int) (net.Conn, error) {
	ns, err := netns.Of(c.pid)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	addrs, err := ns.Addrs()
	if err != nil {
		return nil, err
	}
	err = errors.New("the container has no address")
	for _, a := range addrs {
		var conn *net.TCPConn
		if conn, err = ns.DialTCP(ctx, netip.AddrPortFrom(a, uint16(port))); err == nil {
			return conn, nil
		}
	}
	return nil, err
}
