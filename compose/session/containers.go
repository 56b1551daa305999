package session

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/pkg/stdcopy"
)

// Label selects what has a label of that value.
func Label(name, value string) filters.KeyValuePair {
	return filters.Arg("label", name+"="+value)
}

// ContainersWith lists containers in any state by label, in the order of their names.
func ContainersWith(ctx context.Context, e Engine, args ...filters.KeyValuePair) ([]container.Summary, error) {
	list, err := e.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(args...)})
	slices.SortFunc(list, func(a, b container.Summary) int { return strings.Compare(NameOf(a), NameOf(b)) })
	return list, err
}

// NameOf is a container's name.
func NameOf(c container.Summary) string {
	if len(c.Names) == 0 {
		return c.ID
	}
	return strings.TrimPrefix(c.Names[0], "/")
}

// RemoveContainer removes a container with its anonymous volumes, whatever it does.
func RemoveContainer(ctx context.Context, e Engine, c container.Summary) error {
	err := e.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) && !strings.Contains(err.Error(), "already in progress") {
		return fmt.Errorf("remove %s: %w", NameOf(c), err)
	}
	return nil
}

// RemoveNetwork removes a network, also one on which the engine still believes
// containers to be that are gone.
func RemoveNetwork(ctx context.Context, e Engine, n network.Inspect) error {
	err := IgnoreMissing(e.NetworkRemove(ctx, n.ID))
	if err == nil {
		return nil
	}
	now, ierr := e.NetworkInspect(ctx, n.ID, network.InspectOptions{})
	if ierr != nil {
		return IgnoreMissing(ierr)
	}
	for id, endpoint := range now.Containers {
		c, ierr := e.ContainerInspect(ctx, id)
		if ierr == nil && c.State.Running {
			return fmt.Errorf("%w (container %s uses it)", err, strings.TrimPrefix(c.Name, "/"))
		}
		_ = e.NetworkDisconnect(ctx, n.ID, cmp.Or(endpoint.Name, id), true)
	}
	return IgnoreMissing(e.NetworkRemove(ctx, n.ID))
}

// LastLines returns the end of a container's log.
func LastLines(ctx context.Context, e Engine, id string, n int) string {
	logs, err := e.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(n)})
	if err != nil {
		return ""
	}
	defer logs.Close()
	var out bytes.Buffer
	if c, err := e.ContainerInspect(ctx, id); err == nil && c.Config != nil && c.Config.Tty {
		_, _ = out.ReadFrom(logs)
	} else {
		_, _ = stdcopy.StdCopy(&out, &out, logs)
	}
	return strings.TrimSpace(out.String())
}
