package compose

import (
	"testing"

	"github.com/docker/docker/api/types/container"
)

func TestAnEngineIsReachedThroughTheDockerCommand(t *testing.T) {
	needEngine(t)
	c, err := dialThroughDocker()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ContainerList(t.Context(), container.ListOptions{}); err != nil {
		t.Error(err)
	}
}
