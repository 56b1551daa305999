//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A project is a Compose project of this tool's own program, and where it has one
// an origin on a network that is not the project's. No network has a way out.
type project struct {
	b      *bench
	name   string // of project, image, origin and the origin's network
	dir    string
	origin string // container
}

// composeFile is compose.yaml with the name, command and ports; outside is what
// stands in it where there is an origin.
const (
	composeFile = `services:
  app:
    image: %[1]s
    pull_policy: never
    command: [%[2]s]
    %[3]s
    networks: %[4]s
networks:
  default:
    internal: true
%[5]s`
	outside = `  outside:
    name: %s-outside
    external: true
`
)

// newProject makes the image, and starts the origin in a role, if there is one. The
// app's command is its role and what comes with it; port, where set, is published
// on loopback.
func (b *bench) newProject(ctx context.Context, origin []string, port string, command ...string) (p *project, err error) {
	p = &project{b: b, name: fmt.Sprintf("wiretape-bench-%d", os.Getpid())}
	if p.dir, err = b.scratch("project"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.remove()
		}
	}()
	if err := p.image(ctx); err != nil {
		return nil, err
	}
	networks, external := "[default]", ""
	if origin != nil {
		networks, external = "[default, outside]", fmt.Sprintf(outside, p.name)
		if err := p.startOrigin(ctx, origin); err != nil {
			return nil, err
		}
	}
	quoted := make([]string, len(command))
	for i, c := range command {
		quoted[i] = fmt.Sprintf("%q", c)
	}
	if port != "" {
		port = fmt.Sprintf("ports: ['127.0.0.1:%s:8080']", port)
	}
	file := fmt.Sprintf(composeFile, p.name, strings.Join(quoted, ", "), port, networks, external)
	return p, os.WriteFile(filepath.Join(p.dir, "compose.yaml"), []byte(file), 0o600)
}

// startOrigin starts the origin on a network of its own.
func (p *project) startOrigin(ctx context.Context, role []string) error {
	if _, err := p.b.command(ctx, "", "docker", "network", "create", "--internal", p.name+"-outside"); err != nil {
		return err
	}
	args := append([]string{"run", "--detach", "--network", p.name + "-outside", "--network-alias", "origin.bench", p.name}, role...)
	var err error
	p.origin, err = p.b.command(ctx, "", "docker", args...)
	return err
}

// image makes an image of this tool's program.
func (p *project) image(ctx context.Context) error {
	arch, err := p.b.command(ctx, "", "docker", "version", "--format", "{{.Server.Arch}}")
	if err != nil {
		return fmt.Errorf("no Docker engine answers: run dev/engine: %w", err)
	}
	program := filepath.Join(p.dir, "app")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/wiretape/wiretape/dev/benchtool")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err = w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(data))})
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	load := exec.CommandContext(ctx, "docker", "import", "--change", `ENTRYPOINT ["/app"]`, "-", p.name)
	load.Stdin = &layer
	if out, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("docker import: %w: %s", err, out)
	}
	return nil
}

// compose runs docker compose with the project.
func (p *project) compose(ctx context.Context, args ...string) (string, error) {
	return p.b.command(ctx, p.dir, "docker", append([]string{"compose", "-p", p.name}, args...)...)
}

// wiretape runs a verb of wiretape compose with the project.
func (p *project) wiretape(ctx context.Context, verb string, args ...string) (string, error) {
	return p.b.command(ctx, p.dir, p.b.wiretape, append([]string{"compose", verb, "-p", p.name}, args...)...)
}

// remove removes all that the project has made, whatever became of it.
func (p *project) remove() error {
	ctx := context.Background()
	_, down := p.compose(ctx, "down", "-t", "0")
	if p.origin != "" {
		p.b.command(ctx, "", "docker", "rm", "-f", p.origin)
	}
	p.b.command(ctx, "", "docker", "network", "rm", p.name+"-outside")
	p.b.command(ctx, "", "docker", "rmi", p.name)
	return errors.Join(down, os.RemoveAll(p.dir))
}

// command runs a program in a folder, and returns what it printed.
func (b *bench) command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr strings.Builder
	cmd.Dir, cmd.Stderr = dir, &stderr
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "CAROOT="+b.caRoot())
	out, err := cmd.Output()
	if err != nil {
		said := strings.TrimSpace(stderr.String() + string(out))
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(name), args[0], err, said[max(0, len(said)-1000):])
	}
	return strings.TrimSpace(string(out)), nil
}
