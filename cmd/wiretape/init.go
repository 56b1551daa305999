package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"

	"github.com/wiretape/wiretape/compose"
	"github.com/wiretape/wiretape/compose/report"
	"github.com/wiretape/wiretape/docs"
)

//go:embed wiretape.yaml.tmpl
var configTemplate string

func initCommand(io streams) *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "write a wiretape.yaml for the project, with comments",
		Description: `   Looks at the compose file, writes wiretape.yaml and, for tapes in git,
   .gitattributes beside it, and prints the two commands that come next. Nothing
   is changed where there is a wiretape.yaml already.

   example: wiretape init
   example: wiretape init --schema > wiretape.schema.json`,
		Flags: flags(projectFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "schema", Usage: "print the JSON Schema of wiretape.yaml, and do nothing else"},
		}),
		Action: func(c *cli.Context) error {
			if err := exactArgs(c, 0, ""); err != nil {
				return err
			}
			if c.Bool("schema") {
				_, err := fmt.Fprint(io.out, docs.Schema)
				return err
			}
			return runInit(c.Context, sessionOptionsOf(c).project, io.out)
		},
	}
}

// A found is what wiretape init finds in a project.
type found struct {
	Schema   string
	Services []string
	Hosts    []string // in the services' environment
	URL      string   // of the first published port; empty if there is none
}

func runInit(ctx context.Context, project compose.ProjectFlags, w io.Writer) error {
	dir, err := composeDir(project.ProjectDir, project.Files)
	if err != nil {
		return usagef("go to the folder that has compose.yaml, or name the file with -f", "%w", err)
	}
	path := (&config{dir: dir}).path()
	if _, err := os.Lstat(path); err == nil {
		return thereAlready(path)
	}
	f, err := lookAt(ctx, project)
	if err != nil {
		return err
	}
	text, err := f.configText()
	if err != nil {
		return err
	}
	if err := writeNew(path, []byte(text)); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return thereAlready(path)
		}
		return err
	}
	attributes := filepath.Join(dir, gitAttributes)
	wrote, err := addAttributes(attributes)
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	files := path
	if wrote {
		files += " and " + attributes
	}
	var flags strings.Builder
	for _, arg := range flagsOf(project) {
		flags.WriteString(" " + report.ShellQuote(arg))
	}
	command := ""
	if f.URL != "" {
		command = " -- curl " + f.URL
	}
	_, err = fmt.Fprintf(w, "wrote %s\n  next: wiretape compose%s record%s\n        wiretape compose%s test\n", files, flags.String(), command, flags.String())
	return err
}

// configText is the wiretape.yaml that is written.
func (f *found) configText() (string, error) {
	t, err := template.New(configName).Parse(configTemplate)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, f)
	return b.String(), err
}

func thereAlready(path string) error {
	return usagef("edit it; wiretape help configuration lists what can stand in it", "%s is there already, and was left as it is", path)
}

func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// gitAttributes is the file of git's attributes in a folder.
const gitAttributes = ".gitattributes"

// tapeAttributes keeps git from changing the ends of lines, which are a part of what was
// recorded, and folds streams away in reviews on GitHub.
const tapeAttributes = `# Tapes of wiretape hold bytes as they came; reviews begin with calls and cases.
tapes/** -text
tapes/*/streams/** linguist-generated
`

// addAttributes adds what tapes need, unless the file speaks of tapes already. It reports
// whether it changed anything.
func addAttributes(path string) (bool, error) {
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, writeNew(path, []byte(tapeAttributes))
	case err != nil:
		return false, err
	case regexp.MustCompile(`(?m)^/?tapes/`).Match(old):
		return false, nil
	}
	if len(old) > 0 && !bytes.HasSuffix(old, []byte("\n")) {
		old = append(old, '\n')
	}
	return true, os.WriteFile(path, append(old, tapeAttributes...), 0o644)
}

// lookAt asks docker compose what the project is.
func lookAt(ctx context.Context, project compose.ProjectFlags) (found, error) {
	f := found{Schema: schemaURL()}
	tmp, err := os.MkdirTemp("", "wiretape-init-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(tmp)
	p, err := compose.LoadProject(ctx, project, tmp)
	if err != nil {
		return f, err
	}
	f.Services = p.ServiceNames()
	for _, name := range f.Services {
		s := p.Services[name]
		for _, value := range s.Environment {
			if value != nil {
				f.addHost(*value, f.Services)
			}
		}
		for _, port := range s.Ports {
			if f.URL == "" && port.Published != "" && port.Protocol != "udp" && !strings.Contains(port.Published, "-") {
				f.URL = "http://" + net.JoinHostPort(reached(port.HostIP), port.Published) + "/"
			}
		}
	}
	slices.Sort(f.Hosts)
	return f, nil
}

// reached is the address at which this host reaches a port that is published at ip.
func reached(ip string) string {
	if addr, err := netip.ParseAddr(ip); err != nil || addr.IsUnspecified() {
		return "127.0.0.1"
	}
	return ip
}

// addHost adds the host of a URL that leads out of the project.
func (f *found) addHost(value string, services []string) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return
	}
	host := strings.ToLower(u.Hostname())
	if !strings.Contains(host, ".") || slices.Contains(services, host) || slices.Contains(f.Hosts, host) || !hostName.MatchString(host) {
		return
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsLoopback() {
		return
	}
	f.Hosts = append(f.Hosts, host)
}

var hostName = regexp.MustCompile(`^[a-z0-9.-]+$`)

// schemaURL is where editors find the schema of this version.
func schemaURL() string {
	ref := "main"
	if release.MatchString(version) {
		ref = "v" + strings.TrimPrefix(version, "v")
	}
	return "https://raw.githubusercontent.com/wiretape/wiretape/" + ref + "/docs/wiretape.schema.json"
}

var release = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+$`)
