package compose

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/images"
)

const (
	agentTrust = "/trust" // where the agent's container has the trust volume
	agentTape  = "/tape"  // where it has the tape to replay

	helloTimeout   = 30 * time.Second
	cleanupTimeout = 15 * time.Second
	// intermediateLife is how long the agent can make certificates.
	intermediateLife = 24 * time.Hour
)

// makeAgent makes the agent's container and gives it the tape to replay.
type makeAgent struct {
	Name, Network, Volume string
	Ingress               []ingress
	Engine                session.EngineInfo
	Privileged            bool
	Tape                  string
	Records               bool // it needs a place for what the CLI does not take any more
}

func (s makeAgent) Call() string {
	var b strings.Builder
	fmt.Fprintf(&b, "create container %s", s.Name)
	for _, i := range s.Ingress {
		fmt.Fprintf(&b, ", port %s for %s:%d", net.JoinHostPort(i.HostIP, cmp.Or(i.Published, "any")), i.Service, i.Port)
	}
	if s.Tape != "" {
		b.WriteString(", with the tape")
	}
	return b.String()
}
func (s makeAgent) Cause() string            { return "the proxy and the kernel hooks run in it" }
func (s makeAgent) UndoCall() string         { return "remove it with its anonymous volumes" }
func (s makeAgent) byHand(r *Session) string { return "docker rm -f -v " + s.Name }

func (s makeAgent) do(ctx context.Context, r *Session) error {
	config := &container.Config{
		Image: r.image, Entrypoint: []string{images.Executable}, Cmd: []string{"agent"},
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		Labels: r.state.labels(), ExposedPorts: nat.PortSet{},
	}
	host := agentHost(s.Engine, s.Privileged)
	host.NetworkMode = container.NetworkMode(s.Network)
	host.PortBindings = nat.PortMap{}
	host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Source: s.Volume, Target: agentTrust}}
	if s.Tape != "" {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeVolume, Target: agentTape})
	}
	if s.Records {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeVolume, Target: agent.UnsavedDir})
	}
	for _, i := range s.Ingress {
		port := nat.Port(strconv.Itoa(i.Listen) + "/tcp")
		config.ExposedPorts[port] = struct{}{}
		host.PortBindings[port] = []nat.PortBinding{{HostIP: i.HostIP, HostPort: i.Published}}
	}
	if _, err := r.engine.ContainerCreate(context.WithoutCancel(ctx), config, host, &network.NetworkingConfig{}, nil, s.Name); err != nil {
		return session.EngineError(err)
	}
	if s.Tape == "" {
		return nil
	}
	return r.copyFolder(ctx, s.Tape, s.Name, agentTape)
}

func (s makeAgent) undo(ctx context.Context, r *Session) error {
	return session.IgnoreMissing(r.engine.ContainerRemove(ctx, s.Name, container.RemoveOptions{Force: true, RemoveVolumes: true}))
}

// agentHost is what the agent's container may do: enter namespaces and mount
// cgroup2 (SYS_ADMIN), load and attach the hooks (NET_ADMIN), look into other
// processes (SYS_PTRACE), and make cgroups below a root that nobody may write to
// (DAC_OVERRIDE).
func agentHost(e session.EngineInfo, privileged bool) *container.HostConfig {
	h := &container.HostConfig{
		PidMode:        "host",
		CgroupnsMode:   container.CgroupnsModeHost,
		ReadonlyRootfs: true,
		Tmpfs:          map[string]string{"/run": "rw,nosuid,nodev,noexec"},
		LogConfig:      container.LogConfig{Type: "none"},
	}
	if e.UserNS {
		h.UsernsMode = "host"
	}
	if privileged {
		h.Privileged = true
		return h
	}
	h.CapDrop = []string{"ALL"}
	h.CapAdd = []string{"SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "DAC_OVERRIDE"}
	if e.KnowsBPF() {
		h.CapAdd = append(h.CapAdd, "BPF", "PERFMON")
	}
	h.SecurityOpt = []string{"seccomp=unconfined"}
	if e.AppArmor {
		h.SecurityOpt = append(h.SecurityOpt, "apparmor=unconfined")
	}
	return h
}

// copyFolder copies a folder of this host into a container, owned by its root.
func (r *Session) copyFolder(ctx context.Context, dir, id, target string) error {
	pr, pw := io.Pipe()
	go func() {
		w := tar.NewWriter(pw)
		err := addFolder(w, dir)
		pw.CloseWithError(errors.Join(err, w.Close()))
	}()
	err := r.engine.CopyToContainer(ctx, id, target, pr, container.CopyToContainerOptions{})
	pr.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		return fmt.Errorf("copy %s to the agent: %w", dir, err)
	}
	return nil
}

func addFolder(w *tar.Writer, dir string) error {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == "." {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		head := &tar.Header{Name: filepath.ToSlash(rel), ModTime: info.ModTime()}
		switch {
		case d.IsDir():
			head.Typeflag, head.Name, head.Mode = tar.TypeDir, head.Name+"/", 0o755
			return w.WriteHeader(head)
		case !info.Mode().IsRegular():
			return nil
		}
		head.Typeflag, head.Mode, head.Size = tar.TypeReg, 0o644, info.Size()
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyN(w, f, head.Size)
		return err
	})
}

// startAgent starts the agent, gives it its certificate, and waits until its
// hooks are attached.
type startAgent struct{ Name string }

func (s startAgent) Call() string  { return "start container " + s.Name + " and wait until it is ready" }
func (s startAgent) Cause() string { return "the hooks must be there before the first process is" }
func (s startAgent) UndoCall() string {
	return "the agent takes its hooks away and removes the cgroups"
}

func (s startAgent) byHand(r *Session) string {
	return "docker rm -f -v " + s.Name + " && " + shellJoin([]string{
		"find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", "*" + r.state.cgroup() + "*", "-exec", "rmdir", "{}", "+"})
}

func (s startAgent) do(ctx context.Context, r *Session) error {
	stream, err := r.engine.ContainerAttach(ctx, s.Name, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return session.EngineError(err)
	}
	r.link = session.NewLink(stream.Conn, stream.Reader, r.hear, func() string { return r.howEnded(s.Name) }, session.FatalHint(r.opt.Privileged))
	r.agentStarted = true
	if err := r.engine.ContainerStart(context.WithoutCancel(ctx), s.Name, container.StartOptions{}); err != nil {
		return startError(err, r.opt.Privileged)
	}
	hello, err := r.link.Hello(ctx, helloTimeout)
	if err != nil {
		return err
	}
	chain, err := r.opt.Root.SignIntermediate([]byte(hello.CSR), intermediateLife)
	if err != nil {
		return fmt.Errorf("sign the agent's certificate: %w", err)
	}
	start, err := r.startMessage(ctx)
	if err != nil {
		return err
	}
	start.Chain = string(chain)
	return r.link.Start(ctx, start, helloTimeout)
}

// howEnded tells how a container's process ended.
func (r *Session) howEnded(name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	// The stream ends a moment before the engine knows.
	for {
		c, err := r.engine.ContainerInspect(ctx, name)
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
		if session.Pause(ctx, pollInterval) != nil {
			return ""
		}
	}
}

// refused is what engines and runtimes say where a privilege is missing.
var refused = regexp.MustCompile(`(?i)operation not permitted|permission denied|capabilit|apparmor|seccomp|security[- ]opt`)

func startError(err error, privileged bool) error {
	text := err.Error()
	if strings.Contains(text, "port is already allocated") || strings.Contains(text, "address already in use") || strings.Contains(text, "ports are not available") {
		return session.PortError(fmt.Errorf("publish the project's ports: %w", err))
	}
	hint := "what the engine says is its own; docker run --rm with any image may show the same"
	if refused.MatchString(text) {
		hint = session.PrivilegeHint(privileged)
	}
	return &Error{Kind: Environment, Err: fmt.Errorf("start the agent: %w", err), Hint: hint}
}

func (s startAgent) undo(ctx context.Context, r *Session) error {
	if r.link != nil {
		defer r.link.Close()
		ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
		_, err := r.link.Request(ctx, agent.ToAgent{Cleanup: true})
		cancel()
		if err == nil || !r.agentStarted {
			return nil
		}
	}
	if !r.agentStarted {
		return nil
	}
	if err := r.cleanCgroups(ctx); err != nil {
		return &leftover{err: err, byHand: s.byHand(r), harmless: true, final: true}
	}
	return nil
}

// cleanCgroups removes the session's cgroups where its agent is gone: another
// container of the agent's does it.
func (r *Session) cleanCgroups(ctx context.Context) error {
	if r.image == "" {
		info, err := session.ObserveEngine(ctx, r.engine)
		if err != nil {
			return err
		}
		r.info = info
		if err := (loadImage{info.Arch}).do(ctx, r); err != nil {
			return err
		}
	}
	name := "wiretape-" + r.state.Session + "-cleanup"
	config := &container.Config{
		Image: r.image, Entrypoint: []string{images.Executable}, Cmd: []string{"agent", "cleanup", r.state.cgroup()},
		Labels: r.state.labels(),
	}
	host := agentHost(r.info, r.opt.Privileged)
	host.NetworkMode = "none"
	host.LogConfig = container.LogConfig{} // it has little to say, which is read below
	remove := func() error {
		return session.IgnoreMissing(r.engine.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true}))
	}
	if err := remove(); err != nil {
		return err
	}
	if _, err := r.engine.ContainerCreate(ctx, config, host, nil, nil, name); err != nil {
		return err
	}
	defer remove()
	exited, failed := r.engine.ContainerWait(ctx, name, container.WaitConditionNextExit)
	if err := r.engine.ContainerStart(ctx, name, container.StartOptions{}); err != nil {
		return err
	}
	select {
	case e := <-exited:
		if e.StatusCode != 0 {
			return fmt.Errorf("remove the cgroups %s: %s", r.state.cgroup(), r.lastLines(ctx, name, 5))
		}
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// startMessage is all that the agent needs to know, but for its certificate.
func (r *Session) startMessage(ctx context.Context) (*agent.Start, error) {
	self, err := r.engine.ContainerInspect(ctx, r.state.agent())
	if err != nil {
		return nil, session.EngineError(err)
	}
	start := &agent.Start{
		Session: r.state.Session, Mode: r.opt.Mode, Cgroup: r.state.cgroup(),
		Hosts: r.opt.Hosts, UpstreamCA: string(r.opt.UpstreamCA), KeepEncoding: r.opt.KeepEncoding, Redact: r.opt.Redact, Correlate: r.opt.Correlate,
		Speed: r.opt.Speed, Reuse: r.opt.Reuse, OnMiss: r.opt.OnMiss, Noise: r.opt.Noise, MatchHeaders: r.opt.MatchHeaders, Debug: r.opt.Debug,
	}
	if r.opt.Mode == agent.Replay && r.opt.Tape != "" {
		start.Tape = agentTape
	}
	for _, t := range r.layout.targets {
		svc := agent.Service{Name: t.Name, Cgroup: t.Cgroup, Roots: string(r.roots[t.Name])}
		for _, name := range t.Networks {
			if n := self.NetworkSettings.Networks[name]; n != nil {
				svc.AgentIPv4 = cmp.Or(svc.AgentIPv4, n.IPAddress)
				svc.AgentIPv6 = cmp.Or(svc.AgentIPv6, n.GlobalIPv6Address)
			}
		}
		start.Services = append(start.Services, svc)
	}
	for _, i := range r.layout.ingress {
		at := publishedAt(self.NetworkSettings.Ports[nat.Port(strconv.Itoa(i.Listen)+"/tcp")])
		start.Ingress = append(start.Ingress, agent.Ingress{Listen: i.Listen, Service: i.Service, Port: i.Port, Published: at})
	}
	r.published = start.Ingress
	r.api.publish(start.Ingress)
	if err := r.internalAddresses(ctx, start); err != nil {
		return nil, err
	}
	start.Names, err = r.internalNames(ctx)
	return start, err
}

// publishedAt is where a client on this host reaches a port.
func publishedAt(bindings []nat.PortBinding) string {
	if len(bindings) == 0 {
		return ""
	}
	host := bindings[0].HostIP
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, bindings[0].HostPort)
}

// internalAddresses fills in the networks of the project's own, but for their
// gateways: those are the host, which is outside.
func (r *Session) internalAddresses(ctx context.Context, start *agent.Start) error {
	names := []string{r.state.network(), r.state.sideNetwork()}
	for _, key := range slices.Sorted(maps.Keys(r.project.Networks)) {
		if n := r.project.Networks[key]; !n.External {
			names = append(names, n.Name)
		}
	}
	for _, name := range names {
		n, err := r.engine.NetworkInspect(ctx, name, network.InspectOptions{})
		if err != nil {
			if session.IgnoreMissing(err) == nil {
				continue // no service uses it, so compose did not make it
			}
			return session.EngineError(err)
		}
		for _, pool := range n.IPAM.Config {
			start.Exclude = append(start.Exclude, pool.Subnet)
			start.Include = append(start.Include, gatewayOf(pool)...)
		}
	}
	return nil
}

// gatewayOf is the host's address on a network. An engine that chose it itself does
// not tell: it takes the first of the range that addresses are given from.
func gatewayOf(pool network.IPAMConfig) []string {
	if gateway, _, _ := strings.Cut(pool.Gateway, "/"); gateway != "" {
		return []string{gateway}
	}
	subnet, err := netip.ParsePrefix(pool.Subnet)
	if err != nil {
		return nil
	}
	first := subnet.Masked().Addr()
	if r, err := netip.ParsePrefix(pool.IPRange); err == nil {
		first = r.Masked().Addr()
	}
	if first == subnet.Masked().Addr() {
		first = first.Next() // that is the subnet's own name
	}
	return []string{first.String()}
}

// internalNames lists what the project's own networks answer to a DNS query.
func (r *Session) internalNames(ctx context.Context) ([]string, error) {
	names := make(map[string]bool)
	add := func(s string) {
		if s != "" {
			names[strings.ToLower(strings.TrimSuffix(s, "."))] = true
		}
	}
	for _, s := range r.project.Services {
		add(s.Name)
		add(s.ContainerName)
		add(s.Hostname)
		if s.Hostname != "" && s.DomainName != "" {
			add(s.Hostname + "." + s.DomainName)
		}
		for _, n := range s.Networks {
			if n != nil {
				for _, alias := range n.Aliases {
					add(alias)
				}
			}
		}
		for _, l := range s.Links {
			_, alias, _ := strings.Cut(l, ":")
			add(alias)
		}
		for i := range replicasOf(s, r.state.Before) {
			add(fmt.Sprintf("%s-%s-%d", r.state.Project, s.Name, i+1))
		}
	}
	list, err := containersWith(ctx, r.engine, r.ours()...)
	if err != nil {
		return nil, session.EngineError(err)
	}
	for _, c := range list {
		add(nameOf(c))
		add(c.ID[:min(len(c.ID), 12)])
	}
	return slices.Sorted(maps.Keys(names)), nil
}
