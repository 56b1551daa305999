package compose

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/wiretape/wiretape/compose/agent"
	"github.com/wiretape/wiretape/compose/session"
)

var update = flag.Bool("update", false, "write the plans in testdata/plans")

// A plan file has settings as "name: value" lines, the compose files, and what
// must come out: the plan and the override.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/plans/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no plans to test", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := planOf(t, archive)
			for _, name := range []string{"plan", "override"} {
				want := archiveFile(archive, name)
				if want.Data != nil && *update || want.Data == nil {
					want.Data = []byte(got[name])
				}
				if diff := cmp.Diff(string(want.Data), got[name]); diff != "" {
					t.Errorf("%s differs from what %s says (-file +now); run go test -update if it is right now\n%s", name, file, diff)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func archiveFile(a *txtar.Archive, name string) *txtar.File {
	for i := range a.Files {
		if a.Files[i].Name == name {
			return &a.Files[i]
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name})
	return &a.Files[len(a.Files)-1]
}

// planOf plans the session that an archive describes, without an engine.
func planOf(t *testing.T, archive *txtar.Archive) map[string]string {
	t.Helper()
	opt := &Options{Options: session.Options{Mode: agent.Record, Tape: "/tapes/default"}}
	engine := session.EngineInfo{Version: "28.0.0", Arch: "amd64"}
	var before Snapshot
	imageEnv := map[string]map[string]string{}
	nets := map[string][]string{}
	for line := range strings.Lines(string(archive.Comment)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		words := strings.Fields(value)
		switch name {
		case "tape":
			opt.Tape = value
		case "mode":
			opt.Mode = agent.Mode(value)
		case "on miss":
			opt.OnMiss = agent.OnMiss(value)
		case "keep networks":
			opt.KeepNetworks = value == "yes"
		case "services":
			opt.Services = words
		case "profiles":
			opt.Profiles = words
		case "driver":
			engine.Systemd = value == "systemd"
		case "running":
			for _, w := range words {
				before.Containers = append(before.Containers, Container{Name: "p-" + w, Service: strings.TrimRight(w, "-0123456789"), Running: true})
			}
		case "image env": // service NAME=VALUE
			k, v, _ := strings.Cut(words[1], "=")
			imageEnv[words[0]] = map[string]string{k: v}
		case "container": // name network…
			nets[words[0]] = words[1:]
		case "about":
		default:
			t.Fatalf("unknown setting %q", name)
		}
	}
	p := loadForTest(t, archive, opt.Profiles)
	before.setAside(p, opt.Isolates())
	e := &session.Env{Info: engine, Options: &opt.Options, State: session.State{
		Session: "0a1b2c3d", Project: p.Name, Mode: opt.Mode, Systemd: engine.Systemd,
	}}
	l, err := newLayout(p, e.State, opt, before, nets)
	if err != nil {
		return map[string]string{"plan": "error: " + err.Error() + "\n"}
	}
	rt := &composeRuntime{opt: opt, name: p.Name, project: p, services: services{p, opt, before, l}}
	override, err := rt.services.override(e.State, imageEnv)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"plan":     session.NewPlan(e, rt.wiring(override)).String(),
		"override": shortOverride(string(override)),
	}
}

// shortOverride leaves one trust variable of each kind, as package mitmtls
// tests them, so that the files here don't change with that list.
func shortOverride(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		variable := strings.ToUpper(name) == name && strings.Contains(name, "_")
		if !variable || name == "SSL_CERT_FILE" || name == "JAVA_TOOL_OPTIONS" {
			b.WriteString(line)
		}
	}
	return b.String()
}

// loadForTest resolves compose files as docker compose config does, with the
// library that it is made of.
func loadForTest(t *testing.T, archive *txtar.Archive, profiles []string) *Project {
	t.Helper()
	dir := t.TempDir()
	for _, f := range archive.Files {
		if f.Name == "plan" || f.Name == "override" {
			continue
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	o, err := cli.NewProjectOptions(nil, cli.WithWorkingDirectory(dir), cli.WithDotEnv,
		cli.WithDefaultConfigPath, cli.WithDefaultProfiles(profiles...), cli.WithName("shop"))
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := o.LoadProject(ctx)
	if err != nil {
		t.Fatal(err)
	}
	config, err := resolved.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	p := &Project{Config: config}
	if p.Project, err = parseConfig(ctx, config); err != nil {
		t.Fatal(err)
	}
	return p
}
