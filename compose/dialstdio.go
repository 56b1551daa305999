package compose

import (
	"context"
	"io"
	"net"
	"os/exec"
	"sync"
	"time"

	"github.com/docker/docker/client"
)

// dialThroughDocker returns a client whose connections are made by the docker
// command itself, which knows how to reach the engines of contexts (SSH, TLS).
func dialThroughDocker() (*client.Client, error) {
	return client.NewClientWithOpts(
		client.WithHost("http://docker.example"), // only names the Host header
		client.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialStdio(exec.Command("docker", "system", "dial-stdio"))
		}),
		client.WithAPIVersionNegotiation(),
	)
}

// A stdioConn is a connection over a command's standard input and output.
type stdioConn struct {
	io.Reader
	stdin io.WriteCloser
	cmd   *exec.Cmd
	close sync.Once
}

func dialStdio(cmd *exec.Cmd) (net.Conn, error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	ownProcessGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &stdioConn{Reader: stdout, stdin: stdin, cmd: cmd}, nil
}

func (c *stdioConn) Write(p []byte) (int, error) { return c.stdin.Write(p) }
func (c *stdioConn) CloseWrite() error           { return c.stdin.Close() }

func (c *stdioConn) Close() error {
	c.close.Do(func() {
		c.stdin.Close()
		_ = killGroup(c.cmd.Process)
		c.cmd.Wait()
	})
	return nil
}

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }
func (stdioAddr) String() string  { return "docker" }

func (c *stdioConn) LocalAddr() net.Addr              { return stdioAddr{} }
func (c *stdioConn) RemoteAddr() net.Addr             { return stdioAddr{} }
func (c *stdioConn) SetDeadline(time.Time) error      { return nil }
func (c *stdioConn) SetReadDeadline(time.Time) error  { return nil }
func (c *stdioConn) SetWriteDeadline(time.Time) error { return nil }
