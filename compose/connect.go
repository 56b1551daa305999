package compose

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/client"
	"github.com/wiretape/wiretape/compose/session"
)

// Connect returns a client of the engine that the docker command would use:
// that of DOCKER_HOST, DOCKER_CONTEXT or the current context.
func Connect(ctx context.Context) (*client.Client, error) {
	host := os.Getenv(client.EnvOverrideHost)
	if name := currentContext(); host == "" && name != "" && name != "default" {
		out, err := runDocker(ctx, "docker", nil, nil, "context", "inspect", name, "--format", "{{.Endpoints.docker.Host}}")
		if err != nil {
			return nil, composeError(err)
		}
		host = strings.TrimSpace(string(out))
		if !strings.HasPrefix(host, "unix://") && !strings.HasPrefix(host, "npipe://") {
			return dialThroughDocker() // it has the context's keys
		}
		return client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	}
	if strings.HasPrefix(host, "ssh://") {
		return dialThroughDocker()
	}
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, session.EnvironmentError("correct DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH", "connect to the Docker engine: %w", err)
	}
	return c, nil
}

// currentContext is the docker context in force, "" for the default one.
func currentContext() string {
	if name := os.Getenv("DOCKER_CONTEXT"); name != "" {
		return name
	}
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".docker")
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return ""
	}
	var config struct {
		CurrentContext string `json:"currentContext"`
	}
	if json.Unmarshal(data, &config) != nil {
		return ""
	}
	return config.CurrentContext
}
