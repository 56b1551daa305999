//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// servingOn stands before the address in what a server prints, ours and wiretape.
const servingOn = "serving on"

const (
	startPatience = 60 * time.Second // a tape of 100,000 calls is opened first
	stopPatience  = 60 * time.Second // a large tape is synced to the disk first
)

// A child is a server process.
type child struct {
	b    *bench
	cmd  *exec.Cmd
	addr string
	dir  string // of its files, where it has one of its own
	said lastLines
	read chan struct{} // closed when its output has ended
	peer bool          // a program of others, whose end is not judged
	over bool
	err  error
}

// ours has a command end with this process, and keep its files in the bench's folder.
func (b *bench) ours(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "CAROOT="+b.caRoot(), "HOME="+b.dir)
}

// start starts a server and waits until it says where it serves.
func (b *bench) start(ctx context.Context, name string, args ...string) (*child, error) {
	c := &child{b: b, cmd: exec.Command(name, args...), read: make(chan struct{})}
	addr := make(chan string, 1)
	if err := c.run(addr); err != nil {
		return nil, err
	}
	select {
	case c.addr = <-addr:
		return c, nil
	case <-c.read:
	case <-ctx.Done():
	case <-time.After(startPatience):
	}
	return nil, errors.Join(fmt.Errorf("%s doesn't serve: %s", c.cmd, c.said.String()), c.stop(), ctx.Err())
}

// run starts the process, and has what it says read.
func (c *child) run(addr chan<- string) error {
	c.b.ours(c.cmd)
	// A Ctrl-C at the terminal is for this process, which stops its children itself.
	c.cmd.SysProcAttr.Setpgid = true
	out, w, err := os.Pipe()
	if err != nil {
		return err
	}
	c.cmd.Stdout, c.cmd.Stderr = w, w
	err = c.cmd.Start()
	w.Close()
	if err != nil {
		out.Close()
		return err
	}
	c.b.children = append(c.b.children, c)
	go c.listen(out, addr)
	return nil
}

// listen reads what the child says, and finds the address in it.
func (c *child) listen(out io.ReadCloser, addr chan<- string) {
	defer close(c.read)
	defer out.Close()
	in := bufio.NewReaderSize(out, 64<<10)
	for {
		line, err := in.ReadString('\n')
		c.said.add(line)
		if _, rest, ok := strings.Cut(line, servingOn+" "); ok {
			a, _, _ := strings.Cut(strings.TrimSpace(rest), ";")
			addr <- a
			break
		}
		if err != nil {
			return
		}
	}
	// From here on there may be a line for each call, which must cost little.
	block := make([]byte, 64<<10)
	for {
		n, err := in.Read(block)
		c.said.add(string(block[max(0, n-1000):n]))
		if err != nil {
			return
		}
	}
}

// stop interrupts the child and waits for its end. It may be called again.
func (c *child) stop() error {
	if c.over {
		return c.err
	}
	c.over = true
	c.cmd.Process.Signal(os.Interrupt)
	kill := time.AfterFunc(stopPatience, func() { c.cmd.Process.Kill() })
	err := c.cmd.Wait()
	kill.Stop()
	<-c.read
	c.b.ended += c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGINT {
		return nil // origin and floor don't catch it
	}
	if err != nil && !c.peer {
		c.err = fmt.Errorf("%s: %w: %s", c.cmd, err, c.said.String())
	}
	return c.err
}

func (b *bench) stopAll() {
	for _, c := range b.children {
		c.stop()
	}
}

// status returns a field of /proc/PID/status that counts kB, in bytes.
func (c *child) status(field string) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte(field+":")); ok {
			kB, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"), 10, 64)
			return kB << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", c.cmd.Process.Pid, field)
}

// lastLines keeps the end of what a child says, for errors.
type lastLines struct {
	mu   sync.Mutex
	text string
}

func (l *lastLines) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += text
	l.text = l.text[max(0, len(l.text)-1000):]
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.text)
}
