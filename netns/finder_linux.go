package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// rescanAfter is how long a scan is good for where an address is not in it.
const rescanAfter = 20 * time.Millisecond

// A Finder finds the network namespaces of the processes of some cgroups. It is
// safe for concurrent use.
type Finder struct {
	roots []string
	scans sync.WaitGroup
	one   sync.Mutex // held while scanning

	mu      sync.Mutex
	closed  bool
	byInode map[uint64]*namespace
	byAddr  map[netip.Addr]*namespace
	last    time.Time // when the last scan began
	next    *scan     // not begun yet; nil if none is asked for
}

// A namespace is open as long as it is known, so that its inode can't become
// another's.
type namespace struct {
	ns    *NS
	procs []proc
}

type proc struct {
	pid    int
	cgroup string
}

type scan struct {
	done chan struct{}
	err  error // set before done is closed
}

// NewFinder finds processes of the cgroups with these folders, and of those below
// them. The folders must exist when a scan begins. Namespaces that were found are
// kept from ending until a later scan or Close.
func NewFinder(cgroups ...string) *Finder {
	return &Finder{roots: cgroups}
}

// Close closes the namespaces that were found.
func (f *Finder) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.scans.Wait()

	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, n := range f.byInode {
		errs = append(errs, n.ns.Close())
	}
	f.byInode, f.byAddr = nil, nil
	return errors.Join(errs...)
}

// ByAddr finds a process whose namespace has an interface with the address. An
// address that is not known yet is looked for again, at most every 20 ms, and
// [ErrNotFound] is returned if the scan that began after the call does not find it.
func (f *Finder) ByAddr(ctx context.Context, addr netip.Addr) (Process, error) {
	addr = addr.Unmap()
	if p, ok := f.known(addr); ok {
		return p, nil
	}
	if err := f.rescan(ctx); err != nil {
		return Process{}, err
	}
	if p, ok := f.known(addr); ok {
		return p, nil
	}
	return Process{}, fmt.Errorf("%v: %w", addr, ErrNotFound)
}

// known looks in the last scan, and makes sure that the process is still there.
func (f *Finder) known(addr netip.Addr) (Process, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.byAddr[addr]
	if n == nil {
		return Process{}, false
	}
	for _, p := range n.procs {
		if inode, err := inodeOf(p.pid); err == nil && inode == n.ns.inode {
			return Process{NS: n.ns, PID: p.pid, Cgroup: p.cgroup}, true
		}
	}
	return Process{}, false
}

// rescan waits for a scan that begins after the call. Calls that come before it
// begins share it.
func (f *Finder) rescan(ctx context.Context) error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return os.ErrClosed
	}
	s := f.next
	if s == nil {
		s = &scan{done: make(chan struct{})}
		f.next = s
		wait := time.Until(f.last.Add(rescanAfter))
		f.scans.Go(func() {
			time.Sleep(wait)
			f.run(s)
		})
	}
	f.mu.Unlock()
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *Finder) run(s *scan) {
	defer close(s.done)
	f.one.Lock()
	defer f.one.Unlock()
	f.mu.Lock()
	f.next, f.last = nil, time.Now()
	f.mu.Unlock()
	procs, err := f.processes()
	if err != nil {
		s.err = err
		return
	}
	f.mu.Lock()
	old := f.byInode
	f.mu.Unlock()
	byInode, byAddr := f.namespaces(old, procs)

	f.mu.Lock()
	f.byInode, f.byAddr = byInode, byAddr
	f.mu.Unlock()
	for inode, n := range old {
		if byInode[inode] == nil {
			n.ns.Close()
		}
	}
}

// maxProcs is how many processes of a namespace are remembered: enough to outlive
// short-lived ones.
const maxProcs = 8

// processes lists those of the cgroups by the inode of their network namespace.
func (f *Finder) processes() (map[uint64][]proc, error) {
	found := map[uint64][]proc{}
	for _, root := range f.roots {
		err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && dir != root {
				return nil // removed meanwhile
			}
			if err != nil || !d.IsDir() {
				return err
			}
			for _, pid := range readProcs(dir) {
				inode, err := inodeOf(pid)
				if err == nil && len(found[inode]) < maxProcs {
					found[inode] = append(found[inode], proc{pid, dir})
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("scan cgroup: %w", err)
		}
	}
	return found, nil
}

// readProcs lists the processes of one cgroup that this process's pid namespace
// shows. A cgroup that is gone has none, nor has a threaded one, whose root lists
// them (cgroups(7)).
func readProcs(dir string) (pids []int) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	for field := range strings.FieldsSeq(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// namespaces opens those that are new and reads the addresses of all. What ended
// meanwhile is left out.
func (f *Finder) namespaces(old map[uint64]*namespace, procs map[uint64][]proc) (map[uint64]*namespace, map[netip.Addr]*namespace) {
	byInode, byAddr := map[uint64]*namespace{}, map[netip.Addr]*namespace{}
	for inode, ps := range procs {
		n := &namespace{procs: ps}
		if known := old[inode]; known != nil {
			n.ns = known.ns
		} else if n.ns = openOne(inode, ps); n.ns == nil {
			continue
		}
		byInode[inode] = n
		addrs, err := n.ns.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			byAddr[a] = n
		}
	}
	return byInode, byAddr
}

// openOne opens the namespace through the first process that is still in it.
func openOne(inode uint64, ps []proc) *NS {
	for _, p := range ps {
		ns, err := Of(p.pid)
		if err != nil {
			continue
		}
		if ns.inode == inode {
			return ns
		}
		ns.Close()
	}
	return nil
}

func inodeOf(pid int) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat("/proc/"+strconv.Itoa(pid)+"/ns/net", &st)
	return st.Ino, err
}
