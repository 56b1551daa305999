package session

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/wiretape/wiretape/images"
)

// Engine is what a session uses of the Docker engine's API.
type Engine interface {
	Info(ctx context.Context) (system.Info, error)
	ServerVersion(ctx context.Context) (types.Version, error)
	Events(ctx context.Context, options events.ListOptions) (<-chan events.Message, <-chan error)

	ContainerList(ctx context.Context, options container.ListOptions) ([]container.Summary, error)
	ContainerInspect(ctx context.Context, id string) (container.InspectResponse, error)
	ContainerCreate(ctx context.Context, config *container.Config, host *container.HostConfig, net *network.NetworkingConfig, platform *ocispec.Platform, name string) (container.CreateResponse, error)
	ContainerAttach(ctx context.Context, id string, options container.AttachOptions) (types.HijackedResponse, error)
	ContainerStart(ctx context.Context, id string, options container.StartOptions) error
	ContainerWait(ctx context.Context, id string, condition container.WaitCondition) (<-chan container.WaitResponse, <-chan error)
	ContainerStop(ctx context.Context, id string, options container.StopOptions) error
	ContainerPause(ctx context.Context, id string) error
	ContainerUnpause(ctx context.Context, id string) error
	ContainerRename(ctx context.Context, id, name string) error
	ContainerRemove(ctx context.Context, id string, options container.RemoveOptions) error
	ContainerLogs(ctx context.Context, id string, options container.LogsOptions) (io.ReadCloser, error)
	CopyFromContainer(ctx context.Context, id, path string) (io.ReadCloser, container.PathStat, error)
	CopyToContainer(ctx context.Context, id, path string, content io.Reader, options container.CopyToContainerOptions) error

	NetworkList(ctx context.Context, options network.ListOptions) ([]network.Summary, error)
	NetworkInspect(ctx context.Context, id string, options network.InspectOptions) (network.Inspect, error)
	NetworkCreate(ctx context.Context, name string, options network.CreateOptions) (network.CreateResponse, error)
	NetworkConnect(ctx context.Context, network, container string, config *network.EndpointSettings) error
	NetworkDisconnect(ctx context.Context, network, container string, force bool) error
	NetworkRemove(ctx context.Context, id string) error

	VolumeList(ctx context.Context, options volume.ListOptions) (volume.ListResponse, error)
	VolumeCreate(ctx context.Context, options volume.CreateOptions) (volume.Volume, error)
	VolumeRemove(ctx context.Context, id string, force bool) error

	ImageInspect(ctx context.Context, ref string, options ...client.ImageInspectOption) (image.InspectResponse, error)
	ImageLoad(ctx context.Context, input io.Reader, options ...client.ImageLoadOption) (image.LoadResponse, error)
	ImageRemove(ctx context.Context, id string, options image.RemoveOptions) ([]image.DeleteResponse, error)
}

// EngineInfo is what a plan depends on of the engine.
type EngineInfo struct {
	Version  string // "20.10.24"
	Arch     string // as Go names it
	Systemd  bool   // the cgroup driver is systemd, else cgroupfs
	AppArmor bool
	UserNS   bool   // containers run in a user namespace by default
	SELinux  bool   // containers are kept from files of the host by labels
	confined string // what to do where a privilege is missing, if --privileged is of no use
}

// ObserveEngine asks the engine what a plan depends on, and refuses one that can't run a session.
func ObserveEngine(ctx context.Context, e Engine) (EngineInfo, error) {
	info, err := e.Info(ctx)
	if err != nil {
		return EngineInfo{}, EngineError(err)
	}
	return engineInfo(info)
}

func engineInfo(info system.Info) (EngineInfo, error) {
	if strings.HasSuffix(info.DockerRootDir, "/containers/storage") {
		return EngineInfo{}, EnvironmentError("use Docker Engine or Docker Desktop: docker context ls lists what there is, and DOCKER_HOST names one",
			"the engine is Podman %s, which wiretape does not work with", info.ServerVersion)
	}
	if info.OSType != "linux" {
		return EngineInfo{}, EnvironmentError("switch Docker to Linux containers", "the Docker engine runs %s containers", info.OSType)
	}
	has := func(option string) bool {
		return slices.ContainsFunc(info.SecurityOptions, func(s string) bool {
			return s == option || strings.HasPrefix(s, option+",") || s == "name="+option || strings.HasPrefix(s, "name="+option+",")
		})
	}
	if has("rootless") {
		return EngineInfo{}, EnvironmentError("use an engine that runs as root (docker context use default)",
			"the Docker engine is rootless, which can't attach programs to cgroups")
	}
	if info.CgroupDriver == "none" {
		return EngineInfo{}, EnvironmentError("", "the Docker engine has no cgroups")
	}
	return EngineInfo{
		Version:  info.ServerVersion,
		Arch:     images.NormalizeArch(info.Architecture),
		Systemd:  info.CgroupDriver == "systemd",
		AppArmor: has("apparmor"),
		UserNS:   has("userns"),
		SELinux:  has("selinux"),
		confined: confinement(info),
	}, nil
}

const (
	snapHint = "this engine is snap's, whose confinement --privileged does not lift: install Docker Engine from https://docs.docker.com/engine/install, and remove snap's"
	eciHint  = "Docker Desktop's Enhanced Container Isolation keeps containers from the kernel, also with --privileged: have it turned off (Settings > General), or use another engine (docker context ls)"
)

// confinement is what to do where an engine gives its containers no privileges whatever
// they ask for; "" for others.
func confinement(info system.Info) string {
	switch {
	case strings.HasPrefix(info.DockerRootDir, "/var/snap/"):
		return snapHint
	case info.DefaultRuntime == "sysbox-runc":
		return eciHint
	}
	return ""
}

// KnowsBPF reports whether the engine knows CAP_BPF and CAP_PERFMON (23.0).
func (e EngineInfo) KnowsBPF() bool {
	major, _, _ := strings.Cut(e.Version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 23
}
