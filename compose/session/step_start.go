package session

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/httpstream/event"
	"github.com/wiretape/wiretape/images"
)

// startAgent starts the agent, gives it its certificate, and waits until its
// hooks are attached.
type startAgent struct {
	Name    string
	wiring  *Wiring
	created *Planned[Created]
	roots   *Planned[map[string][]byte] // PEM, by service
	made    *Planned[agentMade]
	of      *Session // takes what the agent says

	link   *Link // nil until the agent was attached to
	mayRun bool  // its container may have run
}

// Started is an agent that runs.
type Started struct {
	Link  *Link
	Ports []agent.Ingress // where the services' published ports are
}

func (s *startAgent) Call() string {
	return "start container " + s.Name + " and wait until it is ready"
}
func (s *startAgent) Cause() string { return "the hooks must be there before the first process is" }
func (s *startAgent) UndoCall() string {
	return "the agent takes its hooks away and removes the cgroups"
}

func (s *startAgent) ByHand(e *Env) string {
	commands := "docker rm -f -v " + s.Name + " && " + ShellJoin([]string{
		"find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", "*" + e.State.cgroup() + "*", "-exec", "rmdir", "{}", "+"})
	if e.State.Systemd {
		commands += " && systemctl stop " + path.Base(e.State.cgroup())
	}
	return commands
}

func (s *startAgent) Do(ctx context.Context, e *Env) (Started, error) {
	e.Report(Busy, "starting the agent", "")
	if s.made.Result().writes {
		if err := s.of.handOver(); err != nil {
			return Started{}, err
		}
	}
	stream, err := e.Engine.ContainerAttach(ctx, s.Name, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return Started{}, EngineError(err)
	}
	s.link = NewLink(stream.Conn, stream.Reader, s.of.receive, func() string { return howEnded(e.Engine, s.Name) }, FatalNext(e.Info, e.Options.Privileged))
	s.mayRun = true
	if err := e.Engine.ContainerStart(context.WithoutCancel(ctx), s.Name, container.StartOptions{}); err != nil {
		return Started{}, StartError(err, e.Info, e.Options.Privileged)
	}
	hello, err := s.link.Hello(ctx, helloTimeout)
	if err != nil {
		return Started{}, err
	}
	chain, err := e.Options.Root.SignIntermediate([]byte(hello.CSR), intermediateLife)
	if err != nil {
		return Started{}, fmt.Errorf("sign the agent's certificate: %w", err)
	}
	if _, err := s.roots.wait(ctx); err != nil {
		return Started{}, err
	}
	start, err := s.startMessage(ctx, e)
	if err != nil {
		return Started{}, err
	}
	start.Chain = string(chain)
	return Started{Link: s.link, Ports: start.Ingress}, s.link.Start(ctx, start, helloTimeout)
}

// howEnded tells how a container's process ended.
func howEnded(e Engine, name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	// The stream ends a moment before the engine knows.
	for {
		c, err := e.ContainerInspect(ctx, name)
		if err != nil || c.ContainerJSONBase == nil {
			return ""
		}
		switch {
		case c.State.OOMKilled:
			return "it ran out of memory"
		case c.State.Status == "exited" && c.State.ExitCode == 137:
			return "it was killed"
		case c.State.Status == "exited":
			return fmt.Sprintf("exit code %d", c.State.ExitCode)
		}
		if Pause(ctx, pollInterval) != nil {
			return ""
		}
	}
}

// refused is what engines and runtimes say where a privilege is missing.
var refused = regexp.MustCompile(`(?i)operation not permitted|permission denied|capabilit|apparmor|seccomp|security[- ]opt`)

// isolated is what Docker Desktop says where it isolates containers from the machine.
var isolated = regexp.MustCompile(`(?i)enhanced container isolation|sysbox`)

// StartError says why an agent's container does not start, and what to do.
func StartError(err error, e EngineInfo, privileged bool) error {
	text := err.Error()
	if strings.Contains(text, "port is already allocated") || strings.Contains(text, "address already in use") || strings.Contains(text, "ports are not available") {
		return PortError(fmt.Errorf("publish the project's ports: %w", err))
	}
	hint := "what the engine says is its own; docker run --rm with any image may show the same"
	if refused.MatchString(text) {
		hint = e.PrivilegeHint(privileged)
	}
	if isolated.MatchString(text) {
		hint = eciHint
	}
	return &event.Problem{Kind: event.Environment, Err: fmt.Errorf("start the agent: %w", err), Next: hint}
}

func (s *startAgent) Undo(ctx context.Context, e *Env) error {
	if s.link != nil {
		defer s.link.Close()
		ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
		_, err := s.link.Request(ctx, agent.ToAgent{Cleanup: true, Discard: s.of.mounted != nil && !s.of.mounted.begun()})
		cancel()
		if err == nil {
			return nil
		}
	}
	if !s.mayRun {
		return nil
	}
	if err := cleanCgroups(ctx, e); err != nil {
		return &Leftover{Err: err, ByHand: s.ByHand(e), Left: Harmless}
	}
	return nil
}

// cleanCgroups removes the session's cgroups where its agent is gone: another
// container of the agent's does it.
func cleanCgroups(ctx context.Context, e *Env) error {
	image, err := ensureImage(ctx, e, e.Info.Arch)
	if err != nil {
		return err
	}
	name := "wiretape-" + e.State.Session + "-cleanup"
	config := &container.Config{
		Image: image, Entrypoint: []string{images.Executable}, Cmd: []string{"agent", "cleanup", e.State.cgroup()},
		Labels: e.State.labels(),
	}
	host := AgentHost(e.Info, e.Options.Privileged)
	host.NetworkMode = "none"
	host.LogConfig = container.LogConfig{} // it has little to say, which is read below
	remove := func() error {
		return IgnoreMissing(e.Engine.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true}))
	}
	if err := remove(); err != nil {
		return err
	}
	if _, err := e.Engine.ContainerCreate(ctx, config, host, nil, nil, name); err != nil {
		return err
	}
	defer func() { _ = remove() }()
	exited, failed := e.Engine.ContainerWait(ctx, name, container.WaitConditionNextExit)
	if err := e.Engine.ContainerStart(ctx, name, container.StartOptions{}); err != nil {
		return err
	}
	select {
	case result := <-exited:
		if result.StatusCode != 0 {
			return fmt.Errorf("remove the cgroups %s: %s", e.State.cgroup(), LastLines(ctx, e.Engine, name, 5))
		}
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
