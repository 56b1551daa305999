package session

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/recording"
	"github.com/wiretape/wiretape/images"
)

const (
	agentTrust = "/trust" // where the agent's container has the trust volume

	helloTimeout   = 30 * time.Second
	cleanupTimeout = 15 * time.Second
	// intermediateLife is how long the agent can make certificates.
	intermediateLife = 24 * time.Hour
)

// makeAgent makes the agent's container and gives it the tape to replay.
type makeAgent struct {
	Name, Network, Volume string
	Ports                 []Port
	Tape                  string
	Records               bool // it needs a place for what the CLI does not take any more
	TapeVolume            *recording.Volume
	Folder                string // of this host, in which a tape is being recorded
	image                 *Planned[string]
}

// agentMade is an agent's container.
type agentMade struct {
	writes bool // the recording's folder, which it has mounted
}

func (s makeAgent) Call() string {
	var b strings.Builder
	fmt.Fprintf(&b, "create container %s", s.Name)
	for _, i := range s.Ports {
		fmt.Fprintf(&b, ", port %s for %s:%d", net.JoinHostPort(i.HostIP, cmp.Or(i.Published, "any")), i.Service, i.Port)
	}
	switch {
	case s.TapeVolume != nil && s.Records:
		b.WriteString(", with volume " + s.TapeVolume.Name + ", where it writes the tape")
	case s.TapeVolume != nil:
		b.WriteString(", with volume " + s.TapeVolume.Name + ", where it reads the tape")
	case s.Tape != "":
		b.WriteString(", with the tape")
	}
	return b.String()
}
func (s makeAgent) Cause() string        { return "the proxy and the kernel hooks run in it" }
func (s makeAgent) UndoCall() string     { return "remove it with its anonymous volumes" }
func (s makeAgent) ByHand(e *Env) string { return "docker rm -f -v " + s.Name }

func (s makeAgent) Do(ctx context.Context, e *Env) (agentMade, error) {
	config := &container.Config{
		Image: s.image.Result(), Entrypoint: []string{images.Executable}, Cmd: []string{"agent"},
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		Labels: e.State.labels(), ExposedPorts: nat.PortSet{},
	}
	host := AgentHost(e.Info, e.Options.Privileged)
	host.NetworkMode = container.NetworkMode(s.Network)
	host.PortBindings = nat.PortMap{}
	host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Source: s.Volume, Target: agentTrust}}
	if s.TapeVolume != nil {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeVolume, Source: s.TapeVolume.Name, Target: agent.TapeDir, ReadOnly: !s.Records})
	}
	for _, i := range s.Ports {
		port := nat.Port(strconv.Itoa(i.Listen) + "/tcp")
		config.ExposedPorts[port] = struct{}{}
		host.PortBindings[port] = []nat.PortBinding{{HostIP: i.HostIP, HostPort: i.Published}}
	}
	create := func(more ...mount.Mount) error {
		host := *host
		host.Mounts = append(slices.Clone(host.Mounts), more...)
		_, err := e.Engine.ContainerCreate(context.WithoutCancel(ctx), config, &host, &network.NetworkingConfig{}, nil, s.Name)
		return err
	}
	if s.TapeVolume != nil {
		if err := create(); err != nil {
			return agentMade{}, EngineError(err)
		}
		return agentMade{}, nil
	}
	if folder := cmp.Or(s.Tape, s.Folder); folder != "" && mayShare(e, s.Records) {
		caps := host.CapAdd
		if s.Records && ownerOfTapes() != nil && !e.Options.Privileged {
			host.CapAdd = append(slices.Clone(caps), "CHOWN") // what it writes is to be the user's
		}
		err := createSharing(ctx, e.Engine, folder, !s.Records, func(m mount.Mount) error { return create(m) }, s.Name)
		if !errors.Is(err, errNotShared) {
			return agentMade{writes: err == nil && s.Records}, err
		}
		host.CapAdd = caps
		e.Report(Detail, "the tape is not mounted into the agent: "+err.Error(), "")
	}
	return agentMade{}, s.apart(ctx, e, create)
}

// mayShare reports whether a folder of this host may be mounted. Labels of SELinux keep
// containers from files that were not labelled for them. A system that is not Linux has
// its engine in a virtual machine, which does not give files to users of the host.
func mayShare(e *Env, write bool) bool {
	return !e.Options.Apart && !e.Info.SELinux && (!write || runtime.GOOS == "linux")
}

// apart makes the container where the engine's machine does not have the tape's
// folder: it gets a copy of what it plays, and a place for what the CLI does not take
// any more of what it records.
func (s makeAgent) apart(ctx context.Context, e *Env, create func(...mount.Mount) error) error {
	var more []mount.Mount
	switch {
	case s.Tape != "":
		more = append(more, mount.Mount{Type: mount.TypeVolume, Target: agent.TapeDir})
	case s.Records:
		more = append(more, mount.Mount{Type: mount.TypeVolume, Target: agent.UnsavedDir})
	}
	if err := create(more...); err != nil {
		return EngineError(err)
	}
	if s.Tape == "" {
		return nil
	}
	return copyFolder(ctx, e.Engine, s.Tape, s.Name, agent.TapeDir)
}

func (s makeAgent) Undo(ctx context.Context, e *Env) error {
	return IgnoreMissing(e.Engine.ContainerRemove(ctx, s.Name, container.RemoveOptions{Force: true, RemoveVolumes: true}))
}

// AgentHost is what the agent's container may do: enter namespaces and mount
// cgroup2 (SYS_ADMIN), load and attach the hooks (NET_ADMIN), look into other
// processes (SYS_PTRACE), and make cgroups below a root that nobody may write to
// (DAC_OVERRIDE).
func AgentHost(e EngineInfo, privileged bool) *container.HostConfig {
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
func copyFolder(ctx context.Context, e Engine, dir, id, target string) error {
	pr, pw := io.Pipe()
	go func() {
		w := tar.NewWriter(pw)
		err := addFolder(w, dir)
		pw.CloseWithError(errors.Join(err, w.Close()))
	}()
	err := e.CopyToContainer(ctx, id, target, pr, container.CopyToContainerOptions{})
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
