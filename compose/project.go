package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/wiretape/wiretape/compose/session"
	"github.com/wiretape/wiretape/httpstream/event"
	"golang.org/x/sync/errgroup"
)

// ProjectFlags are the flags of docker compose that choose a project.
type ProjectFlags struct {
	Files       []string // -f
	Profiles    []string // --profile
	EnvFiles    []string // --env-file
	ProjectName string   // -p
	ProjectDir  string   // --project-directory
}

// A Project is a compose project as the user's own docker compose resolves it.
type Project struct {
	*types.Project
	// Config is what docker compose config said, as JSON.
	Config []byte
	// Files are the compose files that it was read from, absolute where local.
	Files []string
	// Warnings are what compose had to say about them.
	Warnings []string

	cli composeCLI
}

// minCompose is the first docker compose whose override files can take the
// ports of a service away (the !override tag).
var minCompose = [3]int{2, 24, 4}

// LoadProject resolves a project with docker compose config. Temporary files
// that it needs are put into tmp.
func LoadProject(ctx context.Context, flags ProjectFlags, tmp string) (*Project, error) {
	dc, files, err := flags.command(tmp)
	if err != nil {
		return nil, err
	}
	p := &Project{Files: files, cli: dc}
	g, gctx := errgroup.WithContext(ctx)
	var plugin string
	g.Go(func() (err error) {
		plugin, err = findPlugin(gctx, dc.docker)
		return err
	})
	g.Go(func() (err error) {
		p.Config, err = dc.run(gctx, func(s string) { p.Warnings = append(p.Warnings, s) }, "config", "--format", "json")
		if err == nil {
			return nil
		}
		if err = composeError(err); gctx.Err() != nil {
			return err
		}
		if cmd := (*CommandError)(nil); errors.As(err, &cmd) {
			if strings.Contains(strings.ToLower(cmd.Stderr), "permission denied") {
				return session.EnvironmentError("check who owns the file, and its mode", "%w", err)
			}
			return &event.Problem{Kind: event.Usage, Err: err, Next: "docker compose config shows the same: correct the file, and try again"}
		}
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	p.cli.plugin = plugin
	if p.Project, err = parseConfig(ctx, p.Config); err != nil {
		return nil, session.EnvironmentError("report this as a bug, with docker compose config", "the output of docker compose config can't be read: %w", err)
	}
	return p, nil
}

// pluginFormat has docker info tell of its compose plugin: the version, and the path.
const pluginFormat = `{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Version}} {{.Path}}{{end}}{{end}}`

// findPlugin checks the version of docker compose, and returns the path of the plugin
// that docker runs; "" where docker does not say, or that is no file of this host.
func findPlugin(ctx context.Context, docker string) (path string, err error) {
	out, err := runDocker(ctx, docker, nil, nil, "info", "--format", pluginFormat)
	version, path, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || version == "" {
		if out, err = runDocker(ctx, docker, nil, nil, "compose", "version", "--short"); err != nil {
			return "", composeError(err)
		}
		version, path = strings.TrimSpace(string(out)), ""
	}
	if found, err := exec.LookPath(path); err != nil || !filepath.IsAbs(found) {
		path = ""
	}
	return path, checkComposeVersion(version)
}

func checkComposeVersion(text string) error {
	text = strings.TrimPrefix(text, "v")
	core, _, _ := strings.Cut(text, "-")
	core, _, _ = strings.Cut(core, "+")
	var v [3]int
	for i, s := range strings.SplitN(core, ".", 3) {
		var err error
		if v[i], err = strconv.Atoi(s); err != nil {
			return nil // a build of their own: let it try
		}
	}
	if slices.Compare(v[:], minCompose[:]) < 0 {
		return session.EnvironmentError("update the compose plugin: https://docs.docker.com/compose/install/linux",
			"docker compose is version %s, and 2.24.4 or newer is needed", text)
	}
	return nil
}

// parseConfig reads the output of docker compose config. Everything in it is
// resolved; only the escaped dollar signs are not.
func parseConfig(ctx context.Context, config []byte) (*types.Project, error) {
	details := types.ConfigDetails{
		WorkingDir:  string(filepath.Separator),
		ConfigFiles: []types.ConfigFile{{Filename: "config.json", Content: config}},
		Environment: types.Mapping{},
	}
	return loader.LoadWithContext(ctx, details, func(o *loader.Options) {
		o.SkipValidation = true // a newer compose may know more than we do
		o.SkipNormalization = true
		o.SkipConsistencyCheck = true
		o.SkipExtends = true
		o.SkipInclude = true
		o.SkipResolveEnvironment = true
		o.SkipResolveLabels = true
		o.Profiles = []string{"*"}
	})
}

// command finds the compose files as docker compose does, and returns how to
// run it on them. Without -f they are passed in COMPOSE_FILE, so that the rest
// (.env files, the project's folder and name) follows the same rules as before.
func (f ProjectFlags) command(tmp string) (composeCLI, []string, error) {
	c := composeCLI{docker: "docker"}
	files, dir := f.Files, f.ProjectDir
	if len(files) == 0 {
		found, err := f.discover()
		if err != nil {
			return c, nil, session.UsageError("check COMPOSE_FILE and the .env file", "find the compose file: %w", err)
		}
		files = found
	}
	if slices.Contains(files, "-") {
		var err error
		if files, dir, err = keepStdin(files, dir, tmp); err != nil {
			return c, nil, err
		}
	}
	for _, flag := range []struct {
		name   string
		values []string
	}{
		{"--profile", f.Profiles}, {"--env-file", f.EnvFiles},
		{"--project-name", nonEmpty(f.ProjectName)}, {"--project-directory", nonEmpty(dir)},
	} {
		for _, v := range flag.values {
			c.flags = append(c.flags, flag.name, v)
		}
	}
	abs := make([]string, len(files))
	for i, file := range files {
		abs[i] = file
		if !isRemote(file) {
			abs[i], _ = filepath.Abs(file)
		}
	}
	return c.withFiles(len(f.Files) > 0, abs...), abs, nil
}

// withFiles returns c for other compose files: passed with -f, or in COMPOSE_FILE.
func (c composeCLI) withFiles(asFlags bool, files ...string) composeCLI {
	c.files, c.env = nil, nil
	if asFlags {
		c.files = files
	} else if len(files) > 0 {
		c.env = composeFileEnv(files)
	}
	return c
}

// with returns c with one more compose file behind its own.
func (p *Project) with(file string) composeCLI {
	return p.cli.withFiles(len(p.cli.files) > 0, append(slices.Clone(p.Files), file)...)
}

// composeFileEnv is the environment that makes docker compose use files.
func composeFileEnv(files []string) []string {
	sep := string(os.PathListSeparator)
	for _, candidate := range []string{sep, "|", ";", "\n"} {
		if !slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, candidate) }) {
			sep = candidate
			break
		}
	}
	return []string{"COMPOSE_FILE=" + strings.Join(files, sep), "COMPOSE_PATH_SEPARATOR=" + sep}
}

func (f ProjectFlags) discover() ([]string, error) {
	o, err := cli.NewProjectOptions(nil,
		cli.WithResourceLoader(remoteFiles{}),
		cli.WithWorkingDirectory(f.ProjectDir),
		cli.WithOsEnv,
		cli.WithEnvFiles(f.EnvFiles...),
		cli.WithDotEnv,
		cli.WithConfigFileEnv,
		cli.WithDefaultConfigPath,
	)
	if err != nil {
		return nil, err
	}
	return o.ConfigPaths, nil
}

// keepStdin copies a compose file on standard input to a file, because compose
// reads it more than once.
func keepStdin(files []string, dir, tmp string) ([]string, string, error) {
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(tmp, "stdin.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return nil, "", err
	}
	o := &cli.ProjectOptions{ConfigPaths: files, WorkingDir: dir}
	if dir, err = o.GetWorkingDir(); err != nil {
		return nil, "", err
	}
	files = slices.Clone(files)
	for i := range files {
		if files[i] == "-" {
			files[i] = path
		}
	}
	return files, dir, nil
}

// remoteFiles leaves compose files that are not on this host to docker compose.
type remoteFiles struct{}

func (remoteFiles) Accept(path string) bool { return isRemote(path) }

func (remoteFiles) Load(context.Context, string) (string, error) {
	return "", fmt.Errorf("remote compose files are loaded by docker compose")
}

func (remoteFiles) Dir(string) string { return "" }

func isRemote(path string) bool {
	return strings.Contains(path, "://") || strings.HasPrefix(path, "git@") || strings.HasPrefix(path, "github.com/")
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// targets returns the services to record: all, or those that were asked for.
func (p *Project) targets(asked []string) ([]string, error) {
	known := slices.Sorted(maps.Keys(p.Services))
	if len(asked) == 0 {
		return known, nil
	}
	var out []string
	for _, name := range asked {
		if !slices.Contains(known, name) {
			return nil, session.UsageError("services of the project are: "+strings.Join(known, ", ")+" (those of a profile need --profile)",
				"there is no service %q", name)
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}
