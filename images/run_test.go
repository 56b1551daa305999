package images

import (
	"bytes"
	"context"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
)

// runOnce runs an image without a network, and returns what it printed.
func runOnce(t *testing.T, c *client.Client, ref string) string {
	t.Helper()
	ctx := t.Context()
	made, err := c.ContainerCreate(ctx, &container.Config{Image: ref},
		&container.HostConfig{NetworkMode: "none", ReadonlyRootfs: true, CapDrop: []string{"ALL"}}, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeContainer(t, c, made.ID) })
	ended, failed := c.ContainerWait(ctx, made.ID, container.WaitConditionNextExit)
	if err := c.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	case <-ended:
	}
	logs, err := c.ContainerLogs(ctx, made.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, logs); err != nil {
		t.Fatal(err)
	}
	removeContainer(t, c, made.ID)
	return out.String()
}

func removeContainer(t *testing.T, c *client.Client, id string) {
	c.ContainerRemove(context.WithoutCancel(t.Context()), id, container.RemoveOptions{Force: true})
}
