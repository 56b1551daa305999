package compose

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/dev/needs"
	"github.com/wiretape/wiretape/httpstream/event"
)

// needCompose skips a test where there is no docker compose; it needs no engine.
func needCompose(t *testing.T) {
	t.Helper()
	needs.Engine(t, func() error {
		_, err := findPlugin(t.Context(), "docker")
		return err
	})
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The files are found where docker compose finds them, and an override behind
// them is taken.
func TestProjectsAreFoundAsComposeFindsThem(t *testing.T) {
	needCompose(t)
	const base = "services: {web: {image: base}}\n"
	tests := []struct {
		name  string
		files map[string]string
		cwd   string
		env   map[string]string
		flags ProjectFlags
		want  []string
		image string // of web, which tells what was read
	}{
		{name: "compose.yaml here", files: map[string]string{"compose.yaml": base},
			want: []string{"compose.yaml"}, image: "base"},
		{name: "with its override", files: map[string]string{"compose.yaml": base, "compose.override.yaml": "services: {web: {image: over}}"},
			want: []string{"compose.yaml", "compose.override.yaml"}, image: "over"},
		{name: "in a parent folder", files: map[string]string{"docker-compose.yml": base, "sub/x": ""}, cwd: "sub",
			want: []string{"docker-compose.yml"}, image: "base"},
		{name: "in COMPOSE_FILE", files: map[string]string{"a.yaml": base, "b.yaml": "services: {web: {image: b}}", "compose.yaml": "no"},
			env: map[string]string{"COMPOSE_FILE": "a.yaml:b.yaml"}, want: []string{"a.yaml", "b.yaml"}, image: "b"},
		{name: "in COMPOSE_FILE of .env", files: map[string]string{"a.yaml": base, ".env": "COMPOSE_FILE=a.yaml\n"},
			want: []string{"a.yaml"}, image: "base"},
		{name: "with -f, and variables of --env-file", files: map[string]string{"x/a.yaml": "services: {web: {image: '${IMG}'}}", "e": "IMG=env\n"},
			flags: ProjectFlags{Files: []string{"x/a.yaml"}, EnvFiles: []string{"e"}}, want: []string{"x/a.yaml"}, image: "env"},
		{name: "with --project-directory", files: map[string]string{"x/compose.yaml": base, "x/.env": "COMPOSE_PROJECT_NAME=fromx\n"},
			flags: ProjectFlags{ProjectDir: "x"}, want: []string{"x/compose.yaml"}, image: "base"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := writeFiles(t, test.files)
			t.Chdir(filepath.Join(dir, test.cwd))
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			p, err := LoadProject(t.Context(), test.flags, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, f := range test.want {
				want = append(want, filepath.Join(dir, f))
			}
			if diff := cmp.Diff(want, p.Files); diff != "" {
				t.Error(diff)
			}
			if got := p.Services["web"].Image; got != test.image {
				t.Errorf("web's image is %s", got)
			}
			override := filepath.Join(t.TempDir(), "over.yaml")
			os.WriteFile(override, []byte("services: {web: {cgroup_parent: /x, ports: !override []}}"), 0o600)
			out, err := p.with(override).run(t.Context(), nil, "config", "--format", "json")
			if err != nil {
				t.Fatal(err)
			}
			again, err := parseConfig(t.Context(), out)
			if err != nil || again.Services["web"].CgroupParent != "/x" || again.Services["web"].Image != test.image || again.Name != p.Name {
				t.Errorf("with the override: %v\n%s", err, out)
			}
		})
	}
}

func TestProjectsThatCannotBeRead(t *testing.T) {
	needCompose(t)
	tests := []struct {
		name  string
		files map[string]string
		flags ProjectFlags
		want  string
	}{
		{name: "no file", want: "no compose file"},
		{name: "a file that is not there", flags: ProjectFlags{Files: []string{"nope.yaml"}}, want: "nope.yaml"},
		{name: "no YAML", files: map[string]string{"compose.yaml": "services:\n  web: [\n"}, want: "line 2"},
		{name: "a wrong attribute", files: map[string]string{"compose.yaml": "services:\n  web:\n    imagee: x\n"}, want: "imagee"},
		{name: "an undefined network", files: map[string]string{"compose.yaml": "services: {web: {image: x, networks: [nope]}}"}, want: "nope"},
		{name: "a name that is none", files: map[string]string{"compose.yaml": "services: {web: {image: x}}"}, flags: ProjectFlags{ProjectName: "A B"}, want: "A B"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(writeFiles(t, test.files))
			_, err := LoadProject(t.Context(), test.flags, t.TempDir())
			var e *event.Problem
			if !errors.As(err, &e) || e.Kind != event.Usage || e.Next == "" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %#v", err)
			}
		})
	}
}

func TestDockerCommandsThatFail(t *testing.T) {
	tests := []struct {
		name, script string
		kind         event.ProblemKind
		want         string
	}{
		{"no docker", "", event.Environment, "docker command is not found"},
		{"no plugin", `echo "docker: 'compose' is not a docker command." >&2; exit 1`, event.Environment, "no compose plugin"},
		{"no plugin, with flags", `echo "unknown shorthand flag: 'f' in -f" >&2; exit 125`, event.Environment, "no compose plugin"},
		{"no engine", `echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?" >&2; exit 1`, event.Environment, "Cannot connect"},
		{"no permission", `echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1`, event.Environment, "permission denied"},
		{"an old plugin", `echo 2.20.1`, event.Environment, "2.24.4 or newer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bin := t.TempDir()
			if test.script != "" {
				os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\n"+test.script+"\n"), 0o755)
			}
			t.Setenv("PATH", bin)
			_, err := findPlugin(t.Context(), "docker")
			var e *event.Problem
			if !errors.As(err, &e) || e.Kind != test.kind || e.Next == "" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %#v", err)
			}
		})
	}
}

func TestNoEngineAnswers(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	c, err := Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = session.ObserveEngine(t.Context(), c)
	var e *event.Problem
	if !errors.As(err, &e) || e.Kind != event.Environment || !strings.Contains(e.Next, "start Docker") {
		t.Errorf("the error is %v", err)
	}
}

func TestUnknownServicesAreNamedWithTheKnownOnes(t *testing.T) {
	p, err := parseConfig(context.Background(), []byte(`{"name":"p","services":{"web":{"image":"x"},"db":{"image":"x"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&Project{Project: p}).targets([]string{"wbe"})
	var e *event.Problem
	if !errors.As(err, &e) || e.Kind != event.Usage || !strings.Contains(e.Next, "db, web") {
		t.Errorf("the error is %#v", err)
	}
	if got, err := (&Project{Project: p}).targets([]string{"web", "web"}); err != nil || !slices.Equal(got, []string{"web"}) {
		t.Errorf("%v, %v", got, err)
	}
}
