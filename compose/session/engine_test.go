package session

import (
	"errors"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/system"
	"github.com/wiretape/wiretape/httpstream/event"
)

func TestEnginesThatGiveNoPrivilegesAreNamed(t *testing.T) {
	refusal := errors.New("OCI runtime create failed: operation not permitted")
	for _, c := range []struct {
		name string
		info system.Info
		said error
		hint string // a part of it
	}{
		{"Docker Engine", system.Info{OSType: "linux", DockerRootDir: "/var/lib/docker", DefaultRuntime: "runc"}, refusal, "try --privileged"},
		{"snap's", system.Info{OSType: "linux", DockerRootDir: "/var/snap/docker/common/var-lib-docker"}, refusal, "snap's"},
		{"Docker Desktop with isolation", system.Info{OSType: "linux", DockerRootDir: "/var/lib/docker", DefaultRuntime: "sysbox-runc"}, refusal, "Enhanced Container Isolation"},
		{"one that says so", system.Info{OSType: "linux"}, errors.New("enhanced container isolation: the host's pid namespace is denied"), "Enhanced Container Isolation"},
	} {
		e, err := engineInfo(c.info)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var p *event.Problem
		if err := StartError(c.said, e, false); !errors.As(err, &p) || !strings.Contains(p.Next, c.hint) {
			t.Errorf("%s: the hint is %q", c.name, p.Next)
		}
	}
	_, err := engineInfo(system.Info{OSType: "linux", ServerVersion: "5.4.0", DockerRootDir: "/var/lib/containers/storage"})
	if err == nil || !strings.Contains(err.Error(), "Podman 5.4.0") {
		t.Errorf("Podman: %v", err)
	}
}

func TestAnAPIVersionThatTheEngineDoesNotHaveIsAHint(t *testing.T) {
	for _, said := range []string{
		"Error response from daemon: client version 1.99 is too new. Maximum supported API version is 1.41",
		"Error response from daemon: client version 1.12 is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version",
	} {
		var p *event.Problem
		if err := EngineError(errors.New(said)); !errors.As(err, &p) || !strings.Contains(p.Next, "unset DOCKER_API_VERSION") {
			t.Errorf("%s: the hint is %q", said, p.Next)
		}
	}
}
