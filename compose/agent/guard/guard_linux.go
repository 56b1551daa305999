// Package guard is the half of the agent that holds the kernel hooks: it starts the
// worker, passes its lines on to the CLI, keeps what is not on the tape yet, and takes
// the hooks away.
package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wiretape/wiretape/bpf"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/netns"
)

// linkLocal are left alone in record: metadata services of clouds are there, whose
// answers are credentials. A test must not reach them.
var linkLocal = []string{"169.254.0.0/16", "fe80::/10"}

// errCLIGone means that the CLI's side of the talk was closed.
var errCLIGone = errors.New("the CLI is gone")

// A guard holds the kernel hooks, so that they outlive a worker that crashes.
type guard struct {
	out   *agent.LineWriter
	start *agent.Start

	redirect *bpf.Redirect
	unsaved  unsaved
	writing  writing

	mu       sync.Mutex
	worker   *worker
	ended    bool // no more worker is wanted, so its end is no fault
	attached bool
}

// A worker is the guard's side of the worker process.
type worker struct {
	cmd   *exec.Cmd
	in    *agent.LineWriter
	stdin io.Closer
	fds   *net.UnixConn
	done  chan struct{}
}

// Run is the agent's main process. It returns when the CLI says so or is gone.
// self is the path of this program, which it runs as its worker.
func Run(ctx context.Context, self string, stdin io.Reader, stdout, stderr io.Writer) error {
	g := &guard{out: &agent.LineWriter{W: stdout}}
	defer g.close()
	if err := g.prepare(); err != nil {
		return g.fatal(err)
	}
	if err := g.startWorker(self, stderr); err != nil {
		return g.fatal(err)
	}
	lines := make(chan []byte)
	readErr := make(chan error, 1)
	go func() {
		r := agent.NewLineReader(stdin)
		for {
			line, err := r.Next()
			if err != nil {
				readErr <- err
				return
			}
			select {
			case lines <- bytes.Clone(line):
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-readErr: //nolint:errcheck // that it ended is all that counts
			return errors.Join(errCLIGone, g.keepUnsaved())
		case line := <-lines:
			done, err := g.handle(line)
			if err != nil {
				return g.fatal(err)
			}
			if done {
				return nil
			}
		}
	}
}

func (g *guard) prepare() error {
	if err := os.MkdirAll(agent.CgroupDir, 0o755); err != nil {
		return err
	}
	return bpf.MountCgroup2(agent.CgroupDir)
}

// fatal tells the CLI why the agent can't go on.
func (g *guard) fatal(err error) error {
	g.out.Send(agent.FromAgent{Fatal: FatalOf(err)})
	return err
}

// FatalOf says why the agent can't go on.
func FatalOf(err error) *event.Problem {
	p := &event.Problem{Kind: event.Environment, Err: err}
	if known := (*event.Problem)(nil); errors.As(err, &known) {
		p.Kind, p.Next = known.Kind, known.Next
	}
	if unsupported := (*bpf.Unsupported)(nil); errors.As(err, &unsupported) {
		p.Next = unsupported.Hint
		if strings.HasPrefix(unsupported.Feature, "permission") {
			p.Kind = event.Privilege
		}
	}
	return p
}

// startWorker runs the worker; it gets the maps later, over a socket.
func (g *guard) startWorker(self string, stderr io.Writer) error {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("a socket pair for the worker: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "worker")
	defer theirs.Close()
	ours := os.NewFile(uintptr(pair[0]), "guard")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "agent", "worker")
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{theirs}
	// The worker must not outlive the guard, whose hooks lead to it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	w := &worker{cmd: cmd, in: &agent.LineWriter{W: stdin}, stdin: stdin, fds: conn.(*net.UnixConn), done: make(chan struct{})}
	g.mu.Lock()
	g.worker = w
	g.mu.Unlock()
	go g.pump(w, stdout)
	return nil
}

// pump passes the worker's lines on, and acts on two: the hooks are attached
// between the worker's "ready" and the CLI's.
func (g *guard) pump(w *worker, stdout io.Reader) {
	defer close(w.done)
	r := agent.NewLineReader(stdout)
	for {
		line, err := r.Next()
		if err != nil {
			break
		}
		if bytes.Equal(line, []byte(agent.ReadyLine)) {
			if err := g.redirect.Attach(); err != nil {
				_ = g.fatal(err)
				continue
			}
			g.mu.Lock()
			g.attached = true
			g.mu.Unlock()
		}
		g.pass(line)
		if !r.More() {
			g.out.Flush()
		}
	}
	g.out.Flush()
	err := w.cmd.Wait()
	g.mu.Lock()
	ended := g.ended
	g.mu.Unlock()
	if !ended {
		g.workerDied(err)
	}
}

// pass writes a record to the tape if that is here, and hands everything else on.
func (g *guard) pass(line []byte) {
	written, err := g.writing.take(line)
	if err != nil {
		g.out.Send(agent.FromAgent{Unwritable: FatalOf(err)})
	}
	if written {
		return
	}
	// Without a CLI the records are kept all the same.
	if err := g.unsaved.add(line); err != nil {
		g.out.Notice(event.Notice{Kind: event.Failed, Detail: err.Error()})
	}
	_ = g.out.Gather(line)
}

// workerDied leaves the app as the mode wants it: in record it goes on directly;
// in replay its connections are refused, because nothing may reach the outside.
func (g *guard) workerDied(err error) {
	if g.start == nil {
		_ = g.fatal(fmt.Errorf("the worker ended: %v", err)) //nolint:errorlint // may be nil
		return
	}
	if g.start.Mode == agent.Record {
		if berr := g.redirect.Bypass(true); berr != nil {
			err = errors.Join(err, berr)
		}
		detail := fmt.Sprintf("the proxy ended unexpectedly (%v); the app goes on without it and what follows is not recorded", err)
		g.writing.problem(detail)
		g.out.Notice(event.Notice{
			Kind:   event.Unrecorded,
			Detail: detail,
			Next:   "record again; if it happens again, run with --debug and report it",
		})
		return
	}
	_ = g.fatal(fmt.Errorf("the proxy ended unexpectedly: %v", err)) //nolint:errorlint // may be nil
}

// handle acts on a line from the CLI; the worker gets all that it needs to know.
func (g *guard) handle(line []byte) (done bool, err error) {
	var m agent.ToAgent
	if err := json.Unmarshal(line, &m); err != nil {
		return false, fmt.Errorf("a line from the CLI: %w", err)
	}
	switch {
	case m.Start != nil:
		return false, g.begin(m.Start, line)
	case m.Cleanup:
		g.endWorker()
		err := g.cleanup()
		if m.Discard {
			err = errors.Join(err, g.writing.discard())
		}
		reply := &agent.Reply{}
		if err != nil {
			reply.Error = err.Error()
		}
		g.out.Send(agent.FromAgent{ID: m.ID, Reply: reply})
		return true, nil
	case m.Finish != nil:
		reply := g.writing.finish(m.Finish)
		g.out.Send(agent.FromAgent{ID: m.ID, Reply: reply})
		return false, nil
	case m.Saved > 0:
		g.unsaved.drop(m.Saved)
		return false, nil
	case m.Stop:
		if g.redirect != nil && g.start.Mode == agent.Record {
			// What the app does while it is shut down goes directly.
			_ = g.redirect.Bypass(true)
		}
		g.mu.Lock()
		g.ended = true
		g.mu.Unlock()
		select {
		case <-g.worker.done:
			g.out.Send(agent.FromAgent{Stopped: true})
			return false, nil
		default:
		}
	case m.Exclude != nil:
		// Addresses of containers, which get others when they start again.
		if err := g.eachPrefix(m.Exclude, (*bpf.Redirect).Borrow); err != nil {
			g.out.Send(agent.FromAgent{ID: m.ID, Reply: &agent.Reply{Error: err.Error()}})
			return false, nil
		}
	}
	if err := g.worker.in.Raw(line); err != nil && m.ID != 0 {
		g.out.Send(agent.FromAgent{ID: m.ID, Reply: &agent.Reply{Error: "the agent's worker is gone"}})
	}
	return false, nil
}

// begin loads the hooks, tells them of the session, and hands the maps and the
// start line to the worker. Nothing is attached before the worker is ready.
func (g *guard) begin(s *agent.Start, line []byte) error {
	g.start = s
	root := filepath.Join(agent.CgroupDir, s.Cgroup)
	if _, err := bpf.MakeCgroup(root); err != nil {
		return fmt.Errorf("make the session's cgroup: %w", err)
	}
	r, err := bpf.Load(bpf.Config{
		Cgroup: root, TCPPorts: agent.TCPPorts(), DNSPort: agent.DNSPort, ClosedPort: agent.ClosedPort,
		Isolate: s.Isolates(),
	})
	if err != nil {
		return err
	}
	g.redirect = r
	if err := g.writing.begin(s.Recording); err != nil {
		return err
	}
	for _, svc := range s.Services {
		if err := g.addService(svc); err != nil {
			return fmt.Errorf("service %s: %w", svc.Name, err)
		}
	}
	if err := g.tellPlaces(s); err != nil {
		return err
	}
	files, err := r.Files()
	if err != nil {
		return err
	}
	if err := agent.SendFiles(g.worker.fds, files); err != nil {
		return fmt.Errorf("hand the maps to the worker: %w", err)
	}
	return g.worker.in.Raw(line)
}

func (g *guard) addService(s agent.Service) error {
	id, err := bpf.MakeCgroup(filepath.Join(agent.CgroupDir, s.Cgroup))
	if err != nil {
		return err
	}
	svc := bpf.Service{CgroupID: id, IPv4Only: s.IPv4Only}
	if s.AgentIPv4 != "" {
		if svc.AgentIPv4, err = netip.ParseAddr(s.AgentIPv4); err != nil {
			return err
		}
	}
	if s.AgentIPv6 != "" {
		if svc.AgentIPv6, err = netip.ParseAddr(s.AgentIPv6); err != nil {
			return err
		}
	}
	return g.redirect.SetService(svc)
}

// tellPlaces says what is inside: the project's networks, without their gateways,
// which are the host.
func (g *guard) tellPlaces(s *agent.Start) error {
	include := s.Include
	if s.Isolates() {
		include = append(include, linkLocal...)
	}
	own, err := addrsOf(os.Getpid(), nil)
	if err != nil {
		return fmt.Errorf("the agent's addresses: %w", err)
	}
	// The engine may have chosen a gateway that it does not tell. What started the
	// agent is on the host, and the agent shares the host's processes.
	host, err := addrsOf(os.Getppid(), s.Exclude)
	if err != nil {
		g.out.Send(agent.FromAgent{Log: &agent.Log{Level: "debug", Message: "the host's addresses: " + err.Error()}})
	}
	return errors.Join(
		g.eachPrefix(s.Exclude, (*bpf.Redirect).Exclude),
		g.eachPrefix(append(include, host...), (*bpf.Redirect).Include),
		g.eachPrefix(own, (*bpf.Redirect).Borrow))
}

func (g *guard) eachPrefix(cidrs []string, set func(*bpf.Redirect, netip.Prefix) error) error {
	for _, c := range cidrs {
		p, err := agent.ParsePrefix(c)
		if err != nil {
			return err
		}
		if g.redirect == nil {
			return errors.New("exclude came before start")
		}
		if err := set(g.redirect, p); err != nil {
			return err
		}
	}
	return nil
}

// addrsOf lists the addresses of a process's network namespace, as far as one of
// the networks contains them; of all where there is no list of networks.
func addrsOf(pid int, networks []string) ([]string, error) {
	ns, err := netns.Of(pid)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	addrs, err := ns.Addrs()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, a := range addrs {
		in := func(c string) bool {
			p, err := agent.ParsePrefix(c)
			return err == nil && p.Contains(a)
		}
		if networks == nil || slices.ContainsFunc(networks, in) {
			found = append(found, a.String())
		}
	}
	return found, nil
}

func (g *guard) endWorker() {
	g.mu.Lock()
	g.ended = true
	w := g.worker
	g.mu.Unlock()
	if w != nil {
		w.stdin.Close()
		w.fds.Close()
		<-w.done
	}
}

// cleanup takes the hooks away and removes the session's cgroups. In a test, the
// hooks go with the cgroups, so that what still runs stays inside.
func (g *guard) cleanup() error {
	var errs []error
	if g.redirect != nil {
		errs = append(errs, g.redirect.Close())
		g.redirect = nil
	}
	if g.start != nil {
		errs = append(errs, RemoveCgroups(g.start.Cgroup))
	}
	return errors.Join(errs...)
}

// keepUnsaved has all records kept that are not on the tape.
func (g *guard) keepUnsaved() error {
	if g.start == nil || g.start.Mode != agent.Record || g.start.Recording != nil {
		return nil
	}
	return g.unsaved.spill(agent.UnsavedDir)
}

// close ends what the CLI did not end. In a test the services may still run, so
// hooks that are attached stay until the session is undone.
func (g *guard) close() {
	g.endWorker()
	g.unsaved.close()
	_ = g.writing.end() // its manifest says what is missing
	g.mu.Lock()
	stays := g.attached && g.redirect != nil && g.start.Isolates()
	g.mu.Unlock()
	if !stays {
		_ = g.cleanup()
	}
}

// Cleanup removes the cgroups of a session whose agent is gone.
func Cleanup(cgroup string) error {
	if err := os.MkdirAll(agent.CgroupDir, 0o755); err != nil {
		return err
	}
	return RemoveCgroups(cgroup)
}

// cleanupTimeout is for processes of containers that were just removed.
const cleanupTimeout = 5 * time.Second

// RemoveCgroups removes a cgroup of a session and all below it, once their processes are gone.
// Of a slice, systemd is told: nothing runs in it then that it could end.
func RemoveCgroups(cgroup string) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	err := bpf.RemoveCgroups(ctx, cgroup, agent.RunDir)
	if slice := path.Base(cgroup); err == nil && strings.HasSuffix(slice, ".slice") {
		err = bpf.ForgetSlice(ctx, bpf.SystemdSocket, slice)
	}
	return err
}
